"""A response as text, as `openssl ocsp -respin FILE -text -noverify` prints it (management manual, `show ssl ocsp-response`)."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from OpenSSL import crypto

from headgate.tls.ocsp.certificate_id import CertificateId

_REASONS = {reason: number for number, reason in enumerate((
    x509.ReasonFlags.unspecified, x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise,
    x509.ReasonFlags.affiliation_changed, x509.ReasonFlags.superseded, x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.certificate_hold,
))}  # fmt: skip
_REASONS |= {x509.ReasonFlags.remove_from_crl: 8, x509.ReasonFlags.privilege_withdrawn: 9, x509.ReasonFlags.aa_compromise: 10}
_SIGNATURES = {
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption", "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption", "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.113549.1.1.10": "rsassaPss", "1.2.840.10045.4.3.2": "ecdsa-with-SHA256", "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512", "1.3.101.112": "ED25519", "1.3.101.113": "ED448",
}  # fmt: skip
_BYTES_A_LINE = 18


def id_lines(id: CertificateId) -> list[str]:
    """A certificate's id as `show ssl ocsp-response` lists it."""
    return [
        "Certificate ID:",
        f"  Issuer Name Hash: {id.name_hash.hex().upper()}",
        f"  Issuer Key Hash: {id.key_hash.hex().upper()}",
        f"  Serial Number: {serial_text(id.serial)}",
    ]


def serial_text(serial: int) -> str:
    """A serial number as OpenSSL prints it: whole bytes."""
    digits = f"{serial:X}"
    return digits if len(digits) % 2 == 0 else "0" + digits


def response_text(der: bytes) -> str:
    """The text of a response that was checked (`response.check_response`)."""
    return "\n".join(_lines(ocsp.load_der_ocsp_response(der)))


def _lines(parsed: ocsp.OCSPResponse) -> Iterator[str]:
    yield "OCSP Response Data:"
    yield "    OCSP Response Status: successful (0x0)"
    yield "    Response Type: Basic OCSP Response"
    yield "    Version: 1 (0x0)"
    name = parsed.responder_name
    responder = _name(name) if name is not None else (parsed.responder_key_hash or b"").hex().upper()
    yield f"    Responder Id: {responder}"
    yield f"    Produced At: {_moment(parsed.produced_at_utc)}"
    yield "    Responses:"
    for single in parsed.responses:
        yield from _single(single)
    yield " "  # openssl's line is empty; here that would end the answer
    yield f"    Signature Algorithm: {_SIGNATURES.get(oid := parsed.signature_algorithm_oid.dotted_string, oid)}"
    yield "    Signature Value:"
    octets = [f"{one:02x}" for one in parsed.signature]
    for start in range(0, len(octets), _BYTES_A_LINE):
        end = ":" if start + _BYTES_A_LINE < len(octets) else ""
        yield f"        {':'.join(octets[start : start + _BYTES_A_LINE])}{end}"
    for certificate in parsed.certificates:
        text = crypto.dump_certificate(crypto.FILETYPE_TEXT, crypto.X509.from_cryptography(certificate))
        yield text.decode("utf-8", "replace").rstrip("\n")
        yield certificate.public_bytes(Encoding.PEM).decode("ascii").rstrip("\n")


def _single(single: ocsp.OCSPSingleResponse) -> Iterator[str]:
    yield "    Certificate ID:"
    yield f"      Hash Algorithm: {single.hash_algorithm.name}"
    yield f"      Issuer Name Hash: {single.issuer_name_hash.hex().upper()}"
    yield f"      Issuer Key Hash: {single.issuer_key_hash.hex().upper()}"
    yield f"      Serial Number: {serial_text(single.serial_number)}"
    yield f"    Cert Status: {single.certificate_status.name.lower()}"
    if single.revocation_time_utc is not None:
        yield f"    Revocation Time: {_moment(single.revocation_time_utc)}"
    if single.revocation_reason is not None:
        yield f"    Revocation Reason: {single.revocation_reason.value} (0x{_REASONS[single.revocation_reason]:x})"
    yield f"    This Update: {_moment(single.this_update_utc)}"
    if single.next_update_utc is not None:
        yield f"    Next Update: {_moment(single.next_update_utc)}"


def _name(name: x509.Name) -> str:
    """As OpenSSL's oneline format: `C = FR, O = Some, CN = name`."""
    return ", ".join(f"{one.rfc4514_attribute_name} = {_value(one)}" for one in name)


def _value(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    text = value.hex() if isinstance(value, bytes) else value
    return "".join(one if one.isprintable() else "?" for one in text)


def _moment(moment: datetime.datetime) -> str:
    return moment.strftime("%b %e %H:%M:%S %Y GMT")
