"""What rules can read from an X.509 certificate (manual 7.3.4): pure functions over `cryptography.x509.Certificate`.

Certificates come from peers: whatever `cryptography` refuses to decode is "no sample".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from headgate.base.diagnostics import config_error
from headgate.plan.facts import Value
from headgate.plan.samples import Type

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name, NameAttribute

#: Short names as OpenSSL prints them, by object identifier.
_SHORT: Final = {
    "2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
    "2.5.4.15": "businessCategory", "2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC", "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
}
_LONG_SIGNATURES: Final = {
    "1.2.840.113549.1.1.4": "RSA-MD5", "1.2.840.113549.1.1.5": "RSA-SHA1", "1.2.840.113549.1.1.11": "RSA-SHA256",
    "1.2.840.113549.1.1.12": "RSA-SHA384", "1.2.840.113549.1.1.13": "RSA-SHA512", "1.2.840.113549.1.1.14": "RSA-SHA224",
    "1.2.840.113549.1.1.10": "RSASSA-PSS", "1.2.840.10045.4.1": "ecdsa-with-SHA1", "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256", "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512", "1.3.101.112": "ED25519", "1.3.101.113": "ED448",
    "2.16.840.1.101.3.4.3.2": "dsa_with_SHA256",
}
_KEYS: Final = {
    "1.2.840.113549.1.1.1": "rsaEncryption", "1.2.840.113549.1.1.10": "rsassaPss", "1.2.840.10045.2.1": "id-ecPublicKey",
    "1.2.840.10040.4.1": "dsaEncryption", "1.3.101.112": "ED25519", "1.3.101.113": "ED448",
}

Reader = Callable[["Certificate"], Value]


def _guard(read: Reader) -> Callable[[object], Value]:
    def guarded(certificate: object) -> Value:
        try:
            return read(certificate)  # type: ignore[arg-type]
        except ValueError:
            return None

    return guarded


def _der(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def _sha1(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA1

    # A fingerprint that administrators compare, not a signature.
    return certificate.fingerprint(SHA1())


def _serial(certificate: Certificate) -> bytes:
    number = certificate.serial_number
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def _date(moment: datetime) -> bytes:
    # As in the certificate: two digits of the year up to 2049 (UTCTime), four afterwards (RFC 5280 4.1.2.5).
    form = "%y%m%d%H%M%SZ" if 1950 <= moment.year < 2050 else "%Y%m%d%H%M%SZ"
    return moment.strftime(form).encode()


def _key_algorithm(certificate: Certificate) -> bytes:
    number = certificate.public_key_algorithm_oid.dotted_string
    return _KEYS.get(number, number).encode()


def _signature_algorithm(certificate: Certificate) -> bytes:
    number = certificate.signature_algorithm_oid.dotted_string
    return _LONG_SIGNATURES.get(number, number).encode()


def _san(certificate: Certificate) -> Value:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    parts = []
    for name in names:
        if isinstance(name, x509.DNSName):
            parts.append(f"DNS:{name.value}")
        elif isinstance(name, x509.IPAddress):
            parts.append(f"IP Address:{name.value}")
        elif isinstance(name, x509.RFC822Name):
            parts.append(f"email:{name.value}")
        elif isinstance(name, x509.UniformResourceIdentifier):
            parts.append(f"URI:{name.value}")
    return ", ".join(parts).encode()


def policies_reader(wanted: bytes | None) -> Callable[[object], Value]:
    """A reader of the certificate policies (RFC 5280 4.2.1.4): all of them, or one if it is there.

    Args:
        wanted: the identifier of one in dotted form; None or b"" for a list separated by commas.

    Raises:
        ConfigError: something else than an object identifier.
    """
    text = wanted.decode("latin-1") if wanted else None
    if text is not None and re.fullmatch(r"[0-2](\.[0-9]+)+", text) is None:
        raise config_error(
            f"a certificate policy is an object identifier in dotted form, not '{text}'", None, remedy="such as 0.4.0.1862.1.4"
        )

    def read(certificate: Certificate) -> Value:
        from cryptography import x509

        try:
            policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
        except x509.ExtensionNotFound:
            return None
        numbers = [policy.policy_identifier.dotted_string for policy in policies]
        if text is None:
            return ",".join(numbers).encode()
        return wanted if text in numbers else None

    return _guard(read)


FIELDS: Final[dict[str, tuple[Type, Callable[[object], Value]]]] = {
    "der": (Type.BIN, _guard(_der)),
    "sha1": (Type.BIN, _guard(_sha1)),
    "serial": (Type.BIN, _guard(_serial)),
    "version": (Type.SINT, _guard(lambda certificate: certificate.version.value + 1)),
    "notbefore": (Type.STR, _guard(lambda certificate: _date(certificate.not_valid_before_utc))),
    "notafter": (Type.STR, _guard(lambda certificate: _date(certificate.not_valid_after_utc))),
    "key_alg": (Type.STR, _guard(_key_algorithm)),
    "sig_alg": (Type.STR, _guard(_signature_algorithm)),
}
#: `ssl_c_san` exists for the client's certificate only.
SAN: Final = _guard(_san)


def dn_reader(issuer: bool, entry: bytes | None, position: int | None, form: bytes | None) -> Callable[[object], Value]:
    """A reader of the subject's or issuer's distinguished name.

    Args:
        issuer: the issuer's and not the subject's.
        entry: `CN`, `OU`...: the value of that entry; None or b"" for the whole name.
        position: which of several, from the beginning (1...) or the end (-1...).
        form: b"rfc2253" for that order and escaping; None for OpenSSL's `/C=FR/CN=x`.

    Raises:
        ConfigError: another form.
    """
    if form not in (None, b"", b"rfc2253"):
        raise config_error(f"the format of a distinguished name can only be rfc2253, not '{form.decode('latin-1')}'", None)
    wanted = entry.decode("latin-1") if entry else None
    occurrence = position or 1

    def read(certificate: Certificate) -> Value:
        name = certificate.issuer if issuer else certificate.subject
        if wanted is not None:
            return _entry(name, wanted, occurrence)
        line = oneline(name)
        return name.rfc4514_string().encode() if form and line is not None else line

    return _guard(read)


def oneline(name: Name) -> bytes | None:
    """A distinguished name as OpenSSL's `/C=FR/CN=x`; None for an empty one, and for one that must not be believed."""
    attributes = list(name)
    if not attributes or any(_nul_inside(attribute) for attribute in attributes):
        return None
    return b"".join(f"/{_short(attribute)}=".encode() + _bytes(attribute) for attribute in attributes)


def _entry(name: Name, wanted: str, occurrence: int) -> bytes | None:
    found = [attribute for attribute in name if wanted in (_short(attribute), attribute.oid.dotted_string)]
    index = occurrence - 1 if occurrence > 0 else occurrence
    try:
        attribute = found[index]
    except IndexError:
        return None
    return None if _nul_inside(attribute) else _bytes(attribute)


def _short(attribute: NameAttribute[str | bytes]) -> str:
    return _SHORT.get(attribute.oid.dotted_string, attribute.oid.dotted_string)


def _bytes(attribute: NameAttribute[str | bytes]) -> bytes:
    value = attribute.value
    return value if isinstance(value, bytes) else value.encode()


def _nul_inside(attribute: NameAttribute[str | bytes]) -> bool:
    """A name with a zero byte inside is an attack on C programs; the manual refuses it."""
    return b"\0" in _bytes(attribute).rstrip(b"\0")
