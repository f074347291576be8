"""What speaks against CA files and CRL files that are to take the place of others."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from headgate.tls.authority import Authority, make_authority
from headgate.tls.objections import judge

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
AT = NOW.timestamp()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority("one CA")


@pytest.fixture(scope="module")
def other() -> Authority:
    return make_authority("other CA")


def crl(
    authority: Authority, begin: int = -10, end: int = 10, number: int | None = None, *extensions: x509.ExtensionType
) -> x509.CertificateRevocationList:
    """A list that is valid from and until so many days from now."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = builder.last_update(NOW + begin * DAY).next_update(NOW + end * DAY)
    for one in (*extensions, *(() if number is None else (x509.CRLNumber(number),))):
        builder = builder.add_extension(one, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def ca(name: str, begin: int = -100, end: int = 100) -> x509.Certificate:
    return make_authority(name, not_before=NOW + begin * DAY, not_after=NOW + end * DAY).certificate


def test_lists_that_are_not_valid_now(authority: Authority) -> None:
    serving, expired = crl(authority), crl(authority, -5, -1)
    why = judge("crl-file", (serving,), (expired,), AT).objection
    assert why == "the revocation list of CN=one CA has expired: May 31 00:00:00 2026 GMT"
    assert judge("crl-file", (), (expired,), AT).objection == why  # a new file
    assert judge("crl-file", (expired,), (expired,), AT).objection == why  # nothing in it is of use
    early = judge("crl-file", (serving,), (crl(authority, 1, 9),), AT).objection
    assert early == "the revocation list of CN=one CA is not valid before Jun  2 00:00:00 2026 GMT"
    # OpenSSL takes the valid one of two.
    for also in (expired, crl(authority, 1, 9)):
        judgement = judge("crl-file", (serving,), (also, crl(authority, -4)), AT)
        assert judgement.objection is None and not judgement.warnings


def test_an_expired_list_that_was_there_does_not_keep_another_one_out(authority: Authority, other: Authority) -> None:
    expired = crl(other, -20, -1)
    judgement = judge("crl-file", (crl(authority), expired), (crl(authority, -1), expired), AT)
    assert judgement.objection is None
    assert list(judgement.warnings) == ["the revocation list of CN=other CA has expired: May 31 00:00:00 2026 GMT"]
    assert judge("crl-file", (crl(authority),), (crl(authority, -1), expired), AT).objection is not None


@pytest.mark.parametrize(
    ("before", "after", "is_older"),
    [
        ((-5, None), (-5, None), False), ((-5, None), (-4, None), False), ((-5, None), (-6, None), True),
        ((-5, 7), (-5, 6), True), ((-5, 7), (-5, 7), False), ((-5, 7), (-6, 8), True), ((-5, 7), (-4, 1), False),
    ],
)  # fmt: skip
def test_older_lists(
    authority: Authority, other: Authority, before: tuple[int, int | None], after: tuple[int, int | None], is_older: bool
) -> None:
    serving = (crl(other), crl(authority, before[0], 10, before[1]))
    found = judge("crl-file", serving, (crl(authority, after[0], 10, after[1]), crl(other)), AT).objection
    assert (found is not None and "list of CN=one CA is older than the one in use" in found) is is_older


def test_the_reason_names_numbers_and_dates(authority: Authority) -> None:
    assert judge("crl-file", (crl(authority, -5, 10, 7),), (crl(authority, -6, 10, 6),), AT).objection == (
        "the revocation list of CN=one CA is older than the one in use: number 6, issued May 26 00:00:00 2026 GMT,"
        " that one number 7, issued May 27 00:00:00 2026 GMT"
    )


def test_lists_of_other_certificates_are_not_compared(authority: Authority, other: Authority) -> None:
    users = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
    key = x509.AuthorityKeyIdentifier.from_issuer_public_key(other.key.public_key())
    for scope in (users, key, x509.DeltaCRLIndicator(3)):
        assert judge("crl-file", (crl(authority),), (crl(authority, -20, 10, None, scope),), AT).objection is None


def test_authorities_that_have_expired() -> None:
    valid, expired, old = ca("valid"), ca("expired", -100, -1), ca("old", -100, -2)
    why = "the CA CN=expired has expired: May 31 00:00:00 2026 GMT"
    for before in ((), (valid,), (expired,)):
        assert judge("ca-file", before, (expired,), AT).objection == why
    assert judge("ca-file", (valid,), (valid, expired), AT).objection == why
    assert judge("ca-file", (valid, old), (valid, old, expired), AT).objection == why
    judgement = judge("ca-file", (valid, expired), (valid, ca("new"), expired), AT)
    assert judgement.objection is None and list(judgement.warnings) == [why]
    assert judge("ca-file", (expired,), (valid,), AT).objection is None


def test_an_authority_of_the_future_may_stand_beside_a_valid_one() -> None:
    valid, future = ca("valid"), ca("future", 1)
    judgement = judge("ca-file", (valid,), (valid, future), AT)
    assert judgement.objection is None and not judgement.warnings
    assert judge("ca-file", (valid,), (future,), AT).objection == "the CA CN=future is not valid before Jun  2 00:00:00 2026 GMT"
