"""Which server gets a request, and what happens when it does not answer: balancing, persistence, retries, queues, timeouts and
checks (manual 4.2)."""

from __future__ import annotations

import collections
import pathlib
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from headgate.tls.authority import make_authority
from tests.interop.backends import Backend, Message, Wire, answer, read_request, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import free_port, wait_until
from tests.interop.test_http_messages import GET, one_server

MakeBackend = Callable[..., Backend]


def farm(servers: dict[str, tuple[int, str]], *lines: str) -> str:
    """A listen section with servers: name -> (port, options)."""
    rows = [f"server {name} 127.0.0.1:{port} {options}" for name, (port, options) in servers.items()]
    return "listen web\n bind 127.0.0.1:{port}\n" + "".join(f" {line}\n" for line in (*lines, *rows))


def ask(started: Proxy, target: str = "/", *headers: str) -> Message:
    """A request on a connection of its own."""
    client = started.connect()
    lines = "".join(f"{header}\r\n" for header in headers)
    client.send(f"GET {target} HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n{lines}\r\n".encode())
    reply = read_response(client)
    client.close()
    return reply


def counted(started: Proxy, count: int, target: str = "/", *headers: str) -> dict[str, int]:
    """Which server answered how many of `count` requests; `#` in the target becomes a number."""
    names = [ask(started, target.replace("#", str(number)), *headers).body.decode() for number in range(count)]
    return dict(collections.Counter(names))


def test_roundrobin_by_weight(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    servers = {name: (backend(name=name).port, f"weight {weight}") for name, weight in (("a", 10), ("b", 20), ("c", 30))}
    assert counted(proxy(farm(servers, "balance roundrobin")), 12) == {"a": 2, "b": 4, "c": 6}


@pytest.mark.parametrize("algorithm", ["static-rr", "leastconn", "random", "random(3)"])
def test_algorithms_that_spread(algorithm: str, proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    servers = {name: (backend(name=name).port, "") for name in "abc"}
    assert set(counted(proxy(farm(servers, f"balance {algorithm}")), 60)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("algorithm", "target", "header"),
    [
        ("source", "/#", "X-A: b"), ("uri", "/fixed?#", "X-A: b"), ("url_param user", "/#?user=alice", "X-A: b"),
        ("hdr(X-User)", "/#", "X-User: alice"), ("hash req.hdr(X-User)", "/#", "X-User: alice"), ("first", "/#", "X-A: b"),
    ],
)
def test_algorithms_that_stick(
    algorithm: str, target: str, header: str, proxy: StartProxy, backend: MakeBackend, subject: str
) -> None:
    servers = {name: (backend(name=name).port, "") for name in "abc"}
    if algorithm.startswith("hash") and subject == "haproxy":
        algorithm = "hdr(X-User)"  # "hash <sample>" came after 2.6
    assert list(counted(proxy(farm(servers, f"balance {algorithm}")), 8, target, header).values()) == [8]


@pytest.mark.parametrize("method", ["map-based", "consistent"])
def test_uri_hashes_as_the_real_thing_does(method: str, proxy: StartProxy, backend: MakeBackend) -> None:
    """Server choice is visible to caches: the same URI must go to the same server as with HAProxy. Known by sdbm's definition."""
    names = ["a", "b", "c", "d"]
    servers = {name: (backend(name=name).port, "") for name in names}
    started = proxy(farm(servers, "balance uri", f"hash-type {method}"))
    if method == "consistent":
        assert set(counted(started, 64, "/page-#")) == set(names)
        return
    for number in range(16):
        target, hashed = f"/page-{number}", 0
        for byte in target.encode():
            hashed = (byte + (hashed << 6) + (hashed << 16) - hashed) & 0xFFFFFFFF
        assert ask(started, target).body.decode() == names[hashed % len(names)], target


def test_backup_serves_only_when_the_others_are_gone(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    dead = free_port()
    spare, unused = backend(name="spare"), backend(name="unused")
    servers = {"a": (dead, "check inter 50ms fall 1"), "s": (spare.port, "backup"), "u": (unused.port, "backup")}
    started = proxy(farm(servers, "retries 0", "balance roundrobin"))
    wait_until(lambda: ask(started).body == b"spare", "the dead server is noticed")
    assert counted(started, 6) == {"spare": 6}


def test_all_backups(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    servers = {"a": (free_port(), "disabled"), **{name: (backend(name=name).port, "backup") for name in "st"}}
    assert counted(proxy(farm(servers, "option allbackups", "balance roundrobin")), 6) == {"s": 3, "t": 3}


def test_a_server_comes_back(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    port = free_port()
    started = proxy(farm({"a": (port, "check inter 50ms fall 1 rise 1")}, "retries 0"))
    wait_until(lambda: ask(started).status == 503, "the server is down")
    backend(name="back", listener=socket.create_server(("127.0.0.1", port)))
    wait_until(lambda: ask(started).body == b"back", "the server is up again")


def test_http_check_takes_a_failing_server_out(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    healthy = [True]

    def reply(request: Message) -> bytes:
        failing = request.target == "/health" and not healthy[0]
        return response(b"moody", "500 Broken" if failing else "200 OK", "Connection: close")

    servers = {"m": (backend(answer(reply), name="moody").port, "check inter 50ms fall 2 rise 1"),
               "s": (backend(name="steady").port, "")}
    started = proxy(farm(servers, "option httpchk GET /health", "balance roundrobin"))
    assert set(counted(started, 8)) == {"moody", "steady"}
    healthy[0] = False
    wait_until(lambda: counted(started, 4) == {"steady": 4}, "the failing server is left out")
    healthy[0] = True
    wait_until(lambda: set(counted(started, 4)) == {"moody", "steady"}, "it is back")


@pytest.mark.parametrize("mode", ["insert", "insert indirect nocache", "prefix", "rewrite"])
def test_cookie_persistence(mode: str, proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    kept = {name: backend(answer(response(name.encode(), "200 OK", "Set-Cookie: SRV=app; path=/")), name=name) for name in "ab"}
    servers = {name: (server.port, f"cookie id-{name}") for name, server in kept.items()}
    started = proxy(farm(servers, f"cookie SRV {mode}", "balance roundrobin"))
    first = ask(started)
    cookies = [value.split(";")[0] for value in first.all("set-cookie")]
    name = first.body.decode()
    expected = {"prefix": f"SRV=id-{name}~app", "rewrite": f"SRV=id-{name}"}.get(mode, f"SRV=id-{name}")
    assert expected in cookies
    again = [ask(started, "/", f"Cookie: {expected}; other=1") for _ in range(4)]
    assert {reply.body.decode() for reply in again} == {name}
    sent = kept[name].requests[-1].one("cookie")
    shown = {"prefix": "SRV=app; other=1", "insert indirect nocache": "other=1"}.get(mode, f"{expected}; other=1")
    assert sent == shown


def test_retry_and_redispatch(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    servers = {"dead": (free_port(), ""), "a": (backend(name="a").port, "")}
    started = proxy(farm(servers, "balance roundrobin", "retries 2", "option redispatch 1"))
    assert counted(started, 4) == {"a": 4}


def test_retry_on_a_status(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def reply(request: Message) -> bytes:
        return response(b"busy", "503 Busy") if len(server.requests) < 3 else response(b"finally")

    server = backend(answer(reply))
    started = proxy(one_server(server, "retries 3", "retry-on 503 conn-failure"))
    assert ask(started).body == b"finally"
    assert len(server.requests) == 3


def test_retry_on_an_empty_response(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_request(wire))
        if server.connections > 1:
            wire.send(response(b"second try"))

    assert ask(proxy(one_server(backend(serve), "retries 2", "retry-on all-retryable-errors"))).body == b"second try"


def test_no_retry_once_the_request_may_have_been_processed(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_request(wire))

    server = backend(serve)
    assert ask(proxy(one_server(server, "retries 3"))).status == 502
    assert len(server.requests) == 1


def test_server_maxconn_queues(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    serving = [0]
    most = [0]
    counting = threading.Lock()

    def serve(server: Backend, wire: Wire) -> None:
        request = read_request(wire)
        with counting:
            serving[0] += 1
            most[0] = max(most[0], serving[0])
        server.record(request)
        # answer the first two only once both are here, so that the others must be waiting in the queue
        server.wait_for(lambda self: len(self.requests) >= 2, "two at once")
        with counting:
            serving[0] -= 1  # before the answer: with it the slot is free
        wire.send(response(b"served", "200 OK", "Connection: close"))

    server = backend(serve)
    started = proxy(farm({"one": (server.port, "maxconn 2")}, "option httpclose", "timeout queue 10s"))
    clients = [started.connect() for _ in range(8)]
    for client in clients:
        client.send(GET)
    assert [read_response(client).body for client in clients] == [b"served"] * 8
    assert most[0] == 2


def test_queue_timeout(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_request(wire))
        wire.rest()

    server = backend(serve)
    started = proxy(farm({"one": (server.port, "maxconn 1")}, "timeout queue 300ms"))
    holder = started.connect()
    holder.send(GET)
    server.wait_for(lambda self: self.requests, "the first request")
    assert ask(started).status == 503


def test_frontend_maxconn_leaves_the_rest_in_the_backlog(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    started = proxy(one_server(backend(), "maxconn 1"))
    first, second = started.connect(), started.connect()
    first.send(GET)
    assert read_response(first).body == b"one"
    second.send(GET)
    second.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        second.fill()
    first.close()
    second.socket.settimeout(20)
    assert read_response(second).body == b"one"


def test_server_timeout_is_504(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    def serve(server: Backend, wire: Wire) -> None:
        read_request(wire)
        wire.rest()

    begin = time.monotonic()
    assert ask(proxy(one_server(backend(serve), "timeout server 400ms"))).status == 504
    assert time.monotonic() - begin > 0.39


def test_connect_timeout_is_503(proxy: StartProxy, subject: str) -> None:
    with socket.socket() as full:  # a backlog that is full answers no SYN
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            started = proxy(farm({"one": (address[1], "")}, "timeout connect 200ms", "retries 1"))
            assert ask(started).status == 503
        finally:
            for filler in fillers:
                filler.close()


def test_keep_alive_timeout_closes_an_idle_client(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    client = proxy(one_server(backend(), "timeout http-keep-alive 300ms")).connect()
    client.send(GET)
    assert read_response(client).status == 200
    assert client.at_end()


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("ssl verify required ca-file {dir}/ca.pem sni str(localhost) verifyhost localhost", 200),
        ("ssl verify none", 200),
        ("ssl verify required ca-file {dir}/stranger-ca.pem", 503),
        ("ssl verify required ca-file {dir}/ca.pem sni str(elsewhere.example)", 503),
        ("ssl verify required ca-file {dir}/ca.pem verifyhost elsewhere.example NO-SNI", 503),
        ("ssl verify required ca-file {dir}/ca.pem verifyhost site.example NO-SNI", 200),
    ],
    ids=["verified", "not verified", "unknown issuer", "wrong name", "wrong static name", "right static name"],
)
def test_tls_to_the_server(
    options: str, status: int, proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path, subject: str
) -> None:
    # since 3.3 the Host header becomes the SNI unless that is switched off; 2.6 knows neither
    options = options.replace("NO-SNI", "no-sni-auto" if subject == "headgate" else "")
    path = certificates / "stranger-ca.pem"
    if not path.exists():
        path.write_bytes(make_authority("an unknown issuer").certificate_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "site.pem")
    server = backend(tls=tls)
    started = proxy(farm({"one": (server.port, options.replace("{dir}", str(certificates)))}, "retries 0"))
    assert ask(started).status == status
    assert bool(server.requests) == (status == 200)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", ""])
def test_where_no_name_is_sent_the_static_one_is_verified(
    host: str, proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    """An address in the Host field is not sent as SNI, nor is a field without a value (5.2 sni-auto, verifyhost)."""
    names: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "site.pem")
    tls.sni_callback = lambda sock, name, context: names.append(name)
    server = backend(tls=tls)
    for name, status in (("elsewhere.example", 503), ("site.example", 200)):
        line = f"ssl verify required ca-file {certificates}/ca.pem verifyhost {name}"
        started = proxy(farm({"one": (server.port, line)}, "retries 0"))
        wire = started.connect()
        wire.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert read_response(wire).status == status
        assert not server.requests or status == 200
    assert set(names) == {None}


def test_soft_stop_finishes_what_runs(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    go: list[bool] = []

    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_request(wire))
        server.wait_for(lambda self: go, "the word to go on")
        wire.send(response(b"finished"))

    server = backend(serve)
    started = proxy(one_server(server))
    client = started.connect()
    client.send(GET)
    server.wait_for(lambda self: self.requests, "the request")
    started.program.signal(signal.SIGUSR1)
    wait_until(lambda: _refuses(started.port), "the listener is closed")
    go.append(True)
    with server._changed:
        server._changed.notify_all()
    reply = read_response(client)
    assert (reply.body, reply.one("connection")) == (b"finished", "close")
    assert started.program.wait() == 0


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was closed while we waited to be accepted
        return False
    return False


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_hard_stop(name: str, proxy: StartProxy, backend: MakeBackend) -> None:
    started = proxy(one_server(backend()))
    client = started.connect()
    client.send(GET)
    read_response(client)
    started.program.signal(getattr(signal, name))
    assert started.program.wait() in (0, 128 + getattr(signal, name), -getattr(signal, name))
    assert client.at_end()
    assert re.search("Traceback", started.program.output) is None
