"""The plain connection of a check on real sockets: how it ends."""

from __future__ import annotations

import socket

from headgate.runtime.checks.connection import Connection, nothing
from headgate.runtime.reactor import Reactor


class Flood:
    """A socket of a server that always has something more."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.reads = 0

    def recv(self, most: int) -> bytes:
        self.reads += 1
        assert self.reads < 1000, "nobody else would ever have their turn"
        return b"x" * most

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


def test_a_server_that_never_ceases_to_send_is_left() -> None:
    near, far = socket.socketpair()
    far.send(b"x")
    reactor = Reactor()
    try:
        flood = Flood(near)
        Connection(reactor, flood, nothing).close()  # type: ignore[arg-type]
        assert near.fileno() == -1 and flood.reads > 1
    finally:
        far.close()
        reactor.close()


def test_what_is_there_is_read_away_so_that_the_end_is_in_order() -> None:
    reactor = Reactor()
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as far:
        near, _ = listening.accept()
        near.setblocking(False)
        far.sendall(b"x" * 40_000)
        Connection(reactor, near, nothing).close()
        far.settimeout(10)
        assert far.recv(1) == b""  # and no reset
    reactor.close()
