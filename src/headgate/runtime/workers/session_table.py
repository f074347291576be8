"""Which worker has which TLS session, for the sessions that are held in memory: a table that all workers read and write.

No locks: an entry is two cells, and whoever reads while another one writes gets a wrong answer at worst, as does whoever asks
for what was overwritten. A wrong answer costs a full handshake. Session IDs are random bytes of OpenSSL's, so they are their own
hash, and nobody from outside chooses where they go. Made by the launcher; `handover` uses it.
"""

from __future__ import annotations

import mmap
from typing import Final

#: Entries among which an ID may be; of these the one goes first that expires first.
_WAYS: Final = 4
_ENTRY: Final = 2
_BUCKET: Final = _WAYS * _ENTRY
#: The first cells: until when there is an entry, seconds.
_LATEST, _HEAD = 0, _BUCKET
_KEY_MASK: Final = (1 << 63) - 1
_OWNER_BITS: Final = 32
#: An owner is a number below this.
OWNERS: Final = 1 << _OWNER_BITS


class SessionTable:
    """See the module.

    Args:
        capacity: sessions that there is room for, at least.
        lifetime: of a session, seconds.
    """

    __slots__ = ("_lifetime", "_mask", "_memory", "cells")

    def __init__(self, capacity: int, lifetime: float) -> None:
        # Room for four times as many, since an ID can't be everywhere: of `capacity` sessions, one in 300 finds none.
        buckets = 1 << (max(1, capacity) - 1).bit_length()
        self._mask = buckets - 1
        self._lifetime = max(1, int(lifetime))
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._memory = mmap.mmap(-1, (_HEAD + buckets * _BUCKET) * 8, flags=flags)
        self.cells = memoryview(self._memory).cast("q")

    def is_empty(self, now: float) -> bool:
        """Whether every session that was ever put here has expired."""
        return self.cells[_LATEST] <= now

    def put(self, session_id: bytes, owner: int, now: float) -> None:
        """Note whose session this is.

        Args:
            session_id: its ID, 8 bytes or more.
            owner: who has it, above 0.
            now: monotonic seconds.
        """
        cells = self.cells
        key = int.from_bytes(session_id[:8], "little") & _KEY_MASK
        expires = int(now) + self._lifetime
        first = chosen = _HEAD + (key & self._mask) * _BUCKET
        for at in range(first, first + _BUCKET, _ENTRY):
            if cells[at] == key:
                chosen = at
                break
            if cells[at + 1] >> _OWNER_BITS < cells[chosen + 1] >> _OWNER_BITS:
                chosen = at
        cells[chosen + 1] = 0  # nobody's, while it has the one's key and the other's owner
        cells[chosen] = key
        cells[chosen + 1] = expires << _OWNER_BITS | owner
        if expires > cells[_LATEST]:
            cells[_LATEST] = expires

    def find(self, session_id: bytes, now: float) -> int:
        """Whose session this is; 0 when nobody is known to have it.

        Args:
            session_id: as for `put`; clients make up most of them.
            now: monotonic seconds.
        """
        cells = self.cells
        key = int.from_bytes(session_id[:8], "little") & _KEY_MASK
        at = _HEAD + (key & self._mask) * _BUCKET
        # Not a loop: most new connections come through here.
        if cells[at] != key:
            at += _ENTRY
            if cells[at] != key:
                at += _ENTRY
                if cells[at] != key:
                    at += _ENTRY
                    if cells[at] != key:
                        return 0
        value = cells[at + 1]
        return value & OWNERS - 1 if value >> _OWNER_BITS > now else 0

    def close(self) -> None:
        """Give up the memory; for tests."""
        self.cells.release()
        self._memory.close()
