"""Both sides of the TLS channel on real sockets: data, back-pressure, close_notify, failures and their reasons."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from typing import Any

import pytest

from headgate.base.diagnostics import Report
from headgate.config.tls_options import CertificateFile, ServerTls, TlsVersions, Verify
from headgate.proxy.port import Lost
from headgate.runtime.channel import has_unread
from headgate.runtime.tls_channel import TlsChannel
from headgate.runtime.tls_openers import Dialler
from headgate.tls.client_context import ServerContext, build_server_context
from headgate.tls.server_context import BindContext
from tests.tls.tls_peers import HERE, Pki, Recorder, World, bind_context

#: Where sessions are said to be from: the ports of the tests' servers differ each time.
WHERE = ("192.0.2.1", 443)


def server_context(**options: Any) -> ServerContext:
    report = Report()
    if isinstance(certificate := options.get("certificate"), str):
        options["certificate"] = CertificateFile(certificate, HERE)
    context = build_server_context(ServerTls(location=HERE, **options), report)
    assert context is not None, report.items
    return context


class Two:
    """A client channel and a server channel that talk to each other."""

    def __init__(self, world: World, bind: BindContext, server: ServerContext, sni: bytes | None = b"a.example") -> None:
        near, far = world.pair()
        self.world = world
        self.near, self.far = Recorder(), Recorder()
        self.client = Dialler(server).open(world.reactor, near, sni, WHERE, self.near)
        self.client.begin()
        self.server = TlsChannel(world.reactor, far, bind.connection(far), bind, self.far)

    def connect(self) -> Two:
        self.world.wait(lambda: self.near.completed and self.far.completed)
        return self

    def exchange(self) -> Two:
        """A byte each way, so that session tickets have arrived."""
        self.client.send(b"q")
        self.world.wait(lambda: self.far.data == b"q")
        self.server.send(b"r")
        self.world.wait(lambda: self.near.data == b"r")
        return self

    def close(self) -> None:
        self.client.close()
        self.world.wait(lambda: self.far.eof)
        self.server.close()


@pytest.fixture
def two(world: World, pki: Pki) -> Two:
    return Two(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)).connect()


def test_data_goes_both_ways(two: Two) -> None:
    two.exchange()
    assert two.client.tls is not None and two.client.tls.version == "TLSv1.3"
    assert two.server.tls is not None and two.server.tls.sni == b"a.example"


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 65536, 1_000_000])
def test_large_data_arrives_whole(two: Two, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    two.client.send(data[:size])
    two.world.wait(lambda: len(two.far.data) >= size)
    assert two.far.data == data[:size]


def test_blocked_until_the_peer_reads(two: Two) -> None:
    two.far.data.clear()
    two.server.pause()
    size = 20_000_000
    two.client.send(b"x" * size)
    assert two.client.blocked
    assert not two.far.data
    two.client.send(b"y" * 10)
    two.server.resume()
    two.world.wait(lambda: "drained" in two.near.events and len(two.far.data) == size + 10)
    assert not two.client.blocked
    assert two.far.data.endswith(b"xy" + b"y" * 9)


def test_close_flushes_and_says_close_notify(two: Two) -> None:
    two.client.send(b"z" * 5_000_000)
    two.client.close()
    two.world.wait(lambda: two.far.eof)
    assert len(two.far.data) == 5_000_000
    assert not two.server.truncated
    assert two.near.events == ["completed"]


def test_half_close_leaves_the_other_direction_open(two: Two) -> None:
    two.client.send(b"ask")
    two.client.shutdown_write()
    two.world.wait(lambda: two.far.eof)
    assert two.far.data == b"ask"
    two.server.send(b"answer")
    two.server.close()
    two.world.wait(lambda: two.near.eof)
    assert two.near.data == b"answer"
    two.client.close()


def test_end_while_paused_is_told_after_resume(two: Two) -> None:
    two.server.pause()
    two.client.send(b"last")
    two.client.shutdown_write()
    two.server.resume()
    two.world.wait(lambda: two.far.eof)
    assert two.far.data == b"last"


def test_pause_in_data_received_defers_the_end(world: World, pki: Pki) -> None:
    two = Two(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)).connect()
    received = two.far.data_received

    def pausing(data: bytes) -> None:
        received(data)
        two.server.pause()

    two.far.data_received = pausing  # type: ignore[method-assign]
    # Full records and close_notify together: the end is met while reading ahead.
    two.server.pause()
    two.client.send(b"x" * 16384)
    two.client.shutdown_write()
    two.server.resume()
    world.wait(lambda: len(two.far.data) == 16384)
    assert not two.far.eof
    two.server.resume()
    world.wait(lambda: two.far.eof)


def test_abort_still_says_close_notify(two: Two) -> None:
    two.client.abort()
    two.world.wait(lambda: two.far.eof or two.far.lost)
    assert two.far.eof and not two.server.truncated
    assert two.near.events == ["completed"]


def test_a_bare_fin_of_a_client_is_an_end_like_any_other(two: Two) -> None:
    # Its session must stay good (`tls.server_context`), so OpenSSL is told not to tell it from a close_notify.
    two.client.sock.shutdown(socket.SHUT_WR)
    two.world.wait(lambda: two.far.eof)
    assert two.far.lost is None and not two.server.failure


def test_a_bare_fin_of_a_server_is_an_eof_marked_truncated(two: Two) -> None:
    two.server.sock.shutdown(socket.SHUT_WR)
    two.world.wait(lambda: two.near.eof)
    assert two.client.truncated


def test_garbage_instead_of_a_record_is_an_error(two: Two) -> None:
    two.client.sock.send(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    two.world.wait(lambda: two.far.lost)
    assert two.far.lost is Lost.ERROR
    assert two.server.failure


def die(channel: TlsChannel) -> None:
    """As a program that is killed: no close_notify."""
    channel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    channel._release()


def test_reset_of_the_peer(two: Two) -> None:
    die(two.client)
    two.world.wait(lambda: two.far.lost)
    assert two.far.lost is Lost.RESET


def test_sending_after_reset_is_told_later(two: Two) -> None:
    two.server.pause()
    die(two.client)
    # The first write may still be taken; the broken pipe is told once, from the loop and not from `send`.
    for _ in range(3):
        two.server.send(b"x")
    assert two.far.lost is None
    two.world.wait(lambda: two.far.lost)
    two.server.send(b"nothing happens")


@pytest.mark.parametrize("paused", [False, True])
def test_an_abort_of_a_broken_connection_leaves_its_descriptor_to_others(two: Two, paused: bool) -> None:
    two.exchange()
    die(two.server)
    if paused:
        two.client.pause()
    for _ in range(3):
        two.client.send(b"x")  # meets the reset, which is told in the next turn
    fd = two.client.fd
    two.client.abort()
    two.client.abort()
    assert two.client.sock.fileno() == -1
    # Whoever gets the number next is neither watched nor forgotten on behalf of the connection that is gone.
    assert fd not in two.world.reactor.handlers
    assert not two.client.armed


def test_effects_after_close_do_nothing(two: Two) -> None:
    two.client.close()
    two.client.send(b"x")
    two.client.pause()
    two.client.resume()
    two.client.shutdown_write()
    two.client.close()
    two.client.abort()
    two.world.wait(lambda: two.far.eof)
    assert two.far.data == b""


def test_last_words_survive_unread_input(world: World, pki: Pki) -> None:
    """Closing over unread bytes would reset the connection before the answer is read."""
    two = Two(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)).connect()
    two.server.pause()
    two.client.send(b"u" * 100_000)
    world.wait(lambda: has_unread(two.server.fd))
    two.server.send(b"413")
    two.server.close()
    world.wait(lambda: two.near.eof)
    assert two.near.data == b"413" and not two.client.truncated
    two.client.close()
    world.wait(lambda: two.server.sock.fileno() < 0)


def test_lingering_ends_at_its_deadline(two: Two) -> None:
    two.server.pause()
    two.client.send(b"u")
    two.world.wait(lambda: has_unread(two.server.fd))
    two.server.close()
    assert two.server.deadline and two.server.sock.fileno() >= 0
    two.server.timed_out()
    assert two.server.sock.fileno() < 0


def test_server_answers_a_waiting_hello_at_once(world: World, pki: Pki) -> None:
    near, far = world.pair()
    client, server = Recorder(), Recorder()
    bind, context = bind_context(pki, "a.pem"), server_context(ca_file=pki.ca)
    Dialler(context).open(world.reactor, near, b"a.example", WHERE, client).begin()
    far.setblocking(True)
    assert far.recv(1, socket.MSG_PEEK)
    far.setblocking(False)
    TlsChannel(world.reactor, far, bind.connection(far), bind, server).begin()
    world.wait(lambda: client.completed and server.completed)


# --- failures ---


def failed(world: World, bind: BindContext, server: ServerContext, sni: bytes | None = b"a.example") -> Two:
    two = Two(world, bind, server, sni)
    world.wait(lambda: two.near.lost and two.far.lost)
    return two


def test_untrusted_server(world: World, pki: Pki) -> None:
    other = pki.write("other-ca.pem", pki.other.certificate_pem)
    two = failed(world, bind_context(pki, "a.pem"), server_context(ca_file=other))
    assert two.near.lost is two.far.lost is Lost.HANDSHAKE
    assert two.client.failure.startswith("server-certificate-unknown-ca: ") and "(haproxy.cfg:12)" in two.client.failure
    assert two.server.failure.startswith("client-rejected-certificate-unknown-ca: ") and "unknown_ca" in two.server.failure


def test_wrong_name(world: World, pki: Pki) -> None:
    two = failed(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca), b"b.example")
    assert two.client.failure.startswith("server-certificate-wrong-name: ")


@pytest.mark.parametrize("name", [b"a.example\0.evil", b"", b"a" * 300, b"a b"])
def test_unusable_names_never_verify(world: World, pki: Pki, name: bytes) -> None:
    two = failed(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca), name)
    assert two.client.failure.startswith("server-certificate-wrong-name: ")


def test_verifyhost_when_there_is_no_sni(world: World, pki: Pki) -> None:
    Two(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca, verify_host="a.example"), None).connect()
    two = failed(world, bind_context(pki, "a.pem"), server_context(ca_file=pki.ca, verify_host="c.example"), None)
    assert two.client.failure.startswith("server-certificate-wrong-name: ")


def test_verify_none_takes_anybody(world: World, pki: Pki) -> None:
    two = Two(world, bind_context(pki, "a.pem"), server_context(verify=Verify.NONE), b"whatever").connect()
    assert two.client.tls is not None and two.client.tls.peer_certificate == pki.a.certificate


def test_old_versions_are_explained(world: World, pki: Pki) -> None:
    near, far = world.pair()
    client, recorder = Recorder(), Recorder()
    context = server_context(verify=Verify.NONE, versions=TlsVersions(highest="TLSv1.2"))
    Dialler(context).open(world.reactor, near, b"a.example", WHERE, client).begin()
    far.setblocking(True)
    hello = far.recv(16384, socket.MSG_PEEK)
    far.setblocking(False)
    bind = bind_context(pki, "a.pem", versions=TlsVersions(lowest="TLSv1.3"))
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
    channel.hello = hello
    channel.begin()
    world.wait(lambda: recorder.lost and client.lost)
    assert channel.failure == (
        "no-common-version: The client offers TLS 1.2 at most; haproxy.cfg:12 allows TLS 1.3 only."
        " To serve it anyway: `ssl-min-ver TLSv1.2` on that bind line."
    )
    assert channel.record is not None and channel.record.error == "unsupported protocol"
    assert channel.record.name == "a.example"


def test_unreadable_hello_does_not_hide_the_reason(world: World, pki: Pki) -> None:
    near, far = world.pair()
    recorder = Recorder()
    near.send(b"GET / HTTP/1.1\r\n\r\n")
    bind = bind_context(pki, "a.pem")
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
    channel.hello = b"GET / HTTP/1.1\r\n\r\n"
    world.wait(lambda: recorder.lost)
    assert channel.failure.startswith("plain-http: ")


def test_no_shared_cipher_is_explained(world: World, pki: Pki) -> None:
    only = TlsVersions(highest="TLSv1.2")
    bind = bind_context(pki, "a.pem", versions=only, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    two = failed(world, bind, server_context(verify=Verify.NONE, versions=only, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"))
    assert two.server.failure.startswith("no-common-cipher: ")
    assert two.client.failure.startswith("peer-rejected-parameters: ")


def test_plain_http_is_explained(world: World, pki: Pki) -> None:
    near, far = world.pair()
    recorder = Recorder()
    bind = bind_context(pki, "a.pem")
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
    near.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    world.wait(lambda: recorder.lost)
    assert channel.failure.startswith("plain-http: The client speaks plain HTTP to the TLS port of haproxy.cfg:12.")


@pytest.mark.parametrize(
    ("begin", "expected"), [(b"", "closed-before-any-byte: "), (b"\x16\x03\x01\x02\x00\x01", "closed-in-client-hello: ")],
)
def test_hang_up_in_the_handshake(world: World, pki: Pki, begin: bytes, expected: str) -> None:
    near, far = world.pair()
    recorder = Recorder()
    bind = bind_context(pki, "a.pem")
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
    near.send(begin)
    near.close()
    world.wait(lambda: recorder.lost)
    assert channel.failure.startswith(expected)


def test_close_during_the_handshake_is_quiet(world: World, pki: Pki) -> None:
    _, far = world.pair()
    recorder = Recorder()
    bind = bind_context(pki, "a.pem")
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
    channel.close()
    assert far.fileno() < 0 and not recorder.events


def test_byte_by_byte(world: World, pki: Pki) -> None:
    """A client whose every record arrives in single bytes: handshake and data still come through."""
    near, far = world.pair()
    recorder = Recorder()
    bind = bind_context(pki, "a.pem")
    channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
    outcome: list[object] = []

    def client() -> None:
        context = ssl.create_default_context(cafile=pki.ca)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="a.example")
        near.setblocking(True)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def pump(step: Any) -> Any:
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    result = None
                out = outgoing.read()
                for at in range(len(out)):
                    near.send(out[at : at + 1])
                if result is not None:
                    return result
                incoming.write(near.recv(65536))

        pump(lambda: tls.do_handshake() or True)
        pump(lambda: tls.write(b"slow"))
        outcome.append(pump(lambda: tls.read(100)))

    thread = threading.Thread(target=client)
    thread.start()
    world.wait(lambda: recorder.data == b"slow")
    channel.send(b"but sure")
    thread.join(10)
    assert outcome == [b"but sure"]


def _unacknowledged(sock: socket.socket) -> int:
    """Segments that the peer has not acknowledged (linux/tcp.h, tcpi_unacked)."""
    (count,) = struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 24)
    return int(count)


@pytest.mark.parametrize("resumes", [False, True])
def test_a_request_is_here_when_the_handshake_is_over(world: World, pki: Pki, resumes: bool) -> None:
    """Nagle's algorithm keeps it back until Finished is acknowledged, so that is done before anybody looks at Finished. What it
    is answered then, tickets and all, is one packet."""
    bind = bind_context(pki, "a.pem")
    context = ssl.create_default_context(cafile=pki.ca)

    def visit(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        near, far = world.pair()
        recorder = Recorder()
        channel = TlsChannel(world.reactor, far, bind.connection(far), bind, recorder)
        recorder.data_received = lambda data: channel.send(b"answer to " + data)  # type: ignore[method-assign]
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="a.example", session=session)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        near.send(outgoing.read())
        world.wait(lambda: has_unread(near.fileno()))
        incoming.write(near.recv(65536))
        tls.do_handshake()
        near.send(outgoing.read())
        assert _unacknowledged(near) == 0
        tls.write(b"request")
        near.send(outgoing.read())
        world.wait(lambda: has_unread(near.fileno()))
        incoming.write(near.recv(65536))
        assert tls.read(100) == b"answer to request"
        return tls.session if session is None or tls.session_reused else None

    session = visit(None)
    assert not resumes or visit(session)


def test_linger_waits_for_a_peer_that_is_still_sending(two: Two) -> None:
    two.server.send(b"413")
    two.server.linger()
    assert two.server.sock.fileno() >= 0  # nothing unread yet, but more is on its way
    two.client.send(b"u" * 1000)
    two.world.wait(lambda: two.near.eof)
    assert two.near.data == b"413"
    two.client.close()
    two.world.wait(lambda: two.server.sock.fileno() < 0)
    assert two.near.lost is None
