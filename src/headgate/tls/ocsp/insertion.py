"""What an HTTP answer or an operator brings: is it a response, or an issuer's certificate, that can be used?"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp

from headgate.tls.ocsp import failures
from headgate.tls.ocsp.certificate_id import issued_by
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.ledger import Entry
from headgate.tls.ocsp.response import Response, Subject, check_response

_RESPONSE_TYPE = "application/ocsp-response"
_ERRORS = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension)
#: Certificates of one answer, and answers of one response, that are looked at.
_MOST = 16


def response_in(content_type: str, body: bytes, subject: Subject, entry: Entry, now: float) -> Response:
    """The response that is stapled after an answer: the new one, or the one on hand where a cache brings an older one.

    Args:
        content_type, body: of the answer.
        subject: what was asked about.
        entry: of the certificate.
        now: seconds since the epoch.

    Raises:
        Failure: there is none, or it says something else than a newer one that is on hand: nobody may play back old ones.
    """
    if content_type != _RESPONSE_TYPE:
        said = f"of type '{content_type[:60]}'" if content_type else "without a type"
        raise Failure(failures.CONTENT_TYPE, f"the answer is {said} in place of '{_RESPONSE_TYPE}'")
    response = check_response(body, subject, now)
    on_hand = entry.valid(now)
    if on_hand is None or response.this_update >= on_hand.this_update:
        return response
    if response.status is not on_hand.status:
        raise Failure(failures.OLDER, f"the response is older than the one on hand and says '{response.status.value}'")
    return on_hand


def issuer_in(body: bytes, certificate: x509.Certificate) -> x509.Certificate:
    """The certificate of an issuer (RFC 5280 section 4.2.2.1: DER, or several in PKCS #7; some send PEM).

    Raises:
        Failure: there is none that has signed `certificate`.
    """
    found: list[x509.Certificate] = []
    for read in (_der, pkcs7.load_der_pkcs7_certificates, x509.load_pem_x509_certificates):
        try:
            found = read(body)
            break
        except _ERRORS:
            continue
    issuer = next((one for one in found[:_MOST] if one.subject == certificate.issuer and issued_by(certificate, one)), None)
    if issuer is None:
        raise Failure(failures.GARBAGE, "what came is no certificate of the issuer")
    return issuer


def _der(body: bytes) -> list[x509.Certificate]:
    certificate = x509.load_der_x509_certificate(body)
    certificate.public_key()
    return [certificate]


def named_in(der: bytes) -> frozenset[int]:
    """The serial numbers that a response speaks of.

    Raises:
        Failure: it is no response.
    """
    try:
        parsed = ocsp.load_der_ocsp_response(der)
        if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Failure(failures.GARBAGE, "OCSP response status not successful")
        return frozenset(single.serial_number for single, _ in zip(parsed.responses, range(_MOST), strict=False))
    except _ERRORS:
        raise Failure(failures.GARBAGE, "unable to parse OCSP response") from None


def over_at(der: bytes) -> float:
    """When a response, or an issuer's certificate, is over, seconds since the epoch; 0 where that can't be said."""
    try:
        parsed = ocsp.load_der_ocsp_response(der)
        ends = [
            single.next_update_utc or single.this_update_utc for single, _ in zip(parsed.responses, range(_MOST), strict=False)
        ]
        return max((end.timestamp() for end in ends), default=0.0)
    except _ERRORS:
        pass
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
    except _ERRORS:
        return 0.0
