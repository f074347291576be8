"""Real handshakes over socket pairs: an authority made once, recording owners, a reactor that the test turns."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from headgate.base.diagnostics import Location, Report
from headgate.config.tls_options import BindPolicy, BindTls, CertificateFile, CertificateLine
from headgate.proxy.port import Lost
from headgate.runtime.reactor import Reactor
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls.authority import issue, make_authority
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.server_context import BindContext, SessionCache

HERE = Location("haproxy.cfg", 12)
#: How long a turn takes at most, seconds: what is waited for may be no event of the reactor's.
_LOOK_EVERY = 0.05


class Folder:
    """Files of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def path(self, name: str) -> str:
        return str(self.folder / name)


class Pki(Folder):
    """Certificates that many tests use, and files of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.root = make_authority("Demo Root")
        self.intermediate = make_authority("Demo Intermediate", parent=self.root)
        self.other = make_authority("Other Root")
        self.a = issue(self.intermediate, ["a.example", "*.wild.example"])
        self.b = issue(self.root, ["b.example"])
        self.b_rsa = issue(self.root, ["b.example"], key="rsa")
        self.client = issue(self.root, ["alice"], client=True)
        self.stranger = issue(self.other, ["mallory"], client=True)
        self.ca = self.write("ca.pem", self.root.certificate_pem)
        for name in ("a", "b", "b_rsa", "client", "stranger"):
            self.write(f"{name}.pem", getattr(self, name).pem)


class Recorder:
    """An owner that notes what it hears; `wait` runs the loop until something is true."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.data = bytearray()
        self.lost: Lost | None = None
        self.channel: TlsChannel | None = None

    def handshake_completed(self) -> None:
        self.events.append("completed")

    def data_received(self, data: bytes) -> None:
        assert data
        self.data += data

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, reason: Lost) -> None:
        self.events.append("lost")
        self.lost = reason

    def drained(self) -> None:
        self.events.append("drained")

    @property
    def completed(self) -> bool:
        return "completed" in self.events

    @property
    def eof(self) -> bool:
        return "eof" in self.events


class World:
    """A reactor, and what is connected to it."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.sockets: list[socket.socket] = []

    def wait(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Serve events until `condition` holds, which other threads may bring about, too."""
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0.0:
                raise TimeoutError
            self.reactor.turn(min(left, _LOOK_EVERY))

    def pair(self) -> tuple[socket.socket, socket.socket]:
        listener = socket.create_server(("127.0.0.1", 0))
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        listener.close()
        near.setblocking(False)
        far.setblocking(False)
        self.sockets += [near, far]
        return near, far

    def close(self) -> None:
        self.reactor.close()
        for sock in self.sockets:
            sock.close()


def shake_hands(near: SSL.Connection, far: SSL.Connection) -> SSL.Error | None:
    """Take a client's and a server's connection through their handshake, in memory; what ended it, None for nothing."""
    near.set_connect_state()
    far.set_accept_state()
    for _ in range(6):
        for side, other in ((near, far), (far, near)):
            try:
                side.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                return error
            try:
                other.bio_write(side.bio_read(65536))
            except SSL.WantReadError:
                pass
    return None


def bind_tls(pki: Pki, *certificates: str, **options: Any) -> BindTls:
    """A bind line; `options` are fields of its policy or its own."""
    policy = {name: options.pop(name) for name in list(options) if name in _POLICY}
    return BindTls(lines(*map(pki.path, certificates)), BindPolicy(**policy), location=HERE, **options)


def lines(*paths: str) -> tuple[CertificateLine, ...]:
    """`crt` for each path."""
    return tuple(CertificateLine(CertificateFile(path, HERE)) for path in paths)


_POLICY = {one.name for one in fields(BindPolicy)}


def bind_context(
    pki: Pki, *certificates: str, cache: SessionCache | None = None, http: bool = True, **options: Any
) -> BindContext:
    report = Report()
    context = build_bind_context(bind_tls(pki, *certificates, **options), cache or SessionCache(), report, http=http)
    assert context is not None, report.items
    return context

