from __future__ import annotations

from base64 import b64decode
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509 import ocsp

from headgate.tls.authority import make_authority
from headgate.tls.ocsp.certificate_id import certificate_id, crl_uris, issuer_uris, must_staple, responder_uris
from headgate.tls.ocsp.request import LONGEST_GET, http_request, request_for
from tests.tls.ocsp.ocsp_fixtures import make_leaf

CA = make_authority("test CA")


def test_short_requests_are_sent_with_get() -> None:
    leaf = make_leaf(CA, "http://ocsp.example")
    for uri, prefix in (("http://ocsp.example", "http://ocsp.example/"), ("http://ocsp.example/x/", "http://ocsp.example/x/")):
        request = http_request(uri, request_for(leaf.certificate, CA.certificate))
        assert request.method == "GET" and request.uri.startswith(prefix) and len(request.uri) <= LONGEST_GET and not request.body
        asked = ocsp.load_der_ocsp_request(b64decode(unquote(request.uri.removeprefix(prefix))))
        assert asked.serial_number == leaf.certificate.serial_number


def test_long_requests_are_sent_with_post() -> None:
    leaf = make_leaf(CA)
    der = request_for(leaf.certificate, CA.certificate)
    uri = f"http://{'a' * 60}.{'b' * 60}.{'c' * 60}.example/"
    request = http_request(uri, der)
    assert (request.method, request.uri, request.body, request.content_type) == ("POST", uri, der, "application/ocsp-request")


def test_uris_with_a_query_take_no_path_behind_it() -> None:
    request = http_request("http://ocsp.example/?ca=1", b"0")
    assert (request.method, request.uri) == ("POST", "http://ocsp.example/?ca=1")


def test_the_id_is_the_certid_of_a_request() -> None:
    """What is listed as the key is exactly what stands in requests, whatever the serial number's length."""
    for _ in range(20):
        leaf = make_leaf(CA)
        found = certificate_id(leaf.certificate, CA.certificate)
        der = request_for(leaf.certificate, CA.certificate)
        assert der.endswith(bytes.fromhex(found.key)) and found.serial == leaf.certificate.serial_number


def test_what_a_certificate_says_about_its_status() -> None:
    leaf = make_leaf(
        CA, "http://a.example/ocsp", "ldap://b.example/ocsp", "HTTPS://c.example", "http://a.example/ocsp",
        issuers=["http://a.example/ca.der"], crls=["http://a.example/1.crl", "ldap://x"], must_staple=True,
    ).certificate  # fmt: skip
    assert responder_uris(leaf) == ("http://a.example/ocsp", "HTTPS://c.example")
    assert issuer_uris(leaf) == ("http://a.example/ca.der",)
    assert crl_uris(leaf) == ("http://a.example/1.crl",)
    assert must_staple(leaf)
    bare: x509.Certificate = make_leaf(CA).certificate
    assert (responder_uris(bare), issuer_uris(bare), crl_uris(bare), must_staple(bare)) == ((), (), (), False)
