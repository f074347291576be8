"""`balance roundrobin`: each server in turns according to its weight, which may change at any time (manual 4.2).

Every server has a deadline, the place of its next turn on a line; the nearest one is served and moves on by a stride inverse to
its weight. So turns are spread evenly, and a choice costs one heap operation whatever the number of servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from headgate.balance.server import ServerState
from headgate.balance.turns import Turns

#: The stride of weight 1: large enough that rounding the stride of any weight up to 256 does not show.
_SCALE: Final = 1 << 40

_Entry = tuple[int, int, ServerState, int]  # deadline, position (breaks ties in configuration order), server, stride


class RoundRobin(Turns):
    """Smooth weighted round robin over a heap of deadlines; full servers are passed over."""

    __slots__ = ("_heap",)

    deterministic = False
    keyed = False

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[_Entry] = []

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        known = {entry[2]: entry[0] for entry in self._heap}
        clock = self._cells[self._at]
        heap: list[_Entry] = []
        for server in servers:
            stride = _SCALE // server.effective
            deadline = known.get(server)
            # Who stays keeps the place; who comes in starts half a stride from now, so that newcomers don't get a burst.
            deadline = clock + stride // 2 if deadline is None else min(max(deadline, clock), clock + stride)
            heap.append((deadline, server.position, server, stride))
        heapify(heap)
        self._heap = heap

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        heap = self._heap
        if not heap:
            return None
        deadline, position, server, stride = heap[0]
        if server is avoid or 0 < server.limit <= server.sessions:
            return self._pass_over(avoid)
        cells, at = self._cells, self._at
        clock = cells[at]
        if deadline > clock:
            cells[at] = deadline
        else:
            deadline = clock  # it was passed over while it was full: no catching up in a burst
        heapreplace(heap, (deadline + stride, position, server, stride))
        return server

    def _pass_over(self, avoid: ServerState | None) -> ServerState | None:
        """Find the nearest server that is not full; those before it keep their places."""
        heap = self._heap
        passed: list[_Entry] = []
        avoided: _Entry | None = None
        chosen: ServerState | None = None
        while heap and chosen is None:
            entry = heappop(heap)
            server = entry[2]
            if 0 < server.limit <= server.sessions:
                passed.append(entry)
            elif server is avoid:
                avoided = entry
            else:
                chosen = server
                passed.append(self._moved(entry))
        if avoided is not None:
            if chosen is None:
                chosen = avoided[2]
                avoided = self._moved(avoided)
            passed.append(avoided)
        for entry in passed:
            heappush(heap, entry)
        return chosen

    def _moved(self, entry: _Entry) -> _Entry:
        deadline, position, server, stride = entry
        self._cells[self._at] = deadline = max(deadline, self._cells[self._at])
        return deadline + stride, position, server, stride
