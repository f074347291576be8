"""Algorithms that go in one order over all workers: whose turn it is stands in shared memory.

`choose` and `rebuild` are called by who is in the backend's section.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import Final

from headgate.balance.leastconn import LeastConn
from headgate.balance.random import RandomDraws
from headgate.balance.roundrobin import RoundRobin
from headgate.balance.rows import PICKS, TURN
from headgate.balance.selector import Selector
from headgate.balance.server import ServerState
from headgate.balance.static_rr import StaticRoundRobin
from headgate.observe.cells import Cells

#: The stride of weight 1: large enough that rounding that of weight 256 does not show, and small enough that a cell of 64 bits
#: holds the deadlines of years.
_SCALE: Final = 1 << 20


class JointRoundRobin(RoundRobin):
    """Round robin over deadlines that all workers move on.

    Every worker has a heap of its own. Its entries may be behind, since others moved servers on; never ahead, as deadlines only
    grow between two calls of `rebuild`. So the top is brought up to date until it is: then it is the nearest of all.
    """

    __slots__ = ("_turn",)

    def __init__(self, cells: Cells, row: int, turn: int = TURN) -> None:
        """
        Args:
            cells: the shared memory.
            row: of the backend.
            turn: the cell of the clock in the backend's row, and of the deadline in the servers' rows.
        """
        super().__init__()
        self.keep(cells, row + turn)
        self._turn = turn

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        cells = self._cells
        clock = cells[self._at]
        known = {entry[2] for entry in self._heap}
        heap = []
        for server in servers:
            stride = _SCALE // server.effective
            place = server.row + self._turn
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
            place = server.row + turn
            actual = cells[place]
            if actual == deadline:
                break
            heapreplace(heap, (actual, position, server, stride))
        if server is avoid or 0 < server.limit <= server.sessions:
            self._heap = [(cells[entry[2].row + turn], *entry[1:]) for entry in heap]
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
        self._cells[moved[2].row + self._turn] = moved[0]
        return moved


def joint(selector: Selector, cells: Cells, row: int) -> Selector:
    """The joint form of an algorithm: what it keeps between two choices stands in shared memory."""
    if isinstance(selector, RoundRobin):
        return JointRoundRobin(cells, row)
    if isinstance(selector, StaticRoundRobin):
        selector.keep(cells, row + TURN)
    elif isinstance(selector, LeastConn | RandomDraws):
        selector.keep(cells, row + PICKS)
    return selector
