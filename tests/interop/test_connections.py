"""Connections of HTTP proxies: reuse, closing modes, tunnels, half-close, slow readers (manual 4.2)."""

from __future__ import annotations

import pathlib
import socket
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, Wire, answer, read_head, read_request, read_response, response
from tests.interop.conftest import StartProxy
from tests.interop.programs import wait_until
from tests.interop.test_http_messages import GET, one_server
from tests.interop.tls_client import client_context, visit

MakeBackend = Callable[..., Backend]


def _sessions(proxy: StartProxy, server: Backend, *lines: str) -> int:
    """Server connections that three client connections of two requests each make."""
    started = proxy(one_server(server, *lines))
    for _ in range(3):
        client = started.connect()
        for _ in range(2):
            client.send(GET)
            assert read_response(client).body == b"one"
        client.close()
    return server.connections


@pytest.mark.parametrize(("mode", "connections"), [("never", 3), ("aggressive", (1, 2)), ("always", 1)])
def test_http_reuse(
    mode: str, connections: int | tuple[int, int], proxy: StartProxy, backend: MakeBackend, subject: str
) -> None:
    made = _sessions(proxy, backend(), f"http-reuse {mode}")
    if subject == "haproxy" and mode == "always":
        connections = (1, 2)  # its client may see the end of a response, and ask again, before the connection counts as idle
    assert made in (connections if isinstance(connections, tuple) else (connections,))


def test_http_reuse_safe_opens_a_connection_for_a_first_request(proxy: StartProxy, backend: MakeBackend) -> None:
    # "the first request of a session is always sent over its own connection": an idle one is taken by second requests only
    assert _sessions(proxy, backend(), "http-reuse safe") == 3


def test_http_server_close(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server, "option http-server-close")).connect()
    for _ in range(3):
        client.send(GET)
        assert read_response(client).body == b"one"
    assert server.connections == 3
    assert server.requests[0].one("connection") == "close"


def test_httpclose(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server, "option httpclose")).connect()
    client.send(GET)
    reply = read_response(client)
    assert (reply.body, reply.one("connection")) == (b"one", "close")
    assert client.at_end()
    assert server.requests[0].one("connection") == "close"


def test_idle_server_connection_that_was_closed_is_not_noticed(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_request(wire))
        wire.send(response(b"once"))  # and close

    server = backend(serve)
    client = proxy(one_server(server, "http-reuse always")).connect()
    for count in range(1, 6):
        client.send(GET)
        assert read_response(client).body == b"once"
        server.wait_for(lambda self, count=count: self.open_connections == 0 and self.connections == count, "closed")


UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_websocket_upgrade(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_head(wire))
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nfirst")
        while wire.buffer or wire.fill():
            data, wire.buffer = wire.buffer, b""
            wire.send(data.upper())

    server = backend(serve)
    client = proxy(one_server(server, "timeout tunnel 10s")).connect()
    client.send(UPGRADE)
    reply = read_head(client)
    assert (reply.status, (reply.one("upgrade") or "").lower()) == (101, "websocket")
    assert client.exactly(5) == b"first"
    for word in (b"hello", b"x" * 100_000):
        client.send(word)
        assert client.exactly(len(word)) == word.upper()
    request = server.requests[0]
    assert ((request.one("upgrade") or "").lower(), (request.one("connection") or "").lower()) == ("websocket", "upgrade")


def test_connect_tunnel(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_head(wire))
        wire.send(b"HTTP/1.1 200 Connected\r\n\r\n")
        wire.send(wire.exactly(4)[::-1])

    client = proxy(one_server(backend(serve))).connect()
    client.send(b"CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n")
    assert read_head(client).status == 200
    client.send(b"abcd")
    assert client.exactly(4) == b"dcba"
    assert client.at_end()


def test_client_shuts_its_sending_side_after_the_request(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    # By default the proxy may drop a request whose client shut its half before the server was reached (abortonclose, 4.2).
    client = proxy(one_server(server, "no option abortonclose")).connect()
    client.send(GET)
    client.socket.shutdown(socket.SHUT_WR)
    assert read_response(client).body == b"one"
    assert client.at_end()


def test_slow_reader_costs_a_constant_few_buffers(proxy: StartProxy, backend: MakeBackend) -> None:
    size = 256 << 20

    def serve(server: Backend, wire: Wire) -> None:
        read_request(wire)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        part = bytes(1 << 20)
        for _ in range(size >> 20):
            wire.send(part)
        server.record(read_request(wire))

    server = backend(serve)
    started = proxy(one_server(server))
    client = started.connect()
    before = started.program.resident_kb()
    client.send(GET)
    client.until(b"\r\n\r\n")
    received = len(client.buffer)
    client.buffer = b""
    peak = 0
    while received < size:
        part = len(client.socket.recv(1 << 20))
        assert part
        received += part
        peak = max(peak, started.program.resident_kb())
    assert peak - before < 8192, "256 MB went through"
    client.send(GET)
    server.wait_for(lambda self: self.requests, "the connection is usable after it")


def test_a_tls_connection_that_is_over_gives_its_memory_back(proxy: StartProxy, certificates: pathlib.Path) -> None:
    """However long its timeouts would have been; what stays is a record of the handshake."""
    started = proxy(
        f"""
        frontend web
            timeout client 1h
            bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem
            http-request return status 200
        """
    )
    context = client_context(certificates)
    visit(context, ("127.0.0.1", started.port))
    before = started.program.resident_kb()
    for _ in range(200):
        visit(context, ("127.0.0.1", started.port))
    # OpenSSL has 21 kB for a connection.
    assert started.program.resident_kb() - before < 2048


def test_large_upload_waits_for_a_slow_server(proxy: StartProxy, backend: MakeBackend) -> None:
    size = 128 << 20

    def serve(server: Backend, wire: Wire) -> None:
        head = read_head(wire)
        left = size - len(wire.buffer)
        wire.buffer = b""
        while left:
            part = len(wire.socket.recv(1 << 18))
            assert part
            left -= part
        server.record(head)
        wire.send(response(b"all of it"))

    server = backend(serve)
    started = proxy(one_server(server))
    client = started.connect()
    before = started.program.resident_kb()
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    part, peak = bytes(1 << 20), 0
    for _ in range(size >> 20):
        client.send(part)
        peak = max(peak, started.program.resident_kb())
    assert read_response(client).body == b"all of it"
    assert peak - before < 8192, "128 MB went through"


def test_a_stuck_client_does_not_disturb_others(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    big = response(bytes(32 << 20))
    server = backend(answer(lambda request: big if request.target == "/big" else response(b"small")))
    started = proxy(one_server(server))
    stuck = started.connect()
    stuck.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: server.requests, "the stuck client's request arrives")
    other = started.connect()
    for _ in range(50):
        other.send(GET)
        assert read_response(other).body == b"small"


def test_many_clients_at_once(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(lambda request: response(request.target.encode())))
    started = proxy(one_server(server))
    clients = [started.connect() for _ in range(100)]
    for number, client in enumerate(clients):
        client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    assert [read_response(client).body for client in clients] == [b"/%d" % number for number in range(100)]
