"""The same scripted traffic for HAProxy and headgate, step by step, and what their statistics say after each step.

Each step begins with `clear counters all`, so that a difference in a counter belongs to that step alone.
"""

from __future__ import annotations

import contextlib
import csv
import pathlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence

from tests.interop.backends import Backend, Message, PeerClosed, Wire, read_request, read_response, response
from tests.interop.programs import DEADLINE, Program, ProgramFailed, free_ports, start_subject, wait_until

CONFIG = """
global
    stats socket {directory}/{subject}.sock level admin
    stats timeout 30s
    nbthread 1
    node n1
    description statistics
    maxconn 100
defaults
    mode http
    timeout connect 250ms
    timeout client 2s
    timeout server 800ms
    timeout queue 5s
    timeout tarpit 20ms
    timeout http-request 700ms
    timeout http-keep-alive 2s
    retries 2
    option redispatch
    option abortonclose
    balance roundrobin
frontend web
    bind 127.0.0.1:{web} name main
    bind 127.0.0.1:{second}
    bind 127.0.0.1:{rejected} name rejected
    bind 127.0.0.1:{dropped} name dropped
    option socket-stats
    monitor-uri /alive
    tcp-request connection reject if {{ dst_port {rejected} }}
    tcp-request session reject if {{ dst_port {dropped} }}
    tcp-request inspect-delay 1s
    tcp-request content reject if {{ path /content }}
    http-request deny if {{ path /denied }}
    http-request deny deny_status 429 if {{ path /limited }}
    http-request reject if {{ path /reject }}
    http-request tarpit if {{ path /tarpit }}
    http-request return status 200 content-type text/plain string ok if {{ path /returned }}
    http-request redirect location /elsewhere if {{ path /redirect }}
    use_backend queue if {{ path_beg /queue }}
    use_backend other if {{ path_beg /other }}
    use_backend refused if {{ path_beg /refused }}
    use_backend elsewhere if {{ path_beg /elsewhere }}
    use_backend half if {{ path_beg /half }}
    use_backend nobody if {{ path_beg /nobody }}
    use_backend retry if {{ path_beg /retry }}
    default_backend app
backend app
    cookie SRV insert indirect
    http-response deny if {{ res.hdr(x-deny) -m found }}
    server one 127.0.0.1:{good} cookie one
backend other
    http-reuse always
    http-request deny if {{ path /other/denied }}
    http-request return status 200 content-type text/plain string ok if {{ path /other/returned }}
    http-request redirect location /elsewhere if {{ path /other/redirect }}
    server one 127.0.0.1:{good}
backend queue
    timeout server 10s
    timeout queue 600ms
    server one 127.0.0.1:{good} maxconn 1
backend refused
    server bad 127.0.0.1:{closed}
backend half
    balance first
    option redispatch 1
    server bad 127.0.0.1:{closed}
    server good 127.0.0.1:{good} backup
    option allbackups
    use-server bad if {{ path /half }}
backend nobody
    server off 127.0.0.1:{closed} disabled
backend retry
    retry-on 503 conn-failure empty-response
    server one 127.0.0.1:{good}
listen both
    bind 127.0.0.1:{both}
    http-request deny if {{ path /denied }}
    server one 127.0.0.1:{good}
listen tunnel
    mode tcp
    bind 127.0.0.1:{tcp}
    timeout client 1s
    timeout server 5s
    server one 127.0.0.1:{echo}
listen inspected
    mode tcp
    bind 127.0.0.1:{inspected}
    bind 127.0.0.1:{censored}
    tcp-request inspect-delay 1s
    tcp-request content reject if {{ req.payload(0,3) -m str bad }}
    tcp-response content reject if {{ dst_port {censored} }}
    server one 127.0.0.1:{echo}
backend elsewhere
    balance first
    server bad 127.0.0.1:{closed}
    server good 127.0.0.1:{good}
listen closed
    mode tcp
    bind 127.0.0.1:{tcp_refused}
    server bad 127.0.0.1:{closed}
"""
_ATTEMPTS = 4
_PORTS = "web second rejected dropped both tcp inspected censored tcp_refused closed".split()


class Traffic:
    """A running subject with its backends, and clients.

    Attributes:
        ports: of the listeners, by name.
        good, echo: the HTTP and the TCP server.
        opened: the server's answers to paths that wait go out when this is set.
    """

    def __init__(
        self, subject: str, directory: pathlib.Path, stack: contextlib.ExitStack, *, config: str = CONFIG,
        arguments: Sequence[str] = (),
    ) -> None:
        self.subject = subject
        self._arguments = arguments
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.opened = threading.Event()
        stack.callback(self.opened.set)
        self.seen = 0
        self._retried = False
        self.good = Backend(self._serve)
        self.echo = Backend(self._echo)
        stack.callback(self.good.close)
        stack.callback(self.echo.close)
        self._stack = stack
        self.socket = directory / f"{subject}.sock"
        self.program = self._start(subject, directory, config)
        stack.callback(self.program.stop)
        wait_until(self.socket.exists, "the stats socket is there")

    def _start(self, subject: str, directory: pathlib.Path, config: str) -> Program:
        """Start it, with other ports when somebody was faster than we."""
        for attempt in range(_ATTEMPTS):
            text = config.format(directory=directory, subject=subject, good=self.good.port, echo=self.echo.port, **self.ports)
            try:
                ports = [self.ports[name] for name in _PORTS if name != "closed"]
                return start_subject(subject, text, directory, ports, arguments=self._arguments)
            except ProgramFailed as failure:
                if "in use" not in str(failure) or attempt == _ATTEMPTS - 1:
                    raise
                self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        raise AssertionError("unreachable")

    # --- the servers -------------------------------------------------------------------------------------------------

    def _serve(self, backend: Backend, wire: Wire) -> None:
        while True:
            try:
                request = read_request(wire)
            except PeerClosed:
                return
            backend.record(request)
            if not self._answer(wire, request):
                return

    def _answer(self, wire: Wire, request: Message) -> bool:
        path = request.target.rpartition("/")[2]
        if path == "wait":
            self.opened.wait(DEADLINE)
        if path == "empty":
            return False
        if path == "junk":
            wire.send(b"this is not HTTP\r\n\r\n")
            return False
        if path == "never":
            wire.rest()
            return False
        if path == "part":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")
            self.opened.wait(DEADLINE)
            return False
        if path == "large":
            with contextlib.suppress(OSError):
                wire.send(response(b"x" * 20_000_000))
            return False
        if path == "upgrade":
            wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            wire.send(wire.exactly(5))
            return False
        if path == "once":
            self._retried = not self._retried
            wire.send(response(b"", "503 Not Now") if self._retried else response())
            return True
        if path == "until-close":
            wire.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
            return False
        wire.send(_ANSWERS.get(path, response(b"hello world")))
        return True

    def _echo(self, _: Backend, wire: Wire) -> None:
        while wire.fill():
            data, wire.buffer = wire.buffer, b""
            if data == b"bye":
                return
            if data == b"reset":
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            wire.send(data)

    # --- clients -----------------------------------------------------------------------------------------------------

    def connect(self, port: str = "web") -> Wire:
        wire = Wire(socket.create_connection(("127.0.0.1", self.ports[port]), DEADLINE))
        self._stack.callback(wire.close)
        return wire

    def get(self, path: str, *headers: str, port: str = "web", method: str = "GET", version: str = "1.1") -> int:
        """One request on a connection of its own; the status, 0 when nothing was answered."""
        wire = None
        try:
            wire = self.connect(port)
            wire.send(request_head(path, *headers, method=method, version=version))
            return read_response(wire, method).status
        except (PeerClosed, OSError):
            return 0
        finally:
            if wire is not None:
                wire.close()

    def later(self, path: str) -> threading.Thread:
        """`get` in a thread, once the server or the queue has it."""
        thread = threading.Thread(target=self.get, args=(path,))
        thread.start()
        return thread

    # --- the runtime API ---------------------------------------------------------------------------------------------

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(str(self.socket))
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer.decode()

    def rows(self, command: str = "show stat") -> dict[str, dict[str, str]]:
        """`show stat` by proxy/service."""
        text = self.ask(command).removeprefix("# ")
        return {f"{row['pxname']}/{row['svname']}": row for row in csv.DictReader(text.splitlines()) if row["pxname"]}

    def named(self, text: str) -> str:
        """A text with the names of ports instead of their numbers, which differ from run to run."""
        names = {port: name for name, port in self.ports.items()} | {self.good.port: "good", self.echo.port: "echo"}
        for port, name in names.items():
            text = text.replace(f":{port}", f":{name}").replace(f" {port} ", f" {name} ")
        return text

    def value(self, row: str, column: str) -> int:
        return int(self.rows()[row][column] or 0)

    def idle(self) -> bool:
        """Whether no session is left, so that everything is counted."""
        return all(row["scur"] in ("", "0") and row["qcur"] in ("", "0") for row in self.rows().values())

    def run(self, step: Callable[[Traffic], None]) -> dict[str, dict[str, str]]:
        """One step, from cleared counters to the last session's end."""
        self.opened.clear()
        for server in ("app/one", "other/one", "queue/one", "half/good", "elsewhere/good", "retry/one", "both/one"):
            self.ask(f"disable server {server}")  # no idle connections from the step before
            self.ask(f"enable server {server}")
        self.ask("clear counters all")
        step(self)
        wait_until(self.idle, "all sessions are over")
        return self.rows()


def request_head(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: a", *headers, "", ""]).encode()


_ANSWERS = {
    "missing": response(b"no", "404 Not Found"),
    "broken": response(b"no", "500 Oops"),
    "unmodified": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "strange": response(b"no", "799 Strange"),
    "deny": response(b"no", "200 OK", "X-Deny: yes"),
    "closing": response(b"bye", "200 OK", "Connection: close"),
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"done"),
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "big": response(b"x" * 1_000_000),
}

Step = Callable[[Traffic], None]
STEPS: dict[str, Step] = {}


def _step(function: Step) -> Step:
    STEPS[function.__name__.strip("_")] = function
    return function


def _paths(name: str, *paths: str, **options: str) -> None:
    def step(traffic: Traffic) -> None:
        for path in paths:
            traffic.get(path, **options)  # type: ignore[arg-type]

    STEPS[name] = step


_paths("simple", "/a", "/b")
_paths("statuses", "/missing", "/broken", "/unmodified", "/nothing", "/strange", "/interim", "/chunks")
_paths("closing", "/closing", "/until-close")
_paths("denied", "/denied", "/limited")
_paths("rejected_request", "/reject")
_paths("rejected_content", "/content")
_paths("tarpit", "/tarpit")
_paths("returned", "/returned")
_paths("redirected", "/redirect")
_paths("monitor", "/alive")
_paths("backend_denied", "/other/denied")
_paths("backend_returned", "/other/returned")
_paths("backend_redirected", "/other/redirect")
_paths("response_denied", "/deny")
_paths("server_empty", "/empty")
_paths("server_junk", "/junk")
_paths("server_silent", "/never")
_paths("server_refuses", "/refused")
_paths("redispatched", "/elsewhere")
_paths("steered", "/half")
_paths("nobody", "/nobody")
_paths("retried", "/retry/once")
_paths("retried_empty", "/retry/empty")
_paths("listen", "/a", "/denied", "/missing", port="both")
_paths("second_listener", "/a", port="second")
_paths("rejected_connection", "/", port="rejected")
_paths("rejected_session", "/", port="dropped")
_paths("old_version", "/a", version="1.0")
_paths("head", "/unmodified", method="HEAD")
_paths("bulk", "/big")


@_step
def _keep_alive(traffic: Traffic) -> None:
    wire = traffic.connect()
    for path in ("/a", "/missing", "/b"):
        wire.send(request_head(path))
        read_response(wire)
    wire.close()


@_step
def _pipelined(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a") * 3)
    for _ in range(3):
        read_response(wire)
    wire.close()


@_step
def _reused(traffic: Traffic) -> None:
    for _ in range(3):
        traffic.get("/other/a")
        # HAProxy may answer before its server connection counts as idle
        wait_until(lambda: traffic.value("other/one", "idle_conn_cur") + traffic.value("other/one", "safe_conn_cur"), "idle")


@_step
def _posted(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a", "Content-Length: 1000", method="POST") + b"x" * 1000)
    read_response(wire)
    wire.close()


@_step
def _persistent(traffic: Traffic) -> None:
    traffic.get("/a", "Cookie: SRV=one")


@_step
def _malformed(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
    wire.rest()


@_step
def _half_a_request(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    wire.close()


@_step
def _silent_client(traffic: Traffic) -> None:
    traffic.connect().close()


@_step
def _slow_client(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(b"GET / HTTP/1.1\r\n")
    wire.rest()


@_step
def _aborted_wait(traffic: Traffic) -> None:
    before = len(traffic.good.requests)
    wire = traffic.connect()
    wire.send(request_head("/never"))
    traffic.good.wait_for(lambda backend: len(backend.requests) > before, "the request is there")
    wire.close()


def _reset(wire: Wire) -> None:
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()


@_step
def _aborted_transfer(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/large"))
    wire.exactly(10_000)
    _reset(wire)


@_step
def _aborted_upload(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a", "Content-Length: 1000", method="POST") + b"x" * 10)
    wait_until(lambda: traffic.value("app/one", "scur"), "the server has it")
    _reset(wire)


@_step
def _stopped_upload(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/a", "Content-Length: 1000", method="POST") + b"x" * 10)
    wire.rest()


@_step
def _broken_transfer(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/part"))
    wire.until(b"ten bytes.")
    traffic.opened.set()
    wire.rest()


@_step
def _stalled_transfer(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/part"))
    wire.until(b"ten bytes.")
    wire.rest()


@_step
def _upgraded(traffic: Traffic) -> None:
    wire = traffic.connect()
    wire.send(request_head("/upgrade", "Connection: upgrade", "Upgrade: echo"))
    wire.until(b"\r\n\r\n")
    wire.send(b"hello")
    wire.exactly(5)
    wire.close()


@_step
def _queued(traffic: Traffic) -> None:
    first = traffic.later("/queue/wait")
    wait_until(lambda: traffic.value("queue/one", "scur") == 1, "the server is busy")
    second = traffic.later("/queue/a")
    wait_until(lambda: traffic.value("queue/one", "qcur") + traffic.value("queue/BACKEND", "qcur") == 1, "one waits")
    traffic.opened.set()
    first.join()
    second.join()


@_step
def _queued_too_long(traffic: Traffic) -> None:
    first = traffic.later("/queue/wait")
    wait_until(lambda: traffic.value("queue/one", "scur") == 1, "the server is busy")
    traffic.later("/queue/a").join()
    traffic.opened.set()
    first.join()


@_step
def _queue_left(traffic: Traffic) -> None:
    first = traffic.later("/queue/wait")
    wait_until(lambda: traffic.value("queue/one", "scur") == 1, "the server is busy")
    wire = traffic.connect()
    wire.send(request_head("/queue/a"))
    wait_until(lambda: traffic.value("queue/one", "qcur") + traffic.value("queue/BACKEND", "qcur") == 1, "one waits")
    wire.close()
    wait_until(lambda: traffic.value("queue/one", "qcur") + traffic.value("queue/BACKEND", "qcur") == 0, "it left")
    traffic.opened.set()
    first.join()


@_step
def _parallel(traffic: Traffic) -> None:
    threads = [traffic.later("/wait") for _ in range(3)]
    wait_until(lambda: traffic.value("app/one", "scur") == 3, "all are being served")
    traffic.opened.set()
    for thread in threads:
        thread.join()


# --- TCP mode --------------------------------------------------------------------------------------------------------


def _relay(traffic: Traffic, port: str, data: bytes) -> Wire:
    wire = traffic.connect(port)
    wire.send(data)
    wire.exactly(len(data))
    return wire


@_step
def _relayed(traffic: Traffic) -> None:
    for _ in range(2):
        _relay(traffic, "tcp", b"hello").close()
        wait_until(traffic.idle, "it is over")


@_step
def _relayed_until_the_server_closes(traffic: Traffic) -> None:
    wire = _relay(traffic, "tcp", b"hello")
    wire.send(b"bye")
    wire.rest()


@_step
def _relay_reset_by_client(traffic: Traffic) -> None:
    _reset(_relay(traffic, "tcp", b"hello"))


@_step
def _relay_reset_by_server(traffic: Traffic) -> None:
    wire = _relay(traffic, "tcp", b"hello")
    wire.send(b"reset")
    wire.rest()


@_step
def _relay_idle(traffic: Traffic) -> None:
    _relay(traffic, "tcp", b"hello").rest()


@_step
def _relay_without_data(traffic: Traffic) -> None:
    before = traffic.echo.connections
    wire = traffic.connect("tcp")
    traffic.echo.wait_for(lambda backend: backend.connections > before, "the server has it")
    wire.close()


@_step
def _relay_refused(traffic: Traffic) -> None:
    wire = traffic.connect("tcp_refused")
    wire.send(b"x")
    wire.rest()


@_step
def _relay_rejected(traffic: Traffic) -> None:
    wire = traffic.connect("inspected")
    wire.send(b"bad!")
    wire.rest()


@_step
def _relay_response_rejected(traffic: Traffic) -> None:
    wire = traffic.connect("censored")
    wire.send(b"good")
    wire.rest()


@_step
def _relay_inspected(traffic: Traffic) -> None:
    _relay(traffic, "inspected", b"good").close()

