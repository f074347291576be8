"""A listening socket that several workers accept from: what is counted of it, and when."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from headgate.observe.counters import ProcessCounters
from headgate.proxy.joint import JointFrontend, JointShared
from headgate.runtime.reactor import READ, Reactor
from headgate.runtime.workers.listener import JointListener
from headgate.runtime.workers.shared import SharedState
from tests.proxy.playbook import Playbook

CONFIG = "frontend fe\n    bind 127.0.0.1:1 maxconn 10\n    http-request return status 200\n"


class Socket:
    """The listening socket as one worker has it; `watch` is called when that worker asks for a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.watch: Any = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _accept(self) -> Any:
        self.watch()
        return self._sock._accept()  # type: ignore[attr-defined]


class Worker:
    """One worker with the frontend."""

    def __init__(self, state: SharedState, number: int, play: Playbook, sock: socket.socket) -> None:
        self.sock = Socket(sock)
        self.reactor = Reactor()
        self.shared = JointShared(play.clock, play.connector, play.shared.world, ProcessCounters())
        self.shared.join(state.enter(number))
        self.side = JointFrontend(play.frontends["fe"].plan, self.shared, None, 1000)
        self.listener = JointListener(self.reactor, self.side, self.side.spec.binds[0], cast(Any, self.sock), None, 1)
        self.listener.start()

    def maxima(self) -> tuple[int, int, int]:
        """Of frontend, process and socket."""
        counters = self.listener.counters
        assert counters is not None
        return self.side.counters.maximum_sessions, self.shared.counters.maximum_sessions, counters.maximum_sessions

    def close(self) -> None:
        for session in list(self.shared.live):
            cast(Any, session).channel.release()
        self.listener.stop()
        self.reactor.close()
        for one in (self.side, self.shared, self.listener.counters):
            one._cells = None  # type: ignore[union-attr]  # or the memory can't be unmapped
        for gate in (self.side.gate, self.shared.gates.connections, self.shared.gates.sessions, self.shared.gates.tls):
            gate.meter._cells = None  # type: ignore[attr-defined]
        self.shared.section = self.shared.board = None  # type: ignore[assignment]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    state = SharedState(rows=20, workers=2, connections=100)
    play = Playbook(CONFIG, tmp_path, "defaults\n    mode http\n    timeout client 10s\n")
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    sock.setblocking(False)
    made = [Worker(state, number, play, sock) for number in (1, 2)]
    yield made
    for worker in made:
        worker.close()
    sock.close()
    made.clear()
    state.close()


def test_a_session_is_counted_when_it_is_there_and_not_before(workers: list[Worker]) -> None:
    """All workers are woken and one gets the connection: meanwhile, what the others ask for in vain is no session."""
    one, other = workers
    seen: list[int] = []
    one.sock.watch = lambda: seen.append(other.side.sessions)
    with socket.create_connection(one.sock.getsockname()):
        one.listener._accept(READ)
        other.listener._accept(READ)
        one.listener._accept(READ)
    assert seen == [0, 1]
    assert one.side.sessions == other.side.sessions == one.shared.sessions == 1
    assert one.maxima() == (1, 1, 1) and other.maxima() == (0, 0, 0)
