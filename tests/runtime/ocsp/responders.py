"""Responders that behave as they are told, well or badly, on loopback addresses."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from cryptography.x509 import ocsp

from tests.interop.programs import free_port


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def serial(self) -> int:
        """Of the certificate that is asked about."""
        der = self.body if self.method == "POST" else b64decode(unquote(self.target.rpartition("/")[2]))
        return ocsp.load_der_ocsp_request(der).serial_number


#: What a responder does with a request, on the connection that it came over.
Behaviour = Callable[[Asked, socket.socket], None]


def http(body: bytes, status: str = "200 OK", kind: str = "application/ocsp-response", more: str = "") -> bytes:
    """A complete response."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{more}\r\n"
    return head.encode() + body


def sends(data: bytes) -> Behaviour:
    """Sends these bytes."""
    return lambda asked, sock: sock.sendall(data)


def answers(make: Callable[[Asked], bytes]) -> Behaviour:
    """Answers with a response."""
    return lambda asked, sock: sock.sendall(http(make(asked)))


def is_silent(asked: Asked, sock: socket.socket) -> None:
    """Never says anything, until the client leaves."""
    sock.settimeout(60)
    with contextlib.suppress(OSError):
        sock.recv(1)


def breaks_off(asked: Asked, sock: socket.socket) -> None:
    """Closes in the middle of its answer."""
    sock.sendall(http(b"x" * 100)[:-50])


def drips(asked: Asked, sock: socket.socket) -> None:
    """Sends a byte now and then."""
    for byte in http(b"x" * 3000):
        sock.sendall(bytes((byte,)))
        time.sleep(0.02)


def pours(size: int) -> Behaviour:
    """Sends a body of this many bytes, whose length is not said before."""

    def behave(asked: Asked, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/ocsp-response\r\nconnection: close\r\n\r\n")
        for _ in range(size // 65536):
            sock.sendall(b"x" * 65536)

    return behave


def redirects(to: str, status: str = "302 Found") -> Behaviour:
    """Sends somewhere else."""
    return sends(http(b"", status, more=f"location: {to}\r\n"))


def port_of_both() -> int:
    """A port that nobody has, neither on 127.0.0.1 nor on ::1."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.create_server(("::1", port), family=socket.AF_INET6):
            return port


class Responder:
    """A server in threads of its own.

    Attributes:
        behave: what it does now; may be changed at any time.
        asked: all requests so far.
        most: connections that it had at a time.
        port: where it listens.
    """

    def __init__(self, behave: Behaviour, host: str = "127.0.0.1", port: int = 0) -> None:
        self.behave = behave
        self.asked: list[Asked] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port or free_port()), family=family, backlog=256)
        self.host, self.port = self._listener.getsockname()[:2]
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def uri(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def _accept(self) -> None:
        while self._open:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            with sock, contextlib.suppress(OSError, ValueError):
                sock.settimeout(30)
                asked = self._read(sock)
                if asked is not None:
                    with self._lock:
                        self.asked.append(asked)
                    self.behave(asked, sock)
        finally:
            with self._lock:
                self._now -= 1

    @staticmethod
    def _read(sock: socket.socket) -> Asked | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += sock.recv(65536)
        method, target, _ = start.split(" ")
        return Asked(method, target, headers, body)

    def close(self) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def black_hole(host: str, port: int = 0) -> Iterator[int]:
    """A port that swallows connection requests: its backlog is full and nobody accepts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket(family))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port or free_port()))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = opened.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(address[:2])
        with socket.socket(family) as probe:
            probe.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                probe.connect(address[:2])
                raise AssertionError("the backlog is not full")
        yield address[1]
