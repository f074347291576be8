"""What a record knows of a handshake that failed, as OpenSSL tells it."""

from __future__ import annotations

import select
import socket
import ssl

import pytest

from headgate.base.handshake_causes import Cause
from headgate.config.tls_options import TlsVersions
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls.handshake_record import HandshakeRecord, Step
from headgate.tls.server_context import BindContext
from tests.interop.tls_records import ALERT, HANDSHAKE, Hello, record
from tests.tls.tls_peers import Pki, Recorder, World, bind_context
from tests.tls.visits import Visit

VERSIONS = pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])


def strangers(pki: Pki, version: str) -> ssl.SSLContext:
    """A client that knows no CA of ours."""
    context = ssl.create_default_context(cadata=pki.other.certificate_pem.decode())
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace(".", "_")]
    return context


def failed(world: World, bind: BindContext, context: ssl.SSLContext, name: str) -> HandshakeRecord:
    """The record of a visit that comes to nothing."""
    found = Visit(world, bind, context, name).channel.record
    assert found is not None and not found.completed
    return found


def left(world: World, bind: BindContext, hello: bytes, answer: bytes = b"") -> HandshakeRecord:
    """The record of a client that says this, reads what comes, answers and leaves."""
    near, far = world.pair()
    recorder = Recorder()
    near.send(hello)
    channel = TlsChannel(world.reactor, far, bind.connection(far, hello), bind, recorder)
    channel.hello = hello
    world.wait(lambda: select.select([near], [], [], 0)[0])
    near.recv(65536)
    near.send(answer)
    near.shutdown(socket.SHUT_WR)
    world.wait(lambda: recorder.lost)
    assert channel.record is not None
    return channel.record


@pytest.mark.parametrize(("answer", "cause"), [
    (b"", Cause.CLOSED_AFTER_CLIENT_HELLO), (record(ALERT, b"\x02\x2f"), Cause.PEER_REJECTED_PARAMETERS),
    (record(HANDSHAKE, b"\x01\0\0\0"), Cause.MALFORMED_HELLO),
])  # fmt: skip
def test_a_hello_retry_request_shows_no_certificate(world: World, pki: Pki, answer: bytes, cause: Cause) -> None:
    """RFC 8446 section 4.1.4."""
    found = left(world, bind_context(pki, "b.pem", curves="P-256"), Hello("1.3", "b.example").records(), answer)
    assert (found.cause, found.step) == (cause, Step.NEGOTIATION)
    assert (found.version, found.cipher, found.group) == ("", "", "")


def test_behind_a_certificate(world: World, pki: Pki) -> None:
    for version in ("1.2", "1.3"):
        found = left(world, bind_context(pki, "b.pem"), Hello(version, "b.example").records())
        assert (found.cause, found.step) == (Cause.CLOSED_AFTER_CERTIFICATE, Step.CERTIFICATE)
        assert found.facts()["chosen"]["group"] == "x25519"


@VERSIONS
def test_the_certificate_is_the_one_that_the_client_has_seen(world: World, pki: Pki, version: str) -> None:
    """A name may have several; which one is OpenSSL's choice."""
    bind = bind_context(pki, "b.pem", "b_rsa.pem", versions=TlsVersions("TLSv1.2", version))
    found = failed(world, bind, strangers(pki, version), "b.example")
    assert found.facts()["chosen"]["certificates"] == [pki.path("b.pem")]
    assert f"the certificate {pki.path('b.pem')} (alert unknown_ca)" in found.advice
    if version == "TLSv1.2":
        context = strangers(pki, version)
        context.set_ciphers("ECDHE+aRSA")
        assert failed(world, bind, context, "b.example").facts()["chosen"]["certificates"] == [pki.path("b_rsa.pem")]


def test_no_certificate_is_shown_where_a_session_goes_on(pki: Pki) -> None:
    found = HandshakeRecord(outgoing=False)
    found.sni = b"b.example"
    found.describe = bind_context(pki, "b.pem", "b_rsa.pem").describe
    assert len(found.facts()["chosen"]["certificates"]) == 2
    found.showed(None, resumed=True)
    assert found.facts()["chosen"]["certificates"] == []
