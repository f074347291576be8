"""Looking into the process over the stats socket, with socat, in front of live traffic: as HAProxy does; over four workers."""

from __future__ import annotations

import contextlib
import pathlib
import re
import socket
import subprocess
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, PeerClosed, Wire, read_request, read_response, response
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.programs import DEADLINE, wait_until

pytestmark = pytest.mark.needs("socat")

CONFIG = """
global
    stats socket {directory}/s mode 600 level admin
    stats timeout 20s
    nbthread {workers}
    log ring@story local0
ring story
    description "What happened"
    format rfc3164
    maxlen 1200
    size 32764
defaults
    mode http
    log global
    option httplog
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server s1 127.0.0.1:{server}
"""
BAD_REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\x01y\tz\\\r\n\r\n"
BAD_RESPONSE = b"HTTP/1.1 200 OK\r\nX Bad: 1\r\nfoo\tbar\r\n\r\n"


def _serve(backend: Backend, wire: Wire) -> None:
    """Answers `/bad` with rubbish, `/ok` properly, and nothing else at all."""
    with contextlib.suppress(PeerClosed, OSError):
        while True:
            request = read_request(wire)
            backend.record(request)
            if request.target == "/bad":
                wire.send(BAD_RESPONSE)
                return
            if request.target != "/ok":
                wire.rest()
                return
            wire.send(response(b"ok"))


class Observed:
    """A proxy with a stats socket, asked with socat."""

    def __init__(
        self,
        start: StartProxy,
        make: Callable[..., Backend],
        directory: pathlib.Path,
        workers: int = 1,
        subject: str | None = None,
    ) -> None:
        self.path = directory / "s"
        self.server = make(_serve)
        text = CONFIG.replace("{directory}", str(directory)).replace("{workers}", str(workers))
        self.proxy: Proxy = start(text.replace("{server}", str(self.server.port)), subject=subject)
        wait_until(lambda: self.path.exists() and self.says("show version"), "the stats socket answers")

    def says(self, command: str) -> str:
        """The answer without the empty line at its end."""
        done = subprocess.run(
            ["socat", "-t10", f"UNIX-CONNECT:{self.path}", "-"], input=command + "\n", capture_output=True, text=True,
            timeout=DEADLINE, check=False,
        )  # fmt: skip
        return done.stdout.removesuffix("\n").removesuffix("\n")

    def lines(self, command: str) -> list[str]:
        return self.says(command).splitlines()

    def waiting(self, path: str = "/wait") -> Wire:
        """A client whose request is with the server and stays there."""
        before = len(self.server.requests)
        client = self.proxy.connect()
        client.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        wait_until(lambda: len(self.server.requests) > before, "the server has the request")
        return client

    def streams(self, more: str = "") -> list[str]:
        """The lines of `show sess` about the frontend: HAProxy shows the connection of the command too."""
        return [line for line in self.lines(f"show sess {more}") if " fe=web " in line]


StartObserved = Callable[..., Observed]


@pytest.fixture
def observed(proxy: StartProxy, backend: Callable[..., Backend], tmp_path: pathlib.Path) -> StartObserved:
    def start(workers: int = 1, subject: str | None = None) -> Observed:
        return Observed(proxy, backend, tmp_path, workers, subject)

    return start


def fields(line: str) -> dict[str, str]:
    """`name=value` and `name[...]` of a line of `show sess`."""
    return dict(re.findall(r" (\w+)(?:=|(?=\[))(\S*)", line))


# --- the same with HAProxy and headgate ------------------------------------------------------------------------------


def test_a_stream_is_shown_and_ended(observed: StartObserved, subject: str) -> None:
    seen = observed(subject=subject)
    client = seen.waiting()
    (line,) = seen.streams()
    name = line.partition(":")[0]
    port = client.socket.getsockname()[1]
    shown = fields(line)
    assert re.fullmatch("0x[0-9a-f]+", name)
    assert (shown["proto"], shown["src"], shown["be"], shown["srv"]) == ("tcpv4", f"127.0.0.1:{port}", "app", "s1")
    assert re.fullmatch(r"\d+s", shown["age"])
    assert re.fullmatch(r"[34]s|2\ds|30s", shown["exp"])  # HAProxy wakes earlier, to look
    assert re.fullmatch(r"\[f=[0-9a-f]+h,i=0,an=[0-9a-f]+h,rx=,wx=,ax=\]", shown["rq"])
    assert re.fullmatch(r"\[f=[0-9a-f]+h,i=0,an=[0-9a-f]+h,rx=\d+s,wx=,ax=\]", shown["rp"])
    for side in ("scf", "scb"):
        assert re.fullmatch(r"\[8,[0-9a-f]+h,fd=\d+\]", shown[side])
    assert shown["rc"] == "0"
    full = seen.lines(f"show sess {name}")
    assert full[0].startswith(f"{name}: [")
    assert full[0].endswith(f"proto=tcpv4 source=127.0.0.1:{port}")
    text = "\n".join(full)
    for part in ("frontend=web (id=", "backend=app (id=", "server=s1 (id=1)", "req.st=MSG_DONE", "rsp.st=MSG_RPBEFORE"):
        assert part in text, part
    assert seen.says("show sess 0x1234") == "Session not found."
    assert seen.says(f"shutdown session {name}") == ""
    assert read_response(client).status == 502  # the stream ends
    wait_until(lambda: not seen.streams(), "the stream is gone")
    assert seen.says("shutdown session 0x1234") == "No such session (use 'show sess')."
    assert seen.says("shutdown session") == "Session pointer expected (use 'show sess')."
    wait_until(lambda: re.search(r" 502 \d+ - - KH-- ", seen.says("show events story")), "the log says who ended it")


def test_invalid_messages_are_dumped(observed: StartObserved, subject: str) -> None:
    seen = observed(subject=subject)
    for request in (BAD_REQUEST, b"GET /bad HTTP/1.1\r\nHost: h\r\n\r\n"):
        client = seen.proxy.connect()
        client.send(request)
        assert read_response(client).status in (400, 502)
    lines = seen.lines("show errors")
    assert re.fullmatch(r"Total events captured on \[\d\d/\w+/\d{4}:[0-9:.]+\] : 2", lines[0])
    text = "\n".join(lines)
    assert re.search(r"^ \n\[\S+\] frontend web \(#2\): invalid request\n  backend <NONE> \(#-1\), server <NONE>", text, re.M)
    assert re.search(r"^ \n\[\S+\] backend app \(#3\): invalid response\n  frontend web \(#2\), server s1 \(#1\)", text, re.M)
    assert "error at position 28" in text
    assert "error at position 18" in text
    for dump in (r"  00025  Bad Header: x\x01y\tz\\\r\n", r"  00017  X Bad: 1\r\n", r"  00027  foo\tbar\r\n", r"  00036  \r\n"):
        assert dump in lines, dump
    assert "invalid response" not in seen.says("show errors web request")
    assert "invalid request" not in seen.says("show errors 3 response")
    assert seen.says("show errors nope") == "No such proxy."


def test_descriptors_activity_sockets_and_sinks(observed: StartObserved, subject: str) -> None:
    seen = observed(subject=subject)
    client = seen.waiting()
    port = client.socket.getsockname()[1]
    descriptors = seen.lines("show fd")
    (one,) = [line for line in descriptors if f"rport={port} " in line]
    assert f" lport={seen.proxy.port} " in one
    assert " fe=web " in one
    assert re.match(r" +\d+ : ", one)
    assert any(f"rport={seen.server.port} " in line and " sv=app/s1 " in line for line in descriptors)
    number = one.split()[0]
    assert [line.split()[0] for line in seen.lines(f"show fd {number}")] == [number]
    activity = seen.lines("show activity")
    assert activity[0].startswith("thread_id: 1 (1..1)")
    assert re.fullmatch(r"date_now: \d+\.\d{6}", activity[1])
    assert {"ctxsw", "stream_calls", "accepted"} <= {line.partition(":")[0] for line in activity}
    assert seen.lines("show cli sockets") == ["# socket lvl processes", f"unix@{seen.path} admin all"]
    sinks = seen.lines("show events")
    assert sinks[0] == "Supported events sinks are listed below. Add -w(wait), -n(new). Any key to stop"
    assert "    story      : type=buffer, 0 dropped, What happened" in sinks
    assert "    buf0       : type=buffer, 0 dropped, in-memory ring buffer" in sinks
    assert seen.says("show events nope") == "No such event sink"
    assert seen.lines("trace")[0] == "Supported trace sources and states (.=stopped, w=waiting, R=running) :"
    assert "    user       : also information useful to the end user" in [
        line.replace("*", " ") for line in seen.lines("trace stream level")
    ]
    assert seen.lines("show trace stream")[:1] == ["Trace status for stream:"]
    assert seen.says("trace 0") == "All traces now stopped"


# --- four workers ----------------------------------------------------------------------------------------------------


def spread(seen: Observed, most: int = 40) -> list[Wire]:
    """Clients that wait, until more than one worker has some."""
    clients = [seen.waiting() for _ in range(8)]
    while len({line[:3] for line in seen.streams()}) < 2:
        assert len(clients) < most
        clients.append(seen.waiting())
    return clients


def test_streams_of_all_workers(observed: StartObserved) -> None:
    seen = observed(workers=4)
    clients = spread(seen)
    lines = seen.streams()
    names = [line.partition(":")[0] for line in lines]
    assert len(names) == len(set(names)) == len(clients)
    assert len(seen.streams("server app/s1")) == len(clients)
    assert seen.streams("older 1h") == []
    assert len(seen.lines("show fd -f")) == len(clients)
    ports = {fields(line)["src"]: line.partition(":")[0] for line in lines}
    for client in clients:
        name = ports[f"127.0.0.1:{client.socket.getsockname()[1]}"]
        assert seen.says(f"shutdown session {name}") == ""
        assert read_response(client).status == 502
    wait_until(lambda: not seen.streams(), "all are gone")
    assert seen.says(f"shutdown session {names[0]}") == "No such session (use 'show sess')."


def test_errors_activity_and_switches_of_all_workers(observed: StartObserved) -> None:
    seen = observed(workers=4)
    for _ in range(12):
        client = seen.proxy.connect()
        client.send(BAD_REQUEST)
        assert read_response(client).status == 400
    text = seen.says("show errors")
    assert text.splitlines()[0].endswith(" : 12")
    assert text.count("invalid request") == 1
    line = next(line for line in seen.lines("show activity") if line.startswith("invalid_messages: "))
    total, columns = re.fullmatch(r"invalid_messages: (\d+) \[ ([0-9 ]+) \]", line).groups()  # type: ignore[union-attr]
    assert int(total) == sum(map(int, columns.split())) == 12
    assert "Running tasks: " in seen.says("show tasks")
    assert "(4 threads)" in seen.says("show tasks")
    assert {f"Thread {number}" for number in range(1, 5)} <= set(re.findall("Thread [0-9]", seen.says("show threads")))
    assert "Processes: 4, " in seen.says("show pools")
    assert seen.says("set profiling tasks on") == ""
    spread(seen)
    assert re.search(r"Listener\S* +\d+ ", seen.says("show profiling tasks"))
    assert seen.says("set profiling tasks off") == ""


def test_traces_of_all_workers_are_watched(observed: StartObserved) -> None:
    seen = observed(workers=4)
    assert seen.says("trace session sink buf0 start now; trace stream sink buf0 start now").strip() == ""
    with socket.socket(socket.AF_UNIX) as watcher:
        watcher.settimeout(DEADLINE)
        watcher.connect(str(seen.path))
        watcher.sendall(b"show events buf0 -w\n")
        clients = spread(seen)
        data = b""
        while data.count(b"strm_new : GET /wait") < len(clients) or data.count(b"sess_new") < len(clients):
            part = watcher.recv(65536)
            assert part
            data += part
        watcher.sendall(b"\n")  # any input ends it
        while part := watcher.recv(65536):
            data += part
    assert len(set(re.findall(rb"\[(\d\d)\|stream\|user\] strm_new", data))) > 1
    assert seen.says("trace 0") == "All traces now stopped"
    assert "[.] stream" in seen.says("show trace")
    before = seen.says("show events buf0")
    clients.append(seen.waiting())
    assert seen.says("show events buf0") == before


def test_names_are_hidden_while_the_mode_is_on(observed: StartObserved) -> None:
    seen = observed(workers=2)
    seen.waiting()
    text = seen.says("set anon on 7; show sess; show servers state; set anon off; show sess").strip("\n")
    hidden, _, plain = text.partition("set anon off")[0].rpartition("\n\n\n")
    assert "fe=web" not in hidden
    assert "fe=web" in plain
    assert "IPV4(" in hidden


def test_waiting_for_a_server_to_be_idle(observed: StartObserved) -> None:
    seen = observed(workers=2)
    client = seen.waiting()
    assert seen.says("wait 100ms") == "Done."
    assert seen.says("wait 1s srv-removable app/s1") == "Server is not in maintenance mode."
    assert seen.says("disable server app/s1; wait 200ms srv-removable app/s1").endswith("Wait delay expired.")
    assert seen.says("shutdown sessions server app/s1; wait 10s srv-removable app/s1").endswith("Done.")
    assert read_response(client).status == 502
