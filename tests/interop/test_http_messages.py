"""HTTP/1 messages through the proxy: lengths, chunks, trailers, HEAD, 1xx, Expect, early answers, pipelining (RFC 9112)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, Message, Wire, answer, read_head, read_request, read_response, response
from tests.interop.conftest import StartProxy

MakeBackend = Callable[..., Backend]
GET = b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n"
CONFIG = "listen web\n bind 127.0.0.1:{port}\n server one 127.0.0.1:BACKEND\n"


def one_server(server: Backend, *lines: str) -> str:
    """A listen section with one server and these lines more."""
    return CONFIG.replace("BACKEND", str(server.port)) + "".join(f" {line}\n" for line in lines)


def test_get(proxy: StartProxy, backend: MakeBackend) -> None:
    server = backend(answer(response(b"hello", "200 Fine", "X-One: 1", "X-One: 2")))
    client = proxy(one_server(server)).connect()
    client.send(b"GET /a?b=c HTTP/1.1\r\nHost: site.example\r\nX-Two: 3\r\n\r\n")
    reply = read_response(client)
    assert (reply.start, reply.body, reply.all("x-one")) == (("HTTP/1.1", "200", "Fine"), b"hello", ["1", "2"])
    request = server.requests[0]
    assert request.start == ("GET", "/a?b=c", "HTTP/1.1")
    assert (request.one("host"), request.one("x-two")) == ("site.example", "3")


def test_keep_alive_on_both_sides(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server)).connect()
    for _ in range(5):
        client.send(GET)
        assert read_response(client).body == b"one"
    assert (server.connections, len(server.requests)) == (1, 5)


def test_http_1_0_closes(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    client = proxy(one_server(backend())).connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert read_response(client).body == b"one"
    assert client.at_end()


def test_http_1_0_keep_alive_when_asked(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    client = proxy(one_server(backend())).connect()
    for _ in range(2):
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert read_response(client).body == b"one"


def test_pipelined_requests_are_answered_in_order(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(lambda request: response(request.target.encode())))
    client = proxy(one_server(server)).connect()
    targets = [f"/{number}" for number in range(50)]
    client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target.encode() for target in targets))
    assert [read_response(client).body.decode() for _ in targets] == targets


def test_request_arrives_byte_by_byte(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server)).connect()
    for byte in b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc":
        client.send(bytes([byte]))
    assert read_response(client).status == 200
    assert server.requests[0].body == b"abc"


def test_chunked_request_with_trailers(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server)).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n")
    assert read_response(client).status == 200
    request = server.requests[0]
    assert (request.body, request.chunked) == (b"hello world", True)
    assert [(name.lower(), value) for name, value in request.trailers] == [("x-sum", "42")]


def test_chunked_response_with_trailers(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                            b"4\r\nwiki\r\n5\r\npedia\r\n0\r\nX-End: yes\r\n\r\n"))
    client = proxy(one_server(server)).connect()
    for _ in range(2):  # the connection stays usable
        client.send(GET)
        reply = read_response(client)
        assert (reply.body, reply.chunked) == (b"wikipedia", True)
        assert [(name.lower(), value) for name, value in reply.trailers] == [("x-end", "yes")]
    assert server.connections == 1


def test_response_until_close(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        read_request(wire)
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nno length")

    client = proxy(one_server(backend(serve))).connect()
    client.send(GET)
    assert read_response(client).body == b"no length"


def test_http_1_0_server(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        read_request(wire)
        wire.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")

    server = backend(serve)
    client = proxy(one_server(server)).connect()
    for _ in range(2):
        client.send(GET)
        assert read_response(client).body == b"old"
    assert server.connections == 2


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_responses_without_a_body(status: str, proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(f"HTTP/1.1 {status}\r\nETag: a\r\n\r\n".encode()))
    client = proxy(one_server(server)).connect()
    for _ in range(3):
        client.send(GET)
        assert read_response(client).status == int(status[:3])
    assert server.connections == 1


def test_head_has_a_length_and_no_body(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"))
    client = proxy(one_server(server)).connect()
    for _ in range(3):
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_response(client, "HEAD").one("content-length") == "1000"
    assert server.connections == 1


def test_early_hints_are_forwarded(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + response(b"page")))
    client = proxy(one_server(server)).connect()
    for _ in range(2):
        client.send(GET)
        hint = read_response(client)
        assert (hint.status, hint.one("link")) == (103, "</a.css>")
        assert read_response(client).body == b"page"


def test_expect_100_continue(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        request = read_head(wire)
        assert request.one("expect") == "100-continue"
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.body = wire.exactly(5)
        server.record(request)
        wire.send(response(b"thanks"))

    server = backend(serve)
    client = proxy(one_server(server)).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert read_response(client).status == 100
    client.send(b"hello")
    assert read_response(client).body == b"thanks"
    assert server.requests[0].body == b"hello"


def test_expect_answered_with_a_final_status(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        read_head(wire)
        wire.send(response(b"too large", "413 Content Too Large", "Connection: close"))

    client = proxy(one_server(backend(serve))).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n")
    assert read_response(client).status == 413


def test_early_response_while_the_body_is_sent(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        read_head(wire)
        wire.send(response(b"no", "403 Forbidden"))
        wire.rest()

    client = proxy(one_server(backend(serve))).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
    reply = read_response(client)
    assert (reply.status, reply.body) == (403, b"no")


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 1_000_000])
def test_bodies_of_all_sizes_both_ways(size: int, proxy: StartProxy, backend: MakeBackend) -> None:
    server = backend(answer(lambda request: response(request.body)))
    client = proxy(one_server(server)).connect()
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body)
    assert read_response(client).body == body


def test_chunked_upload_of_many_chunks(proxy: StartProxy, backend: MakeBackend) -> None:
    server = backend(answer(lambda request: response(str(len(request.body)).encode())))
    client = proxy(one_server(server)).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(200):
        client.send(b"3e8\r\n" + b"y" * 1000 + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert read_response(client).body == b"200000"


def test_hop_by_hop_headers_are_not_forwarded(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(response(b"ok", "200 OK", "Connection: keep-alive", "Keep-Alive: timeout=5")))
    client = proxy(one_server(server)).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    reply = read_response(client)
    assert "keep-alive" not in [value.lower() for value in reply.all("connection")]
    assert server.requests[0].all("connection") in ([], ["close"])


def _echo_target(request: Message) -> bytes:
    return response(request.target.encode())


@pytest.mark.parametrize("target", ["*", "http://other.example/path?q", "/%C3%A9/..;a=b"])
def test_target_forms(target: str, proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(answer(_echo_target))
    client = proxy(one_server(server)).connect()
    method = "OPTIONS" if target == "*" else "GET"
    host = "other.example" if target.startswith("http") else "a"
    client.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert read_response(client).body.decode() == target
