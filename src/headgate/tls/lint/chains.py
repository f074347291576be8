"""Chains that end before a root: what a browser without the missing certificate calls an unknown issuer.

That a certificate's issuer is not in its file is no mistake when the issuer is a root, which clients have; whether it is can't be
seen in most certificates. So there must be a sign: an intermediate of that name in reach, a certificate that says who issued its
issuer or where that can be fetched, or an issuer that is named an intermediate. A root of that name in reach ends the question.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509 import load_der_x509_certificate
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from headgate.base.diagnostics import ConfigError, Location
from headgate.base.findings import Findings
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.lint.certificates import is_authority, subject_of
from headgate.tls.pem import read_authorities

_APPEND = "append the CA's bundle behind the certificate: cat ca-bundle.crt >> site.pem"
_INTERMEDIATE = re.compile(r"\b(intermediate|issuing|sub|subordinate)\b", re.IGNORECASE)
_ROOT = re.compile(r"\broot\b", re.IGNORECASE)
#: DER of the identifier of that extension (RFC 5280, 4.2.1.1). With it, 20 bytes of SHA-1 and what is between they are 31 bytes.
_AUTHORITY_KEY_IDENTIFIER = bytes.fromhex("0603551d23")
#: Where distributions keep the CAs that clients trust, one after the other.
_SYSTEM_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
#: Files beside a certificate that are looked into for its issuer: how many, and bytes of each.
_MOST_NEIGHBOURS = 64
_LARGEST_NEIGHBOUR = 65536
_NEIGHBOURS = (".pem", ".crt", ".cer", ".ca-bundle", ".chain", ".issuer", ".ca")


class ChainLint:
    """Looks at chains; asks the disk only for the few that end somewhere unknown.

    Args:
        findings: where it says what it found.
        system: files with the CAs of the system; the first that is there counts.
    """

    def __init__(self, findings: Findings, system: Iterable[str] = _SYSTEM_FILES) -> None:
        self._findings = findings
        self._system = tuple(system)
        self._roots: set[x509.Name] = set()
        self._intermediates: dict[x509.Name, str] = {}
        self._system_read = False
        self._directories: set[str] = set()
        self._verdicts: dict[object, str | None] = {}

    def know(self, certificates: Iterable[x509.Certificate], path: str) -> None:
        """CAs that are in reach, in a file."""
        for one in certificates:
            if one.subject == one.issuer:
                self._roots.add(one.subject)
            else:
                self._intermediates.setdefault(one.subject, path)

    def site(self, one: CertifiedKey, certificate: x509.Certificate, location: Location | None) -> None:
        """What a bind line presents.

        Args:
            one: the certificate with what is above it.
            certificate: `one.certificate`.
            location: where the configuration names its file.
        """
        # Certificates of one issuer share the answer: their authority key identifier names the issuer's key.
        key = (one.others, _issuing_key(one.leaf))
        if key[1] is None or key not in self._verdicts:
            verdict = self._verdicts[key] = self._missing(one, certificate)
        else:
            verdict = self._verdicts[key]
        if verdict is None:
            return
        top = (certificate, *one.chain)[-1]
        self._findings.add(
            "tls-incomplete-chain",
            f"the chain in '{one.path}' is incomplete: {subject_of(top)} was issued by '{_named(top)}', which is not in it. "
            "Clients that don't happen to know that intermediate refuse the connection (Firefox: sec_error_unknown_issuer)",
            location, remedy=verdict,
        )

    def _missing(self, one: CertifiedKey, certificate: x509.Certificate) -> str | None:
        """The remedy where the issuer of a chain's last certificate should have been sent too, else None."""
        chain = one.chain
        top = chain[-1] if chain else certificate
        issuer = top.issuer
        self.know((load_der_x509_certificate(der) for der in one.others), one.path)
        if issuer == top.subject or issuer in self._roots or self._is_system_root(issuer):
            return None
        if not chain:
            self._look_around(one.path)
        if issuer in self._roots:
            return None
        found = self._intermediates.get(issuer)
        if found is not None:
            return f"append that certificate behind the site's own; it lies in '{found}'"
        above = _issuer_of_issuer(top)
        if above is not None:
            return None if above == issuer else _APPEND
        named = _named(top)
        if _ROOT.search(named):
            return None
        url = _issuer_url(top) if not chain else None
        if url is not None:
            return (
                f"append it behind the site's own, in PEM form; the CA offers it at {url}. If that is a root that your clients "
                "have, append it all the same: a root is not sent"
            )
        if _INTERMEDIATE.search(named):
            return _APPEND
        return None

    def _is_system_root(self, name: x509.Name) -> bool:
        if not self._system_read:
            self._system_read = True
            for path in self._system:
                if os.path.exists(path):
                    self.know(_certificates(path), path)
                    break
        return name in self._roots

    def _look_around(self, path: str) -> None:
        """Know the CAs that lie beside a certificate, for instance the bundle that came with it."""
        directory = os.path.dirname(path) or "."
        if directory in self._directories:
            return
        self._directories.add(directory)
        try:
            with os.scandir(directory) as entries:
                files = [entry.path for entry in entries if entry.name.endswith(_NEIGHBOURS) and _is_small(entry)]
        except OSError:
            return
        for file in sorted(files)[:_MOST_NEIGHBOURS]:
            self.know((one for one in _certificates(file) if is_authority(one)), file)


def _is_small(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() and entry.stat().st_size <= _LARGEST_NEIGHBOUR
    except OSError:
        return False


def _certificates(path: str) -> tuple[x509.Certificate, ...]:
    """The certificates in a file that nobody has asked to be read; none where it is something else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's opinion of old roots, which are not the operator's
        try:
            return read_authorities(path, None)
        except ConfigError:
            return ()


def _named(certificate: x509.Certificate) -> str:
    """The issuer, short enough for a message."""
    return readable(certificate.issuer)[:120]


def _issuing_key(leaf: bytes) -> bytes | None:
    """What tells issuers apart without decoding thousands of certificates: the authority key identifier, as it stands there."""
    at = leaf.find(_AUTHORITY_KEY_IDENTIFIER)
    return None if at < 0 else leaf[at : at + 31]


def _issuer_of_issuer(certificate: x509.Certificate) -> x509.Name | None:
    """Who issued the issuer, which some CAs write into the authority key identifier (RFC 5280, 4.2.1.1)."""
    try:
        identifier = certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value
    except x509.ExtensionNotFound:
        return None
    names = identifier.authority_cert_issuer if isinstance(identifier, x509.AuthorityKeyIdentifier) else None
    return next((name.value for name in names or () if isinstance(name, x509.DirectoryName)), None)


def _issuer_url(certificate: x509.Certificate) -> str | None:
    """Where a certificate says that its issuer's can be fetched (RFC 5280, 4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS).value
    except x509.ExtensionNotFound:
        return None
    assert isinstance(access, x509.AuthorityInformationAccess)
    for description in access:
        place = description.access_location
        is_url = isinstance(place, x509.UniformResourceIdentifier)
        if is_url and description.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
            return str(place.value)[:200]
    return None
