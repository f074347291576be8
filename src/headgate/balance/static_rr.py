"""`balance static-rr`: round robin by the configured weights over a table made once (manual 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.balance.selector import smooth_sequence
from headgate.balance.server import ServerState
from headgate.balance.turns import Turns


class StaticRoundRobin(Turns):
    """Cycles over a table; weight changes while the server is up have no effect, except that 0 takes it out."""

    __slots__ = ("_table",)

    deterministic = False
    keyed = False

    def __init__(self) -> None:
        super().__init__()
        self._table: list[ServerState] = []

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        if not servers:
            self._table = []
            return
        self._table = [servers[index] for index in smooth_sequence([server.spec.weight or server.weight for server in servers])]
        self._cells[self._at] %= len(self._table)

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        table = self._table
        size = len(table)
        fallback: ServerState | None = None
        cells, at = self._cells, self._at
        first = cells[at]
        for turn in range(first, first + size):
            server = table[turn % size]
            if 0 < server.limit <= server.sessions:
                continue
            if server is avoid:
                fallback = server
                continue
            cells[at] = (turn + 1) % size
            return server
        return fallback
