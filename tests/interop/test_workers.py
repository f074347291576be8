"""Several workers behind one configuration: a change reaches all of them before its answer, and those who come later."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, answer, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import ask_socket, children, wait_until

WORKERS = 4
ENOUGH = 24  # connections: so many that every worker gets some


class Cluster:
    """headgate with four workers in front of two servers that say who they are."""

    def __init__(self, start: StartProxy, make: Callable[..., Backend], directory: pathlib.Path, more: str = "") -> None:
        self.path = directory / "stats.sock"
        self.one = make(answer(response(b"one")))
        self.two = make(answer(response(b"two")))
        self.proxy: Proxy = start(
            f"""
            global
                nbthread {WORKERS}
                stats socket {self.path} level admin expose-fd listeners
                stats timeout 10s
            frontend web
                bind 127.0.0.1:{{port}}
                default_backend app
            backend app
                balance roundrobin
                server one 127.0.0.1:{self.one.port} {more}
                server two 127.0.0.1:{self.two.port}
            """,
            arguments=("-W",),
        )
        self.proxy.program.await_output("Loading success")
        (self.launcher,) = children(self.proxy.program.process.pid)
        self.controller = self.children[0]  # which is made first
        wait_until(lambda: self.says("show version"), "the controller answers")

    @property
    def children(self) -> list[int]:
        """The controller and the workers, in the order in which they were made."""
        return children(self.launcher)

    @property
    def workers(self) -> list[int]:
        return [child for child in self.children if child != self.controller]

    def says(self, command: str) -> str:
        """The answer of the stats socket; "" when there is none."""
        try:
            return ask_socket(self.path, command)
        except OSError:
            return ""

    def column(self, place: int, server: str) -> str:
        """A column of `show servers state`."""
        rows = [line.split() for line in self.says("show servers state app").splitlines()]
        return next(row[place] for row in rows if len(row) > 3 and row[3] == server)

    def served_by(self, count: int = ENOUGH) -> set[bytes]:
        """Who answers requests on new connections."""
        found = set()
        for _ in range(count):
            client = self.proxy.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            found.add(read_response(client).body)
            client.close()
        return found

    def replaced(self, victim: int) -> None:
        """Kill a process as hard as possible, and wait for its successor."""
        before = set(self.children)
        os.kill(victim, signal.SIGKILL)
        # In this order: it is gone once and for all, and only then the number says that there is another one.
        wait_until(lambda: victim not in self.children and len(self.children) == WORKERS + 1, f"{victim} is replaced")
        if victim == self.controller:
            (self.controller,) = set(self.children) - before
            wait_until(lambda: self.says("show version"), "the new controller answers")


@pytest.fixture
def cluster(proxy: StartProxy, backend: Callable[..., Backend], tmp_path: pathlib.Path) -> Cluster:
    return Cluster(proxy, backend, tmp_path)


def test_a_change_is_everywhere_before_its_answer(cluster: Cluster) -> None:
    assert cluster.served_by() == {b"one", b"two"}
    for name, others in (("one", {b"two"}), ("two", {b"one"})):
        assert cluster.says(f"disable server app/{name}") == "\n"
        assert cluster.served_by() == others
        assert cluster.says(f"enable server app/{name}") == "\n"
    assert cluster.served_by() == {b"one", b"two"}
    assert cluster.says("disable server app/three").strip() == "No such server."


def test_counters_are_sums_over_all_workers(cluster: Cluster) -> None:
    cluster.served_by()
    rows = {tuple(line.split(",")[:2]): line.split(",") for line in cluster.says("show stat").splitlines() if line}
    assert rows["web", "FRONTEND"][7] == rows["app", "BACKEND"][7] == str(ENOUGH)
    assert int(rows["app", "one"][7]) + int(rows["app", "two"][7]) == ENOUGH


def test_a_killed_worker_is_replaced_by_one_that_knows_all_changes(cluster: Cluster) -> None:
    assert cluster.says("disable server app/one;set weight app/two 77") == "\n\n"
    for victim in cluster.workers:
        cluster.replaced(victim)
    assert cluster.served_by() == {b"two"}
    assert cluster.says("enable server app/one;disable server app/two") == "\n\n"
    assert cluster.served_by() == {b"one"}


def test_a_killed_controller_is_replaced_by_one_that_knows_all_changes(cluster: Cluster) -> None:
    assert cluster.says("disable server app/one;set weight app/two 77") == "\n\n"
    cluster.replaced(cluster.controller)
    assert cluster.column(6, "one") == "1"  # forced maintenance
    assert cluster.says("get weight app/two").startswith("77 ")
    wait_until(lambda: cluster.says("enable server app/one;disable server app/two") == "\n\n", "changes are taken again")
    assert cluster.served_by() == {b"one"}


def test_what_checks_find_holds_for_all(proxy: StartProxy, backend: Callable[..., Backend], tmp_path: pathlib.Path) -> None:
    cluster = Cluster(proxy, backend, tmp_path, "check inter 100ms fall 1 rise 1")
    wait_until(lambda: cluster.column(5, "one") == "2", "the server is up")
    cluster.one.close()
    wait_until(lambda: cluster.column(5, "one") == "0", "the server is down")
    assert cluster.served_by() == {b"two"}
    cluster.replaced(cluster.workers[0])
    cluster.replaced(cluster.controller)
    assert cluster.served_by() == {b"two"}
    assert cluster.column(5, "one") == "0"


def test_a_frontend_closes_and_opens_for_all(cluster: Cluster) -> None:
    assert cluster.says("disable frontend web") == "\n"
    with pytest.raises(ConnectionRefusedError):
        cluster.proxy.connect()
    cluster.replaced(cluster.workers[0])
    with pytest.raises(ConnectionRefusedError):
        cluster.proxy.connect()
    assert cluster.says("enable frontend web") == "\n"
    assert cluster.served_by() == {b"one", b"two"}


def test_without_its_launcher_everything_goes_on(cluster: Cluster) -> None:
    orphans = cluster.children
    master = cluster.proxy.program.process.pid
    os.kill(master, signal.SIGSTOP)  # it would begin a new generation, which knows nothing of what is changed here
    try:
        os.kill(cluster.launcher, signal.SIGKILL)
        wait_until(lambda: not pathlib.Path(f"/proc/{cluster.launcher}/exe").exists(), "the launcher is gone")
        assert cluster.says("disable server app/one") == "\n"
        assert cluster.served_by() == {b"two"}
    finally:
        os.kill(master, signal.SIGCONT)
        for orphan in orphans:
            os.kill(orphan, signal.SIGTERM)
    wait_until(lambda: not any(pathlib.Path(f"/proc/{orphan}/exe").exists() for orphan in orphans), "all leave")


def test_a_worker_that_hangs_is_named_and_follows_when_it_can(cluster: Cluster) -> None:
    victim = cluster.workers[1]
    os.kill(victim, signal.SIGSTOP)
    try:
        said = cluster.says("disable server app/one")
    finally:
        os.kill(victim, signal.SIGCONT)
    assert said == f"worker 2 (pid {victim}) has not answered within 2 s: it follows when it can.\n\n"
    assert cluster.says("set weight app/two 5") == "\n"  # which it takes behind what it missed
    assert cluster.served_by() == {b"two"}


def test_lines_of_all_workers_are_in_the_ring_that_is_shown(proxy: StartProxy, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "stats.sock"
    started = proxy(
        f"""
        global
            nbthread {WORKERS}
            stats socket {path} level admin
        ring lines
            size 65536
        frontend web
            bind 127.0.0.1:{{port}}
            log ring@lines local0
            option httplog
            http-request return status 204
        """,
        arguments=("-W",),
    )
    started.program.await_output("Loading success")
    with socket.socket(socket.AF_UNIX) as watching:
        watching.settimeout(10)
        watching.connect(str(path))
        watching.sendall(b"show events lines -w\n")
        for number in range(ENOUGH):
            client = started.connect()
            client.send(b"GET /%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % number)
            read_response(client)
        text = b""
        while not all(b'"GET /%d HTTP/1.1"' % number in text for number in range(ENOUGH)):
            data = watching.recv(65536)
            assert data, text
            text += data


def test_a_variable_of_the_process_that_a_rule_sets_is_seen_by_all(proxy: StartProxy) -> None:
    started = proxy(
        f"""
        global
            nbthread {WORKERS}
        listen web
            bind 127.0.0.1:{{port}}
            http-request set-var(proc.flag) path if {{ method POST }}
            http-request return status 200 content-type text/plain lf-string "%[var(proc.flag)]"
        """
    )

    def said(request: bytes) -> bytes:
        client = started.connect()
        client.send(request + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        body = read_response(client).body
        client.close()
        return body

    for flag in (b"/up", b"/a;b%20c"):
        said(b"POST " + flag)
        wait_until(lambda flag=flag: {said(b"GET /") for _ in range(ENOUGH)} == {flag}, "every worker knows it")
