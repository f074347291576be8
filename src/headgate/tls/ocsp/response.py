"""Reads a responder's answer and decides whether it may be stapled (RFC 6960 sections 3.2 and 4.2.2).

Everything here comes from the network or from a file that anybody may have written: nothing is believed before the signature is
verified, and libraries' exceptions end here.
"""

from __future__ import annotations

import datetime
import enum
import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from headgate.base.records import dataclass
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.certificate_id import CertificateId, certificate_id, issued_by, issuer_hashes
from headgate.tls.ocsp.failures import Cause, Failure
from headgate.tls.pem import short

#: The longest response that is read, bytes. Real ones have 300 to 3000.
LONGEST = 64 * 1024
#: How far a responder's clock may be ahead of ours, seconds. Nothing is allowed at the other end: clients allow nothing either.
CLOCK_SKEW = 300.0
#: How long a response without nextUpdate counts, seconds from its thisUpdate (the protocol leaves it open).
OPEN_ENDED = 86400.0
#: Certificates that a response may bring, and answers that it may have.
_MOST_CERTIFICATES, _MOST_ANSWERS = 8, 64

_STATUSES: dict[ocsp.OCSPResponseStatus, tuple[Cause, str]] = {
    ocsp.OCSPResponseStatus.MALFORMED_REQUEST: (failures.MALFORMED, "the responder says malformedRequest"),
    ocsp.OCSPResponseStatus.INTERNAL_ERROR: (failures.INTERNAL, "the responder says internalError"),
    ocsp.OCSPResponseStatus.TRY_LATER: (failures.TRY_LATER, "the responder says tryLater"),
    ocsp.OCSPResponseStatus.SIG_REQUIRED: (failures.SIGNED_REQUEST, "the responder says sigRequired"),
    ocsp.OCSPResponseStatus.UNAUTHORIZED: (failures.UNAUTHORIZED, "the responder says unauthorized"),
}


class Status(enum.Enum):
    """What a response says of the certificate. "unknown" is never kept."""

    GOOD = "good"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose signature and times were verified. Times are seconds since the epoch.

    Attributes:
        der: as it is stapled.
        id: of the certificate.
        status: good or revoked.
        produced_at, this_update: when it was made, and the moment that it speaks of.
        next_update: when there is a newer one, None if it does not say.
        revoked_at: None for a good one; reason: why, "" where that is not said.
    """

    der: bytes
    id: CertificateId
    status: Status
    produced_at: float
    this_update: float
    next_update: float | None
    revoked_at: float | None = None
    reason: str = ""

    @property
    def expires(self) -> float:
        """From when on it may not be stapled any more."""
        return self.this_update + OPEN_ENDED if self.next_update is None else self.next_update

    def is_valid(self, now: float) -> bool:
        """Whether it may be stapled."""
        return now < self.expires


@dataclass(frozen=True, slots=True)
class Subject:
    """What a response is checked against.

    Attributes:
        id: of the certificate.
        certificate, issuer: whose key signs responses, or the certificates of those who may.
    """

    id: CertificateId
    certificate: x509.Certificate
    issuer: x509.Certificate


def subject_of(certificate: x509.Certificate, issuer: x509.Certificate) -> Subject:
    """What responses about a certificate are checked against."""
    return Subject(certificate_id(certificate, issuer), certificate, issuer)


def check_response(der: bytes, subject: Subject, now: float) -> Response:
    """Decide on an answer.

    Args:
        der: the OCSPResponse.
        subject: what was asked about.
        now: seconds since the epoch.

    Raises:
        Failure: it may not be stapled.
    """
    if len(der) > LONGEST:
        raise Failure(failures.TOO_LARGE, f"the response is longer than {LONGEST >> 10} KB")
    try:
        with warnings.catch_warnings(action="ignore"):  # about names that are odd, which is no news where the rest is judged
            parsed = ocsp.load_der_ocsp_response(der)
            status = parsed.response_status
            if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
                raise Failure(*_STATUSES[status])
            single = _answer_for(parsed, subject)
            _check_signature(parsed, subject, now)
            response = _response(der, parsed, single, subject.id)
    except Failure:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm, OverflowError, KeyError, x509.DuplicateExtension) as error:
        raise Failure(failures.GARBAGE, f"what came is no OCSP response: {short(error)}") from None
    _check_times(response, now)
    return response


def _answer_for(parsed: ocsp.OCSPResponse, subject: Subject) -> ocsp.OCSPSingleResponse:
    """The answer about our certificate among those that the response has."""
    count = 0
    for single in parsed.responses:
        count += 1
        if count > _MOST_ANSWERS:
            break
        if single.serial_number != subject.id.serial:
            continue
        expected = issuer_hashes(subject.certificate, subject.issuer, single.hash_algorithm)
        if expected == (single.issuer_name_hash, single.issuer_key_hash):
            return single
    raise Failure(failures.OTHER_CERTIFICATE, "the response is about another certificate")


def _response(
    der: bytes, parsed: ocsp.OCSPResponse, single: ocsp.OCSPSingleResponse, id: CertificateId
) -> Response:
    if single.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise Failure(failures.STATUS_UNKNOWN, "the responder says that the certificate's status is unknown")
    is_revoked = single.certificate_status is ocsp.OCSPCertStatus.REVOKED
    revoked_at = single.revocation_time_utc if is_revoked else None
    reason = single.revocation_reason if is_revoked else None
    return Response(
        der,
        id,
        Status.REVOKED if is_revoked else Status.GOOD,
        parsed.produced_at_utc.timestamp(),
        single.this_update_utc.timestamp(),
        _timestamp(single.next_update_utc),
        _timestamp(revoked_at),
        "" if reason is None else reason.value,
    )


def _timestamp(moment: datetime.datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _check_times(response: Response, now: float) -> None:
    ahead = response.this_update - now
    if ahead > CLOCK_SKEW:
        raise Failure(failures.NOT_YET_VALID, f"the response is not valid before {moment_text(response.this_update)}")
    if response.next_update is not None and response.next_update <= response.this_update:
        raise Failure(failures.GARBAGE, "the response ends before it begins")
    if not response.is_valid(now):
        raise Failure(failures.EXPIRED, f"the response has expired at {moment_text(response.expires)}")


def moment_text(moment: float) -> str:
    """A moment as messages write it."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


# --- signature -------------------------------------------------------------------------------------------------------


def _check_signature(parsed: ocsp.OCSPResponse, subject: Subject, now: float) -> None:
    """It must be the issuer's, or that of somebody whom the issuer has appointed (RFC 6960 section 4.2.2.2)."""
    issuer = subject.issuer
    if _is_named(parsed, issuer) and _verifies(parsed, issuer):
        return
    delegates = [one for one in parsed.certificates[:_MOST_CERTIFICATES] if one != issuer and _is_named(parsed, one)]
    for delegate in delegates:
        if not _verifies(parsed, delegate):
            continue
        _check_delegate(delegate, issuer, now)
        return
    if delegates or _is_named(parsed, issuer):
        raise Failure(failures.BAD_SIGNATURE, "the signature of the response is wrong")
    raise Failure(failures.BAD_RESPONDER, "the response is signed neither by the issuer nor by a responder that it names")


def _is_named(parsed: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    """Whether the response says that this one has signed it."""
    if parsed.responder_name is not None:
        return parsed.responder_name == certificate.subject
    # KeyHash is SHA-1 of the key's bits (RFC 6960 section 4.2.1): what SubjectKeyIdentifier's first method computes.
    return parsed.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def _check_delegate(delegate: x509.Certificate, issuer: x509.Certificate, now: float) -> None:
    if delegate.issuer != issuer.subject or not issued_by(delegate, issuer):
        raise Failure(failures.BAD_RESPONDER, "the responder's certificate is not issued by the certificate's issuer")
    try:
        usage = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
        raise Failure(failures.BAD_RESPONDER, "the responder's certificate may not sign responses (no OCSPSigning)")
    begin, end = delegate.not_valid_before_utc.timestamp(), delegate.not_valid_after_utc.timestamp()
    if now >= end:
        raise Failure(failures.BAD_RESPONDER, f"the responder's certificate has expired at {moment_text(end)}")
    if now < begin - CLOCK_SKEW:
        raise Failure(failures.BAD_RESPONDER, f"the responder's certificate is not valid before {moment_text(begin)}")


def _verifies(parsed: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key = signer.public_key()
    signature, data = parsed.signature, parsed.tbs_response_bytes
    try:
        if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(signature, data)
        elif isinstance(key, rsa.RSAPublicKey):
            return _verifies_rsa(parsed, key)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(_hash(parsed)))
        elif isinstance(key, dsa.DSAPublicKey):
            key.verify(signature, data, _hash(parsed))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _verifies_rsa(parsed: ocsp.OCSPResponse, key: rsa.RSAPublicKey) -> bool:
    if parsed.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
        # The parameters are not given out: one of three hashes, whose mask uses the same (RFC 4055 section 3.1).
        trials: list[tuple[padding.AsymmetricPadding, hashes.HashAlgorithm]] = [
            (padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO), algorithm)
            for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
        ]
    else:
        trials = [(padding.PKCS1v15(), _hash(parsed))]
    for scheme, algorithm in trials:
        try:
            key.verify(parsed.signature, parsed.tbs_response_bytes, scheme, algorithm)
        except InvalidSignature:
            continue
        return True
    return False


def _hash(parsed: ocsp.OCSPResponse) -> hashes.HashAlgorithm:
    algorithm = parsed.signature_hash_algorithm
    if algorithm is None:
        raise ValueError("its signature has no hash algorithm")
    return algorithm
