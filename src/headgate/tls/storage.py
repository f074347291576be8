"""The certificate storage of a process (manual 12.7; management guide 9.3 "show ssl cert"): what was loaded, by file name.

Certificates, CA files and CRL files are *entries*: a name, what stands behind it now, and a generation that counts how often it
was replaced. A file that several lines use is read once. Those who build something of entries (a bind line's contexts) join as
*users* and are told when one is replaced; what an entry held before lives on in the connections that use it already.

Reads files through the functions it is given and decides nothing about TLS. Filled while a configuration is loaded, changed by
the runtime API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from weakref import WeakSet

from cryptography import x509

from headgate.base.diagnostics import NOWHERE, Location, Report, config_error
from headgate.base.records import dataclass
from headgate.config.tls_options import CertificateFile, CertificateLine
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.loading import CertificateReader
from headgate.tls.pem import read_authorities
from headgate.tls.revocation import read_revocations
from headgate.tls.ticket_keys import TicketKeys, read_ticket_keys

if TYPE_CHECKING:
    from headgate.tls.ocsp.stapling import Staples

T = TypeVar("T")


class Entry(Generic[T]):
    """Something of the storage.

    Attributes:
        name: file name, or `@store/name`; what the runtime API calls it.
        contents: what it holds now; replaced as a whole, never changed.
        generation: 0, and one more each time it was replaced.
        location: where the configuration names it first.
    """

    __slots__ = ("__weakref__", "contents", "generation", "location", "name")

    def __init__(self, name: str, contents: T, location: Location | None = None) -> None:
        self.name = name
        self.contents = contents
        self.generation = 0
        self.location = location


class CertificateEntry(Entry[CertifiedKey]):
    """A certificate; `file` is how it was named when it was loaded."""

    __slots__ = ("file",)

    def __init__(self, file: CertificateFile, contents: CertifiedKey) -> None:
        super().__init__(file.path, contents, file.location)
        self.file = file


#: A `ca-file` or `ca-verify-file`.
AuthoritiesEntry = Entry[tuple[x509.Certificate, ...]]
#: A `crl-file`.
RevocationsEntry = Entry[tuple[x509.CertificateRevocationList, ...]]


class StorageUser(Protocol):
    """Builds something of entries: `server_context.BindContext`."""

    def replaced(self, entry: Entry[Any]) -> None:
        """An entry was replaced: what was built of it must be built again."""


class Membership:
    """That a user is told of replacements: it keeps this, and nobody else does.

    The storage refers to it weakly; to the user itself it can't, when that is compiled.
    """

    __slots__ = ("__weakref__", "user")

    def __init__(self, user: StorageUser) -> None:
        self.user = user


@dataclass(slots=True)
class LoadedLine:
    """A line of a list with the entry that it refers to."""

    line: CertificateLine
    entry: CertificateEntry


@dataclass(slots=True)
class LoadedList:
    """A crt-list or a directory as loaded, for the runtime API ("show ssl crt-list").

    Attributes:
        name: of the file or directory, or `@frontend`.
        lines: in order; a bundle has one for each of its files.
    """

    name: str
    lines: list[LoadedLine]


class Storage:
    """All entries of a process.

    Attributes:
        reader: reads certificates.
        certificates, authorities, revocations, ticket_keys: entries by name, in the order of their loading.
        lists: crt-lists and directories by name.
        kept: certificates of `crt-state-dir`, by name: when they were installed (Unix time), None where the file serves instead.
    """

    __slots__ = (
        "_memberships", "_ocsp_mode", "_report", "_staples", "authorities", "certificates", "kept", "lists", "reader",
        "revocations", "ticket_keys",
    )  # fmt: skip

    def __init__(
        self, reader: CertificateReader | None = None, *, ocsp_mode: bool = False, report: Report | None = None
    ) -> None:
        """
        Args:
            reader: reads certificates; None: one without settings.
            ocsp_mode: `ocsp-update.mode`, for certificates of which nothing else is said.
            report: where files in directories of CAs are named that are left out; None: they are errors.
        """
        self.reader = reader if reader is not None else CertificateReader()
        self.certificates: dict[str, CertificateEntry] = {}
        self.authorities: dict[str, AuthoritiesEntry] = {}
        self.revocations: dict[str, RevocationsEntry] = {}
        self.ticket_keys: dict[str, Entry[TicketKeys]] = {}
        self.lists: dict[str, LoadedList] = {}
        self.kept: dict[str, float | None] = {}
        self._staples: Staples | None = None
        self._ocsp_mode = ocsp_mode
        self._report = report
        self._memberships: WeakSet[Membership] = WeakSet()

    def certificate(self, file: CertificateFile) -> CertificateEntry:
        """The certificate of a file, read now unless it is there already.

        Raises:
            ConfigError: one of its files is wrong, or see `known`.
        """
        entry = self.certificates.get(file.path)
        if entry is None:
            entry = self.certificates[file.path] = CertificateEntry(file, self.reader.read(file))
        elif (option := self._disagreement(entry.file, file)) is not None:
            raise config_error(
                f"certificate {file.path!r} is used with different values of '{option}': first in {entry.file.location.short}",
                file.location, remedy="say the same wherever it is used, or load it in a crt-store, which says it once",
            )
        return entry

    def known(self, file: CertificateFile) -> CertificateEntry | None:
        """A certificate that is there already; None if it is not.

        Raises:
            ConfigError: it was loaded with other files, or another `ocsp-update` (12.7.1).
        """
        return self.certificate(file) if file.path in self.certificates else None

    def _disagreement(self, first: CertificateFile, file: CertificateFile) -> str | None:
        """The load option of a further use that is not what the first one says. Who names no files means those."""
        for option in ("key", "ocsp", "issuer", "sctl"):
            wanted = getattr(file.files, option)
            if wanted is not None and wanted != getattr(first.files, option):
                return option
        return "ocsp-update" if self._is_updated(file) is not self._is_updated(first) else None

    @property
    def staples(self) -> Staples:
        """What handshakes staple with certificates."""
        if self._staples is None:
            from headgate.tls.ocsp.stapling import Staples  # OpenSSL is loaded only where contexts are built

            self._staples = Staples()
        return self._staples

    @staples.setter
    def staples(self, staples: Staples) -> None:
        self._staples = staples

    def _is_updated(self, file: CertificateFile) -> bool:
        return self._ocsp_mode if file.files.ocsp_update is None else file.files.ocsp_update

    def authority(self, path: str, location: Location | None) -> AuthoritiesEntry:
        """The CAs of a `ca-file`, read now unless they are there already.

        Raises:
            ConfigError: the file is wrong (see `pem.read_authorities`).
        """
        return _entry(self.authorities, path, location, partial(read_authorities, report=self._report))

    def revocation(self, path: str, location: Location | None) -> RevocationsEntry:
        """The revocation lists of a `crl-file`, read now unless they are there already.

        Raises:
            ConfigError: the file is wrong (see `revocation.read_revocations`).
        """
        return _entry(self.revocations, path, location, read_revocations)

    def keys_of_tickets(self, path: str, location: Location | None) -> Entry[TicketKeys]:
        """The keys of a `tls-ticket-keys` file, read now unless they are there already.

        Raises:
            ConfigError: the file is wrong (see `ticket_keys.read_ticket_keys`).
        """
        return _entry(self.ticket_keys, path, location, read_ticket_keys)

    def of(self, kind: str) -> dict[str, Entry[tuple[Any, ...]]]:
        """The entries of `ca-file` or of `crl-file`, by name."""
        return cast("dict[str, Entry[tuple[Any, ...]]]", self.authorities if kind == "ca-file" else self.revocations)

    def put_certificate(self, name: str, contents: CertifiedKey) -> CertificateEntry:
        """Replace what is called `name`, or add it."""
        entry = self.certificates.get(name)
        if entry is None:
            entry = self.certificates[name] = CertificateEntry(CertificateFile(name, NOWHERE), contents)
        else:
            self.replace(entry, contents)
        return entry

    def put(self, kind: str, name: str, contents: tuple[Any, ...]) -> Entry[tuple[Any, ...]]:
        """Replace the CA file or CRL file that is called `name`, or add it."""
        entries = self.of(kind)
        entry = entries.get(name)
        if entry is None:
            entry = entries[name] = Entry(name, contents)
        else:
            self.replace(entry, contents)
        return entry

    def join(self, user: StorageUser) -> Membership:
        """Tell `user` of every replacement from now on, as long as it keeps what is returned."""
        membership = Membership(user)
        self._memberships.add(membership)
        return membership

    def replace(self, entry: Entry[T], contents: T) -> None:
        """Put other contents in an entry's place; its users build again what they need."""
        entry.contents = contents
        entry.generation += 1
        for membership in list(self._memberships):
            membership.user.replaced(entry)

    def entries(self) -> Iterable[Entry[Any]]:
        """All that are installed as files of certificates are: all but keys of tickets."""
        yield from self.certificates.values()
        yield from self.authorities.values()
        yield from self.revocations.values()


def _entry(
    known: dict[str, Entry[T]], name: str, location: Location | None, read: Callable[[str, Location | None], T]
) -> Entry[T]:
    entry = known.get(name)
    if entry is None:
        entry = known[name] = Entry(name, read(name, location), location)
    return entry
