"""Which certificate a response is about: the CertID of RFC 6960 section 4.1.1, and what a certificate says about its status.

Made once for each certificate that is loaded; everything else goes by the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA1, HashAlgorithm
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from headgate.base.records import dataclass
from headgate.base.regex import regex

_SHA1_ALGORITHM = bytes.fromhex("300906052b0e03021a0500")  # AlgorithmIdentifier {id-sha1, NULL}
_OCTETS, _INTEGER, _SEQUENCE = 0x04, 0x02, 0x30
#: What certificates name is bounded: URIs of one kind, and characters of each.
_MOST_URIS, _LONGEST_URI = 8, 2048
#: Nothing in them may break a log line or a request.
_URI = regex(r"https?://[!-~]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CertificateId:
    """A certificate as OCSP names it, with the hashes that responders use by default (SHA-1; RFC 5019 section 2.1.1).

    Attributes:
        key: the CertID in DER as hexadecimal digits: what commands and files call it.
        name_hash, key_hash: of the issuer.
        serial: of the certificate.
    """

    key: str
    name_hash: bytes
    key_hash: bytes
    serial: int


def certificate_id(certificate: x509.Certificate, issuer: x509.Certificate) -> CertificateId:
    """The id of a certificate; needs its issuer for the hash of that one's key."""
    name_hash, key_hash = issuer_hashes(certificate, issuer, SHA1())
    serial = certificate.serial_number
    number = serial.to_bytes(serial.bit_length() // 8 + 1, "big", signed=True)
    body = _SHA1_ALGORITHM + _der(_OCTETS, name_hash) + _der(_OCTETS, key_hash) + _der(_INTEGER, number)
    return CertificateId(_der(_SEQUENCE, body).hex(), name_hash, key_hash, serial)


def issuer_hashes(certificate: x509.Certificate, issuer: x509.Certificate, algorithm: HashAlgorithm) -> tuple[bytes, bytes]:
    """The hashes of the issuer's name and key as a CertID with this algorithm has them.

    Raises:
        UnsupportedAlgorithm, ValueError: the algorithm is none of those that OCSP uses.
    """
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm).build()
    return request.issuer_name_hash, request.issuer_key_hash


def _der(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body


def responder_uris(certificate: x509.Certificate) -> tuple[str, ...]:
    """Where to ask about a certificate (RFC 5280 section 4.2.2.1), in its order; only http and https."""
    return _access(certificate, AuthorityInformationAccessOID.OCSP)


def issuer_uris(certificate: x509.Certificate) -> tuple[str, ...]:
    """Where the certificate's issuer can be fetched."""
    return _access(certificate, AuthorityInformationAccessOID.CA_ISSUERS)


def _access(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> tuple[str, ...]:
    try:
        value = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return _http(one.access_location for one in value if one.access_method == method)


def crl_uris(certificate: x509.Certificate) -> tuple[str, ...]:
    """Where revocation lists are found (RFC 5280 section 4.2.1.13)."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return _http(name for point in value for name in point.full_name or ())


def _http(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    found = [
        one.value
        for one in names
        if isinstance(one, x509.UniformResourceIdentifier)
        and len(one.value) <= _LONGEST_URI
        and _URI.fullmatch(one.value) is not None
    ]
    return tuple(dict.fromkeys(found))[:_MOST_URIS]


def must_staple(certificate: x509.Certificate) -> bool:
    """Whether clients are to insist on a response in the handshake (RFC 7633: TLS feature status_request)."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return x509.TLSFeatureType.status_request in value


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` has signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False
    return True
