"""Transactions of certificates, CA files and CRL files: put together, judged, put into effect."""

from __future__ import annotations

import base64
import datetime
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.tls.authority import Authority, issue, make_authority
from headgate.tls.objections import objection
from headgate.tls.storage import Storage
from headgate.tls.transactions import CertificateText, Refused, Transactions, certified, parsed, text_of
from tests.tls.ocsp.ocsp_fixtures import make_response

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
AT = NOW.timestamp()
#: A SignedCertificateTimestampList of one, as far as its form goes.
TIMESTAMPS = b"\0\5\0\3abc"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority("transactions")


def text(authority: Authority, names: list[str], begin: int = -10, end: int = 90, key: str = "ecdsa") -> CertificateText:
    issued = issue(authority, names, key=key, not_before=NOW + begin * DAY, not_after=NOW + end * DAY)
    return CertificateText(issued.pem.decode())


@pytest.fixture
def open_(authority: Authority) -> Transactions:
    transactions = Transactions(Storage())
    transactions.install_certificate("site.pem", text(authority, ["a.example", "*.b.example"]))
    return transactions


def test_a_certificate_as_text_is_the_same_certificate(authority: Authority) -> None:
    intermediate = make_authority("between", parent=authority)
    issued = issue(intermediate, ["a.example"])
    ocsp, timestamps = base64.b64encode(b"ocsp").decode(), base64.b64encode(b"sct").decode()
    whole = CertificateText(issued.pem.decode(), authority.certificate_pem.decode(), ocsp, timestamps)
    made = certified("site.pem", whole)
    assert made.chain == issued.chain and made.ocsp == b"ocsp" and made.sctl == b"sct"
    again = certified("site.pem", text_of(made))
    assert (again.leaf, again.chain, again.issuer) == (made.leaf, made.chain, made.issuer)
    assert text_of(again) == text_of(made)


def test_all_of_a_file_outlasts_the_form_of_text(authority: Authority) -> None:
    """A root is not sent, but answers for OCSP responses; DH parameters are no certificate."""
    parameters = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"
    issued = issue(authority, ["a.example"])
    made = certified("site.pem", CertificateText(issued.pem.decode() + authority.certificate_pem.decode() + parameters))
    again = certified("site.pem", text_of(made))
    assert again.signer == made.signer == authority.certificate and not again.chain
    assert again.dh_parameters == made.dh_parameters == parameters.encode()


def test_certificate_and_key_may_come_one_after_the_other(authority: Authority, open_: Transactions) -> None:
    fresh = issue(authority, ["a.example", "*.b.example"], not_before=NOW - DAY, not_after=NOW + 99 * DAY)
    assert open_.set_certificate("site.pem", fresh.certificate_pem.decode(), AT) == ("site.pem", True)
    with pytest.raises(Refused, match="does not match"):
        open_.committable("site.pem", AT, forced=True)
    assert open_.set_certificate("site.pem.key", fresh.key_pem.decode(), AT) == ("site.pem", False)
    open_.install_certificate("site.pem", open_.committable("site.pem", AT, forced=False))
    assert open_.storage.certificates["site.pem"].contents.certificate == fresh.certificate
    assert open_.certificates == {}


def test_files_beside_a_certificate(authority: Authority, open_: Transactions) -> None:
    open_.set_certificate("site.pem.issuer", authority.certificate_pem.decode(), AT)
    open_.set_certificate("site.pem.sctl", base64.b64encode(TIMESTAMPS).decode(), AT)
    entry = open_.install_certificate("site.pem", open_.committable("site.pem", AT, forced=False))
    assert entry.contents.sctl == TIMESTAMPS
    assert entry.contents.issuer == authority.certificate.public_bytes(Encoding.DER)
    with pytest.raises(Refused, match="not base64"):
        open_.set_certificate("site.pem.ocsp", "?", AT)


def test_parts_that_are_of_no_use_are_refused_when_they_come(authority: Authority, open_: Transactions) -> None:
    leaf = issue(authority, ["a.example", "*.b.example"], not_before=NOW - DAY, not_after=NOW + 99 * DAY)
    other, stranger = issue(authority, ["o.example"]), make_authority("stranger")
    open_.set_certificate("site.pem", leaf.pem.decode(), AT)

    def refused(suffix: str, content: bytes | str, why: str) -> None:
        content = content if isinstance(content, str) else base64.b64encode(content).decode()
        with pytest.raises(Refused, match=why) as refusal:
            open_.set_certificate(f"site.pem{suffix}", content, AT)
        assert "ParseError" not in str(refusal.value)

    good = make_response(authority, leaf, now=AT)
    refused(".ocsp", good, "the issuer is not known; set it first, as 'site.pem.issuer'")
    refused(".issuer", stranger.certificate_pem.decode(), "CN=stranger.* has not issued this one")
    open_.set_certificate("site.pem.issuer", authority.certificate_pem.decode(), AT)
    refused(".ocsp", b"\5\0", "no OCSP response: it is damaged, or something else")
    refused(".ocsp", good[:-9], "no OCSP response: it ends too early")
    refused(".ocsp", make_response(authority, other, now=AT), "about another certificate")
    refused(".ocsp", make_response(authority, leaf, now=AT, ends=-9.0, begins=-99.0), "has expired")
    refused(".sctl", b"garbage", "not a list of signed certificate timestamps")
    refused(".key", "garbage", "'site.pem.key' is not a PEM file")
    refused(".key", authority.certificate_pem.decode(), "no private key in 'site.pem.key'")
    open_.set_certificate("site.pem.ocsp", base64.b64encode(good).decode(), AT)
    entry = open_.install_certificate("site.pem", open_.committable("site.pem", AT, forced=False))
    assert entry.contents.ocsp == good and entry.contents.leaf == leaf.certificate.public_bytes(Encoding.DER)


def test_parts_are_judged_by_a_certificate_that_waits_for_its_key(authority: Authority, open_: Transactions) -> None:
    leaf = issue(authority, ["n.example"], not_before=NOW - DAY, not_after=NOW + 99 * DAY)
    open_.create("new.pem")
    with pytest.raises(Refused, match="there is no certificate for"):
        open_.set_certificate("new.pem.issuer", authority.certificate_pem.decode(), AT)
    open_.set_certificate("new.pem", leaf.certificate_pem.decode(), AT)
    open_.set_certificate("new.pem.issuer", authority.certificate_pem.decode(), AT)
    response = base64.b64encode(make_response(authority, leaf, now=AT)).decode()
    open_.set_certificate("new.pem.ocsp", response, AT)
    open_.set_certificate("new.pem.key", leaf.key_pem.decode(), AT)
    assert open_.committable("new.pem", AT, forced=False).ocsp == response


@pytest.mark.parametrize(
    ("names", "begin", "end", "why"),
    [
        (["a.example", "*.b.example"], -5, 90, None),
        (["*.b.example", "x.example", "a.example"], -5, 90, None),
        (["a.example", "*.b.example"], -5, -1, "expired"),
        (["a.example", "*.b.example"], 1, 90, "not valid before"),
        (["a.example", "*.b.example"], -30, 90, "older"),
        (["a.example", "x.b.example"], -5, 90, r"not valid for \*\.b\.example"),
        (["other.example"], -5, 90, r"not valid for a\.example, \*\.b\.example,"),
    ],
)
def test_what_speaks_against_a_certificate(
    authority: Authority, names: list[str], begin: int, end: int, why: str | None
) -> None:
    before = certified("x", text(authority, ["a.example", "*.b.example"]))
    found = objection(before, certified("x", text(authority, names, begin, end)), AT)
    assert found is None if why is None else found is not None and re.search(why, found + ",")


def test_a_name_may_be_covered_by_a_wildcard_from_now_on(authority: Authority) -> None:
    before = certified("x", text(authority, ["www.b.example"]))
    assert objection(before, certified("x", text(authority, ["*.b.example"])), AT) is None


def test_a_refusal_may_be_overcome_by_force_only_where_that_can_work(authority: Authority, open_: Transactions) -> None:
    open_.set_certificate("site.pem", text(authority, ["a.example"]).pem, AT)
    with pytest.raises(Refused) as refused:
        open_.committable("site.pem", AT, forced=False)
    assert refused.value.by_force
    assert open_.committable("site.pem", AT, forced=True).pem
    with pytest.raises(Refused, match="No ongoing") as refused:
        open_.committable("nope", AT, forced=True)
    assert not refused.value.by_force


def test_a_new_certificate_is_judged_by_its_dates(authority: Authority, open_: Transactions) -> None:
    open_.create("new.pem")
    open_.set_certificate("new.pem", text(authority, ["n.example"], -9, -1).pem, AT)
    with pytest.raises(Refused, match="has expired") as refused:
        open_.committable("new.pem", AT, forced=False)
    assert refused.value.by_force and open_.committable("new.pem", AT, forced=True).pem


def test_what_is_not_there_can_not_be_replaced(open_: Transactions) -> None:
    with pytest.raises(Refused, match="not referenced"):
        open_.set_certificate("nope.pem", "x", AT)
    with pytest.raises(Refused, match="not referenced"):
        open_.set_text("ca-file", "nope.pem", "x")
    with pytest.raises(Refused, match="already exists"):
        open_.create("site.pem")


def test_new_ones(authority: Authority, open_: Transactions) -> None:
    open_.create("new.pem")
    with pytest.raises(Refused, match="already exists"):
        open_.create("new.pem")
    open_.set_certificate("new.pem", text(authority, ["n.example"]).pem, AT)
    open_.install_certificate("new.pem", open_.committable("new.pem", AT, forced=False))
    assert open_.storage.certificates["new.pem"].contents.names == (b"n.example",) and not open_.empty


def test_authorities_add_up(authority: Authority, open_: Transactions) -> None:
    other = make_authority("another")
    open_.create_text("ca-file", "ca.pem")
    assert open_.set_text("ca-file", "ca.pem", authority.certificate_pem.decode())
    assert not open_.set_text("ca-file", "ca.pem", other.certificate_pem.decode(), add=True)
    entry = open_.install_text("ca-file", "ca.pem", open_.authorities["ca.pem"])
    assert entry.contents == (authority.certificate, other.certificate)
    assert open_.authorities == {} and open_.empty_of("ca-file") == set()
    assert open_.set_text("ca-file", "ca.pem", other.certificate_pem.decode())
    open_.install_text("ca-file", "ca.pem", open_.authorities["ca.pem"])
    assert entry.contents == (other.certificate,) and entry.generation == 1


def test_an_authority_is_added_to_those_that_the_file_holds(authority: Authority, open_: Transactions) -> None:
    other = make_authority("another")
    open_.install_text("ca-file", "ca.pem", authority.certificate_pem.decode())
    assert open_.set_text("ca-file", "ca.pem", other.certificate_pem.decode(), add=True)
    assert open_.install_text("ca-file", "ca.pem", open_.authorities["ca.pem"]).contents == (
        authority.certificate, other.certificate,
    )  # fmt: skip


def test_revocation_lists(authority: Authority, open_: Transactions) -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    crl = builder.last_update(NOW).next_update(NOW + DAY).sign(authority.key, hashes.SHA256())
    open_.create_text("crl-file", "crl.pem")
    open_.set_text("crl-file", "crl.pem", crl.public_bytes(Encoding.PEM).decode())
    assert open_.install_text("crl-file", "crl.pem", open_.revocations["crl.pem"]).contents == (crl,)


@pytest.mark.parametrize("kind", ["ca-file", "crl-file"])
def test_what_is_no_pem_is_refused(kind: str) -> None:
    with pytest.raises(Refused):
        parsed(kind, "x", "garbage")


def test_transactions_are_bounded(authority: Authority, open_: Transactions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.tls.transactions.MOST_TRANSACTIONS", 1)
    monkeypatch.setattr("headgate.tls.transactions.LARGEST", 100_000)
    open_.create("one.pem")
    with pytest.raises(Refused, match="empty"):
        open_.create("two.pem")
    with pytest.raises(Refused, match="100000 bytes"):
        open_.set_certificate("site.pem", "x" * 100_001, AT)
    open_.set_certificate("site.pem", text(authority, ["a.example"]).pem, AT)
    with pytest.raises(Refused, match="transactions already"):
        open_.set_certificate("one.pem", text(authority, ["a.example"]).pem, AT)


def test_no_secret_is_shown(authority: Authority) -> None:
    issued = issue(authority, ["a.example"])
    wrong = issue(authority, ["b.example"]).certificate_pem + issued.key_pem
    secret = issued.key_pem.decode().splitlines()[1]
    with pytest.raises(Refused) as refused:
        certified("x", CertificateText(wrong.decode()))
    assert secret not in str(refused.value) and "BEGIN" not in str(refused.value)
    assert secret not in repr(certified("x", CertificateText(issued.pem.decode())))
    assert secret not in repr(CertificateText(issued.pem.decode()))
