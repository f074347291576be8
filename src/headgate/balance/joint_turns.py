"""Algorithms that go in one order over all workers: whose turn it is stands in shared memory.

`choose` and `rebuild` are called by who is in the backend's section.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from typing import cast

from headgate.balance.joint_server import JointServer
from headgate.balance.leastconn import LeastConn
from headgate.balance.random import RandomDraws
from headgate.balance.roundrobin import RoundRobin
from headgate.balance.rows import PICKS, TURN, Cells, Nowhere
from headgate.balance.selector import Selector
from headgate.balance.server import ServerState
from headgate.balance.static_rr import StaticRoundRobin

#: The stride of weight 1: large enough that rounding that of weight 256 does not show, and small enough that a cell of 64 bits
#: holds the deadlines of years.
_SCALE = 1 << 20


class JointRoundRobin(RoundRobin):
    """Round robin over deadlines that all workers move on.

    Every worker has a heap of its own. Its entries may be behind, since others moved servers on; never ahead, as deadlines only
    grow between two calls of `rebuild`. So the top is brought up to date until it is: then it is the nearest of all.
    """

    __slots__ = ("_at", "_cells", "_turn")

    def __init__(self, cells: Cells, row: int, turn: int = TURN) -> None:
        """
        Args:
            cells: the shared memory.
            row: of the backend.
            turn: the cell of the clock in the backend's row, and of the deadline in the servers' rows.
        """
        self._cells = cells
        self._at = row + turn
        self._turn = turn
        self._heap = []

    @property
    def _clock(self) -> int:
        return self._cells[self._at]

    @_clock.setter
    def _clock(self, value: int) -> None:
        self._cells[self._at] = value

    def _place(self, server: ServerState) -> int:
        return cast(JointServer, server).row + self._turn

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        cells = self._cells
        clock = self._clock
        known = {entry[2] for entry in self._heap}
        heap = []
        for server in servers:
            stride = _SCALE // server.effective
            place = self._place(server)
            deadline = cells[place]
            if server in known:
                deadline = min(max(deadline, clock), clock + stride)
            elif not clock < deadline <= clock + stride:
                # Who comes in starts half a stride from now; unless another worker has noticed it already.
                deadline = clock + stride // 2
            cells[place] = deadline
            heap.append((deadline, server.position, server, stride))
        heapify(heap)
        self._heap = heap

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        heap = self._heap
        if not heap:
            return None
        cells = self._cells
        turn = self._turn
        while True:
            deadline, position, server, stride = heap[0]
            place = server.row + turn  # type: ignore[attr-defined]  # a JointServer; a cast costs a call
            actual = cells[place]
            if actual == deadline:
                break
            heapreplace(heap, (actual, position, server, stride))
        if server is avoid or 0 < server.limit <= server.sessions:
            self._heap = [(cells[self._place(entry[2])], *entry[1:]) for entry in heap]
            heapify(self._heap)
            return self._pass_over(avoid)
        clock = cells[self._at]
        if deadline > clock:
            cells[self._at] = deadline
        else:
            deadline = clock
        cells[place] = deadline = deadline + stride
        heapreplace(heap, (deadline, position, server, stride))
        return server

    def _moved(self, entry: tuple[int, int, ServerState, int]) -> tuple[int, int, ServerState, int]:
        moved = super()._moved(entry)
        self._cells[self._place(moved[2])] = moved[0]
        return moved


class JointStaticRoundRobin(StaticRoundRobin):
    """The place in the table is the same for all."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, row: int) -> None:
        self._cells = cells
        self._at = row + TURN
        self._table = []

    @property
    def _next(self) -> int:
        return self._cells[self._at]

    @_next.setter
    def _next(self, value: int) -> None:
        self._cells[self._at] = value


class JointLeastConn(LeastConn):
    """Who was picked the longest time ago is known to all."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: Cells, row: int) -> None:
        self._cells = cells
        self._at = row + PICKS
        self._servers = []

    @property
    def _picks(self) -> int:
        return self._cells[self._at]

    @_picks.setter
    def _picks(self, value: int) -> None:
        self._cells[self._at] = value


class JointRandomDraws(RandomDraws):
    """See `JointLeastConn`."""

    __slots__ = ("_at", "_shared")

    def __init__(self, draws: int, randomness: Callable[[], float], balance_factor: int, cells: Cells, row: int) -> None:
        self._at = row + PICKS
        self._shared: Cells = Nowhere()  # what the constructor sets is not the count
        super().__init__(draws, randomness, balance_factor)
        self._shared = cells

    @property
    def _picks(self) -> int:
        return self._shared[self._at]

    @_picks.setter
    def _picks(self, value: int) -> None:
        self._shared[self._at] = value


def joint(selector: Selector, cells: Cells, row: int) -> Selector:
    """The joint form of an algorithm; the algorithm itself when it keeps nothing between two choices."""
    if isinstance(selector, RoundRobin):
        return JointRoundRobin(cells, row)
    if isinstance(selector, StaticRoundRobin):
        return JointStaticRoundRobin(cells, row)
    if isinstance(selector, LeastConn):
        return JointLeastConn(cells, row)
    if isinstance(selector, RandomDraws):
        return JointRandomDraws(*selector.settings, cells, row)
    return selector
