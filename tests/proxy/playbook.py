"""Conversations with the machines in `proxy`, written as events and effects: no sockets, no clock, no sleeps.

A `Playbook` is a configuration under a scripted scheduler and connector. The client's and the servers' channels record
what is done to them.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import os
from collections.abc import Callable, Sequence

from headgate.balance.backend import BackendState
from headgate.balance.server import ServerState
from headgate.base.diagnostics import Report, render
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.observe.counters import ProcessCounters
from headgate.plan.compiler import compile_plan
from headgate.plan.facts import Stream, TlsFacts, Value
from headgate.plan.frontends import Plan
from headgate.proxy.http_session import HttpSession
from headgate.proxy.port import Lost, Owner
from headgate.proxy.relay import RelaySession
from headgate.proxy.services import Attempt, Reminder, Scheduler, Timed
from headgate.proxy.sides import Backend, Frontend, Shared
from headgate.tables.opening import open_tables
from headgate.tables.table import Table


class Clock(Scheduler):
    """A scheduler whose time is moved by hand."""

    def __init__(self) -> None:
        super().__init__(1000.0, 1_700_000_000.0)
        self._timed: list[tuple[float, int, Timed]] = []
        self._order = itertools.count()
        self._later: list[Callable[[], None]] = []

    def arm(self, timed: Timed, deadline: float) -> None:
        timed.deadline = deadline
        timed.armed = Reminder(deadline, timed)
        heapq.heappush(self._timed, (deadline, next(self._order), timed))

    def retire(self, timed: Timed) -> None:
        timed.deadline = 0.0

    def later(self, call: Callable[[], None]) -> None:
        self._later.append(call)

    def settle(self) -> None:
        """Run what was put off to the end of the turn."""
        while self._later:
            self._later.pop(0)()

    def advance(self, seconds: float) -> None:
        """Let time pass and deadlines fire."""
        end = self.now + seconds
        while self._timed and self._timed[0][0] <= end:
            at, _, timed = heapq.heappop(self._timed)
            self.wall += at - self.now if at > self.now else 0.0
            self.now = max(self.now, at)
            if timed.deadline and timed.deadline <= self.now:
                timed.deadline = 0.0
                timed.armed = None
                timed.timed_out()
                self.settle()
            elif timed.deadline > self.now:
                heapq.heappush(self._timed, (timed.deadline, next(self._order), timed))
        self.wall += end - self.now
        self.now = end


class Channel:
    """A channel that records. `fate` is "open", "closed", "lingering" or "aborted"."""

    def __init__(self, owner: Owner | None = None) -> None:
        self.owner: Owner = owner  # type: ignore[assignment]
        self.blocked = False
        self.tls: TlsFacts | None = None
        self.sent = b""
        self.reading = True
        self.write_shut = False
        self.corked = False
        self.fate = "open"

    def cork(self) -> None:
        self.corked = True

    def send(self, data: bytes) -> None:
        if self.fate == "open" and not self.write_shut:
            self.sent += data

    def pause(self) -> None:
        self.reading = False

    def resume(self) -> None:
        self.reading = True

    def shutdown_write(self) -> None:
        self.write_shut = True

    def close(self) -> None:
        self.fate = "closed"

    def linger(self) -> None:
        self.fate = "lingering"

    def abort(self) -> None:
        self.fate = "aborted"

    def said(self) -> bytes:
        """What was sent since the last call."""
        sent, self.sent = self.sent, b""
        return sent


class PendingAttempt:
    """A connection attempt that the test decides on."""

    def __init__(self, server: ServerState, attempt: Attempt) -> None:
        self.server = server
        self.attempt = attempt
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def timed_out(self) -> None:
        self.cancelled = True

    def succeed(self) -> Channel:
        channel = Channel()
        self.attempt.connected(channel)
        return channel

    def fail(self, reason: Lost = Lost.REFUSED) -> None:
        self.attempt.connect_failed(reason)


class Connector:
    def __init__(self) -> None:
        self.attempts: list[PendingAttempt] = []

    def connect(self, server: ServerState, stream: Stream, attempt: Attempt) -> PendingAttempt:
        pending = PendingAttempt(server, attempt)
        self.attempts.append(pending)
        return pending

    def next(self) -> PendingAttempt:
        """The oldest attempt not taken yet."""
        return self.attempts.pop(0)


class Emitter:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def emit(self, level: int, line: bytes, now: float, structured: bytes = b"") -> None:
        self.lines.append(line.decode())


class World:
    def __init__(self) -> None:
        self.process_variables: dict[bytes, Value] = {}
        self.backends: dict[str, BackendState] = {}
        self.frontends: dict[str, Frontend] = {}
        self.stopping = False
        self.shared: Shared | None = None
        self.tables: Sequence[Table] = ()

    @property
    def sessions(self) -> int:
        return self.shared.sessions if self.shared is not None else 0

    def now(self) -> float:
        return 1_700_000_000.0


HEADER = """
global
    log 127.0.0.1:514 local0
defaults
    mode http
    log global
    option httplog
    timeout connect 4s
    timeout client 20s
    timeout server 30s
"""


@functools.cache
def compiled(config: str, directory: str) -> Plan:
    """The plan of a configuration; a test that plays it many times compiles it once."""
    file = os.path.join(directory, "playbook.cfg")
    with open(file, "w") as out:
        out.write(config)
    report = Report()
    loaded = load([file], {}, BuildFacts(), report)
    assert loaded is not None, "\n".join(map(render, report.items))
    plan = compile_plan(loaded, report)
    assert not report.alerts, "\n".join(map(render, report.items))
    return plan


class Playbook:
    """A configuration at work.

    Attributes:
        clock, connector: the scripted world.
        tables: the stick tables.
        log: lines of all frontends.
    """

    def __init__(self, config: str, tmp_path: os.PathLike[str], header: str = HEADER) -> None:
        plan = compiled(header + config, os.fspath(tmp_path))
        self.clock = Clock()
        self.connector = Connector()
        self.log = Emitter()
        world = World()
        self.shared = Shared(self.clock, self.connector, world, ProcessCounters())
        world.shared = self.shared
        self.tables = world.tables = open_tables(plan.tables, None, self.clock)
        for name, backend in plan.backends.items():
            world.backends[name] = BackendState(backend, lambda: 0.5)
        self.backends = {name: Backend(plan.backends[name], state, self.clock) for name, state in world.backends.items()}
        self.shared.backends = self.backends
        self.frontends = {one.name: Frontend(one, self.shared, self.log, 1000) for one in plan.frontends}
        world.frontends = self.frontends

    def client(self, frontend: str = "fe") -> Client:
        """A new client connection."""
        side = self.frontends[frontend]
        session = HttpSession(side) if side.spec.mode.value == "http" else RelaySession(side)
        session.source, session.source_port = b"192.0.2.7", 4711
        session.destination, session.destination_port = b"192.0.2.1", 80
        session.accepted_at = self.clock.wall
        side.session_started(session, self.clock.now)
        channel = Channel()
        session.start(channel, 0)
        return Client(self, channel)

    def server(self) -> Server:
        """The server that a connection is being made to: it accepts."""
        return Server(self, self.connector.next().succeed())


class Client:
    def __init__(self, book: Playbook, channel: Channel) -> None:
        self.book = book
        self.channel = channel

    def sends(self, data: bytes) -> None:
        self.channel.owner.data_received(data)
        self.book.clock.settle()

    def shuts(self) -> None:
        self.channel.owner.eof_received()
        self.book.clock.settle()

    def breaks(self) -> None:
        self.channel.owner.connection_lost(Lost.RESET)
        self.book.clock.settle()

    def drains(self) -> None:
        self.channel.blocked = False
        self.channel.owner.drained()
        self.book.clock.settle()

    def got(self) -> bytes:
        return self.channel.said()


class Server(Client):
    """The same verbs from the server's side."""
