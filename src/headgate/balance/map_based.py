"""`hash-type map-based`: a static table with each server as often as its configured weight (manual 4.2).

Smooth and cheap, but most keys move when the number of servers changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.balance.selector import smooth_sequence
from headgate.balance.server import ServerState


class MapBased:
    """Key modulo table size; weight changes while the server is up have no effect, except that 0 takes it out."""

    __slots__ = ("_table",)

    deterministic = True
    keyed = True

    def __init__(self) -> None:
        self._table: list[ServerState] = []

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        if not servers:
            self._table = []
            return
        self._table = [servers[index] for index in smooth_sequence([server.spec.weight or server.weight for server in servers])]

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        table = self._table
        if not table or key is None:
            return None
        start = key % len(table)
        server = table[start]
        if server is not avoid:
            return server
        for other in table[start:] + table[:start]:
            if other is not avoid:
                return other
        return server
