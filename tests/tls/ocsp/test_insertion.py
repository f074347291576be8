from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ocsp

from headgate.tls.authority import make_authority
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.dump import response_text
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.insertion import issuer_in, named_in, over_at, response_in
from headgate.tls.ocsp.ledger import Entry
from headgate.tls.ocsp.response import check_response
from tests.tls.ocsp.ocsp_fixtures import NOW, make_delegate, make_error, make_leaf, make_response, subject_of

CA = make_authority("test CA")
LEAF = make_leaf(CA)
SUBJECT = subject_of(CA, LEAF)
TYPE = "application/ocsp-response"


def entry_with(der: bytes | None = None) -> Entry:
    entry = Entry("digest", ["/site.pem"], subject=SUBJECT)
    if der is not None:
        entry.put(check_response(der, SUBJECT, NOW))
    return entry


def test_type_of_the_answer() -> None:
    der = make_response(CA, LEAF)
    assert response_in(TYPE, der, SUBJECT, entry_with(), NOW).der == der
    for wrong in ("text/html", ""):
        with pytest.raises(Failure) as caught:
            response_in(wrong, der, SUBJECT, entry_with(), NOW)
        assert caught.value.cause is failures.CONTENT_TYPE


def test_an_older_response_does_not_take_the_place_of_a_newer_one() -> None:
    newer, older = make_response(CA, LEAF, begins=-10), make_response(CA, LEAF, begins=-1000)
    assert response_in(TYPE, older, SUBJECT, entry_with(newer), NOW).der == newer
    assert response_in(TYPE, newer, SUBJECT, entry_with(older), NOW).der == newer


def test_a_revocation_is_not_undone_by_a_response_from_before_it() -> None:
    revoked = make_response(CA, LEAF, begins=-10, status=ocsp.OCSPCertStatus.REVOKED)
    with pytest.raises(Failure) as caught:
        response_in(TYPE, make_response(CA, LEAF, begins=-1000), SUBJECT, entry_with(revoked), NOW)
    assert caught.value.cause is failures.OLDER


def test_issuers_come_in_three_forms() -> None:
    root = CA.certificate
    der, pem = root.public_bytes(Encoding.DER), root.public_bytes(Encoding.PEM)
    several = pkcs7.serialize_certificates([make_authority("x").certificate, root], Encoding.DER)
    for body in (der, pem, several):
        assert issuer_in(body, LEAF.certificate) == root
    for body in (b"", b"<html>", make_authority("test CA").certificate_pem):
        with pytest.raises(Failure):
            issuer_in(body, LEAF.certificate)


def test_whom_a_response_names() -> None:
    assert named_in(make_response(CA, LEAF)) == {LEAF.certificate.serial_number}
    for wrong in (b"", b"x", make_error(ocsp.OCSPResponseStatus.TRY_LATER)):
        with pytest.raises(Failure):
            named_in(wrong)


def test_when_it_is_over() -> None:
    assert over_at(make_response(CA, LEAF)) == NOW + 3600
    assert over_at(make_response(CA, LEAF, ends=None)) == NOW - 60
    assert over_at(CA.certificate.public_bytes(Encoding.DER)) == CA.certificate.not_valid_after_utc.timestamp()
    assert over_at(b"x") == 0.0


def test_text() -> None:
    text = response_text(make_response(CA, LEAF, signer=make_delegate(CA), status=ocsp.OCSPCertStatus.REVOKED))
    assert "\n\n" not in text
    for part in (
        "OCSP Response Data:\n    OCSP Response Status: successful (0x0)\n    Response Type: Basic OCSP Response\n",
        "    Responder Id: CN = responder\n", "    Cert Status: revoked\n", "    Revocation Reason: keyCompromise (0x1)\n",
        f"      Issuer Key Hash: {SUBJECT.id.key_hash.hex().upper()}\n", "Signature Algorithm: ecdsa-with-SHA256\n",
        "OCSP Signing",
    ):  # fmt: skip
        assert part in text
