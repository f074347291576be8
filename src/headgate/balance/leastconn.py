"""`balance leastconn`: the server with the fewest connections for its weight (manual 4.2).

Queued streams count as load too. Round robin is done among servers of the same load, so that all are used. The choice looks at
every server: cheap for the tens of servers that a farm has, and exact whatever else changes the loads (persistence, redispatch).
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.balance.server import ServerState
from headgate.balance.turns import Turns


class LeastConn(Turns):
    """Picks the least loaded, and among equals the one that was picked the longest time ago."""

    __slots__ = ("_servers",)

    deterministic = False
    keyed = False

    def __init__(self) -> None:
        super().__init__()
        self._servers: list[ServerState] = []

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        self._servers = list(servers)

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        best: ServerState | None = None
        fallback: ServerState | None = None
        best_load = 0
        best_weight = 1
        best_picked = 0
        for server in self._servers:
            # 5.2 maxqueue: a full server with an explicitly bounded queue may take streams into that queue.
            if 0 < server.limit <= server.sessions and server.queued >= server.maxqueue:
                continue
            if server is avoid:
                fallback = server
                continue
            load = (server.sessions + server.queued) * best_weight
            bound = best_load * server.effective
            if best is None or load < bound or (load == bound and server.picked < best_picked):
                best = server
                best_load = server.sessions + server.queued
                best_weight = server.effective
                best_picked = server.picked
        if best is None:
            best = fallback
        if best is not None:
            best.picked = self._cells[self._at] = self._cells[self._at] + 1
        return best
