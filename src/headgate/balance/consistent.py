"""`hash-type consistent`: a ring of many points per server; the key belongs to the next point (manual 4.2).

When a server comes or goes only its own keys move. `hash-balance-factor` bounds what a popular key can do to one server,
`hash-key` says what a server's points are made of.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from headgate.balance.hashes import avalanche, crc32
from headgate.balance.server import ServerState
from headgate.base.addresses import Family

#: Points of a server per unit of weight: with the default weight of 1 a server still has a fair number of places on the ring.
_POINTS_PER_WEIGHT: Final = 16
_FEWEST_POINTS: Final = 64
_MASK: Final = 0xFFFFFFFF
#: Low bits of a ring entry hold the server's place in the list of servers.
_INDEX_BITS: Final = 24


def node_key(server: ServerState) -> int:
    """What the server's points are derived from (5.2 hash-key), 32 bits."""
    kind = server.spec.hash_key
    address = server.address
    if kind in ("addr", "addr-port") and address.family in (Family.INET, Family.INET6, Family.NAME):
        text = address.host if kind == "addr" else f"{address.host} {address.port}"
        return crc32(text.encode())
    if kind == "id32":
        return server.id & _MASK
    # "guid" falls back on "id": servers have no guid here. 28 bits of the id, spread over the 32-bit space.
    return (server.id % 0x10000000) << 4


def points(key: int, weight: int, scale: int) -> list[int]:
    """Places on the ring. Those of a smaller weight are among those of a larger one: a change moves this server's keys only."""
    return [avalanche((key + avalanche(turn)) & _MASK) for turn in range(weight * scale)]


class Consistent:
    """The ring. Dynamic: follows effective weights."""

    __slots__ = ("_cache", "_factor", "_ring", "_servers", "_weight")

    deterministic = True
    keyed = True

    def __init__(self, balance_factor: int = 0) -> None:
        """`balance_factor`: hash-balance-factor in percent, 0 for none."""
        self._factor = balance_factor
        self._servers: list[ServerState] = []
        self._ring: list[int] = []
        self._weight = 0
        #: most points made so far, what they were made of, and their places
        self._cache: dict[ServerState, tuple[int, int, list[int]]] = {}

    def rebuild(self, servers: Sequence[ServerState]) -> None:
        self._servers = list(servers)
        if len(self._cache) > 2 * len(self._servers) + 64:
            # Servers come and go for good: those that are out now make their points again when they come back.
            self._cache = {server: known for server, known in self._cache.items() if server in self._servers}
        self._weight = sum(server.effective for server in servers)
        ring: list[int] = []
        for index, server in enumerate(self._servers):
            ring.extend([(place << _INDEX_BITS) | index for place in self._places(server)])
        ring.sort()
        self._ring = ring

    def _places(self, server: ServerState) -> list[int]:
        wanted = max(server.effective, server.weight)
        scale = max(_POINTS_PER_WEIGHT, -(-_FEWEST_POINTS // max(server.weight, 1)))
        cached = self._cache.get(server)
        key = node_key(server)
        if cached is None or cached[0] < wanted * scale or cached[1] != key:
            cached = (wanted * scale, key, points(key, wanted, scale))
            self._cache[server] = cached
        return cached[2][: server.effective * scale]

    def choose(self, key: int | None, avoid: ServerState | None) -> ServerState | None:
        ring = self._ring
        if not ring or key is None:
            return None
        start = bisect_left(ring, key << _INDEX_BITS)
        if start == len(ring):
            start = 0
        server = self._servers[ring[start] & 0xFFFFFF]
        if server is not avoid and not self._factor:
            return server
        return self._walk(start, avoid)

    def _walk(self, start: int, avoid: ServerState | None) -> ServerState | None:
        """The next server on the ring that is neither to be avoided nor above its share of the load."""
        total = sum(server.sessions for server in self._servers) + 1
        refused: dict[int, None] = {}
        ring = self._ring
        for step in range(start, start + len(ring)):
            index = ring[step % len(ring)] & 0xFFFFFF
            if index in refused:
                continue
            server = self._servers[index]
            if server is not avoid and not self._overloaded(server, total):
                return server
            refused[index] = None
            if len(refused) == len(self._servers):
                break
        # The factor is above 100, so only `avoid` can have left nothing: the first other one, or the avoided one alone.
        others = [self._servers[index] for index in refused if self._servers[index] is not avoid]
        return others[0] if others else avoid

    def _overloaded(self, server: ServerState, total: int) -> bool:
        """Whether one more would be more than factor percent of the server's fair share, rounded up."""
        if not self._factor:
            return False
        share = -(-total * server.effective * self._factor // (self._weight * 100))
        return server.sessions >= share
