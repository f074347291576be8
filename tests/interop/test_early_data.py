"""`allow-0rtt` (manual 5.1) with the rules of RFC 8470: what may be done with early data, and what waits for the handshake."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, Message, answer, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.early_client import EarlyClient, Sessions

MakeBackend = Callable[..., Backend]


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


class Site:
    """A proxy with a TLS line, and a server behind it."""

    def __init__(
        self, proxy: StartProxy, server: Backend, certificates: pathlib.Path, *lines: str, bind: str = "allow-0rtt",
        mode: str = "http", more: str = "",
    ) -> None:
        self.server = server
        rules = "\n                ".join(lines)
        self.proxy: Proxy = proxy(
            f"""
            {more}
            defaults
                mode {mode}
                timeout connect 5s
                timeout client 20s
                timeout server 20s
                timeout client-hs 20s
            frontend web
                bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem {bind}
                {rules}
                default_backend app
            backend app
                server one 127.0.0.1:{server.port}
            """
        )
        self.address = ("127.0.0.1", self.proxy.port)

    def sessions(self, **options: bytes) -> Sessions:
        """With one session in it."""
        made = Sessions(self.proxy.stack, **options)
        assert b"200 OK" in made.visit(self.address, get("/first"))
        return made

    def seen(self) -> list[tuple[str, str | None]]:
        """Targets and Early-Data of the requests that the server has, without the first."""
        return [(one.target, one.one("early-data")) for one in self.server.requests[1:]]


def test_a_request_in_early_data_is_forwarded_at_once(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    site = Site(
        proxy, backend(), certificates,
        "http-request set-header X-Has %[ssl_fc_has_early]", "http-request set-header X-Received %[ssl_fc_early_rcvd]",
    )
    client = EarlyClient(site.sessions(), site.address)
    client.send_early(get("/early"))
    site.server.wait_for(lambda server: len(server.requests) == 2, "the server has the request before the handshake is over")
    assert site.seen() == [("/early", "1")]
    client.finish()
    assert client.resumed
    assert client.answer().endswith(b"one")
    client.send(get("/late"))
    assert client.answer().endswith(b"one")
    assert site.seen() == [("/early", "1"), ("/late", None)]
    early, late = site.server.requests[1:]
    assert (early.one("x-has"), early.one("x-received")) == ("1", "1")
    assert (late.one("x-has"), late.one("x-received")) == ("0", "1")
    assert site.server.requests[0].one("x-received") == "0"


def test_several_requests_and_a_body(proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path) -> None:
    site = Site(proxy, backend(answer(lambda request: response(request.target.encode() + request.body))), certificates)
    client = EarlyClient(site.sessions(), site.address)
    body = b"x" * 5000
    client.send_early(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n" + body[:1000])
    client.send_early(body[1000:] + get("/b"))
    client.finish()
    assert client.answer().endswith(b"/a" + body)
    assert client.answer().endswith(b"/b")
    assert [target for target, _ in site.seen()] == ["/a", "/b"]


def test_wait_for_handshake(proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path) -> None:
    site = Site(
        proxy, backend(), certificates,
        "http-request add-header X-Before yes", "http-request wait-for-handshake if { path /pay }",
        "http-request add-header X-Behind yes",
    )
    sessions = site.sessions()
    waiting, other = EarlyClient(sessions, site.address), EarlyClient(sessions, site.address)
    waiting.send_early(get("/pay"))
    # One worker: what comes behind it is at the server first.
    other.send_early(get("/look"))
    site.server.wait_for(lambda server: len(server.requests) == 2, "the request that need not wait is there")
    assert site.seen() == [("/look", "1")]
    waiting.finish()
    assert waiting.answer().endswith(b"one")
    assert site.seen() == [("/look", "1"), ("/pay", None)]
    paid = site.server.requests[2]
    assert (paid.all("x-before"), paid.all("x-behind")) == (["yes"], ["yes"])  # each rule ran once


def test_a_client_that_leaves_while_it_is_waited_for(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    site = Site(proxy, backend(), certificates, "http-request wait-for-handshake if { path /pay }")
    sessions = site.sessions()
    client = EarlyClient(sessions, site.address)
    client.send_early(get("/pay"))
    client.close()
    assert b"200 OK" in sessions.visit(site.address, get("/after"))
    assert [target for target, _ in site.seen()] == ["/after"]


def too_early(request: Message) -> bytes:
    return response(b"later", "425 Too Early") if request.one("early-data") else response(b"now")


def test_425_goes_to_the_client(proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path) -> None:
    site = Site(proxy, backend(answer(too_early)), certificates)
    client = EarlyClient(site.sessions(), site.address)
    client.send_early(get("/order"))
    site.server.wait_for(lambda server: len(server.requests) == 2, "the server was asked")
    client.finish()
    assert b"425 Too Early" in client.answer()
    client.send(get("/order"))
    assert client.answer().endswith(b"now")
    assert site.seen() == [("/order", "1"), ("/order", None)]


def test_a_header_of_the_clients_own_is_kept(proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path) -> None:
    """A client that is a proxy says it of requests that it forwards (RFC 8470 5.1)."""
    site = Site(proxy, backend(), certificates)
    client = EarlyClient(site.sessions(), site.address)
    client.finish()
    client.send(get("/told", "Early-Data: 1"))
    assert client.answer().endswith(b"one")
    assert site.seen() == [("/told", "1")]


@pytest.mark.parametrize("mode", ["without ALPN", "tcp"])
def test_held_until_the_handshake_is_over(
    mode: str, proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    """Where the server could not be told: without ALPN (manual 5.1 allow-0rtt), and in TCP mode."""
    if mode == "tcp":
        site = Site(proxy, backend(), certificates, bind="allow-0rtt alpn http/1.1", mode="tcp")
        sessions = site.sessions()
    else:
        site = Site(proxy, backend(), certificates)
        sessions = site.sessions(alpn=b"")
    held, other = EarlyClient(sessions, site.address), EarlyClient(sessions, site.address)
    held.send_early(get("/held"))
    other.send_early(get("/other"))
    other.finish()
    assert other.answer().endswith(b"one")
    assert site.seen() == [("/other", None)]
    held.finish()
    assert held.answer().endswith(b"one")
    assert site.seen() == [("/other", None), ("/held", None)]


def test_a_handshake_that_is_never_finished(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    site = Site(proxy, backend(), certificates, "timeout client-hs 300ms")
    client = EarlyClient(site.sessions(), site.address)
    client.send_early(get("/early"))
    site.server.wait_for(lambda server: len(server.requests) == 2, "the server has the request")
    while client.socket.recv(65536):
        pass  # ServerHello and what follows; then the end, though `timeout client` is much longer


def test_an_answer_that_closes_waits_for_the_handshake(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    site = Site(proxy, backend(), certificates, "http-request deny if { path /denied }")
    client = EarlyClient(site.sessions(), site.address)
    client.send_early(get("/denied", "Connection: close"))
    client.finish()
    assert b"403 Forbidden" in client.answer()
    assert client.receive() == b""


def test_a_large_answer_waits_for_the_handshake(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path
) -> None:
    large = bytes(range(256)) * 12000
    site = Site(
        proxy, backend(answer(lambda request: response(large if request.target == "/large" else b"small"))), certificates
    )
    client = EarlyClient(site.sessions(), site.address)
    client.send_early(get("/large"))
    site.server.wait_for(lambda server: len(server.requests) == 2, "the server was asked")
    client.finish()
    assert client.answer().endswith(large)
    client.send(get("/small"))
    assert client.answer().endswith(b"small")


def test_more_early_data_than_is_taken(proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path) -> None:
    """A client that does not keep to what its ticket allows is sent away, and nobody else notices."""
    site = Site(proxy, backend(), certificates)
    sessions = site.sessions()
    client = EarlyClient(sessions, site.address)
    client.send_early(get("/early"))
    site.server.wait_for(lambda server: len(server.requests) == 2, "the server was asked")
    client.socket.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))  # no such record
    while client.socket.recv(65536):
        pass
    assert b"200 OK" in sessions.visit(site.address, get("/after"))


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("bind", "verdict"), [("allow-0rtt", "Early data was accepted"), ("", "Early data was not sent")])
def test_with_s_client(
    bind: str, verdict: str, proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    site = Site(
        proxy, backend(), certificates, bind=bind,
        more="global\n                nbthread 2" if bind else "",  # whichever worker it reaches
    )
    request = tmp_path / "request"
    request.write_bytes(get("/", "Connection: close"))
    command = [
        "openssl", "s_client", "-connect", f"127.0.0.1:{site.proxy.port}", "-servername", "localhost", "-tls1_3",
        "-alpn", "http/1.1", "-ign_eof",
    ]

    def run(*more: str) -> str:
        with request.open("rb") as stdin:
            done = subprocess.run([*command, *more], stdin=stdin, capture_output=True, timeout=30, check=False)
        return done.stdout.decode("latin-1")

    session = str(tmp_path / "session.pem")
    assert "200 OK" in run("-sess_out", session)
    for _ in range(4):
        seen = run("-sess_in", session, "-early_data", str(request))
        assert verdict in seen and "200 OK" in seen
