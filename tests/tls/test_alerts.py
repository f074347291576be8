"""Alerts: those in bytes that nobody has read, and the one that OpenSSL sends, compared with what it really sends."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.config.tls_options import TlsVersions, Verify
from headgate.runtime.reactor import READ
from headgate.runtime.tls_openers import Answerer
from headgate.tls.alerts import alert_name, find_alert
from tests.interop.tls_records import HANDSHAKE, Hello, record, vector
from tests.tls.test_tls_channel import Recorder, failed, server_context
from tests.tls.tls_peers import Pki, World, bind_context


def test_an_alert_behind_other_records() -> None:
    other = b"\x14\x03\x03\x00\x01\x01"
    assert find_alert(other + b"\x15\x03\x03\x00\x02\x02\x30") == 48
    assert find_alert(b"\x15\x03\x03\x00\x02\x02\x30\x15\x03\x03\x00\x02\x01\x00") == 48, "a goodbye hides no alert"
    assert find_alert(b"\x15\x03\x03\x00\x02\x01\x00") == 0
    assert find_alert(b"\x15\x03\x03\x00\x13" + bytes(19)) is None, "enciphered"
    assert find_alert(b"\x15\x03\x03\x00\x02\x02") is None and find_alert(b"") is None


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    found = find_alert(data)
    assert found is None or 0 <= found < 256


def test_names() -> None:
    assert alert_name(48) == "unknown_ca" and alert_name(200) == "200"


def _with(number: int, body: bytes, version: str = "1.3") -> bytes:
    hello = Hello(version, "a.example")
    hello.extensions[number] = body
    return hello.records()


def _of_version(number: int) -> bytes:
    hello = Hello("1.2", "a.example")
    hello.version = number
    return hello.records()


def _without_ciphers() -> bytes:
    hello = Hello("1.3", "a.example")
    hello.ciphers = ()
    return hello.records()


#: Hellos that OpenSSL refuses -> the alert.
REFUSED = {
    "2^24 - 1 bytes": (record(HANDSHAKE, b"\1\xff\xff\xff" + bytes(300)), 47),
    "empty": (record(HANDSHAKE, b"\1\0\0\0"), 50),
    "no ciphers": (_without_ciphers(), 50),
    "key share": (_with(51, vector(2, b"\0\x1d" + vector(2, b"\4" + bytes(4)))), 47),
    "maximum fragment length": (_with(1, b"\5"), 47),
    "renegotiation": (_with(0xFF01, b"\5", "1.2"), 50),
    "no version": (_of_version(0x0005), 70),
    "SSLv3": (_of_version(0x0300), 70),
}  # fmt: skip


@pytest.mark.parametrize(("data", "alert"), REFUSED.values(), ids=REFUSED)
def test_what_is_said_to_be_sent_is_what_bytes_get(world: World, pki: Pki, data: bytes, alert: int) -> None:
    near, far = world.pair()
    near.sendall(data)
    near.shutdown(socket.SHUT_WR)
    recorder = Recorder()
    world.reactor.watch(far.fileno(), READ, lambda _: None)
    channel = Answerer(bind_context(pki, "a.pem")).accept(world.reactor, far, data, recorder)
    world.wait(lambda: recorder.lost)
    assert channel.record is not None and near.recv(100)[-1] == alert == channel.record.alert_sent, channel.record.error


ONLY_12, ONLY_13 = TlsVersions("TLSv1.2", "TLSv1.2"), TlsVersions("TLSv1.3", "TLSv1.3")


@pytest.mark.parametrize("versions", [ONLY_12, ONLY_13], ids=["1.2", "1.3"])
@pytest.mark.parametrize("case", ["unknown CA", "no certificate", "cipher", "group", "strict", "signature"])
def test_what_is_said_to_be_sent_is_what_the_peer_gets(world: World, pki: Pki, versions: TlsVersions, case: str) -> None:
    options: dict[str, object] = {"versions": versions}
    theirs: dict[str, object] = {"versions": versions, "verify": Verify.NONE}
    name = b"a.example"
    if case == "unknown CA":
        options |= {"verify": Verify.REQUIRED, "ca_file": pki.ca}
        theirs["certificate"] = pki.path("stranger.pem")
    elif case == "no certificate":
        options |= {"verify": Verify.REQUIRED, "ca_file": pki.ca}
    elif case == "cipher":
        options |= {"ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256", "ciphersuites": "TLS_AES_128_GCM_SHA256"}
        theirs |= {"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384", "ciphersuites": "TLS_AES_256_GCM_SHA384"}
    elif case == "group":
        options["curves"], theirs["curves"] = "P-521", "P-256"
    elif case == "signature":
        options["sigalgs"], theirs["sigalgs"] = "ECDSA+SHA384", "ECDSA+SHA256"
    else:
        options["strict_sni"], name = True, b"else.example"
    two = failed(world, bind_context(pki, "a.pem", **options), server_context(**theirs), name)
    world.wait(lambda: two.near.lost)
    ours, peer = two.server.record, two.client.record
    if two.near.completed:  # with TLS 1.3 the client is through before its certificate is looked at
        assert peer is not None and peer.alert in (48, 116)
        return
    assert peer is not None
    assert ours is not None and ours.alert_sent is not None and ours.alert_sent == peer.alert
    assert isinstance(two.near, Recorder)
