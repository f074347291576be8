"""Frontends and their limits over all workers: the joint forms of what `proxy.sides` has for one process.

A connection is accepted and its place taken in one section, that of the process's row: no limit is ever exceeded, whichever
worker accepts, and no session is counted that is not there.
"""

from __future__ import annotations

from typing import Final

from headgate.balance.rows import (
    ATTACHED,
    LAST_WOKEN,
    METERS,
    SESSIONS,
    TLS,
    TLS_WANTED,
    WAITING,
    Board,
    share_of,
)
from headgate.observe.cells import Cells, Sessions
from headgate.observe.counters import ListenerCounters
from headgate.plan.frontends import FrontendPlan
from headgate.proxy.client_session import ClientSession
from headgate.proxy.services import LogEmitter
from headgate.proxy.sides import Frontend, Shared
from headgate.proxy.tls_connections import TlsConnections

#: Connections that a worker may have above its share before it lets others go first: a few, and this part of its share.
_FEW: Final = 8
_PART: Final = 4


class JointMeter:
    """A rate over all workers in three cells; see `observe.counters.RateMeter`. The caller is in the section."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, at: int) -> None:
        self._cells = cells
        self._at = at

    def _roll(self, now: float) -> None:
        cells, at, second = self._cells, self._at, int(now)
        if cells[at] != second:
            cells[at + 2] = cells[at + 1] if cells[at] == second - 1 else 0
            cells[at + 1] = 0
            cells[at] = second

    def tick(self, now: float) -> None:
        """See `proxy.rates.Meter`."""
        self._roll(now)
        self._cells[self._at + 1] += 1

    def untick(self) -> None:
        """See `proxy.rates.Meter`."""
        if self._cells[self._at + 1]:
            self._cells[self._at + 1] -= 1

    def rate(self, now: float) -> int:
        """See `proxy.rates.Meter`."""
        self._roll(now)
        at = self._at
        return int(self._cells[at + 1] + self._cells[at + 2] * (1.0 - (now - int(now))))


def _join(counted: Sessions, board: Board, row: int) -> None:
    """Let the sessions of something stand in its row."""
    counted.keep_sessions(board.cells, row + SESSIONS, share_of(row, board.process) + SESSIONS - 1)


class JointListenerCounters(ListenerCounters):
    """Counters of a listening socket; `sessions` is that of all workers. Who changes it is in the section."""

    __slots__ = ("row",)

    def __init__(self, board: Board, frontend: str, number: int) -> None:
        super().__init__()
        self.row = board.attach("listener", f"{frontend}/{number}")
        _join(self, board, self.row)


class JointTlsConnections(TlsConnections):
    """See `TlsConnections`. Each process counts its own in its share of the process's row, for which no section is needed.

    With a limit, places are taken and given back in the section, so that it is never exceeded and nobody waits who could go on.
    """

    __slots__ = ("_cells", "_first", "_own", "_step", "joint")

    def join(self, joint: JointShared) -> None:
        """Before anything else: count on the board."""
        board = joint.board
        self.joint = joint
        self._cells = board.cells
        self._first = share_of(joint.row, 0) + TLS - 1
        self._step = share_of(joint.row, 1) - share_of(joint.row, 0)
        self._own = share_of(joint.row, board.process) + TLS - 1

    def count(self) -> int:
        """See `TlsConnections`: those of all processes, the controller's health checks among them."""
        cells, first, step = self._cells, self._first, self._step
        return sum([cells[first + step * process] for process in range(self.joint.board.processes)])

    def wanted(self) -> bool:
        """See `TlsConnections`."""
        return self.limit > 0 and self._cells[self.joint.row + TLS_WANTED] > 0

    def begin(self) -> None:
        """See `TlsConnections`. Who has asked the limit is still in the section."""
        self._cells[self._own] += 1
        if self.limit:
            self._cells[self.joint.row + TLS_WANTED] = 0

    def end(self) -> None:
        """See `TlsConnections`. With a limit, listeners that wait are woken; not to be called in the section."""
        if not self.limit:
            self._cells[self._own] -= 1
            return
        joint = self.joint
        woken: list[int] = []
        joint.section.enter()
        try:
            was_full = self.count() >= self.limit
            self._cells[self._own] -= 1
            if was_full:
                woken = joint.wake_waiting(joint.row, everybody=True)
        finally:
            joint.section.leave()
        for process in woken:
            joint.board.wake(process)
        if was_full:
            self.freed()

    def _take(self) -> bool:
        if not self.limit:
            self.begin()
            return True
        section = self.joint.section
        section.enter()
        try:
            return super()._take()
        finally:
            section.leave()

    def _want(self) -> None:
        """Have the others close an idle connection; once, until somebody has found a place."""
        board, wanted = self.joint.board, self.joint.row + TLS_WANTED
        if not self._cells[wanted]:
            self._cells[wanted] = 1
            for process in range(1, board.processes):
                if process != board.process:
                    board.wake(process)

    def look(self) -> None:
        """See `TlsConnections`."""
        if self.wanted() and self.close_idle():
            self._cells[self.joint.row + TLS_WANTED] = 0


class JointShared(Shared):
    """See `Shared`; `sessions` is that of all workers.

    Attributes:
        board: the shared memory.
        row: of the process.
        section: of the row, and of those of all frontends.
        frontend_rows: of all frontends.
    """

    __slots__ = ("board", "frontend_rows", "row", "section")

    def join(self, board: Board) -> None:
        """Before anything else: let all that is counted and limited stand on the board."""
        self.board = board
        self.row = board.attach("process", "")
        self.section = board.section(self.row)
        self.frontend_rows: list[int] = []
        _join(self, board, self.row)
        for number, gate in enumerate((self.gates.connections, self.gates.sessions, self.gates.tls)):
            gate.meter = JointMeter(board.cells, self.row + METERS + 3 * number)
        tls = self.tls
        assert isinstance(tls, JointTlsConnections)
        tls.join(self)

    def _make_tls(self) -> TlsConnections:
        return JointTlsConnections()

    def is_ahead(self) -> bool:
        """Whether this worker has clearly more connections than its share."""
        cells = self._cells
        own = cells[self._mine]
        if own <= _FEW:
            return False
        workers = cells[self.row + ATTACHED] - cells[share_of(self.row, 0) + ATTACHED - 1]
        share = cells[self._sessions] // max(workers, 1)
        return own > share + _FEW + share // _PART

    def wake_waiting(self, row: int, *, everybody: bool) -> list[int]:
        """Processes whose listeners wait for a place and shall look again: one, or all. The caller is in the section.

        Args:
            row: the frontend where a place is free.
            everybody: of all frontends.
        """
        cells = self._cells
        woken: list[int] = []
        if everybody:
            for other in self.frontend_rows:
                if cells[other + WAITING]:
                    woken += self._waiting(other, self.board.processes)
        elif cells[row + WAITING]:
            woken = self._waiting(row, 1)
        return woken

    def _waiting(self, row: int, most: int) -> list[int]:
        """Take up to `most` processes off the list of those that wait, in turns."""
        cells = self._cells
        woken: list[int] = []
        last = cells[row + LAST_WOKEN]
        for step in range(1, self.board.processes + 1):
            process = (last + step) % self.board.processes
            share = share_of(row, process) + WAITING - 1
            if cells[share]:
                cells[row + WAITING] -= cells[share]
                cells[share] = 0
                cells[row + LAST_WOKEN] = process
                woken.append(process)
                if len(woken) == most:
                    break
        return woken


class JointFrontend(Frontend):
    """See `Frontend`; `sessions` is that of all workers.

    Attributes:
        row: of the frontend.
    """

    __slots__ = ("_narrow", "joint", "row")

    def __init__(self, plan: FrontendPlan, shared: JointShared, log: LogEmitter | None, maxconn: int) -> None:
        super().__init__(plan, shared, log, maxconn)
        board = shared.board
        self.joint = shared
        self.row = board.attach("frontend", plan.name)
        shared.frontend_rows.append(self.row)
        self._narrow = any(bind.maxconn for bind in plan.binds)
        _join(self, board, self.row)
        self.gate.meter = JointMeter(board.cells, self.row + METERS)
        for number, socket in self.sockets.items():
            socket.counters = JointListenerCounters(board, self.name, number)

    def take_place(self, socket: ListenerCounters | None) -> None:
        """Count a connection that was accepted. The caller is still in the section in which it asked all limits."""
        joint = self.joint
        self.sessions += 1
        joint.sessions += 1
        counters = self.counters
        if self.sessions > counters.maximum_sessions:
            counters.maximum_sessions = self.sessions
        if joint.sessions > joint.counters.maximum_sessions:
            joint.counters.maximum_sessions = joint.sessions
        if socket is not None:
            socket.sessions += 1
            if socket.sessions > socket.maximum_sessions:
                socket.maximum_sessions = socket.sessions

    def give_place_back(self, socket: ListenerCounters | None) -> list[int]:
        """The opposite of `take_place`; the caller wakes the processes that it names, outside of the section."""
        joint = self.joint
        everybody = joint.sessions >= joint.maxconn or self._narrow
        self.sessions -= 1
        joint.sessions -= 1
        if socket is not None:
            socket.sessions -= 1
        return joint.wake_waiting(self.row, everybody=everybody)

    def wait_for_place(self) -> None:
        """A listener of this process waits for a place. The caller is in the section."""
        cells = self._cells
        cells[share_of(self.row, self.joint.board.process) + WAITING - 1] += 1
        cells[self.row + WAITING] += 1

    def wait_no_more(self) -> None:
        """It doesn't wait any longer."""
        cells = self._cells
        share = share_of(self.row, self.joint.board.process) + WAITING - 1
        self.joint.section.enter()
        try:
            if cells[share]:
                cells[share] -= 1
                cells[self.row + WAITING] -= 1
        finally:
            self.joint.section.leave()

    def session_started(self, session: ClientSession, now: float) -> None:
        """See `Frontend`; its place was taken before."""
        self._enter(session, now)

    def not_a_session(self) -> None:
        """See `Frontend`."""
        self.joint.section.enter()
        try:
            super().not_a_session()
        finally:
            self.joint.section.leave()

    def session_over(self, session: ClientSession) -> None:
        """See `Frontend`; a worker with a listener that waits for the place is woken."""
        self._leave(session)
        joint = self.joint
        joint.section.enter()
        try:
            woken = self.give_place_back(session.counted)
        finally:
            joint.section.leave()
        for process in woken:
            joint.board.wake(process)
        joint.session_ended(self)
