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
from headgate.plan.fetches.certificate_names import alternative_names, nul_inside, oneline, rfc2253, short_name, value_of
from headgate.plan.samples import Type

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, Name

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
    return moment.strftime("%y%m%d%H%M%SZ").encode()  # two digits of the year also where the certificate has four


def _key_algorithm(certificate: Certificate) -> bytes:
    number = certificate.public_key_algorithm_oid.dotted_string
    return _KEYS.get(number, number).encode()


def _signature_algorithm(certificate: Certificate) -> bytes:
    number = certificate.signature_algorithm_oid.dotted_string
    return _LONG_SIGNATURES.get(number, number).encode()


def _san(certificate: Certificate) -> Value:
    names = alternative_names(certificate)
    return None if names is None else ", ".join(names).encode()


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
        entry: `CN`, `OU`..., in any case: the value of that entry; None or b"" for the whole name.
        position: which of several, from the beginning (1...) or the end (-1...); None for the first.
        form: b"rfc2253" for that order and escaping; None for OpenSSL's `/C=FR/CN=x`.

    Raises:
        ConfigError: another form.
    """
    if form not in (None, b"", b"rfc2253"):
        raise config_error(f"the format of a distinguished name can only be rfc2253, not '{form.decode('latin-1')}'", None)
    wanted = entry.decode("latin-1").lower() if entry else None
    occurrence = 1 if position is None else position

    def read(certificate: Certificate) -> Value:
        name = certificate.issuer if issuer else certificate.subject
        if wanted is not None:
            return _entry(name, wanted, occurrence)
        return rfc2253(name) if form else oneline(name)

    return _guard(read)


def _entry(name: Name, wanted: str, occurrence: int) -> bytes | None:
    found = [attribute for attribute in name if wanted in (short_name(attribute).lower(), attribute.oid.dotted_string)]
    if not 0 < abs(occurrence) <= len(found):
        return None
    attribute = found[occurrence - 1 if occurrence > 0 else occurrence]
    return None if nul_inside(attribute) else value_of(attribute)
