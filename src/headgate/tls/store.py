"""The certificates of one bind line: files and directories behind `crt`, and which of them answers to a server name.

Only certificates and names; the OpenSSL contexts made from them are in `server_context`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.base.records import dataclass, field
from headgate.config.tls_options import CertificateFile
from headgate.tls.pem import CertifiedKey, list_directory, read_certified_key

#: Files beside a certificate that are read with it and not as certificates (manual 5.1 crt).
EXTRA_SUFFIXES = (".key", ".issuer", ".ocsp", ".sctl")
#: A bundle `site.pem` may stand for `site.pem.ecdsa` and `site.pem.rsa` (manual 3.1 ssl-load-extra-files bundle).
BUNDLE_SUFFIXES = (".ecdsa", ".rsa", ".dsa")


@dataclass(slots=True)
class Choice:
    """What a server name is answered with: one certificate of each type of key, the client picks by its signature algorithms."""

    certificates: dict[str, CertifiedKey] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[int, ...]:
        """Equal for equal certificates, so that names which share them share a context."""
        return tuple(id(one) for one in self.certificates.values())


class CertificateStore:
    """Certificates by server name: exact names first, then a wildcard for the first label.

    Attributes:
        default: what is presented when no name matches; None without any certificate.
        certificates: all of them, in the order of the configuration.
    """

    __slots__ = ("_exact", "_wildcards", "certificates", "default")

    def __init__(self, certificates: Iterable[CertifiedKey]) -> None:
        self.certificates = tuple(certificates)
        self._exact: dict[bytes, Choice] = {}
        self._wildcards: dict[bytes, Choice] = {}
        self.default: Choice | None = None
        for one in self.certificates:
            kind = key_type(one)
            for name in names_of(one.certificate):
                wildcard = name.startswith(b"*.")
                table = self._wildcards if wildcard else self._exact
                choice = table.setdefault(name[1:] if wildcard else name, Choice())
                choice.certificates.setdefault(kind, one)  # the first loaded wins
        if self.certificates:
            self.default = self._default_choice()

    def _default_choice(self) -> Choice:
        """The first certificate, with those of its bundle (`crt site.pem` for site.pem.ecdsa and site.pem.rsa)."""
        first = self.certificates[0]
        choice = Choice({key_type(first): first})
        base, suffix = os.path.splitext(first.path)
        if suffix in BUNDLE_SUFFIXES:
            for one in self.certificates[1:]:
                if one.location == first.location and os.path.splitext(one.path)[0] == base:
                    choice.certificates.setdefault(key_type(one), one)
        return choice

    def find(self, name: bytes) -> Choice | None:
        """The certificates for a server name (lower case, no trailing dot), or None."""
        found = self._exact.get(name)
        if found is None:
            dot = name.find(b".")
            if dot > 0:
                found = self._wildcards.get(name[dot:])
        return found

    def choices(self) -> list[Choice]:
        """What all the names are answered with."""
        return [*self._exact.values(), *self._wildcards.values()]

    def names(self) -> list[bytes]:
        """All names that are served, wildcards too, sorted."""
        return sorted([*self._exact, *(b"*" + name for name in self._wildcards)])


def load_store(
    files: Iterable[CertificateFile], *, strict_sni: bool, location: Location | None, report: Report
) -> CertificateStore:
    """Read all certificates of a bind line. Files that are wrong are reported, each of them, and left out.

    Args:
        files: the `crt` arguments in order.
        strict_sni: an empty directory is allowed then (manual 5.1 crt).
        location: the bind line.
        report: where errors go.
    """
    certificates: list[CertifiedKey] = []
    alerts_before = len(report.alerts)
    for file in files:
        for path in _paths(file, report):
            try:
                certificates.append(read_certified_key(path, file.location))
            except ConfigError as error:
                report.add(error.diagnostic)
    if not certificates and not strict_sni and len(report.alerts) == alerts_before:
        report.add(
            config_error(
                "ssl is enabled but there is no certificate", location,
                remedy="add `crt FILE` (certificate, chain and key in PEM form), or `strict-sni` to start without any",
            ).diagnostic
        )
    return CertificateStore(certificates)


def _paths(file: CertificateFile, report: Report) -> Iterator[str]:
    path = file.path
    if os.path.isdir(path):
        try:
            names = list_directory(path, file.location)
        except ConfigError as error:
            report.add(error.diagnostic)
            return
        for name in names:
            full = os.path.join(path, name)
            if not name.startswith(".") and not name.endswith(EXTRA_SUFFIXES) and not os.path.isdir(full):
                yield full
        return
    if not os.path.exists(path):
        bundle = [path + suffix for suffix in BUNDLE_SUFFIXES if os.path.exists(path + suffix)]
        if bundle:
            yield from bundle
            return
    yield path


def key_type(one: CertifiedKey) -> str:
    """`ecdsa`, `rsa`, `dsa` or `eddsa`: OpenSSL keeps one certificate of each type in a context."""
    if isinstance(one.key, ec.EllipticCurvePrivateKey):
        return "ecdsa"
    if isinstance(one.key, rsa.RSAPrivateKey):
        return "rsa"
    return "dsa" if isinstance(one.key, dsa.DSAPrivateKey) else "eddsa"


def names_of(certificate: x509.Certificate) -> list[bytes]:
    """The server names that a certificate answers to: its alternative DNS names and its common names, in lower case."""
    found: dict[bytes, None] = {}
    try:
        alternative = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        alternative = None
    if isinstance(alternative, x509.SubjectAlternativeName):
        for name in alternative.get_values_for_type(x509.DNSName):
            found[name.lower().encode("utf-8", "replace")] = None
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        value = attribute.value
        found[(value if isinstance(value, bytes) else value.encode("utf-8", "replace")).lower()] = None
    return list(found)
