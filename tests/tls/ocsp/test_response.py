from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headgate.tls.authority import Authority, Issued, make_authority
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.failures import CAUSES, Cause, Code, Failure
from headgate.tls.ocsp.response import CLOCK_SKEW, LONGEST, OPEN_ENDED, Response, Status, check_response
from tests.tls.ocsp.ocsp_fixtures import NOW, make_delegate, make_error, make_leaf, make_response, subject_of

CA = make_authority("test CA")
LEAF = make_leaf(CA)
SUBJECT = subject_of(CA, LEAF)


def check(der: bytes, now: float = NOW) -> Response:
    return check_response(der, SUBJECT, now)


def cause_of(der: bytes, now: float = NOW) -> Cause:
    with pytest.raises(Failure) as caught:
        check(der, now)
    assert caught.value.text and len(caught.value.text) < 200
    return caught.value.cause


@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_good_one_of_the_issuer(kind: str, by_key: bool) -> None:
    ca = make_authority("a CA", key=kind)
    leaf = make_leaf(ca)
    response = check_response(make_response(ca, leaf, by_key=by_key), subject_of(ca, leaf), NOW)
    assert response.status is Status.GOOD
    assert (response.this_update, response.next_update, response.expires) == (NOW - 60, NOW + 3600, NOW + 3600)
    assert response.is_valid(NOW + 3599.9) and not response.is_valid(NOW + 3600)


def test_certificate_id_with_another_hash() -> None:
    assert check(make_response(CA, LEAF, algorithm=hashes.SHA256())).id == SUBJECT.id


@pytest.mark.parametrize("by_key", [False, True])
def test_good_one_of_a_delegate(by_key: bool) -> None:
    assert check(make_response(CA, LEAF, signer=make_delegate(CA), by_key=by_key)).status is Status.GOOD


def test_revoked_is_a_response_like_others() -> None:
    response = check(make_response(CA, LEAF, status=ocsp.OCSPCertStatus.REVOKED))
    assert response.status is Status.REVOKED
    assert response.revoked_at == NOW - 3600 and response.reason == "keyCompromise"


def test_without_next_update_it_counts_for_a_day() -> None:
    response = check(make_response(CA, LEAF, ends=None))
    assert response.next_update is None and response.expires == NOW - 60 + OPEN_ENDED


def another_ca() -> Authority:
    return make_authority("test CA")  # of the same name: only the key tells


WRONG = {
    "unknown status": (make_response(CA, LEAF, status=ocsp.OCSPCertStatus.UNKNOWN), failures.STATUS_UNKNOWN),
    "another certificate": (make_response(CA, make_leaf(CA)), failures.OTHER_CERTIFICATE),
    "another issuer": (make_response(another_ca(), LEAF), failures.OTHER_CERTIFICATE),
    "signed by a stranger in the issuer's name": (
        make_response(CA, LEAF, signer=another_ca(), with_certificate=False), failures.BAD_SIGNATURE,
    ),
    "signed by a stranger": (make_response(CA, LEAF, signer=make_authority("stranger")), failures.BAD_RESPONDER),
    "delegate of another CA": (make_response(CA, LEAF, signer=make_delegate(another_ca())), failures.BAD_RESPONDER),
    "delegate without its certificate": (
        make_response(CA, LEAF, signer=make_delegate(CA), with_certificate=False), failures.BAD_RESPONDER,
    ),
    "delegate without the purpose": (
        make_response(CA, LEAF, signer=make_delegate(CA, purpose=ExtendedKeyUsageOID.SERVER_AUTH)), failures.BAD_RESPONDER,
    ),
    "the certificate itself": (make_response(CA, LEAF, signer=LEAF), failures.BAD_RESPONDER),
    "expired delegate": (make_response(CA, LEAF, signer=make_delegate(CA, age=60)), failures.BAD_RESPONDER),
    "expired": (make_response(CA, LEAF, begins=-7200, ends=-1), failures.EXPIRED),
    "from the future": (make_response(CA, LEAF, begins=CLOCK_SKEW + 1), failures.NOT_YET_VALID),
    "old and open-ended": (make_response(CA, LEAF, begins=-OPEN_ENDED - 1, ends=None), failures.EXPIRED),
    "empty": (b"", failures.GARBAGE),
    "HTML": (b"<html>Sign in to the network</html>", failures.GARBAGE),
    "cut off": (make_response(CA, LEAF)[:-10], failures.GARBAGE),
    "with something behind it": (make_response(CA, LEAF) + b"x", failures.GARBAGE),
    "too long": (b"0" * (LONGEST + 1), failures.TOO_LARGE),
    "tryLater": (make_error(ocsp.OCSPResponseStatus.TRY_LATER), failures.TRY_LATER),
    "internalError": (make_error(ocsp.OCSPResponseStatus.INTERNAL_ERROR), failures.INTERNAL),
    "unauthorized": (make_error(ocsp.OCSPResponseStatus.UNAUTHORIZED), failures.UNAUTHORIZED),
    "malformedRequest": (make_error(ocsp.OCSPResponseStatus.MALFORMED_REQUEST), failures.MALFORMED),
    "sigRequired": (make_error(ocsp.OCSPResponseStatus.SIG_REQUIRED), failures.SIGNED_REQUEST),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_one(name: str) -> None:
    der, cause = WRONG[name]
    assert cause_of(der) is cause


def test_clock_that_is_a_little_behind() -> None:
    assert check(make_response(CA, LEAF, begins=CLOCK_SKEW - 1)).status is Status.GOOD


def test_clock_that_is_ahead_ends_it_early() -> None:
    der = make_response(CA, LEAF)
    assert check(der, NOW + 3599).status is Status.GOOD
    assert cause_of(der, NOW + 3600) is failures.EXPIRED


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 2000), value=st.integers(0, 255))
@example(position=49, value=6)  # the type of a name: a country with more than two letters
def test_one_wrong_byte_is_a_failure(position: int, value: int) -> None:
    """Whatever byte is changed: a failure with a cause, or, where the byte means nothing, what it was before."""
    der = bytearray(make_response_once())
    position %= len(der)
    if der[position] == value:
        return
    der[position] = value
    try:
        response = check(bytes(der))
    except Failure as failure:
        assert failure.cause in CAUSES
    else:
        assert response.status is Status.GOOD and response.next_update == NOW + 3600


_once: list[bytes] = []


def make_response_once() -> bytes:
    if not _once:
        delegate: Issued = make_delegate(CA)
        _once.append(make_response(CA, LEAF, signer=delegate))
    return _once[0]


def test_causes_have_labels_of_their_own_and_advice() -> None:
    assert len({cause.label for cause in CAUSES}) == len(CAUSES)
    assert all(cause.advice and cause.code is not Code.SUCCESSFUL for cause in CAUSES)
