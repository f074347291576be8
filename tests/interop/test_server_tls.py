"""TLS towards servers: sessions are resumed, by traffic and by health checks, never across names, and every close is clean."""

from __future__ import annotations

import contextlib
import itertools
import json
import pathlib
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.backends import LogReceiver, Wire, read_response
from tests.interop.checked_servers import Liar
from tests.interop.conftest import StartProxy
from tests.interop.programs import Program, ask_socket, free_port, headgate_command, wait_until
from tests.interop.strict_servers import Jetty, StrictServer, ok, server_context, start_java

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])

StartStrict = Callable[..., StrictServer]


@pytest.fixture
def strict(stack: contextlib.ExitStack, certificates: pathlib.Path) -> StartStrict:
    """Start strict servers: `strict(version)`."""

    def start(version: ssl.TLSVersion | None = None, *, tickets: bool = True, **options: Any) -> StrictServer:
        server = StrictServer(server_context(certificates / "site.pem", version, tickets=tickets), **options)
        stack.callback(server.close)
        return server

    return start


def site(directory: pathlib.Path, servers: str, *, workers: int = 1, more: str = "", settings: str = "") -> str:
    return f"""
global
    nbthread {workers}
    stats socket {directory}/stats.sock level admin
    {settings}
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    timeout check 10s
frontend f
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    {more}
    {servers}
"""


def reuse(directory: pathlib.Path, kind: str) -> list[dict[str, Any]]:
    """The lines of `show ssl reuse` of one kind."""
    lines = json.loads(ask_socket(directory / "stats.sock", "show ssl reuse json"))
    for line in lines:
        assert sum(line["causes"].values()) == line["full"] == line["connections"] - line["resumed"]
    return [line for line in lines if line["kind"] == kind]


def info(directory: pathlib.Path, name: str) -> int:
    fields = dict(line.split(": ", 1) for line in ask_socket(directory / "stats.sock", "show info").splitlines() if ": " in line)
    return int(fields[name])


def fewest_packets(servers: list[StrictServer]) -> int:
    """How many packets a resumed connection took at least until the server had the first request.

    They are the ClientHello, and our Finished with the request. It is one more where the server answers before we have looked for
    the first time, which on a busy machine it often does.
    """
    counts = [one.packets for server in servers for one in server.connections if one.resumed and one.requests]
    assert len(counts) >= 10
    return min(counts)


# --- health checks ---


@VERSIONS
@pytest.mark.parametrize("kind", ["", "option httpchk"], ids=["handshake", "http"])
def test_checks_resume_and_close_cleanly(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, version: ssl.TLSVersion, kind: str
) -> None:
    servers = [strict(version) for _ in range(20)]
    lines = "\n    ".join(
        f"server s{number} 127.0.0.1:{server.port} ssl verify none check inter 1s" for number, server in enumerate(servers)
    )
    program = proxy(site(tmp_path, lines, more=kind)).program
    for server in servers:
        server.wait_for(lambda server: len(server.ended) >= 4, "four checks")
    assert info(tmp_path, "SslBackendKeyRate") <= 1
    checks = reuse(tmp_path, "checks")
    assert len(checks) == 20
    for line in checks:
        assert line["causes"] == {"first_contact": 1} and line["resumed"] >= 3 and not line["failed"]
    program.process.send_signal(signal.SIGTERM)
    program.process.wait(20)
    for server in servers:
        server.wait_for(lambda server: len(server.ended) == len(server.connections), "all are over")
        assert server.ends == {"close_notify"}
        assert [one.resumed for one in server.connections[:4]] == [False] + [True] * 3
    if kind:
        assert fewest_packets(servers) == 2


def test_checks_of_several_workers_resume_what_traffic_left(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path
) -> None:
    """The name differs, so nothing is shared; with the same name (none) all of it is."""
    server = strict()
    line = f"server s1 127.0.0.1:{server.port} ssl verify none no-sni-auto check inter 1s"
    at = proxy(site(tmp_path, line, workers=2, more="http-reuse never"))
    server.wait_for(lambda server: len(server.ended) >= 2, "two checks")
    for _ in range(20):
        wire = at.connect()
        wire.send(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
        assert read_response(wire).status == 200
    (traffic,) = reuse(tmp_path, "traffic")
    assert (traffic["connections"], traffic["full"]) == (20, 0)
    (checks,) = reuse(tmp_path, "checks")
    assert checks["full"] == 1


# --- traffic ---


@VERSIONS
def test_a_request_goes_with_the_end_of_the_handshake(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, version: ssl.TLSVersion
) -> None:
    server = strict(version)
    at = proxy(site(tmp_path, f"server s1 127.0.0.1:{server.port} ssl verify none no-sni-auto", more="http-reuse never"))
    for _ in range(20):
        assert ask(at) == 200
    assert fewest_packets([server]) == 2


def ask(at: Any, name: str = "a.example", *, close: bool = True) -> int:
    """One request on a connection of its own."""
    wire = at.connect()
    wire.send(f"GET / HTTP/1.1\r\nhost: {name}\r\n{'connection: close' if close else 'x: y'}\r\n\r\n".encode())
    status = read_response(wire).status
    wire.close()
    return status


@VERSIONS
def test_every_close_is_clean(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, version: ssl.TLSVersion
) -> None:
    """Normal ends, the end of the idle time, clients that leave in the middle, and the end of the program."""

    def large(head: bytes) -> bytes:
        if b" /large" in head:
            return b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000
        return ok(head)

    server = strict(version, answer=large)
    line = f"server s1 127.0.0.1:{server.port} ssl verify none no-sni-auto pool-purge-delay 100ms"
    at = proxy(site(tmp_path, line, more="http-reuse never"))
    for _ in range(3):
        assert ask(at) == 200
    server.wait_for(lambda server: len(server.ended) == 3, "connections of their own are closed")
    for _ in range(3):
        wire = at.connect()
        wire.send(b"GET /large HTTP/1.1\r\nhost: a.example\r\n\r\n")
        assert wire.socket.recv(100)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()
    server.wait_for(lambda server: len(server.ended) == 6, "clients that leave end their connections")
    wire = at.connect()
    wire.send(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n")
    assert read_response(wire).status == 200
    at.program.process.send_signal(signal.SIGUSR1)
    wire.close()
    at.program.process.wait(20)
    server.wait_for(lambda server: len(server.ended) == 7, "a soft stop closes the last one")
    assert [one.end for one in server.connections] == ["close_notify"] * 7
    assert [one.resumed for one in server.connections] == [False] + [True] * 6


@VERSIONS
def test_idle_connections_and_retries_are_closed_cleanly(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, version: ssl.TLSVersion
) -> None:
    answers = iter([b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"])
    server = strict(version, answer=lambda head: next(answers, ok(head)))
    line = f"server s1 127.0.0.1:{server.port} ssl verify none no-sni-auto pool-purge-delay 100ms"
    at = proxy(site(tmp_path, line, more="http-reuse always\n    retry-on 503\n    option redispatch"))
    assert ask(at) == 200
    server.wait_for(lambda server: len(server.ended) == 2, "the retried one, and the idle one after its time")
    assert server.ends == {"close_notify"} and server.connections[1].resumed


def test_ten_names_in_turn_also_after_a_reload(
    strict: StartStrict, stack: contextlib.ExitStack, tmp_path: pathlib.Path
) -> None:
    server = strict()
    port = free_port()
    line = f"server s1 127.0.0.1:{server.port} ssl verify none"
    path = tmp_path / "site.cfg"
    path.write_text(site(tmp_path, line, workers=2, more="http-reuse never").replace("{port}", str(port)))
    program = Program([headgate_command(), "-W", "-S", f"{tmp_path}/master.sock,mode,600", "-f", str(path)], tmp_path, "headgate")
    stack.callback(program.stop)
    program.await_ports([port])

    class At:
        @staticmethod
        def connect() -> Any:
            connection = socket.create_connection(("127.0.0.1", port), 20)
            stack.callback(connection.close)
            return Wire(connection)

    names = [f"name{number}.example" for number in range(10)]

    def visit_all(times: int) -> list[bool]:
        before = len(server.connections)
        for _ in range(times):
            for name in names:
                assert ask(At, name) == 200
        server.wait_for(lambda server: len(server.ended) >= before + times * len(names), "all were served")
        return [one.resumed for one in server.connections[before:]]

    first = visit_all(12)
    assert first.count(True) >= 0.9 * len(first)
    (line_seen,) = reuse(tmp_path, "traffic")
    assert set(line_seen["causes"]) <= {"first_contact", "other_name"}
    answer = ask_socket(tmp_path / "master.sock", "reload")
    assert "Success=1" in answer
    assert visit_all(1).count(True) >= 9
    # Nothing crosses names: a session of one is only ever offered for the same.
    by_name: dict[str | None, int] = {}
    for one in server.connections:
        by_name[one.name] = by_name.get(one.name, 0) + (not one.resumed)
    assert set(by_name) == set(names) and all(full >= 1 for full in by_name.values())


@VERSIONS
def test_servers_that_never_say_close_notify(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, version: ssl.TLSVersion
) -> None:
    """There are many, and they take their sessions all the same: it is for them to say."""
    server = strict(version, most=1, rude=True)
    # On a busy machine a check must have the time for its handshake, or it is we who end the connection.
    line = f"server s1 127.0.0.1:{server.port} ssl verify none check inter 250ms"
    at = proxy(site(tmp_path, line, more="option httpchk\n    http-reuse never"))
    for _ in range(10):
        assert ask(at) == 200
    server.wait_for(lambda server: len(server.ended) >= 16, "there were checks, too")
    assert server.ends == {"rude"}
    for kind in ("traffic", "checks"):
        (seen,) = reuse(tmp_path, kind)
        assert seen["full"] == 1 and seen["resumed"] >= 5, seen  # for its first contact, or another name than the other has


@pytest.mark.parametrize("kind", ["traffic", "checks"])
def test_who_loses_sessions_by_closing_so_is_named(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, kind: str
) -> None:
    """OpenSSL forgets a session that is in no ticket when its connection is dropped: also one that we had closed first."""
    server = strict(TLS_1_2, most=1, rude=True, tickets=False)
    check = " check inter 200ms" if kind == "checks" else ""
    line = f"server s1 127.0.0.1:{server.port} ssl verify none{check}"
    at = proxy(site(tmp_path, line, more="option httpchk\n    http-reuse never"))
    for number in range(1, 5):
        if kind == "traffic":
            assert ask(at) == 200
        server.wait_for(lambda server, wanted=number: len(server.ended) >= wanted, "it is over")  # type: ignore[misc]
    wait_until(lambda: reuse(tmp_path, kind)[0]["full"] >= 4, "all are counted")
    causes = reuse(tmp_path, kind)[0]["causes"]
    assert causes.pop("first_contact") == 1 and set(causes) == {"unclean_by_server"}, causes


def all_at_once(at: Any, count: int) -> list[int]:
    """Requests on connections of their own, begun at the same time; their statuses."""
    wires = [at.connect() for _ in range(count)]
    for wire in wires:
        wire.send(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
    return [read_response(wire).status for wire in wires]


@VERSIONS
def test_those_that_begin_before_there_is_a_session_wait_for_the_first(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, version: ssl.TLSVersion
) -> None:
    server = strict(version)
    at = proxy(site(tmp_path, f"server s1 127.0.0.1:{server.port} ssl verify none", more="http-reuse never"))
    assert all_at_once(at, 24) == [200] * 24
    (line,) = reuse(tmp_path, "traffic")
    assert (line["connections"], line["causes"]) == (24, {"first_contact": 1})


def test_nobody_waits_for_a_session_that_a_server_does_not_give(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path
) -> None:
    """It becomes clear with the first answer."""
    server = strict(TLS_1_3, tickets=False)
    at = proxy(site(tmp_path, f"server s1 127.0.0.1:{server.port} ssl verify none", more="http-reuse never"))
    for _ in range(2):
        assert all_at_once(at, 8) == [200] * 8
    (line,) = reuse(tmp_path, "traffic")
    assert set(line["causes"]) == {"first_contact", "no_session"}
    assert line["full"] == 16 and line["causes"]["no_session"] >= 8


def test_nobody_waits_for_a_handshake_that_fails(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, certificates: pathlib.Path
) -> None:
    server = strict()
    line = f"server s1 127.0.0.1:{server.port} ssl no-sni-auto ca-file {certificates}/ca.pem verifyhost other.example"
    at = proxy(site(tmp_path, line, more="http-reuse never\n    retries 0"))
    assert all_at_once(at, 8) == [503] * 8


def test_a_first_handshake_that_hangs_holds_nobody_up(strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path) -> None:
    """Those behind it begin after a moment."""
    server = strict(TLS_1_2)
    over = threading.Event()
    accepted = itertools.count()

    def serve(near: socket.socket) -> None:
        if next(accepted) == 0:
            over.wait(20)
            return
        with socket.create_connection(("127.0.0.1", server.port), 20) as far:
            back = threading.Thread(target=pour, args=(far, near), daemon=True)
            back.start()
            pour(near, far)
            back.join(20)

    def pour(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    gate = Liar(serve)
    at = proxy(site(tmp_path, f"server s1 127.0.0.1:{gate.port} ssl verify none", more="http-reuse never"))
    wires = [at.connect() for _ in range(6)]
    for wire in wires:
        wire.send(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
    wait_until(lambda: len(select.select([wire.socket for wire in wires], [], [], 0)[0]) == 5, "all others are served")
    over.set()
    assert [read_response(wire).status for wire in wires] == [200] * 6
    gate.close()


# --- accounting ---


def test_a_server_that_insists_on_full_handshakes_is_named(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver
) -> None:
    server = strict(TLS_1_3, tickets=False)
    line = f"server s1 127.0.0.1:{server.port} ssl verify none check inter 50ms"
    proxy(site(tmp_path, line, more=f"log 127.0.0.1:{logs.port} local0"))
    said = logs.line("full ones although sessions are reused")
    assert "Server app/s1" in said
    assert "the server gave no session to resume" in said
    assert "enable session tickets or the session cache of the server" in said


@pytest.mark.slow
def test_told_within_a_minute_when_only_checks_come_every_ten_seconds(
    strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver
) -> None:
    server = strict(TLS_1_3, tickets=False)
    line = f"server s1 127.0.0.1:{server.port} ssl verify none check inter 10s"
    proxy(site(tmp_path, line, workers=2, more=f"log 127.0.0.1:{logs.port} local0"))
    begun = time.monotonic()
    wait_until(
        lambda: any("full ones although sessions are reused" in said for said in logs.lines), "the warning", seconds=60
    )
    assert time.monotonic() - begun < 60 and len(server.connections) <= 6


def test_switched_off(strict: StartStrict, proxy: StartProxy, tmp_path: pathlib.Path) -> None:
    server = strict()
    at = proxy(site(tmp_path, f"server s1 127.0.0.1:{server.port} ssl verify none no-ssl-reuse", more="http-reuse never"))
    for _ in range(3):
        assert ask(at) == 200
    (line,) = reuse(tmp_path, "traffic")
    assert line["causes"] == {"disabled": 3} and not line["resumed"]


# --- Java ---

#: All checks begin at once, although their intervals are long.
AT_ONCE = "max-spread-checks 100ms"


def with_checks(name: str, port: int) -> str:
    """A server for traffic, and one more line for it that is checked often, with time enough.

    The interval is the timeout too, and a short one would fail checks on a machine under load. So it is long, and the server is
    on its way up for ever, which makes its checks come at the short one.
    """
    line = f"127.0.0.1:{port} ssl verify none no-sni-auto"
    often = "check inter 20s fastinter 500ms init-state fully-down rise 10000"
    return f"server {name} {line}\n    server {name}-checks {line} {often}"


def used(directory: pathlib.Path, kind: str) -> list[dict[str, Any]]:
    """As `reuse`, of servers that have had connections."""
    return [line for line in reuse(directory, kind) if line["connections"]]


def await_checks(directory: pathlib.Path, servers: int) -> list[dict[str, Any]]:
    """The lines of so many servers when each has been checked four times."""

    def done() -> bool:
        lines = used(directory, "checks")
        return len(lines) == servers and all(line["connections"] >= 4 for line in lines)

    wait_until(done, "four checks of each")
    return used(directory, "checks")


@pytest.mark.needs("java", "openssl")
@pytest.mark.parametrize("workers", [1, 2])
def test_java_keeps_its_sessions(
    stack: contextlib.ExitStack, certificates: pathlib.Path, proxy: StartProxy, tmp_path: pathlib.Path, workers: int
) -> None:
    (port,) = start_java(stack, certificates, tmp_path, 1)
    at = proxy(site(tmp_path, with_checks("s1", port), workers=workers, more="http-reuse never", settings=AT_ONCE))
    for _ in range(500):
        assert ask(at) == 200
    (traffic,) = used(tmp_path, "traffic")
    assert traffic["connections"] == 500 and traffic["full"] <= workers, traffic
    (checks,) = await_checks(tmp_path, 1)
    assert checks["full"] <= 1 and not checks["failed"], checks
    wait_until(lambda: info(tmp_path, "SslBackendKeyRate") == 0, "no keys are made any more")


@pytest.mark.needs("jetty9", "java", "openssl")
@pytest.mark.parametrize("kind", ["", "option httpchk"], ids=["handshake", "http"])
@pytest.mark.parametrize("tickets", [True, False], ids=["tickets", "numbers"])
def test_jetty_keeps_its_sessions(
    stack: contextlib.ExitStack, certificates: pathlib.Path, proxy: StartProxy, tmp_path: pathlib.Path, tickets: bool, kind: str
) -> None:
    jetty = Jetty(stack, certificates, tmp_path, tickets=tickets)
    lines = "\n    ".join(with_checks(name, port) for name, port in jetty.ports.items())
    more = f"balance roundrobin\n    http-reuse never\n    {kind}"
    at = proxy(site(tmp_path, lines, workers=2, more=more, settings=AT_ONCE))
    for _ in range(100):
        assert ask(at) == 200
    checks, traffic = await_checks(tmp_path, 2), used(tmp_path, "traffic")
    assert len(traffic) == 2 and sum(line["connections"] for line in traffic) == 100
    for line in traffic:
        assert line["connections"] >= 40 and line["full"] <= 2 and not line["failed"], line
    for line in checks:
        assert line["full"] <= 1 and not line["failed"], line["causes"]
    at.program.signal(signal.SIGTERM)
    at.program.process.wait(20)
    wait_until(lambda: jetty.ends.total() >= sum(line["connections"] for line in traffic + checks), "Jetty saw them end")
    assert set(jetty.ends) == {("TLSv1.2", "close_notify"), ("TLSv1.3", "close_notify")}, jetty.ends


# --- clients ---


@pytest.mark.needs("openssl")
def test_look_ups_of_clients_sessions(
    proxy: StartProxy, certificates: pathlib.Path, tmp_path: pathlib.Path, strict: StartStrict
) -> None:
    """SslCacheLookups and SslCacheMisses: sessions that are asked for by their number, not by ticket."""
    server = strict()
    text = site(tmp_path, f"server s1 127.0.0.1:{server.port} ssl verify none").replace(
        "bind 127.0.0.1:{port}", f"bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem no-tls-tickets ssl-max-ver TLSv1.2"
    )
    session = str(tmp_path / "session.pem")

    def connect(port: int, *options: str) -> None:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-no_ticket", "-tls1_2", *options]
        subprocess.run(command, input=b"Q", check=True, capture_output=True, timeout=20)

    at = proxy(text)
    connect(at.port, "-sess_out", session)
    for _ in range(3):
        connect(at.port, "-sess_in", session)
    assert (info(tmp_path, "SslCacheLookups"), info(tmp_path, "SslCacheMisses")) == (3, 0)
    other = proxy(text.replace("stats.sock", "other.sock"))
    connect(other.port, "-sess_in", session)
    answer = ask_socket(tmp_path / "other.sock", "show info")
    assert "SslCacheLookups: 1\n" in answer and "SslCacheMisses: 1\n" in answer
