"""The sessions that are held in memory for clients, in a file that all processes share and that outlives a reload.

They go when they expire, and the one that expires first when there is no room (tune.ssl.cachesize). `cached_sessions` uses it.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import lmdb

from headgate.tls.session_files import open_environment, write

#: The name says how the file is laid out: another layout would be another file.
FILE: Final = "client-sessions-1.lmdb"
#: Longest session that is kept, bytes: a client's certificate is in it.
SESSION_MOST: Final = 4096
#: What such a one takes in the file (two pages, and its share of those that lead there), and what there is at least.
_BYTES_EACH: Final = 2 * 4096 + 512
_BYTES_LEAST: Final = 1 << 20
#: Sessions that are dropped for a new one: expired ones, or the one that expires first.
_DROPPED: Final = 4
_EXPIRY: Final = struct.Struct("!d")


class ClientSessions:
    """See the module.

    Args:
        directory: in shared memory.
        capacity: sessions that there are at most.
        lifetime: of a session, seconds.

    Attributes:
        refused: sessions that are not kept: they are too long, or shared memory is full.

    Raises:
        ConfigError: it can't be opened.
    """

    __slots__ = ("_capacity", "_env", "_expiries", "_lifetime", "_sessions", "refused")

    def __init__(self, directory: str, capacity: int, lifetime: float) -> None:
        self.refused = 0
        self._capacity = capacity
        self._lifetime = lifetime
        self._env = open_environment(directory, FILE, _BYTES_LEAST + capacity * _BYTES_EACH, 2)
        self._sessions = self._env.open_db(b"sessions")
        self._expiries = self._env.open_db(b"expiries")

    def find(self, key: bytes) -> bytes | None:
        """A session in its DER form, perhaps one that has expired; None when it is not there."""
        try:
            with self._env.begin(db=self._sessions) as txn:
                data: bytes | None = txn.get(key)
        except lmdb.Error:
            return None
        return None if data is None else data[_EXPIRY.size :]

    def put(self, key: bytes, encoded: bytes, now: float) -> None:
        """Keep a session.

        Args:
            key: under which it is found.
            encoded: its DER form.
            now: monotonic seconds.
        """
        expiry = _EXPIRY.pack(now + self._lifetime)

        def work(txn: Any) -> None:
            self._make_room(txn, now)
            txn.put(expiry + key, b"", db=self._expiries)
            txn.put(key, expiry + encoded, db=self._sessions)

        if len(encoded) > SESSION_MOST or not write(self._env, work):
            self.refused += 1

    def forget(self, key: bytes) -> None:
        """Drop a session, which must not be resumed any more."""
        if self.find(key) is None:
            return

        def work(txn: Any) -> None:
            data = txn.get(key, db=self._sessions)
            if data is not None:
                txn.delete(data[: _EXPIRY.size] + key, db=self._expiries)
                txn.delete(key, db=self._sessions)

        write(self._env, work)

    def count(self) -> int:
        """How many sessions there are, expired ones among them."""
        with self._env.begin(db=self._sessions) as txn:
            return int(txn.stat(self._sessions)["entries"])

    def close(self) -> None:
        """Let go of the file."""
        self._env.close()

    def _make_room(self, txn: Any, now: float) -> None:
        """Drop some that have expired, and at least one where there are too many."""
        full = txn.stat(self._sessions)["entries"] >= self._capacity
        with txn.cursor(db=self._expiries) as cursor:
            for number in range(_DROPPED):
                if not cursor.first():
                    return
                first = cursor.key()
                if _EXPIRY.unpack_from(first)[0] > now and (number or not full):
                    return
                cursor.delete()
                txn.delete(first[_EXPIRY.size :], db=self._sessions)
