"""Sessions with servers, in a file that all processes share and that outlives a reload (`session_files`).

Entries are few and bounded; when there is no more room the key that was given something longest ago goes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import lmdb

from headgate.tls.session_files import open_environment, write

#: The name says how the file is laid out: another layout would be another file.
FILE: Final = "sessions-1.lmdb"
#: Keys that have sessions, tickets for each, and the size of the file.
KEYS_MOST: Final = 8192
TICKETS_MOST: Final = 4
_BYTES: Final = 64 << 20
_ENTRY: Final = struct.Struct("!dI")
_STAMP: Final = struct.Struct("!d")


class SharedSessions:
    """See `session_store.Shared`.

    Args:
        directory: in shared memory.

    Attributes:
        refused: sessions for which there was no room.

    Raises:
        ConfigError: it can't be opened.
    """

    __slots__ = ("_env", "_keys", "_last", "_order", "refused")

    def __init__(self, directory: str) -> None:
        self.refused = 0
        self._env = open_environment(directory, FILE, _BYTES, 3)
        self._keys = self._env.open_db(b"keys")
        self._order = self._env.open_db(b"order")
        self._last = self._env.open_db(b"last")

    def take(self, digest: bytes, now: float) -> tuple[float, bytes, bool] | None:
        """See `session_store.Shared.take`."""
        try:
            with self._env.begin(db=self._keys) as txn:
                data = txn.get(digest)
        except lmdb.Error:
            return None
        if data is None:
            return None
        entries = _unpack(data)
        if len(entries) == 1:
            return (*entries[0], True)
        taken: list[tuple[float, bytes]] = []

        def work(txn: Any) -> None:
            found = txn.get(digest, db=self._keys) or b""
            left = _unpack(found)
            if left:
                taken.append(left[-1])
            if len(left) > 1:
                txn.put(digest, _pack(left[:-1], found[: _STAMP.size]), db=self._keys)

        self._write(work)
        return (*taken[0], False) if taken else None

    def give(self, digest: bytes, stored_at: float, encoded: bytes, *, several: bool) -> None:
        """See `session_store.Shared.give`."""
        stamp = _STAMP.pack(stored_at)

        def work(txn: Any) -> None:
            data = txn.get(digest, db=self._keys)
            entries: list[tuple[float, bytes]] = []
            if data is None:
                self._make_room(txn)
            else:
                txn.delete(data[: _STAMP.size] + digest, db=self._order)
                entries = _unpack(data)[1 - TICKETS_MOST :] if several else []
            txn.put(stamp + digest, b"", db=self._order)
            txn.put(digest, _pack([*entries, (stored_at, encoded)], stamp), db=self._keys)

        self._write(work)

    def _make_room(self, txn: Any) -> None:
        if txn.stat(self._keys)["entries"] >= KEYS_MOST:
            with txn.cursor(db=self._order) as cursor:
                if cursor.first():
                    oldest = cursor.key()
                    cursor.delete()
                    txn.delete(oldest[_STAMP.size :], db=self._keys)

    def forget(self, digest: bytes) -> None:
        """See `session_store.Shared.forget`."""

        def work(txn: Any) -> None:
            data = txn.get(digest, db=self._keys)
            if data is not None:
                txn.delete(data[: _STAMP.size] + digest, db=self._order)
                txn.delete(digest, db=self._keys)

        self._write(work)

    def last_key(self, server: bytes) -> tuple[bytes, ...] | None:
        """See `session_store.Shared.last_key`."""
        try:
            with self._env.begin(db=self._last) as txn:
                data = txn.get(server)
        except lmdb.Error:
            return None
        return None if data is None else tuple(data[at : at + 8] for at in range(0, len(data), 8))

    def note_key(self, server: bytes, fields: tuple[bytes, ...]) -> None:
        """See `session_store.Shared.note_key`."""
        data = b"".join(fields)
        with self._env.begin(db=self._last) as txn:
            if txn.get(server) == data:
                return

        def work(txn: Any) -> None:
            if txn.get(server, db=self._last) is None and txn.stat(self._last)["entries"] >= KEYS_MOST:
                txn.drop(self._last, delete=False)  # only an explanation is lost
            txn.put(server, data, db=self._last)

        self._write(work)

    def close(self) -> None:
        """Let go of the file."""
        self._env.close()

    def _write(self, work: Callable[[Any], None]) -> None:
        if not write(self._env, work):
            self.refused += 1  # a session that is not shared costs a handshake, and no more


def _pack(entries: list[tuple[float, bytes]], stamp: bytes) -> bytes:
    return stamp + b"".join([_ENTRY.pack(stored_at, len(encoded)) + encoded for stored_at, encoded in entries])


def _unpack(data: bytes) -> list[tuple[float, bytes]]:
    entries = []
    at = _STAMP.size
    while at + _ENTRY.size <= len(data):
        stored_at, size = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        entries.append((stored_at, data[at : at + size]))
        at += size
    return entries
