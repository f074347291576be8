"""Certificates and revocation lists in the words of the `show ssl ...` commands (management manual 9.3)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from headgate.plan.fetches.certificate_names import alternative_names, oneline

#: Signature algorithms as `openssl crl -text` calls them, by object identifier; others are shown by their number.
_SIGNATURES = {
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption", "1.2.840.113549.1.1.10": "rsassaPss",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption", "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption", "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256", "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512", "1.3.101.112": "ED25519", "1.3.101.113": "ED448",
}  # fmt: skip


def date(moment: datetime.datetime | float) -> str:
    """`Sep 13 21:20:24 2019 GMT`, of a moment in UTC or a Unix time."""
    if isinstance(moment, float):
        moment = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    return moment.strftime("%b %e %H:%M:%S %Y GMT")


def certificate_lines(certificate: x509.Certificate, chain: Sequence[x509.Certificate] = ()) -> list[str]:
    """What `show ssl cert` says of a certificate, behind its file name and status."""
    lines = [
        f"Serial: {_hexadecimal(certificate.serial_number)}",
        f"notBefore: {date(certificate.not_valid_before_utc)}",
        f"notAfter: {date(certificate.not_valid_after_utc)}",
        f"Subject Alternative Name: {', '.join(_alternative_names(certificate))}",
        f"Algorithm: {algorithm(certificate)}",
        f"SHA1 FingerPrint: {certificate.fingerprint(hashes.SHA1()).hex().upper()}",
        f"Subject: {_name(certificate.subject)}",
        f"Issuer: {_name(certificate.issuer)}",
    ]
    for above in chain:
        lines += [f"Chain Subject: {_name(above.subject)}", f"Chain Issuer: {_name(above.issuer)}"]
    return lines


def algorithm(certificate: x509.Certificate) -> str:
    """`RSA2048`, `EC256`: kind and size of the key."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA{key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC{key.key_size}"
    if isinstance(key, dsa.DSAPublicKey):
        return f"DSA{key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").upper()


def revocation_lines(revocations: x509.CertificateRevocationList) -> list[str]:
    """What `show ssl crl-file` says of a list, in the manner of `openssl crl -text`."""
    has_extensions = bool(len(revocations.extensions)) or any(one.extensions for one in revocations)
    after = revocations.next_update_utc
    signature = revocations.signature_algorithm_oid.dotted_string
    lines = [
        f"Version {2 if has_extensions or after is not None else 1}",
        f"Signature Algorithm: {_SIGNATURES.get(signature, signature)}",
        f"Issuer: {_name(revocations.issuer)}",
        f"Last Update: {date(revocations.last_update_utc)}",
        f"Next Update: {date(after) if after is not None else 'NONE'}",
    ]
    if len(revocations) == 0:
        return [*lines, "No Revoked Certificates."]
    lines.append("Revoked Certificates:")
    for one in revocations:
        lines.append(f"    Serial Number: {_hexadecimal(one.serial_number)}")
        lines.append(f"        Revocation Date: {date(one.revocation_date_utc)}")
    return lines


def _hexadecimal(number: int) -> str:
    text = f"{number:X}"
    return text if len(text) % 2 == 0 else f"0{text}"


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        return alternative_names(certificate) or []
    except ValueError:
        return []


def _name(name: x509.Name) -> str:
    return (oneline(name) or b"").decode("utf-8", "backslashreplace")
