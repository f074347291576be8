"""Changes of certificates, CA files and CRL files while running, as transactions (management guide 9.3 "set ssl cert").

What is put together in a transaction is seen by nobody until it is committed. A commit is judged here: it must not make things
worse than they are unless it is forced to. Pure: texts in, entries of the storage out; `admin.commands` has the words around it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.base.diagnostics import ConfigError
from headgate.base.records import dataclass, field
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.objections import judge, objection
from headgate.tls.pem import authorities_of, certified_key_of
from headgate.tls.revocation import parse_revocations
from headgate.tls.storage import CertificateEntry, Entry, Storage
from headgate.tls.unfinished import CHECKS, Part, Unfinished

#: Files beside a certificate that `set ssl cert` takes under the certificate's name with one of these behind it.
PARTS = (".key", ".issuer", ".ocsp", ".sctl")
#: Those of them that are DER, base64 where they are text.
_BASE64 = (".ocsp", ".sctl")
#: Transactions that may be open at a time, and bytes that each may hold.
MOST_TRANSACTIONS = 1024
LARGEST = 4 << 20


_CALLED = {"ca-file": "CA file", "crl-file": "CRL file"}
#: At the end of the first line of a private key.
_KEY = "PRIVATE KEY-----"


class Refused(Exception):
    """The change can't be made; the text says why, in HAProxy's words where it has some.

    Attributes:
        by_force: `commit ... force` would do it all the same.
    """

    def __init__(self, text: str, *, by_force: bool = False) -> None:
        super().__init__(text)
        self.by_force = by_force


@dataclass(frozen=True, slots=True)
class CertificateText:
    """A certificate with all that belongs to it, as text: what a process tells another.

    Attributes:
        pem: certificate, chain and key.
        issuer: PEM of the issuer in a file of its own, "" for none.
        ocsp, sctl: base64 of DER, "" for none.
    """

    pem: str = field(default="", repr=False)
    issuer: str = ""
    ocsp: str = ""
    sctl: str = ""

    def with_part(self, suffix: str, text: str) -> CertificateText:
        """The same with one part replaced; `suffix` is one of `PARTS`, or "" for the PEM file."""
        if suffix == ".key":
            kept = "".join(block for block in _blocks(self.pem) if _KEY not in block.partition("\n")[0])
            keys = "".join(block for block in _blocks(text) if _KEY in block.partition("\n")[0])
            return CertificateText(kept + keys, self.issuer, self.ocsp, self.sctl)
        if suffix == "":
            key = "" if _KEY in text else "".join(block for block in _blocks(self.pem) if _KEY in block.partition("\n")[0])
            return CertificateText(text.rstrip("\n") + "\n" + key, self.issuer, self.ocsp, self.sctl)
        parts = {".issuer": self.issuer, ".ocsp": self.ocsp, ".sctl": self.sctl} | {suffix: text}
        return CertificateText(self.pem, parts[".issuer"], parts[".ocsp"], parts[".sctl"])

    @property
    def size(self) -> int:
        return len(self.pem) + len(self.issuer) + len(self.ocsp) + len(self.sctl)


def text_of(certified: CertifiedKey) -> CertificateText:
    """A loaded certificate as text: its private key, and all that stood in its file. A root there may be the issuer."""
    return CertificateText(
        certified.file_pem.decode("ascii"),
        x509.load_der_x509_certificate(certified.issuer).public_bytes(Encoding.PEM).decode() if certified.issuer else "",
        base64.b64encode(certified.ocsp).decode() if certified.ocsp else "",
        base64.b64encode(certified.sctl).decode() if certified.sctl else "",
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _blocks(pem: str) -> list[str]:
    """The PEM blocks of a text, each with a line feed behind it."""
    found: list[str] = []
    lines: list[str] = []
    for line in pem.splitlines():
        if line.startswith("-----BEGIN "):
            lines = []
        lines.append(line)
        if line.startswith("-----END "):
            found.append("\n".join(lines) + "\n")
    return found


def certified(name: str, text: CertificateText) -> CertifiedKey:
    """What a text says.

    Raises:
        Refused: it is no certificate with its key.
    """
    try:
        made = certified_key_of(name, None, _bytes(text.pem))
        if text.issuer:
            issuers = authorities_of(f"{name}.issuer", None, _bytes(text.issuer))
            made.issuer = issuers[0].public_bytes(Encoding.DER)
    except ConfigError as error:
        raise Refused(f"{error.diagnostic.message}.") from None
    made.ocsp = decoded(text.ocsp, f"{name}.ocsp")
    made.sctl = decoded(text.sctl, f"{name}.sctl")
    return made


def decoded(text: str, name: str) -> bytes | None:
    """The DER that a text has as base64, None for an empty one.

    Raises:
        Refused: it is no base64; `name` is for this message.
    """
    if not text:
        return None
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"'{name}' is not base64.") from None


class Transactions:
    """The open transactions of a process.

    Args:
        storage: what commits change.

    Attributes:
        certificates: what is being put together, by name.
        authorities, revocations: PEM texts, by name.
        empty: names of certificates that `new ssl cert` made and nothing is in yet.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.certificates: dict[str, CertificateText] = {}
        self.authorities: dict[str, str] = {}
        self.revocations: dict[str, str] = {}
        self.empty: set[str] = set()
        self._empty_texts: dict[str, set[str]] = {"ca-file": set(), "crl-file": set()}

    def _room(self, size: int) -> None:
        if len(self.certificates) + len(self.authorities) + len(self.revocations) >= MOST_TRANSACTIONS:
            raise Refused(f"There are {MOST_TRANSACTIONS} transactions already; commit or abort some.")
        if size > LARGEST:
            raise Refused(f"A transaction may hold {LARGEST} bytes, not {size}.")

    # --- certificates ---

    def set_certificate(self, written: str, text: str, now: float) -> tuple[str, bool]:
        """Put a PEM file, or one that belongs to a certificate, into its transaction.

        Args:
            written: name of the certificate, with one of `PARTS` behind it for such a file.
            text: the file; base64 for `.ocsp` and `.sctl`.
            now: Unix time.

        Returns:
            The certificate's name, and whether the transaction is a new one.

        Raises:
            Refused: there is no such certificate, or the text is not what it should be.
        """
        name, suffix = self._named(written)
        self._room(len(text))
        begun = name not in self.certificates
        before = self.certificates.get(name)
        if before is None:
            entry = self.storage.certificates.get(name)
            before = text_of(entry.contents) if entry is not None else CertificateText()
        after = before.with_part(suffix, text)
        self._check(name, suffix, text, after, now)
        if after.size > LARGEST:
            raise Refused(f"A transaction may hold {LARGEST} bytes, not {after.size}.")
        self.certificates[name] = after
        return name, begun

    def _check(self, name: str, suffix: str, text: str, after: CertificateText, now: float) -> None:
        """What is wrong with a part is said when it comes. Certificate and key may come one after the other."""
        if suffix == "" and _KEY in text:
            certified(name, after)
            return
        written = name + suffix
        data = (decoded(text, written) or b"") if suffix in _BASE64 else _bytes(text)
        try:
            CHECKS[suffix](Part(written, data, lambda: self._unfinished(name, after), now))
        except ConfigError as error:
            raise Refused(f"{error.diagnostic.message}.") from None

    def unfinished(self, name: str) -> Unfinished | None:
        """What the transaction of a certificate holds, whether it could be committed or not; None without a certificate."""
        try:
            return self._unfinished(name, self.certificates[name])
        except ConfigError:
            return None

    def _unfinished(self, name: str, text: CertificateText) -> Unfinished:
        return Unfinished(name, _bytes(text.pem), _bytes(text.issuer), self.storage.reader.issuers)

    def _named(self, written: str) -> tuple[str, str]:
        known = self.storage.certificates.keys() | self.certificates.keys() | self.empty
        if written in known:
            return written, ""
        for suffix in PARTS:
            name = written.removesuffix(suffix)
            if name != written and name in known:
                return name, suffix
        raise Refused("Can't replace a certificate which is not referenced by the configuration!")

    def committable(self, name: str, now: float, *, forced: bool) -> CertificateText:
        """What a commit would install.

        Raises:
            Refused: there is no transaction, or what it holds may not take the place of what is there.
        """
        text = self.certificates.get(name)
        if text is None:
            raise Refused("No ongoing transaction! !")
        after = certified(name, text)
        entry = self.storage.certificates.get(name)
        if not forced:
            reason = objection(entry.contents if entry is not None else None, after, now)
            if reason is not None:
                raise Refused(f"The certificate is not installed: {reason}.", by_force=True)
        return text

    # --- CA and CRL files ---

    def set_text(self, kind: str, name: str, text: str, *, add: bool = False) -> bool:
        """Put a PEM text into the transaction of a CA file (`ca-file`) or CRL file (`crl-file`).

        Args:
            add: behind what the transaction holds (`add ssl ca-file`); without a transaction, behind what the file holds.

        Returns:
            Whether the transaction is a new one.

        Raises:
            Refused: there is no such file, or the text holds none of what it should.
        """
        texts = self.texts(kind)
        if name not in texts and name not in self.storage.of(kind) and name not in self._empty_texts[kind]:
            raise Refused(f"Can't replace a {_CALLED[kind]} which is not referenced by the configuration!")
        begun = name not in texts
        if add:
            text = f"{texts[name] if name in texts else self._held(kind, name)}\n{text}"
        self._room(len(text))
        parsed(kind, name, text)
        texts[name] = text
        return begun

    def _held(self, kind: str, name: str) -> str:
        """What a CA file or CRL file holds now."""
        entry = self.storage.of(kind).get(name)
        return "".join(one.public_bytes(Encoding.PEM).decode("ascii") for one in entry.contents) if entry is not None else ""

    def committable_text(self, kind: str, name: str, now: float, *, forced: bool) -> tuple[str, Sequence[str]]:
        """What a commit would install, and warnings about what is wrong with it already.

        Raises:
            Refused: there is no transaction, or what it holds may not take the place of what is there.
        """
        text = self.texts(kind).get(name)
        if text is None:
            raise Refused("No ongoing transaction! !")
        entry = self.storage.of(kind).get(name)
        judgement = judge(kind, entry.contents if entry is not None else (), parsed(kind, name, text), now)
        if judgement.objection is not None and not forced:
            raise Refused(f"The {_CALLED[kind]} is not installed: {judgement.objection}.", by_force=True)
        return text, judgement.warnings

    def texts(self, kind: str) -> dict[str, str]:
        """The open transactions of a kind."""
        return self.authorities if kind == "ca-file" else self.revocations

    # --- what is new ---

    def create(self, name: str) -> None:
        """`new ssl cert`.

        Raises:
            Refused: it is there already.
        """
        if name in self.storage.certificates or name in self.empty:
            raise Refused(f"Certificate '{name}' already exists!")
        if len(self.empty) >= MOST_TRANSACTIONS:
            raise Refused(f"There are {MOST_TRANSACTIONS} empty certificates already; fill or delete some.")
        self.empty.add(name)

    def create_text(self, kind: str, name: str) -> None:
        """`new ssl ca-file`, `new ssl crl-file`.

        Raises:
            Refused: it is there already.
        """
        called = _CALLED[kind]
        empty = self._empty_texts[kind]
        if name in self.storage.of(kind) or name in empty:
            raise Refused(f"{called} '{name}' already exists!")
        if len(empty) >= MOST_TRANSACTIONS:
            raise Refused(f"There are {MOST_TRANSACTIONS} empty {called}s already; fill or delete some.")
        empty.add(name)

    def empty_of(self, kind: str) -> set[str]:
        """The CA files or CRL files that were made and are still empty."""
        return self._empty_texts[kind]

    # --- putting into effect ---

    def install_certificate(self, name: str, text: CertificateText) -> CertificateEntry:
        """Put a certificate into the storage, whether it was there or not; ends its transaction."""
        contents = certified(name, text)
        contents.issuers = self.storage.reader.issuers
        entry = self.storage.put_certificate(name, contents)
        self.certificates.pop(name, None)
        self.empty.discard(name)
        return entry

    def install_text(self, kind: str, name: str, text: str) -> Entry[tuple[Any, ...]]:
        """Put a CA file or CRL file into the storage, whether it was there or not; ends its transaction."""
        entry = self.storage.put(kind, name, parsed(kind, name, text))
        self.texts(kind).pop(name, None)
        self._empty_texts[kind].discard(name)
        return entry


def parsed(kind: str, name: str, text: str) -> tuple[Any, ...]:
    """What a PEM text of a CA file (`ca-file`) or CRL file (`crl-file`) holds.

    Raises:
        Refused: nothing of the kind.
    """
    data = _bytes(text)
    try:
        if kind == "ca-file":
            return authorities_of(name, None, data)
        found = tuple(parse_revocations(data, name, None))
    except ConfigError as error:
        raise Refused(f"{error.diagnostic.message}.") from None
    if not found:
        raise Refused(f"There is no certificate revocation list in PEM form for '{name}'.")
    return found
