"""`balance random(<draws>)`: the least loaded of a few servers drawn by weight (manual 4.2; the default algorithm).

Randomness is the caller's: a function that returns numbers in [0, 1).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from headgate.balance.server import ServerState
from headgate.balance.turns import Turns


class RandomDraws(Turns):
    """Power of N choices. Dynamic: follows effective weights."""

    __slots__ = ("_bounds", "_draws", "_factor", "_randomness", "_servers", "_total")

    deterministic = False
    keyed = False

    def __init__(self, draws: int, randomness: Callable[[], float], balance_factor: int = 0) -> None:
        """`draws`: how many are compared; `balance_factor`: hash-balance-factor in percent, 0 for none."""
        super().__init__()
        self._draws = draws
        self._randomness = randomness
        self._factor = balance_factor
        self._servers: list[ServerState] = []
        self._bounds: list[int] = []
        self._total = 0

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        self._servers = list(servers)
        self._bounds = list(accumulate(server.effective for server in servers))
        self._total = self._bounds[-1] if self._bounds else 0

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        servers = self._servers
        if not servers:
            return None
        best: ServerState | None = None
        for _ in range(self._draws):
            server = servers[bisect_right(self._bounds, int(self._randomness() * self._total))]
            if best is None or (server is not best and self._lighter(server, best)):
                best = server
        if best is avoid or best is None or self._refused(best):
            best = self._other(best, avoid)
            if best is None:
                return None
        best.picked = self._cells[self._at] = self._cells[self._at] + 1
        return best

    @staticmethod
    def _lighter(server: ServerState, other: ServerState) -> bool:
        """Less loaded for its weight; of equals the one that was chosen longer ago, which evens out the rates over time."""
        mine = (server.sessions + server.queued) * other.effective
        its = (other.sessions + other.queued) * server.effective
        return mine < its or (mine == its and server.picked < other.picked)

    def _refused(self, server: ServerState) -> bool:
        """Full (with no explicitly bounded queue that has room), or above what hash-balance-factor allows."""
        if 0 < server.limit <= server.sessions and server.queued >= server.maxqueue:
            return True
        if not self._factor:
            return False
        total = sum(other.sessions for other in self._servers) + 1
        return server.sessions >= -(-total * server.effective * self._factor // (self._total * 100))

    def _other(self, drawn: ServerState | None, avoid: ServerState | None) -> ServerState | None:
        """The lightest of all that can take a stream, now that the draw could not be used."""
        best: ServerState | None = None
        for server in self._servers:
            if server is avoid or self._refused(server):
                continue
            if best is None or self._lighter(server, best):
                best = server
        if best is None and avoid in self._servers and avoid is not None and not self._refused(avoid):
            return avoid
        return best
