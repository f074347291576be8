"""What traffic is scripted with, the same for HAProxy and headgate, and what their statistics say after each step.

Each step (`traffic_steps`) begins with `clear counters all`, so that a difference in a counter belongs to that step alone.
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
from tests.interop.programs import DEADLINE, Program, ProgramFailed, ask_socket, free_ports, start_subject, wait_until

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
        return ask_socket(self.socket, command)

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
