"""`allow-0rtt` on server lines (manual 5.2): what goes with the ClientHello to nginx and `openssl s_server`, and what follows."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from headgate.wire.client_hello import ClientHello, parse_client_hello
from headgate.wire.hello_length import bytes_wanted
from tests.interop.backends import Backend, LogReceiver, Message, Wire, answer, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.early_client import EarlyClient, Sessions
from tests.interop.programs import DEADLINE, Program, ask_socket, free_port, start_nginx, wait_until

MakeBackend = Callable[..., Backend]

CONF = """
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificates}/site.pem;
    ssl_certificate_key {certificates}/site.pem;
    ssl_session_ticket_key {directory}/tickets;
    ssl_early_data {early};
    ssl_protocols {protocols};
    large_client_header_buffers 4 64k;
    location / {{
        proxy_pass http://127.0.0.1:{behind};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header X-Came-Early $ssl_early_data;
        proxy_set_header X-Resumed $ssl_session_reused;
    }}
}}
"""


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


class Gate:
    """Passes bytes between the proxy and a server; while it is held, nothing goes back to the proxy.

    So what the server has by then was sent early: our Finished can't be there yet, since its own never came to us.

    Attributes:
        port: where the proxy finds it.
    """

    def __init__(self, target: int, backend: MakeBackend) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self.port = backend(self._pass).port

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def _pass(self, _: Backend, wire: Wire) -> None:
        near = wire.socket
        with socket.create_connection(("127.0.0.1", self._target), DEADLINE) as far:
            back = threading.Thread(target=self._pass_back, args=(far, near), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := near.recv(65536):
                    far.sendall(data)
                far.shutdown(socket.SHUT_WR)
            back.join(DEADLINE)

    def _pass_back(self, far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                self._open.wait(DEADLINE)
                near.sendall(data)
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_WR)


class Site:
    """A proxy with a TLS line (and a plain one), nginx as its server, and behind that one who notes the requests.

    Attributes:
        gate: between proxy and nginx.
    """

    def __init__(
        self, proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path, directory: pathlib.Path, logs: LogReceiver
    ) -> None:
        self._proxy = proxy
        self.behind = backend(answer(lambda request: response(request.target.encode())))
        self.certificates = certificates
        self.directory = directory
        self.logs = logs
        self.port, self.plain = free_port(), free_port()
        self.gate = Gate(self.port, backend)
        self.nginx: Program | None = None
        (directory / "tickets").write_bytes(os.urandom(80))

    def serve(self, early: str = "on", protocols: str = "TLSv1.3") -> None:
        """Have nginx begin, or begin anew with other settings and the same keys of tickets."""
        self.stop()
        conf = CONF.format(
            port=self.port, certificates=self.certificates, directory=self.directory, early=early, protocols=protocols,
            behind=self.behind.port,
        )
        self.nginx = start_nginx(conf, self.directory, [self.port])

    def stop(self) -> None:
        if self.nginx is not None:
            self.nginx.stop()
            self.nginx = None

    def begin(self, *lines: str, server: str = "", mode: str = "http", settings: str = "") -> Site:
        rules = "\n                ".join(lines)
        self.proxy: Proxy = self._proxy(
            f"""
            global
                stats socket {self.directory}/stats.sock level admin
                log 127.0.0.1:{self.logs.port} local0
                nbthread 1
                {settings}
            defaults
                mode {mode}
                log global
                option {mode}log
                timeout connect 5s
                timeout client 20s
                timeout server 20s
                http-reuse never
            frontend web
                bind 127.0.0.1:{{port}} ssl crt {self.certificates}/site.pem allow-0rtt alpn http/1.1
                bind 127.0.0.1:{self.plain}
                {"monitor-uri /session" if mode == "http" else ""}
                default_backend app
            backend app
                {rules}
                server one 127.0.0.1:{self.gate.port} ssl verify none sni str(localhost) allow-0rtt {server}
            """,
            extra_ports=(self.plain,),
        )
        return self

    def ask(self, request: bytes, method: str = "GET") -> Message:
        """On a connection of its own, without TLS."""
        wire = self.proxy.connect(self.plain)
        wire.send(request)
        found = read_response(wire, method)
        wire.close()
        return found

    def ask_early(self, request: bytes) -> Message:
        """As `ask`; the server has it before the proxy has heard anything of the server."""
        wire = self.proxy.connect(self.plain)
        with self.held():
            wire.send(request)
        found = read_response(wire)
        wire.close()
        return found

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The server has a request, sent within, that it can only have as early data."""
        before = len(self.behind.requests)
        with self.gate.held():
            yield
            self.behind.wait_for(lambda behind: len(behind.requests) > before, "it comes early")

    def first(self) -> Site:
        """The request that brings sessions."""
        assert self.ask(get("/first", "Connection: close")).status == 200
        return self

    def early_client(self, request: bytes, visit: bytes = get("/session")) -> EarlyClient:
        """A client that has sent a request as early data, and whose handshake is not over.

        Args:
            request: what it sends.
            visit: the request of the connection that gave it its session; this one the proxy answers itself, in HTTP mode.
        """
        address = ("127.0.0.1", self.proxy.port)
        sessions = Sessions(self.proxy.stack)
        assert b"200 OK" in sessions.visit(address, visit)
        client = EarlyClient(sessions, address)
        client.send_early(request)
        return client

    def seen(self) -> list[tuple[str, bool, str | None]]:
        """Requests that came through: target, whether nginx had it before its handshake was over, `Early-Data`."""
        requests = [one for one in self.behind.requests if one.target != "/first"]
        return [(one.target, one.one("x-came-early") == "1", one.one("early-data")) for one in requests]

    def reuse(self) -> dict[str, int]:
        """Handshakes of traffic: connections, resumed, full, failed."""
        lines = json.loads(ask_socket(self.directory / "stats.sock", "show ssl reuse json"))
        (line,) = [one for one in lines if one["kind"] == "traffic"]
        return {name: line[name] for name in ("connections", "resumed", "failed")}

    def stat(self, name: str) -> str:
        """A field of the server."""
        head, *rows = ask_socket(self.directory / "stats.sock", "show stat").lstrip("# ").splitlines()
        row = next(row for row in rows if row.startswith("app,one,"))
        return row.split(",")[head.split(",").index(name)]


@pytest.fixture
def site(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path, tmp_path: pathlib.Path, logs: LogReceiver,
    stack: contextlib.ExitStack,
) -> Site:
    made = Site(proxy, backend, certificates, tmp_path, logs)
    stack.callback(made.stop)
    made.serve()
    return made


REJECTED = "retry-on 0rtt-rejected conn-failure"


# --- nginx ---


@pytest.mark.needs("nginx")
def test_accepted(site: Site) -> None:
    site.begin(REJECTED).first()
    assert site.ask_early(get("/a")).body == b"/a"
    assert site.ask_early(get("/b")).body == b"/b"
    assert site.seen() == [("/a", True, None), ("/b", True, None)]
    assert site.reuse() == {"connections": 3, "resumed": 2, "failed": 0}
    assert site.stat("wretr") == "0"


@pytest.mark.needs("nginx")
def test_its_secret_is_in_the_key_log(site: Site) -> None:
    """`ssl_bc_client_early_traffic_secret` (7.3.4) is what Wireshark needs to read it."""
    rule = "http-response set-header X-Secret %[ssl_bc_client_early_traffic_secret,length]"
    site.begin(REJECTED, rule, settings="tune.ssl.keylog on").first()
    assert site.ask(get("/a")).one("x-secret") == "96"  # SHA-384 in hexadecimal


@pytest.mark.needs("nginx")
def test_without_a_reason_nothing_is_early(site: Site) -> None:
    site.begin().first()
    assert site.ask(get("/a")).body == b"/a"
    assert site.seen() == [("/a", False, None)]
    assert site.reuse() == {"connections": 2, "resumed": 1, "failed": 0}


@pytest.mark.needs("nginx")
def test_a_clients_early_data_is_passed_on_early(site: Site) -> None:
    site.begin().first()
    with site.held():
        client = site.early_client(get("/a"))
    assert site.seen() == [("/a", True, "1")]
    client.finish()
    assert client.answer().endswith(b"/a")
    client.send(get("/b"))  # on the connection that is there
    assert client.answer().endswith(b"/b")
    assert site.seen()[1:] == [("/b", False, None)]


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("protocols", ["TLSv1.3", "TLSv1.2 TLSv1.3"])
def test_rejected_and_retried(site: Site, protocols: str) -> None:
    """On the connection that is there: early data that is not taken is no failure, and the session is resumed all the same."""
    site.begin(REJECTED).first()
    site.serve("off", protocols)
    assert site.ask(get("/a")).body == b"/a"
    assert site.seen() == [("/a", False, None)]
    assert site.reuse() == {"connections": 2, "resumed": 1, "failed": 0}
    assert (site.stat("wretr"), site.stat("wredis"), site.stat("econ")) == ("1", "0", "0")
    assert "/1 0/0 " in site.logs.line('"GET /a ').partition(" ---- ")[2]
    assert site.ask(get("/b")).body == b"/b"  # of what nginx gives now, nothing permits early data
    wait_until(lambda: len(site.seen()) == 2, "the second is there")
    assert site.ask(get("/c")).body == b"/c"
    assert site.stat("wretr") == "1"


@pytest.mark.needs("nginx")
def test_rejected_without_a_retry(site: Site) -> None:
    site.begin().first()
    site.serve("off")
    client = site.early_client(get("/b"))
    wait_until(lambda: site.reuse()["connections"] == 2, "the handshake with the server is over")
    client.finish()
    assert b"425 Too Early" in client.answer()
    client.send(get("/b"))
    assert client.answer().endswith(b"/b")
    assert site.seen() == [("/b", False, None)]
    assert " LR-- " in site.logs.line(" 425 ")
    assert site.reuse() == {"connections": 2, "resumed": 1, "failed": 0}
    assert (site.stat("wretr"), site.stat("econ"), site.stat("eresp")) == ("0", "0", "0")


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("early", ["on", "off"])
@pytest.mark.parametrize("what", ["head", "body", "chunks"])
def test_more_than_may_be_sent_early(site: Site, early: str, what: str) -> None:
    site.begin(REJECTED, settings="tune.bufsize 65536").first()
    site.serve(early)
    large = os.urandom(30000).hex()
    body = large.encode()
    requests = {
        "head": get("/large", f"X-Large: {large[:50000]}"),
        "body": f"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,
        "chunks": b"POST /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    }
    assert site.ask(requests[what]).body == b"/large"
    (found,) = [one for one in site.behind.requests if one.target == "/large"]
    assert found.one("x-large") == large[:50000] if what == "head" else found.body == body
    assert site.reuse() == {"connections": 2, "resumed": 1, "failed": 0}
    assert site.stat("wretr") == ("0" if early == "on" else "1")


@pytest.mark.needs("nginx")
def test_425_of_the_server(site: Site, proxy: StartProxy, backend: MakeBackend) -> None:
    """A request that only we have sent early is sent again, behind the handshake; a client's own is the client's business."""
    site.behind = backend(
        answer(lambda one: response(b"later", "425 Too Early") if one.one("x-came-early") else response(one.target.encode()))
    )
    site.serve()
    site.begin(REJECTED).first()
    assert site.ask_early(get("/a")).body == b"/a"
    assert site.seen() == [("/a", True, None), ("/a", False, None)]
    assert site.stat("wretr") == "1"
    with site.held():
        client = site.early_client(get("/b"))
    client.finish()
    assert b"425 Too Early" in client.answer()
    assert site.seen()[2:] == [("/b", True, "1")]


@pytest.mark.needs("nginx")
def test_tls_1_3_is_gone(site: Site) -> None:
    """Behind early data that ends the handshake (RFC 8446 appendix D.3): the request goes without, and so do all that follow."""
    site.begin(REJECTED).first()
    site.serve(protocols="TLSv1.2")
    assert site.ask(get("/a")).body == b"/a"
    assert site.ask(get("/b")).body == b"/b"
    assert site.seen() == [("/a", False, None), ("/b", False, None)]
    assert site.stat("wretr") == "1"
    assert site.reuse() == {"connections": 3, "resumed": 1, "failed": 1}


@pytest.mark.needs("nginx")
def test_checks_send_none(site: Site) -> None:
    site.begin(REJECTED, "option httpchk GET /check", server="check inter 100ms")
    site.behind.wait_for(lambda behind: len(behind.requests) >= 4, "four checks")
    assert {early for _, early, _ in site.seen()} == {False}
    assert site.behind.requests[-1].one("x-resumed") == "r"


@pytest.mark.needs("nginx")
def test_nothing_is_early_in_tcp_mode(site: Site) -> None:
    site.begin(mode="tcp")
    client = site.early_client(get("/a"), get("/first", "Connection: close"))
    client.finish()
    assert client.answer().endswith(b"/a")
    assert site.seen() == [("/a", False, None)]
    assert site.reuse() == {"connections": 2, "resumed": 1, "failed": 0}


# --- servers that do not answer ---


def hello(backend: Backend, wire: Wire) -> None:
    """A script: note the beginning of what comes, and say nothing."""
    while len(wire.buffer) < max(bytes_wanted(wire.buffer), 5) and wire.fill():
        pass
    backend.record(Message(("", "", ""), [], wire.buffer))
    wire.rest()


def parsed(message: Message) -> ClientHello:
    found = parse_client_hello(message.body)
    assert isinstance(found, ClientHello)
    return found


@pytest.mark.needs("nginx")
@pytest.mark.parametrize(("method", "attempts"), [("GET", 2), ("POST", 1)])
def test_a_server_that_hangs(site: Site, stack: contextlib.ExitStack, method: str, attempts: int) -> None:
    """It may have had the request, so only what is idempotent is sent again, and not early."""
    site.begin(REJECTED, "retries 1", "timeout connect 300ms").first()
    site.stop()
    silent = Backend(hello, listener=_listener(site.port))
    stack.callback(silent.close)
    assert site.ask(f"{method} /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()).status == 503
    silent.wait_for(lambda silent: len(silent.requests) == attempts, "all attempts")
    assert [parsed(one).offers_early_data for one in silent.requests] == [True, False][:attempts]
    assert " sC-- " in site.logs.line(f'"{method} /a ')


def _listener(port: int) -> socket.socket:
    made: list[socket.socket] = []

    def listening() -> bool:
        with contextlib.suppress(OSError):
            made.append(socket.create_server(("127.0.0.1", port)))
        return bool(made)

    wait_until(listening, "the port is free")
    return made[0]


# --- openssl s_server ---


class SServer:
    """`openssl s_server -early_data`, which prints what it is sent and sends what it is given."""

    def __init__(self, port: int, certificates: pathlib.Path, directory: pathlib.Path, *options: str) -> None:
        self.path = directory / "s_server.out"
        command = [
            "setpriv", "--pdeathsig", "KILL", "openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert",
            f"{certificates}/site.pem", "-key", f"{certificates}/site.pem", "-tls1_3", *options,
        ]  # fmt: skip
        with self.path.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output)
        self.await_text("ACCEPT")

    @property
    def output(self) -> str:
        return self.path.read_text(errors="replace")

    def await_text(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.output.count(text) >= times, lambda: f"s_server prints {text!r}; it printed:\n{self.output}")

    def answer(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def stop(self) -> None:
        self.process.kill()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(DEADLINE)


@pytest.mark.needs("openssl")
def test_with_s_server(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, stack: contextlib.ExitStack
) -> None:
    """It takes each ticket once, and gives another one; restarted it knows none of them."""
    port = free_port()
    site = proxy(
        f"""
        frontend web
            bind 127.0.0.1:{{port}}
            default_backend app
        backend app
            {REJECTED}
            server one 127.0.0.1:{port} ssl verify none allow-0rtt
        """
    )

    def ask(server: SServer, target: str) -> None:
        wire = site.connect()
        wire.send(get(target, "Connection: close"))
        server.await_text(f"GET {target} HTTP/1.1")
        server.answer(response(b"ok", "200 OK", "Connection: close"))
        assert read_response(wire).body == b"ok"
        wire.close()

    server = SServer(port, certificates, tmp_path, "-early_data")
    stack.callback(server.stop)
    for number, target in enumerate(("/first", "/second", "/third")):
        ask(server, target)
        server.await_text("DONE", number + 1)
    # What it is told comes past the buffer of what it says, so that their order means nothing.
    assert server.output.count("No early data received") == 1 and server.output.count("Early data received:") == 2
    assert [server.output.count(f"GET {target} ") for target in ("/first", "/second", "/third")] == [1, 1, 1]
    server.stop()
    again = SServer(port, certificates, tmp_path)
    stack.callback(again.stop)
    ask(again, "/fourth")
    assert again.output.count("GET /fourth") == 1
