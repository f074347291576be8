"""`maxsslconn` (manual 3.2): clients wait in the backlog, servers are not connected to, however many workers serve."""

from __future__ import annotations

import contextlib
import csv
import os
import pathlib
import signal
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.interop.backends import Backend, LogReceiver, Wire, read_request, read_response, response
from tests.interop.conftest import DEFAULTS, Proxy, StartProxy
from tests.interop.programs import ask_socket, children, free_ports, wait_until

MakeBackend = Callable[..., Backend]

GET = b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n"
#: How long a client is let wait that must not get in, seconds.
PATIENCE = 0.6


class Site:
    """A subject with a limit: `tls` answers itself behind TLS, `plain` without, `out` passes on to a TLS server."""

    def __init__(
        self, start: StartProxy, directory: pathlib.Path, certificates: pathlib.Path, *, limit: str = "3", workers: int = 1,
        subject: str = "headgate", server: str = "", out: str = "", more: str = "",
    ) -> None:
        self._socket = directory / "stats.sock"
        self.plain, self.out = free_ports(2)
        one = f"    server one {server}\n" if server else ""
        settings = f"maxsslconn {limit}" if limit else ""
        self.proxy: Proxy = start(
            f"global\n    nbthread {workers}\n    {settings}\n    stats socket {self._socket} level admin\n{more}{DEFAULTS}"
            "    retries 0\n"
            f"frontend tls\n    bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem\n"
            "    http-request return status 200\n"
            f"frontend plain\n    bind 127.0.0.1:{self.plain}\n    http-request return status 200\n"
            f"frontend out\n    bind 127.0.0.1:{self.out}\n{out}    default_backend servers\n"
            f"backend servers\n{one}",
            subject=subject, extra_ports=(self.plain, self.out),
        )
        wait_until(lambda: "Uptime" in self.says("show info"), "the runtime API answers")

    def says(self, command: str) -> str:
        with contextlib.suppress(OSError):
            return ask_socket(self._socket, command)
        return ""

    def counts(self) -> tuple[int, int, int]:
        """MaxSslConns, CurrSslConns, CumSslConns."""
        fields = dict(line.split(": ", 1) for line in self.says("show info").splitlines() if ": " in line)
        most, now, ever = (int(fields[name]) for name in ("MaxSslConns", "CurrSslConns", "CumSslConns"))
        return most, now, ever

    def now(self) -> int:
        return self.counts()[1]

    def tls(self, patience: float = 10.0) -> Wire:
        """A client of `tls` whose handshake is through; TimeoutError when it was not taken."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        sock = socket.create_connection(("127.0.0.1", self.proxy.port), 10)
        self.proxy.stack.callback(sock.close)
        sock.settimeout(patience)
        made = context.wrap_socket(sock)
        self.proxy.stack.callback(made.close)
        made.settimeout(10)
        return Wire(made)

    def gets(self, port: int) -> tuple[Wire, int]:
        """A plain client with one request: it, and the status of its answer."""
        wire = self.proxy.connect(port)
        wire.send(GET)
        return wire, read_response(wire).status

    def settles(self, now: int) -> None:
        """Wait until so many TLS connections are counted."""
        wait_until(lambda: self.now() == now, lambda: f"{now} TLS connections, not {self.now()}")


def tls_backend(make: MakeBackend, certificates: pathlib.Path, script: object = None) -> Backend:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "site.pem")
    return make(script, tls=context)


@pytest.fixture
def site(proxy: StartProxy, tmp_path: pathlib.Path, certificates: pathlib.Path) -> Callable[..., Site]:
    return lambda **options: Site(proxy, tmp_path, certificates, **options)


# --- clients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_one_client_too_many_waits(site: Callable[..., Site], subject: str, workers: int) -> None:
    there = site(subject=subject, workers=workers)
    clients = [there.tls() for _ in range(3)]
    assert there.counts()[:2] == (3, 3)
    with pytest.raises(TimeoutError):
        there.tls(PATIENCE)
    assert there.now() == 3
    assert there.gets(there.plain)[1] == 200
    for client in clients:
        client.close()
    there.settles(0)
    there.tls()


@pytest.mark.parametrize("workers", [1, 2])
def test_who_waits_is_let_in_when_another_leaves(site: Callable[..., Site], workers: int) -> None:
    there = site(workers=workers)
    clients = [there.tls() for _ in range(3)]
    with ThreadPoolExecutor() as pool:
        late = pool.submit(there.tls)
        time.sleep(PATIENCE)
        assert not late.done() and there.now() == 3
        begun = time.monotonic()
        clients.pop().close()
        taken = late.result()
    assert time.monotonic() - begun < PATIENCE
    taken.send(GET)
    assert read_response(taken).status == 200
    assert there.now() == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_never_more_than_the_limit_and_nothing_is_left_over(site: Callable[..., Site], workers: int) -> None:
    """Clients in a rush, of whom some break off, say no TLS or nothing at all: afterwards none is counted."""
    there = site(workers=workers, limit="4")
    most = 0
    for number in range(60):
        sock = socket.create_connection(("127.0.0.1", there.proxy.port), 10)
        if number % 3 == 0:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        elif number % 3 == 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        most = max(most, there.now()) if number % 8 == 0 else most
        sock.close()
    clients = [there.tls() for _ in range(4)]
    assert there.now() == 4 and most <= 4
    for client in clients:
        client.close()
    there.settles(0)


@pytest.mark.parametrize("workers", [1, 2])
def test_without_a_limit_both_sides_are_counted(
    site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path, subject: str, workers: int
) -> None:
    server = tls_backend(backend, certificates)
    there = site(subject=subject, limit="", workers=workers, server=f"127.0.0.1:{server.port} ssl verify none")
    assert there.gets(there.out)[1] == 200
    assert there.counts() == (0, 1, 1)  # idle
    clients = [there.tls() for _ in range(2)]
    assert there.counts() == (0, 3, 3)
    for client in clients:
        client.close()
    there.settles(1)
    server.close()
    there.settles(0)


# --- servers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_is_not_connected_to_behind_the_limit(
    site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path, subject: str, workers: int, logs: LogReceiver
) -> None:
    server = tls_backend(backend, certificates)
    there = site(
        subject=subject, workers=workers, server=f"127.0.0.1:{server.port} ssl verify none",
        out=f'    log 127.0.0.1:{logs.port} local0\n    log-format "state=%ts status=%ST server=%s"\n',
    )
    clients = [there.tls() for _ in range(3)]
    assert there.gets(there.out)[1] == 500
    logs.line("status=500", "state=RC" if subject == "headgate" else "state=IC")  # the manual has RC for this (8.5)
    assert server.connections == 0 and there.now() == 3
    rows = csv.DictReader(there.says("show stat").lstrip("# ").splitlines())
    assert [row["econ"] for row in rows if row["pxname"] == "servers"] == ["1", "1"]
    clients[0].close()
    there.settles(2)
    assert there.gets(there.out)[1] == 200
    assert there.now() == 3


def test_why_a_server_was_not_connected_to(
    site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path, logs: LogReceiver
) -> None:
    server = tls_backend(backend, certificates)
    target = f" log 127.0.0.1:{logs.port} local0\n"
    there = site(
        limit="1", server=f"127.0.0.1:{server.port} ssl verify none observe layer4 error-limit 1 check inter 100s",
        more=f"   {target}", out='    log global\n    log-format "%[bc_err] %[bc_err_name] %[bc_err_str]"\n',
    )
    there.settles(0)  # the first check is over
    client = there.tls()
    for _ in range(3):
        assert there.gets(there.out)[1] == 500
    logs.line("27 SSL_TOO_MANY Too many SSL connections")
    logs.line("Server servers/one: no connection: there are 1 TLS connections already (maxsslconn)")
    assert '"server_refused":3' in there.says("show headgate").replace(" ", "")
    client.close()
    there.settles(0)
    assert there.gets(there.out)[1] == 200  # the server was not blamed for it


def test_retries_find_a_place(site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path) -> None:
    server = tls_backend(backend, certificates)
    there = site(limit="1", server=f"127.0.0.1:{server.port} ssl verify none\n    retries 3")
    client = there.tls()
    wire = there.proxy.connect(there.out)
    wire.send(GET)
    time.sleep(0.3)
    client.close()
    assert read_response(wire).status == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_idle_connections_make_room(
    site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path, workers: int
) -> None:
    """Whichever worker has them: for clients and for other servers."""
    server = tls_backend(backend, certificates)
    # Each user has a connection of its own: the name is what connections are grouped by.
    line = f"127.0.0.1:{server.port} ssl verify none sni req.hdr(x-name) pool-purge-delay 60s\n    retries 3"
    there = site(workers=workers, server=line)
    keep = []
    for number in range(5):
        wire = there.proxy.connect(there.out)
        wire.send(GET[:-2] + b"X-Name: n%d.example\r\n\r\n" % number)
        assert read_response(wire).status == 200
        keep.append(wire)
    # Not always all that the limit allows: none is kept while somebody waits, and who waits in another worker has to try again.
    wait_until(lambda: 2 <= there.now() <= 3, lambda: f"{there.now()} TLS connections")
    clients = [there.tls() for _ in range(3)]
    assert there.now() == 3
    for client in clients:
        client.close()
    there.settles(0)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_becomes_idle_while_a_client_waits_is_not_kept(
    site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path, workers: int
) -> None:
    def serve(backend: Backend, wire: Wire) -> None:
        while True:
            read_request(wire)
            time.sleep(1.0)
            wire.send(response())

    server = tls_backend(backend, certificates, serve)
    there = site(workers=workers, limit="1", server=f"127.0.0.1:{server.port} ssl verify none")
    wire = there.proxy.connect(there.out)
    wire.send(GET)
    there.settles(1)
    begun = time.monotonic()
    there.tls().close()
    assert time.monotonic() - begun < 3.0
    assert read_response(wire).status == 200


@pytest.mark.parametrize("what", ["refused", "no TLS", "silent", "aborted"])
def test_attempts_that_fail_give_their_place_back(
    site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path, what: str
) -> None:
    def speak(backend: Backend, wire: Wire) -> None:
        if what == "no TLS":
            wire.send(b"SMTP ready\r\n")
        else:
            time.sleep(1.5)

    server = backend(speak)
    port = server.port
    if what == "refused":
        server.close()
    # A handshake that is given up goes on for a moment, and counts as long as it does.
    there = site(limit="4", server=f"127.0.0.1:{port} ssl verify none\n    timeout connect 500ms")
    for _ in range(3):
        if what == "aborted":
            wire = there.proxy.connect(there.out)
            wire.send(GET)
            time.sleep(0.05)
            wire.close()
            there.settles(0)
        else:
            assert there.gets(there.out)[1] == 503
    there.settles(0)


def test_health_checks_are_counted_and_never_refused(
    site: Callable[..., Site], backend: MakeBackend, certificates: pathlib.Path
) -> None:
    server = tls_backend(backend, certificates)
    there = site(limit="1", server=f"127.0.0.1:{server.port} ssl verify none check inter 100ms")
    client = there.tls()
    checked = server.connections
    server.wait_for(lambda one: one.connections > checked + 3, "checks go on")
    assert ",UP," in there.says("show stat").partition("servers,one,")[2].partition("\n")[0]
    client.close()


# --- processes -------------------------------------------------------------------------------------------------------


def test_killed_workers_give_all_places_back(site: Callable[..., Site]) -> None:
    there = site(workers=2, limit="2")
    launcher = there.proxy.program.process.pid
    before = set(children(launcher))
    clients = [there.tls() for _ in range(2)]
    assert there.now() == 2
    with ThreadPoolExecutor() as pool:
        late = pool.submit(there.tls)
        time.sleep(PATIENCE)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        late.result()
    wait_until(lambda: len(set(children(launcher)) - before) == len(before), "they are replaced")
    there.tls()
    there.settles(2)
    for client in clients:
        client.close()
