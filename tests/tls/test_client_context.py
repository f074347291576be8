"""Server lines as contexts: sessions by name, client certificates, errors at load."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.base.diagnostics import Report
from headgate.config.tls_options import CertificateFile, ServerTls, TlsVersions, Verify
from headgate.tls import session_store
from headgate.tls.authority import issue
from headgate.tls.client_context import build_server_context
from tests.tls.test_tls_channel import Two, server_context
from tests.tls.tls_peers import HERE, Pki, World, bind_context

ONLY_12 = TlsVersions(highest="TLSv1.2")
ONLY_13 = TlsVersions(lowest="TLSv1.3")


@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
def test_sessions_are_resumed_by_name(world: World, pki: Pki, versions: TlsVersions) -> None:
    bind = bind_context(pki, "a.pem", "b.pem")
    context = server_context(ca_file=pki.ca, versions=versions)

    def resumed(name: bytes) -> bool:
        two = Two(world, bind, context, name).connect().exchange()
        two.close()
        assert two.client.tls is not None and two.server.tls is not None
        assert two.client.tls.resumed == two.server.tls.resumed
        return two.client.tls.resumed

    assert not resumed(b"a.example")
    assert resumed(b"a.example")
    assert not resumed(b"b.example")
    assert resumed(b"a.example") and resumed(b"b.example")


def test_no_ssl_reuse(world: World, pki: Pki) -> None:
    bind, context = bind_context(pki, "a.pem"), server_context(ca_file=pki.ca, reuse=False)
    Two(world, bind, context).connect().exchange().close()
    two = Two(world, bind, context).connect()
    assert two.client.tls is not None and not two.client.tls.resumed


def test_number_of_kept_sessions_is_bounded(world: World, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_store, "KEYS_MOST", 2)
    bind, context = bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)
    for name in (b"1.wild.example", b"2.wild.example", b"3.wild.example"):
        Two(world, bind, context, name).connect().exchange().close()
    assert [key.name for key in context.sessions._records] == [b"2.wild.example", b"3.wild.example"]


def test_addresses_are_verified_but_not_sent(world: World, pki: Pki) -> None:
    pki.write("address.pem", issue(pki.root, ["192.0.2.1"]).pem)
    bind, context = bind_context(pki, "address.pem"), server_context(ca_file=pki.ca)
    two = Two(world, bind, context, b"192.0.2.1").connect().exchange()
    assert two.server.tls is not None and two.server.tls.sni is None
    two.close()
    again = Two(world, bind, context, b"192.0.2.1").connect()
    assert again.client.tls is not None and again.client.tls.resumed
    other = Two(world, bind, context, str(ipaddress.ip_address("192.0.2.2")).encode())
    world.wait(lambda: other.near.lost)
    assert "not valid for the name '192.0.2.2'" in other.client.failure


@pytest.mark.parametrize(
    "name",
    [
        b"", b"x", b"a.example..", b".", b"-a.example", b"a" * 64 + b".example", b".wild.example", b"*.wild.example",
        b"a.example\0b",
    ],
)
def test_names_that_no_certificate_is_valid_for(world: World, pki: Pki, name: bytes) -> None:
    """They come from requests: they are refused as wrong names are, whatever OpenSSL would make of them."""
    two = Two(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca), name)
    world.wait(lambda: two.near.lost)
    assert "not valid for the name" in two.client.failure


def test_a_trailing_dot_is_neither_sent_nor_verified(world: World, pki: Pki) -> None:
    """RFC 6066 section 3. The session is that of the name without it."""
    bind, context = bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)
    two = Two(world, bind, context, b"a.example.").connect().exchange()
    assert two.server.tls is not None and two.server.tls.sni == b"a.example"
    two.close()
    again = Two(world, bind, context, b"a.example").connect()
    assert again.client.tls is not None and again.client.tls.resumed
    other = Two(world, bind, context, b"b.example.")
    world.wait(lambda: other.near.lost)
    assert "not valid for the name 'b.example'" in other.client.failure
    named = server_context(ca_file=pki.ca, verify_host="a.example.")
    assert Two(world, bind, named, None).connect().near.completed


_LABELS = st.text("ab1-_.*%:[]", max_size=70).map(str.encode)
_BELOW = re.compile(rb"([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.wild\.example|a\.example)\.?", re.IGNORECASE)


@settings(max_examples=60, deadline=None)
@given(name=st.one_of(st.binary(max_size=300), _LABELS, _LABELS.map(lambda label: label + b".wild.example")))
def test_whatever_a_request_asks_for_is_verified(pki: Pki, name: bytes) -> None:
    world = World()
    try:
        two = Two(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca), name)
        world.wait(lambda: two.near.lost or two.near.completed)
        assert two.near.lost or _BELOW.fullmatch(name)
    finally:
        world.close()


def test_client_certificate_is_presented(world: World, pki: Pki) -> None:
    bind = bind_context(pki, "a.pem", verify=Verify.REQUIRED, ca_file=pki.ca)
    two = Two(world, bind, server_context(ca_file=pki.ca, certificate=pki.path("client.pem"))).connect().exchange()
    assert two.server.tls is not None and two.server.tls.peer_certificate == pki.client.certificate
    refused = Two(world, bind, server_context(ca_file=pki.ca, versions=ONLY_12))
    world.wait(lambda: refused.near.lost and refused.far.lost)
    assert refused.client.failure.startswith("server-requires-certificate: ")


def test_alpn_is_offered(world: World, pki: Pki) -> None:
    two = Two(world, bind_context(pki, "a.pem", alpn=("http/1.1",)), server_context(ca_file=pki.ca, alpn=("http/1.1",))).connect()
    assert two.client.tls is not None and two.client.tls.alpn == b"http/1.1"


@pytest.mark.parametrize("tickets", [True, False])
def test_tickets(world: World, pki: Pki, tickets: bool) -> None:
    bind = bind_context(pki, "a.pem")
    context = server_context(ca_file=pki.ca, tickets=tickets, versions=ONLY_12)
    Two(world, bind, context).connect().exchange().close()
    two = Two(world, bind, context).connect()
    assert two.client.tls is not None and two.client.tls.resumed  # by ticket or from the server's cache


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "verify is enabled but there is no ca-file"),
        ({"ca_file": "/nowhere.pem"}, "cannot read CA file"),
        ({"verify": Verify.NONE, "certificate": CertificateFile("/nowhere.pem", HERE)}, "cannot read certificate file"),
        ({"verify": Verify.NONE, "ciphers": "NONSENSE"}, "ciphers 'NONSENSE' selects nothing"),
        ({"ca_file": "@system-ca", "verify_host": ".a.example"}, "verifyhost '.a.example': no certificate can be valid"),
        ({"ca_file": "@system-ca", "verify_host": "x"}, "verifyhost 'x': no certificate can be valid"),
        ({"verify": Verify.NONE, "alpn": ("h2",)}, "alpn h2: HTTP/2 to servers is not supported yet"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], message: str) -> None:
    report = Report()
    assert build_server_context(ServerTls(location=HERE, **options), report) is None
    (alert,) = report.alerts
    assert alert.message.startswith(message) and alert.location == HERE


def test_system_authorities_can_be_loaded() -> None:
    report = Report()
    assert build_server_context(ServerTls(ca_file="@system-ca"), report) is not None and not report.items
