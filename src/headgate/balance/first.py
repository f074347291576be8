"""`balance first`: the first server, by numeric id, that has a free slot (manual 4.2). Weights are ignored."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.balance.server import ServerState


class First:
    """Fills one server after the other."""

    __slots__ = ("_servers",)

    deterministic = False
    keyed = False

    def __init__(self) -> None:
        self._servers: list[ServerState] = []

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        self._servers = sorted(servers, key=lambda server: server.id)

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        fallback: ServerState | None = None
        for server in self._servers:
            if 0 < server.limit <= server.sessions:
                continue
            if server is avoid:
                fallback = server
                continue
            return server
        return fallback
