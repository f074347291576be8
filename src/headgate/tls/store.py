"""The certificates of one bind line: what `crt`, `crt-list` and the others name, and which of them answers to a server name.

Only certificates, names and policies; the OpenSSL contexts made from them are in `server_context`. Files are read through the
`storage`, which all bind lines share.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from headgate.base.diagnostics import ConfigError, Diagnostic, Report, Severity
from headgate.config.tls_options import BindPolicy, BindTls, CertificateFile, CertificateLine, CrtList, PolicyOptions
from headgate.tls.pem import list_directory
from headgate.tls.storage import CertificateEntry, LoadedLine, LoadedList, Storage

#: Files beside a certificate that are read with it and not as certificates (manual 5.1 crt).
EXTRA_SUFFIXES = (".key", ".issuer", ".ocsp", ".sctl")
#: A bundle `site.pem` may stand for `site.pem.ecdsa` and `site.pem.rsa` (manual 3.1 ssl-load-extra-files bundle).
BUNDLE_SUFFIXES = (".ecdsa", ".rsa", ".dsa")


class Served:
    """One certificate on one bind line.

    Attributes:
        entry: of the storage; what it holds may change.
        policy: what its clients are told: the line's own options over those of the bind line.
        line: what named it.
        excluded: names that its wildcards don't cover (`!not.example.org`).
        bundle: base name of the bundle that the bind line named, "" for none.
        listed: a directory or crt-list has it, not the bind line itself.
    """

    __slots__ = ("bundle", "entry", "excluded", "line", "listed", "policy")

    def __init__(
        self, entry: CertificateEntry, policy: BindPolicy, line: CertificateLine, *, bundle: str = "", listed: bool = False
    ) -> None:
        self.entry = entry
        self.policy = policy
        self.line = line
        self.bundle = bundle
        self.listed = listed
        self.excluded = frozenset(name[1:].lower().encode() for name in line.filters if name.startswith("!"))

    @property
    def kind(self) -> str:
        """The kind of its key; see `pem.CertifiedKey`."""
        return self.entry.contents.kind

    @property
    def names(self) -> Sequence[bytes]:
        """The names that it answers to: those of the line's filters, without any those in the certificate."""
        if not self.line.filters:
            return self.entry.contents.names
        return [name.lower().encode() for name in self.line.filters if name != "*" and not name.startswith("!")]


#: What a server name is answered with: at most one certificate of each kind of key, the client's abilities decide.
Choice = tuple[Served, ...]


class CertificateStore:
    """Certificates by server name: exact names first, then a wildcard for the first label (manual 5.1 crt-list).

    Attributes:
        served: all of them, in the order of the configuration.
        default: what is presented when no name matches; None without any certificate.
    """

    __slots__ = ("_exact", "_filtered", "_wildcards", "default", "now", "served")

    def __init__(self, served: Iterable[Served], now: float | None = None) -> None:
        """`now`, Unix time, is what certificates have expired by: such a one leaves its names to others. None: not looked at."""
        self.served = tuple(served)
        self.now = now
        self._exact: dict[bytes, Choice] = {}
        self._wildcards: dict[bytes, Choice] = {}
        self._filtered: dict[bytes, list[Served]] = {}  # wildcards with names left out: decided for each name
        for one in self.served:
            for name in one.names:
                if not name.startswith(b"*."):
                    self._exact[name] = _with(self._exact.get(name, ()), one, now)
                elif one.excluded or name[1:] in self._filtered:
                    self._filtered.setdefault(name[1:], list(self._wildcards.pop(name[1:], ()))).append(one)
                else:
                    self._wildcards[name[1:]] = _with(self._wildcards.get(name[1:], ()), one, now)
        self.default: Choice | None = self._default_choice(now) or None

    def _default_choice(self, now: float | None) -> Choice:
        """The first certificate with those of its bundle (`crt site.pem` for site.pem.ecdsa and .rsa), and explicit ones."""
        found: Choice = ()
        for number, one in enumerate(self.served):
            first = self.served[0]
            if number == 0 or one.line.is_default or (first.bundle and one.bundle == first.bundle):
                found = _with(found, one, now)
        return tuple(self._successor(one, now) for one in found)

    def _successor(self, one: Served, now: float | None) -> Served:
        """The one that has taken the names of an expired certificate over; without any the certificate itself."""
        if now is not None and one.entry.contents.not_after < now:
            for name in one.names:
                for other in self.find(name) or () if not name.startswith(b"*.") else self._wildcards.get(name[1:], ()):
                    if other.kind == one.kind and other.entry.contents.not_after >= now:
                        return other
        return one

    def find(self, name: bytes) -> Choice | None:
        """The certificates for a server name (lower case, no trailing dot), or None: of each kind of key the nearest one.

        A wildcard adds its kind to that of an exact name only where the policies are the same: else a client could choose by its
        algorithms whether it must show a certificate.
        """
        found = self._exact.get(name, ())
        dot = name.find(b".")
        if dot > 0:
            domain = name[dot:]
            wildcards: Iterable[Served] = self._wildcards.get(domain, ())
            if not wildcards and domain in self._filtered:
                wildcards = [one for one in self._filtered[domain] if name not in one.excluded]
            if not found and isinstance(wildcards, tuple):
                return wildcards or None
            for one in wildcards:
                if not found or one.policy == found[0].policy:
                    found = _with(found, one, self.now)
        return found or None

    def choices(self) -> Iterator[Choice]:
        """Everything that a name may be answered with, and the default; what depends on the name as a whole."""
        for name, choice in self._exact.items():
            yield self.find(name) or choice
        yield from self._wildcards.values()
        for several in self._filtered.values():
            yield tuple(several)
        if self.default is not None:
            yield self.default

    def names(self) -> list[bytes]:
        """All names that are served, wildcards too, sorted."""
        return sorted([*self._exact, *(b"*" + name for name in (*self._wildcards, *self._filtered))])


def _with(choice: Choice, one: Served, now: float | None) -> Choice:
    """A choice with one more: the first of a kind stays, unless it has expired and the other has not."""
    kind = one.kind
    for number, other in enumerate(choice):
        if other.kind == kind:
            if now is not None and other.entry.contents.not_after < now < one.entry.contents.not_after:
                return (*choice[:number], one, *choice[number + 1 :])
            return choice
    return (*choice, one)


def load_served(tls: BindTls, storage: Storage, report: Report) -> list[Served]:
    """Read all certificates of a bind line. Files that are wrong are reported, each of them, and left out.

    Args:
        tls: the line.
        storage: where certificates are read into, or are already.
        report: where errors go.
    """
    served: list[Served] = []
    by_options: dict[PolicyOptions, BindPolicy] = {(): tls.policy}
    equal = {tls.policy: tls.policy}  # lines that mean the same share one
    for item in tls.certificates:
        listed = isinstance(item, CrtList) or _is_directory(item.file, storage)
        if listed:
            lines = _listed(item, storage, report)
            bundle = ""
        else:
            assert isinstance(item, CertificateLine)
            lines = list(_load((item,), storage, report, skip_bad=False))
            bundle = item.file.path if len(lines) > 1 else ""
        for one in lines:
            options = one.line.options
            policy = by_options.get(options)
            if policy is None:
                policy = tls.policy.overlaid(options)
                policy = by_options[options] = equal.setdefault(policy, policy)
            served.append(Served(one.entry, policy, one.line, bundle=bundle, listed=listed))
    return served


def _is_directory(file: CertificateFile, storage: Storage) -> bool:
    if file.path in storage.lists:  # also where a chroot has put it out of sight
        return True
    return not file.source and file.path not in storage.certificates and os.path.isdir(file.path)


def _listed(item: CertificateLine | CrtList, storage: Storage, report: Report) -> list[LoadedLine]:
    """The lines of a crt-list or directory, which is loaded once."""
    name = item.name if isinstance(item, CrtList) else item.file.path
    known = storage.lists.get(name)
    if known is None:
        lines = item.lines if isinstance(item, CrtList) else _directory(item, report)
        loaded = list(_load(lines, storage, report, skip_bad=storage.reader.loading.skip_bad))
        known = storage.lists[name] = LoadedList(name, loaded)
    return known.lines


def _load(lines: Iterable[CertificateLine], storage: Storage, report: Report, *, skip_bad: bool) -> Iterator[LoadedLine]:
    """The lines with their entries; a bundle has one for each of its files."""
    for line in lines:
        for file in _files(line.file, storage):
            try:
                yield LoadedLine(line, storage.certificate(file))
            except ConfigError as error:
                report.add(error.diagnostic if not skip_bad else skipped(error))


def skipped(error: ConfigError) -> Diagnostic:
    """What is said of a certificate that `ssl-skip-bad-certificates` leaves out."""
    problem = error.diagnostic
    message = f"{problem.message}; it is skipped, and its names are not served"
    return replace(problem, severity=Severity.WARNING, message=message)


def _files(file: CertificateFile, storage: Storage) -> Iterable[CertificateFile]:
    """A file, or those of the bundle that it stands for."""
    path = file.path
    if not file.source and "bundle" in storage.reader.loading.extra and path not in storage.certificates:
        if not os.path.exists(path):
            bundle = [path + suffix for suffix in BUNDLE_SUFFIXES if os.path.exists(path + suffix)]
            if bundle:
                return [replace(file, path=one) for one in bundle]
    return (file,)


def _directory(directory: CertificateLine, report: Report) -> list[CertificateLine]:
    """The certificates of a directory, as lines of a crt-list."""
    path, location = directory.file.path, directory.file.location
    try:
        names = list_directory(path, location)
    except ConfigError as error:
        report.add(error.diagnostic)
        return []
    lines = []
    for name in names:
        full = os.path.join(path, name)
        if not name.startswith(".") and not name.endswith(EXTRA_SUFFIXES) and not os.path.isdir(full):
            file = CertificateFile(full, location)
            lines.append(CertificateLine(file, is_default=directory.is_default, location=location))
    return lines
