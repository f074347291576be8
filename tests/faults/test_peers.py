"""What peers do wrong, on purpose or not: the right status, the right termination state, and nobody else is disturbed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, LogReceiver, PeerClosed, Wire, answer, read_request, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import free_port
from tests.interop.test_http_messages import GET, one_server
from tests.interop.test_logs import log_line

MakeBackend = Callable[..., Backend]


def still_works(started: Proxy) -> None:
    """A well-behaved client is served as ever."""
    client = started.connect()
    client.send(GET)
    assert read_response(client).status == 200
    client.close()


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLING = {
    "length and chunked": HEAD + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "differing lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "list of differing lengths": HEAD + b"Content-Length: 5, 6\r\n\r\nhello!",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "length with a letter": HEAD + b"Content-Length: 5a\r\n\r\nhello",
    "hexadecimal length": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": HEAD + b"Content-Length: \r\n\r\n",
    "length beyond 64 bits": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "tab before the colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "folded header": HEAD + b"X-A: one\r\n two\r\n\r\n",
    "folded transfer-encoding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "first header folded": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0 with length": b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF between headers": b"GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
    "bare CR in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX\0A: b\r\n\r\n",
    "space in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n",
    "bracket in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX[A]: b\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "bad method": b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /\r\nHost: a\r\n\r\n",
    "wrong protocol": b"GET / HTPP/1.1\r\nHost: a\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    "head too long": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"x" * 20000 + b"\r\n\r\n",
    "target too long": b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.fixture
def logged(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver) -> tuple[Proxy, Backend, LogReceiver]:
    server = backend()
    return proxy(one_server(server, f"log 127.0.0.1:{logs.port} local0", "option httplog")), server, logs


def test_smuggling_table(logged: tuple[Proxy, Backend, LogReceiver]) -> None:
    """Every row in one run: starting a proxy for each would only test starting."""
    started, server, logs = logged
    faults = []
    for name, request in SMUGGLING.items():
        client = started.connect()
        try:
            client.send(request + SMUGGLED)
            answered = client.rest()
        except ConnectionError as error:
            answered = repr(error).encode()
        # 414 and 431 are RFC names for two kinds of 400, 505 for an unknown version
        if answered.split(b" ")[1:2] != [b"400"] or answered.count(b"HTTP/1.") != 1:
            faults.append(f"{name}: {answered[:80]!r}")
        port = client.socket.getsockname()[1]
        client.close()
        line = log_line(logs, f"127.0.0.1:{port} ")
        if (line["state"], line["server"]) != ("PR--", "<NOSRV>"):
            faults.append(f"{name}: {line[0]}")
    assert not faults, "\n".join(faults)
    assert server.requests == [], "nothing may reach the server"
    still_works(started)


BAD_CHUNKS = {
    "no number": b"zz\r\nhello\r\n0\r\n\r\n",
    "negative": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "too long": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "LF only": b"5\nhello\r\n0\r\n\r\n",
    "data longer than said": b"5\r\nhello!\r\n0\r\n\r\n",
    "space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_bad_chunks_never_complete_a_request(name: str, logged: tuple[Proxy, Backend, LogReceiver]) -> None:
    started, server, _ = logged
    client = started.connect()
    client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name] + SMUGGLED)
    answered = client.rest()
    assert answered.startswith(b"HTTP/1.1 400") or answered == b"", answered
    assert server.requests == [], "no complete request may arrive"
    still_works(started)


BAD_RESPONSES = {
    "differing lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 1\r\n\r\nx",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 1\r\n\r\nx",
    "NUL": b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 1\r\n\r\nx",
    "head too long": b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 20000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_bad_responses_are_502(name: str, proxy: StartProxy, backend: MakeBackend, logs: LogReceiver) -> None:
    server = backend(answer(lambda request: BAD_RESPONSES[name] if request.target == "/bad" else response(b"ok")))
    started = proxy(one_server(server, f"log 127.0.0.1:{logs.port} local0", "option httplog"))
    client = started.connect()
    client.send(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
    assert read_response(client).status == 502
    assert log_line(logs, "/bad")["state"] == "PH--"
    still_works(started)


def test_refusing_and_silent_servers_do_not_disturb_a_good_one(proxy: StartProxy, backend: MakeBackend) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    config = f"""
frontend web
    bind 127.0.0.1:{{port}}
    use_backend refusing if {{ path /refusing }}
    use_backend silent if {{ path /silent }}
    default_backend good
backend refusing
    retries 1
    server s 127.0.0.1:{free_port()}
backend silent
    timeout server 500ms
    server s 127.0.0.1:{silent.getsockname()[1]}
backend good
    server s 127.0.0.1:{backend().port}
"""
    started = proxy(config)
    with silent:
        waiting = {}
        for target in ("/refusing", "/silent"):
            waiting[target] = started.connect()
            waiting[target].send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        for _ in range(10):
            still_works(started)
        statuses = {target: read_response(client).status for target, client in waiting.items()}
    assert statuses == {"/refusing": 503, "/silent": 504}


def test_server_that_dies_in_a_chunked_response(proxy: StartProxy, backend: MakeBackend) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        if read_request(wire).target == "/bad":
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        else:
            wire.send(response(b"ok", "200 OK", "Connection: close"))

    started = proxy(one_server(backend(serve)))
    client = started.connect()
    client.send(b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n")
    with pytest.raises(PeerClosed):  # never a last chunk: the client must see that it is cut
        read_response(client)
    still_works(started)


def test_client_of_one_byte_at_a_time_is_cut_by_the_request_timeout(proxy: StartProxy, backend: MakeBackend) -> None:
    """`timeout http-request` runs from the first byte to the last of the head; bytes that trickle in do not prolong it."""
    started = proxy(one_server(backend(), "timeout http-request 600ms"))
    client = started.connect()
    client.socket.settimeout(0.05)
    trickled = 0
    try:
        for byte in b"GET / HTTP/1.1\r\nHost: " + b"a" * 400:
            client.send(bytes([byte]))
            trickled += 1
            try:
                if not client.fill() or client.buffer:
                    break
            except TimeoutError:
                continue
    except ConnectionError:
        pass
    assert 0 < trickled < 100
    assert client.buffer.startswith(b"HTTP/1.1 408 ")
    still_works(started)


def test_many_slow_clients_do_not_hold_up_a_fast_one(proxy: StartProxy, backend: MakeBackend) -> None:
    started = proxy(one_server(backend(), "timeout http-request 5s"))
    slow = [started.connect() for _ in range(200)]
    for client in slow:
        client.send(b"G")
    for _ in range(20):
        still_works(started)


def _pipeline(started: Proxy, count: int) -> None:
    client = started.connect()

    def send() -> None:
        batch = GET * 1000
        for _ in range(count // 1000):
            client.send(batch)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    reply = b"HTTP/1.1 200 "
    seen, tail = 0, b""
    while seen < count:
        part = client.socket.recv(1 << 18)
        assert part, f"cut after {seen} responses"
        tail += part
        seen += tail.count(reply)
        tail = tail[tail.rfind(reply) + len(reply) :] if reply in tail else tail
        tail = tail[-(len(reply) - 1) :]
    sender.join(20)


def test_pipelined_requests_in_great_number(proxy: StartProxy, backend: MakeBackend) -> None:
    """Ten thousand here, a million in the soak test; memory stays where it was."""
    started = proxy(one_server(backend(), "http-request return status 200"))
    _pipeline(started, 1000)
    before = started.program.resident_kb()
    _pipeline(started, 10_000)
    assert started.program.resident_kb() - before < 4096
    still_works(started)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_pipelined_requests(proxy: StartProxy, backend: MakeBackend) -> None:
    started = proxy(one_server(backend(), "http-request return status 200"))
    _pipeline(started, 10_000)
    before = started.program.resident_kb()
    _pipeline(started, 1_000_000)
    assert started.program.resident_kb() - before < 8192


def test_client_that_sends_and_never_reads(proxy: StartProxy, backend: MakeBackend) -> None:
    """Pipelining without reading: the proxy stops reading in its turn instead of piling up answers."""
    started = proxy(one_server(backend(), 'http-request return status 200 content-type text/plain string "' + "x" * 400 + '"'))
    client = started.connect()
    before = started.program.resident_kb()
    client.socket.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        for _ in range(2000):
            client.send(GET * 1000)
            sent += 1000
    assert started.program.resident_kb() - before < 16384, f"after {sent} requests"
    still_works(started)


def test_tls_handshakes_that_come_to_nothing(proxy: StartProxy, backend: MakeBackend, certificates: object) -> None:
    config = f"""
frontend web
    bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem
    bind 127.0.0.1:PLAIN
    timeout client 1s
    default_backend app
backend app
    server one 127.0.0.1:{backend().port}
"""
    plain = free_port()
    started = proxy(config.replace("PLAIN", str(plain)), extra_ports=(plain,))
    for opening in (GET, b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b""):
        client = started.connect()
        client.send(opening)
        if opening:
            client.socket.shutdown(socket.SHUT_WR)
        client.rest()  # an alert or nothing, but an end
        other = started.connect(plain)
        other.send(GET)
        assert read_response(other).status == 200
