"""`balance static-rr`: round robin by the configured weights over a table made once (manual 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.balance.selector import smooth_sequence
from headgate.balance.server import ServerState


class StaticRoundRobin:
    """Cycles over a table; weight changes while the server is up have no effect, except that 0 takes it out."""

    __slots__ = ("_next", "_table")

    deterministic = False
    keyed = False

    def __init__(self) -> None:
        self._table: list[ServerState] = []
        self._next = 0

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        if not servers:
            self._table = []
            return
        self._table = [servers[index] for index in smooth_sequence([server.spec.weight or server.weight for server in servers])]
        self._next %= len(self._table)

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        table = self._table
        size = len(table)
        fallback: ServerState | None = None
        for turn in range(self._next, self._next + size):
            server = table[turn % size]
            if 0 < server.limit <= server.sessions:
                continue
            if server is avoid:
                fallback = server
                continue
            self._next = (turn + 1) % size
            return server
        return fallback
