"""Sessions that are held in memory: resumed whichever of four workers accepts, behind a reload, and when their maker is gone."""

from __future__ import annotations

import contextlib
import csv
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from headgate.tls.authority import Authority, issue
from tests.interop.backends import PeerClosed, Wire, read_response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.early_client import EarlyClient, Sessions
from tests.interop.programs import ask_socket, children, wait_until
from tests.interop.test_tls_sessions import reload
from tests.interop.tls_client import TLS_1_2, TLS_1_3, client_context

NONE = ssl.Options(0)
WORKERS = 4
CLIENTS = 8
COUNTS = pytest.mark.parametrize("count", [160, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])


@dataclass
class Case:
    """Who does without tickets.

    Attributes:
        line: of the bind line.
        version: of the client.
        options: of the client.
    """

    line: str
    version: ssl.TLSVersion
    options: ssl.Options = NONE

    def context(self, certificates: pathlib.Path, *, certificate: str | None = None) -> ssl.SSLContext:
        context = client_context(certificates, version=self.version, certificate=certificate)
        context.options |= self.options
        return context


CLIENT_1_2 = Case("", TLS_1_2, ssl.OP_NO_TICKET)
LINE_1_2 = Case("no-tls-tickets", TLS_1_2)
LINE_1_3 = Case("no-tls-tickets", TLS_1_3)
CASES = pytest.mark.parametrize("case", [CLIENT_1_2, LINE_1_2, LINE_1_3], ids=["client 1.2", "line 1.2", "line 1.3"])


class Site:
    """headgate with several workers; each answer says who gave it."""

    def __init__(
        self,
        start: StartProxy,
        certificates: pathlib.Path,
        directory: pathlib.Path,
        line: str,
        rules: str = "",
        workers: int = WORKERS,
    ) -> None:
        self._path = directory / "stats.sock"
        self.proxy: Proxy = start(
            f"""
            global
                nbthread {workers}
                stats socket {self._path} level admin
                stats timeout 20s
            frontend web
                bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem {line}
                option socket-stats
                timeout client-hs 30s
                {rules}
                http-request return status 200 hdr x-pid "%pid"
            """,
            arguments=("-W",),
        )
        self.proxy.program.await_output("Loading success")
        wait_until(lambda: self.says("show version"), "the controller answers")

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.proxy.port

    def says(self, command: str) -> str:
        """The answer of the stats socket; "" when there is none."""
        try:
            return ask_socket(self._path, command)
        except OSError:
            return ""

    def row(self, name: str) -> dict[str, str]:
        """A row of `show stat`, of the frontend."""
        lines = self.says("show stat").lstrip("# ").splitlines()
        return next(row for row in csv.DictReader(lines) if (row["pxname"], row["svname"]) == ("web", name))

    @property
    def processes(self) -> list[int]:
        """The controller and the workers."""
        (launcher,) = children(self.proxy.program.process.pid)
        return children(launcher)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("line", "given"), [("no-tls-tickets", 1), ("", 2)], ids=["memory", "tickets"])
def test_how_many_sessions_are_given(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, line: str, given: int
) -> None:
    """Of those in memory, the cache has the last."""
    site = Site(proxy, certificates, tmp_path, line)
    command = ["openssl", "s_client", "-tls1_3", "-msg", "-ign_eof", "-connect", "{}:{}".format(*site.address)]
    request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    said = subprocess.run(command, input=request, capture_output=True, text=True, timeout=30, check=False).stdout
    assert "HTTP/1.1 200" in said and said.count("NewSessionTicket") == given


@dataclass
class Client:
    """One that comes again and again with the session that it had last.

    Attributes:
        resumed: how often its session was.
        failed: connections that broke.
        workers: pids of those who answered.
    """

    site: Site
    context: ssl.SSLContext
    session: ssl.SSLSession | None = None
    resumed: list[bool] = field(default_factory=list)
    failed: int = 0
    workers: list[int] = field(default_factory=list)

    def connect(self) -> ssl.SSLSocket:
        """A connection behind its handshake."""
        plain = socket.create_connection(self.site.address, 20)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return self.context.wrap_socket(plain, server_hostname="localhost", session=self.session)
        except BaseException:
            plain.close()
            raise

    def ask(self, secure: ssl.SSLSocket) -> None:
        """A request, and what its answer and the session behind it tell."""
        wire = Wire(secure)
        wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response = read_response(wire)
        assert response.status == 200
        self.workers.append(int(response.one("x-pid") or 0))
        self.resumed.append(bool(secure.session_reused))
        self.session = secure.session

    def visit(self, times: int = 1) -> None:
        """So many connections, one after the other, each with a request."""
        for _ in range(times):
            with self.connect() as secure:
                self.ask(secure)
                with contextlib.suppress(OSError):
                    secure.unwrap()  # until the other end has gone, too: the next one may come to another worker before

    def try_to_visit(self) -> None:
        """As `visit`, where a connection may break: then it comes again."""
        try:
            self.visit()
        except (OSError, PeerClosed):
            self.failed += 1


def together(clients: list[Client], call: Callable[[Client], None]) -> None:
    """Have all of them do something at the same time."""
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(call, clients))


@contextlib.contextmanager
def going_on(clients: list[Client], call: Callable[[Client], None] = Client.visit) -> Iterator[None]:
    """Have all of them do something again and again meanwhile; at the end, what broke is raised."""
    over = threading.Event()

    def go_on(client: Client) -> None:
        while not over.is_set():
            call(client)

    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(go_on, client) for client in clients]
        try:
            yield
        finally:
            over.set()
        for one in running:
            one.result()


def all_closed(site: Site) -> None:
    wait_until(lambda: site.row("FRONTEND")["scur"] == "0", "all connections are closed")


@COUNTS
@CASES
def test_all_are_resumed_and_each_is_counted_once(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, case: Case, count: int
) -> None:
    site = Site(proxy, certificates, tmp_path, case.line)
    clients = [Client(site, case.context(certificates)) for _ in range(CLIENTS)]
    each = count // CLIENTS
    together(clients, lambda client: client.visit(each))
    assert all(all(client.resumed[1:]) for client in clients)
    assert len(set().union(*(client.workers for client in clients))) > 1
    all_closed(site)
    total = str(each * CLIENTS)
    row = site.row("FRONTEND")
    assert (row["conn_tot"], row["stot"], row["req_tot"], row["hrsp_2xx"]) == (total,) * 4
    # One that the client has closed may still be there when its next one comes.
    assert int(row["smax"]) <= 2 * CLIENTS
    assert site.row("sock-1")["stot"] == total and site.row("sock-1")["scur"] == "0"
    assert f"\nCumConns: {total}\n" in site.says("show info")
    assert f"\nCumSslConns: {total}\n" in site.says("show info")
    assert "\nCurrConns: 0\n" in site.says("show info") and "\nCurrSslConns: 0\n" in site.says("show info")


def test_a_crowd_with_one_session(proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A proxy before us, say: whoever accepts them resumes it, all at the same time."""
    site = Site(proxy, certificates, tmp_path, "no-tls-tickets")
    first = Client(site, LINE_1_2.context(certificates))
    first.visit()
    crowd = [Client(site, first.context, session=first.session) for _ in range(32)]
    together(crowd, Client.visit)
    assert all(client.resumed == [True] for client in crowd)
    assert len(set().union(*(client.workers for client in crowd))) > 1


@CASES
def test_a_killed_worker_leaves_its_sessions(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, case: Case
) -> None:
    site = Site(proxy, certificates, tmp_path, case.line)
    clients = [Client(site, case.context(certificates)) for _ in range(CLIENTS)]
    together(clients, lambda client: client.visit(2))
    victim, orphan = clients[0].workers[-1], clients[0].session
    with going_on(clients, Client.try_to_visit):
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in site.processes and len(site.processes) == WORKERS + 1, "it is replaced")
    # What it was serving; each client had one connection at most.
    assert all(client.failed <= 1 for client in clients)
    late = Client(site, clients[0].context, session=orphan)
    late.visit(5)
    assert all(late.resumed)
    assert all(all(client.resumed[1:]) for client in clients)
    all_closed(site)


def test_reloads_meanwhile(proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
    site = Site(proxy, certificates, tmp_path, "no-tls-tickets")
    clients = [Client(site, case.context(certificates)) for case in (LINE_1_2, LINE_1_3) for _ in range(CLIENTS // 2)]
    with going_on(clients):
        for _ in range(2):
            before = [len(client.resumed) for client in clients]
            wait_until(
                lambda before=before: all(len(one.resumed) > many + 3 for one, many in zip(clients, before, strict=True)),
                "everybody was there",
            )
            reload(site.proxy)
    together(clients, lambda client: client.visit(5))
    assert all(all(client.resumed[1:]) for client in clients)


def test_a_reload_of_one_process(proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Where there is one worker only, the next one has its sessions all the same."""
    site = Site(proxy, certificates, tmp_path, "no-tls-tickets", workers=1)
    client = Client(site, LINE_1_2.context(certificates))
    for _ in range(2):
        client.visit(2)
        reload(site.proxy)
    client.visit()
    assert all(client.resumed[1:]) and len(set(client.workers)) == 3


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])
def test_no_session_crosses_client_policies(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, authority: Authority, version: ssl.TLSVersion
) -> None:
    """Two names on one line: one wants client certificates. The session is there, and is not resumed."""
    strict = tmp_path / "strict.pem"
    strict.write_bytes(issue(authority, ["strict.example"]).pem)
    crt_list = tmp_path / "list.txt"
    crt_list.write_text(f"{strict} [verify required ca-file {certificates}/ca.pem] strict.example\n")
    site = Site(proxy, certificates, tmp_path, f"no-tls-tickets crt-list {crt_list}")
    client = Client(site, client_context(certificates, version=version))
    client.visit()
    open_session = client.session
    client.context.check_hostname = False

    def visit_strict(context: ssl.SSLContext, session: ssl.SSLSession | None) -> bool:
        context.check_hostname = False
        with socket.create_connection(site.address, 20) as plain, context.wrap_socket(
            plain, server_hostname="strict.example", session=session
        ) as secure:
            wire = Wire(secure)
            wire.send(b"GET / HTTP/1.1\r\nHost: strict.example\r\n\r\n")
            assert read_response(wire).status == 200
            return bool(secure.session_reused)

    for _ in range(12):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            visit_strict(client.context, open_session)
    known = client_context(certificates, certificate="client.pem", version=version)
    assert not visit_strict(known, None)


def test_rules_that_run_before_the_handshake(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """They track in the worker that accepted, which is the one that serves."""
    site = Site(
        proxy, certificates, tmp_path, "no-tls-tickets",
        "stick-table type ip size 100 store conn_cnt,conn_cur\n tcp-request connection track-sc0 src",
    )
    clients = [Client(site, LINE_1_2.context(certificates)) for _ in range(CLIENTS)]
    together(clients, lambda client: client.visit(5))
    assert all(all(client.resumed[1:]) for client in clients)
    all_closed(site)
    assert f"conn_cnt={5 * CLIENTS} conn_cur=0" in site.says("show table web")


def test_early_data_behind_sessions_in_memory(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Its handshake ends when the session has long begun: what it leaves in memory is known to all the same."""
    site = Site(proxy, certificates, tmp_path, "no-tls-tickets allow-0rtt")
    sessions = Sessions(site.proxy.stack)
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert b"200 OK" in sessions.visit(site.address, request)
    others = [Client(site, LINE_1_3.context(certificates)) for _ in range(CLIENTS)]
    with going_on(others):  # so that not always the same worker is woken
        for _ in range(24):
            client = EarlyClient(sessions, site.address)
            client.send_early(request)
            client.finish()
            assert client.resumed
            assert b"200 OK" in client.answer()
            client.keep_session()
            client.close()
