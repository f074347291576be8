"""Servers that a test scripts byte by byte, in threads: what was said to them is recorded, what they answer is a function."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.interop.programs import listening

DEADLINE = 20.0


class PeerClosed(Exception):
    """The other side ended where more was expected; the message holds what had arrived."""


class Wire:
    """A socket with a read buffer.

    Attributes:
        socket: plain or TLS.
        buffer: read and not yet taken.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE)
        self.socket = connection
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def fill(self) -> bool:
        """Read some more; False at the end of the stream."""
        part = self.socket.recv(65536)
        self.buffer += part
        return bool(part)

    def until(self, delimiter: bytes) -> bytes:
        """Everything up to and with the delimiter."""
        while delimiter not in self.buffer:
            if not self.fill():
                raise PeerClosed(repr(self.buffer))
        head, _, self.buffer = self.buffer.partition(delimiter)
        return head + delimiter

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self.fill():
                raise PeerClosed(repr(self.buffer[:200]))
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def rest(self) -> bytes:
        """Everything until the end of the stream; a reset counts as an end."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while self.fill():
                pass
        data, self.buffer = self.buffer, b""
        return data

    def at_end(self) -> bool:
        """Whether the other side closes without saying more."""
        return self.rest() == b""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


@dataclass
class Message:
    """A request or response as it was on the wire.

    Attributes:
        start: the start line's three parts.
        headers: in order, names as received.
        body: decoded when chunked.
        trailers: after a chunked body.
        chunked: the body was chunked.
    """

    start: tuple[str, str, str]
    headers: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    chunked: bool = False

    @property
    def status(self) -> int:
        return int(self.start[1])

    @property
    def target(self) -> str:
        return self.start[1]

    def all(self, name: str) -> list[str]:
        """The values of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a header that is there at most once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, f"not a header: {line!r}"
        pairs.append((name, value.strip()))
    return pairs


def read_head(wire: Wire) -> Message:
    """The start line and headers."""
    lines = wire.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
    first, second, third = (lines[0] + "  ").split(" ", 2)
    return Message((first, second, third.rstrip()), _fields(lines[1:]))


def _read_chunks(wire: Wire, message: Message) -> None:
    message.chunked = True
    while size := int(wire.until(b"\r\n").split(b";")[0], 16):
        message.body += wire.exactly(size)
        assert wire.exactly(2) == b"\r\n"
    while (line := wire.until(b"\r\n")) != b"\r\n":
        message.trailers += _fields([line.decode("latin-1").rstrip("\r\n")])


def read_body(wire: Wire, message: Message, *, response_to: str | None = None) -> Message:
    """The body that follows a head. `response_to` is the request's method, where the message is a response."""
    if response_to is not None and (response_to == "HEAD" or message.status < 200 or message.status in (204, 304)):
        return message
    if "chunked" in (message.one("transfer-encoding") or ""):
        _read_chunks(wire, message)
    elif (length := message.one("content-length")) is not None:
        message.body = wire.exactly(int(length))
    elif response_to is not None:
        message.body = wire.rest()
    return message


def read_request(wire: Wire) -> Message:
    return read_body(wire, read_head(wire))


def read_response(wire: Wire, method: str = "GET") -> Message:
    """The next response, a 1xx too."""
    return read_body(wire, read_head(wire), response_to=method)


def response(body: bytes = b"ok", status: str = "200 OK", *headers: str) -> bytes:
    """A response with Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


Script = Callable[["Backend", Wire], None]


def answer(data: bytes | Callable[[Message], bytes] | None = None) -> Script:
    """A script: keep the connection, answer every request with the same bytes, or with what a function makes of the request."""

    def serve(backend: Backend, wire: Wire) -> None:
        while True:
            try:
                request = read_request(wire)
            except PeerClosed:
                return
            backend.record(request)
            reply = response(backend.name.encode()) if data is None else data(request) if callable(data) else data
            wire.send(reply)

    return serve


class Backend:
    """A listening server on 127.0.0.1.

    Attributes:
        name: what the default script answers with.
        port: where it listens; 0 for a unix socket.
        requests: all that scripts recorded, over all connections.
        connections: how many were accepted.
        open_connections: how many scripts are running.
        errors: what scripts raised; checked when the test ends.
    """

    def __init__(self, script: Script | None = None, name: str = "one", tls: ssl.SSLContext | None = None,
                 listener: socket.socket | None = None) -> None:
        self.name = name
        self.requests: list[Message] = []
        self.connections = 0
        self.open_connections = 0
        self.errors: list[BaseException] = []
        self._script = script or answer()
        self._tls = tls
        self._changed = threading.Condition()
        self._wires: list[Wire] = []
        self._threads: list[threading.Thread] = []
        self._listener = listener or listening()
        address = self._listener.getsockname()
        self.port: int = address[1] if isinstance(address, tuple) else 0
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._changed:
                self.connections += 1
                self.open_connections += 1
                self._threads.append(thread)
                self._changed.notify_all()
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        wire = None
        try:
            if self._tls is not None:
                connection.settimeout(DEADLINE)
                connection = self._tls.wrap_socket(connection, server_side=True)
            wire = Wire(connection)
            self._wires.append(wire)
            self._script(self, wire)
        except (OSError, PeerClosed):
            pass  # the peer's doing: tests look at what was recorded
        except BaseException as error:
            self.errors.append(error)
        finally:
            (wire or connection).close()
            with self._changed:
                self.open_connections -= 1
                self._changed.notify_all()

    def record(self, request: Message) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[Backend], object], what: str) -> None:
        """Wait for a condition over this backend's state."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), DEADLINE), f"never happened: {what}"

    def close(self) -> None:
        """Stop listening, end all connections, raise what a script raised."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(DEADLINE)
        for wire in self._wires:
            with contextlib.suppress(OSError):
                wire.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE)
        if self.errors:
            raise self.errors[0]


class LogReceiver:
    """A syslog server on UDP, or on a unix datagram socket when a path is given.

    Attributes:
        port: of UDP; lines: what arrived, in order.
    """

    def __init__(self, path: str | None = None) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        if path is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("127.0.0.1", 0))
            self.port = self._socket.getsockname()[1]
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.bind(path)
            self.port = 0
        self._socket.settimeout(0.1)
        self._closed = False
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._closed:
            try:
                line = self._socket.recv(65536).decode("latin-1").rstrip("\n")
            except TimeoutError:
                continue
            except OSError:
                return
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def line(self, *parts: str) -> str:
        """The first line that holds all parts, waiting for it."""
        found: list[str] = []

        def arrived() -> bool:
            found[:] = [line for line in self.lines if all(part in line for part in parts)]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(arrived, DEADLINE), f"no line with {parts} among {self.lines}"
        return found[0]

    def close(self) -> None:
        self._closed = True
        self._thread.join(DEADLINE)
        self._socket.close()
