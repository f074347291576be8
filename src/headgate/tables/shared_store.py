"""Entries in memory that all workers share and that outlives a reload: one LMDB file for each table in a directory of /dev/shm.

Three databases in it: the entries, their order of use, and what each process holds (so that it can be given back when that one
dies). The order is not kept up to date: an entry stands where it was when it was last looked at from there, and the walk from the
oldest side moves on what was used since. So a touch costs nothing but the entry itself, and nothing is ever searched.

Who follows an entry is noted once that has lasted a moment, all together once a second, so that a short request costs one
transaction and not two; at once where a rule or conn_cur asks for the number, or entries expire too soon to wait for it.

Every change is one transaction: counts are exact over all processes. An environment belongs to the process that opened it and
must not be used in another one that is forked from it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import lmdb

from headgate.plan.table_layout import INDEXED, REFS, TOUCHED, Layout, Row, Steps
from headgate.tables.store import SWEEP, Values, apply, expired

_T = TypeVar("_T")
#: LMDB takes keys of 511 bytes: longer ones are hashed, and stand behind the entry.
_LONGEST_KEY: Final = 400
#: How many entries one transaction of a longer job treats, so that others get their turn.
_AT_A_TIME: Final = 512
#: The most that a purge walks until it takes what it has.
_WALK: Final = 64
_SLACK: Final = 4 << 20
#: How often a change is tried while the map grows, and the most that it grows to, in sizes that were foreseen.
_ATTEMPTS: Final = 8
_GROWTH: Final = 4
#: How long an entry is followed before that is noted, milliseconds. Entries that may expire sooner than twice that don't wait.
_MOMENT: Final = 1000


def map_size(layout: Layout) -> int:
    """Bytes that a table may need: pages that are half full, the order, and old pages that wait to be used again."""
    address = min(layout.key_length, _LONGEST_KEY) + 1
    tail = layout.key_length if layout.key_length > _LONGEST_KEY else 0
    entry = address + layout.size + tail + 24
    order = 8 + address + 24
    return int((entry + order) * layout.definition.size * 2.2) + _SLACK


def own_mark() -> bytes:
    """What tells this process from all others, also from a later one with the same number."""
    return _mark_of(os.getpid()) or b""


def _mark_of(pid: int) -> bytes | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else pid.to_bytes(4, "big") + int(fields[19]).to_bytes(8, "big")


class _Following:
    """An entry that streams of this process follow: how many do, how many of them are noted, and since when."""

    __slots__ = ("count", "noted", "since")

    def __init__(self, since: int) -> None:
        self.count = 1
        self.noted = 0
        self.since = since


class SharedStore:
    """See the module and `store.Store`.

    Args:
        layout: of the table.
        path: of its file.
    """

    __slots__ = (
        "_entries",
        "_env",
        "_exact",
        "_expire",
        "_following",
        "_held",
        "_layout",
        "_long",
        "_mark",
        "_nopurge",
        "_order",
        "_size",
        "refused",
        "shares_rows",
    )  # fmt: skip

    def __init__(self, layout: Layout, path: str) -> None:
        definition = layout.definition
        self._layout = layout
        self._size = definition.size
        self._nopurge = definition.nopurge
        self._expire = round((definition.expire or 0) * 1000)
        self._long = layout.key_length > _LONGEST_KEY
        self._exact = layout.exact or 0 < self._expire <= 2 * _MOMENT
        self._following: dict[bytes, _Following] = {}
        self._mark = own_mark()
        self.shares_rows = False
        self.refused = 0
        self._env: Any = lmdb.open(
            path, subdir=False, map_size=map_size(layout), max_dbs=3, sync=False, metasync=False, writemap=True,
            readahead=False, meminit=False, max_readers=256, mode=0o600, max_spare_txns=2,
        )
        self._entries = self._env.open_db(b"entries")
        self._order = self._env.open_db(b"order")
        self._held = self._env.open_db(b"held")
        self._env.reader_check()

    def _address(self, key: bytes) -> bytes:
        return b"#" + hashlib.blake2b(key, digest_size=32).digest() if self._long else b"k" + key

    def _key(self, address: bytes, data: bytes) -> bytes:
        return data[self._layout.size :] if self._long else address[1:]

    def _packed(self, row: Row, key: bytes) -> bytes:
        data = self._layout.pack(row)
        return data + key if self._long else data

    def _write(self, work: Callable[[Any], _T]) -> _T | None:
        """Run `work` in a transaction; when the map is full, it grows. None when it may not any more."""
        for _ in range(_ATTEMPTS):
            try:
                with self._env.begin(write=True) as txn:
                    return work(txn)
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)  # another process made it larger
            except lmdb.MapFullError:
                # The size of the table bounds the entries; how their pages are filled can't be known beforehand.
                size: int = self._env.info()["map_size"]
                if size >= _GROWTH * map_size(self._layout):
                    break
                self._env.set_mapsize(size + size // 2)
        self.refused += 1
        return None

    # --- one entry ---

    def find(self, key: bytes, now: int) -> Row | None:
        address = self._address(key)
        try:
            with self._env.begin(db=self._entries) as txn:
                data = txn.get(address)
        except lmdb.MapResizedError:
            self._env.set_mapsize(0)
            return self.find(key, now)
        if data is None:
            return None
        row = self._layout.unpack(data)
        return None if expired(row, self._expire, now) else row

    def change(
        self, key: bytes, now: int, steps: Steps = (), values: Values = (), *, create: bool = True, refs: int = 0,
        touch: bool = True,
    ) -> Row | None:
        layout, entries = self._layout, self._entries
        address = self._address(key)
        if refs and not self._exact:
            began = refs > 0
            refs = self._follow(address, now) if began else self._leave(address)
            if not began and not refs and not steps and not values:
                return None
        else:
            began = False

        def work(txn: Any) -> Row | None:
            data = txn.get(address, db=entries)
            row = None if data is None else layout.unpack(data)
            if row is not None and expired(row, self._expire, now):
                if not create:
                    return None
                fresh = layout.blank.copy()
                fresh[INDEXED] = row[INDEXED]
                fresh[TOUCHED] = now
                row = fresh
            elif row is None:
                if not create or not self._has_room(txn, now):
                    return None
                row = layout.blank.copy()
                row[TOUCHED] = row[INDEXED] = now
                txn.put(now.to_bytes(8, "big") + address, b"", db=self._order)
            elif touch:
                row[TOUCHED] = now
            apply(layout, row, now, steps, values, refs)
            if refs:
                self._hold(txn, address, refs)
            txn.put(address, self._packed(row, key), db=entries)
            return row

        changed = self._write(work)
        if began and changed is None:
            self._leave(address)
        return changed

    def _follow(self, address: bytes, now: int) -> int:
        """One more stream of this process follows an entry; how many of them are to be noted now."""
        following = self._following.get(address)
        if following is None:
            self._following[address] = _Following(now)
        else:
            following.count += 1
        return 0

    def _leave(self, address: bytes) -> int:
        """One fewer; the answer is negative when others were told."""
        following = self._following.get(address)
        if following is None:
            return 0
        following.count -= 1
        if following.count:
            return 0
        del self._following[address]
        return -following.noted

    def settle(self, now: int) -> None:
        due = [
            (address, following)
            for address, following in self._following.items()
            if following.count != following.noted and (following.noted or following.since <= now - _MOMENT)
        ]
        for start in range(0, len(due), _AT_A_TIME):
            some = due[start : start + _AT_A_TIME]
            for following in self._write(lambda txn, some=some: self._note(txn, some)) or ():  # type: ignore[misc]
                following.noted = following.count

    def _note(self, txn: Any, some: list[tuple[bytes, _Following]]) -> list[_Following]:
        """Note those whose entry is there."""
        noted = []
        for address, following in some:
            data = txn.get(address, db=self._entries)
            if data is None:
                continue
            row = self._layout.unpack(data)
            more = following.count - following.noted
            apply(self._layout, row, 0, (), (), more)
            self._hold(txn, address, more)
            txn.put(address, self._packed(row, self._key(address, data)), db=self._entries)
            noted.append(following)
        return noted

    def _hold(self, txn: Any, address: bytes, refs: int) -> None:
        """Note that this process follows an entry (or no longer)."""
        place = self._mark + address
        data = txn.get(place, db=self._held)
        held = (int.from_bytes(data, "big") if data is not None else 0) + refs
        if held > 0:
            txn.put(place, held.to_bytes(4, "big"), db=self._held)
        elif data is not None:
            txn.delete(place, db=self._held)

    def remove(self, key: bytes, now: int) -> bool:
        address = self._address(key)

        def work(txn: Any) -> bool:
            data = txn.get(address, db=self._entries)
            if data is None:
                return True
            row = self._layout.unpack(data)
            if row[REFS]:
                return False
            self._delete(txn, address, row)
            return True

        return self._write(work) is not False

    def _delete(self, txn: Any, address: bytes, row: Row) -> None:
        txn.delete(row[INDEXED].to_bytes(8, "big") + address, db=self._order)
        txn.delete(address, db=self._entries)

    # --- room ---

    def _has_room(self, txn: Any, now: int) -> bool:
        """Make room for one entry: of the oldest, those that are expired go, and when that is not enough one more."""
        used: int = txn.stat(self._entries)["entries"]
        if self._expire:
            used -= self._sweep(txn, now, SWEEP)
        if used < self._size:
            return True
        if self._nopurge:
            if used - self._sweep(txn, now, self._size) < self._size:
                return True
        elif used - self._purge(txn, used - self._size + 1) < self._size:
            return True
        self.refused += 1
        return False

    def _oldest(self, txn: Any, most: int) -> Iterator[tuple[bytes, Row]]:
        """Entries from the oldest side; those that were used since they were put in order are moved to their place."""
        with txn.cursor(db=self._order) as cursor:
            places = [place for place, _ in zip(cursor.iternext(keys=True, values=False), range(most), strict=False)]
        for place in places:
            address = place[8:]
            data = txn.get(address, db=self._entries)
            if data is None:
                txn.delete(place, db=self._order)
                continue
            row = self._layout.unpack(data)
            if row[TOUCHED] > row[INDEXED]:
                txn.delete(place, db=self._order)
                row[INDEXED] = row[TOUCHED]
                txn.put(row[INDEXED].to_bytes(8, "big") + address, b"", db=self._order)
                txn.put(address, self._packed(row, self._key(address, data)), db=self._entries)
            yield address, row

    def _sweep(self, txn: Any, now: int, most: int) -> int:
        """Remove expired entries among the `most` oldest; how many."""
        removed = 0
        for address, row in self._oldest(txn, most):
            if expired(row, self._expire, now):
                self._delete(txn, address, row)
                removed += 1
            elif row[TOUCHED] + self._expire > now and not row[REFS]:
                break
        return removed

    def _purge(self, txn: Any, wanted: int) -> int:
        """Remove the oldest entries that nobody tracks; how many."""
        found = [(row[TOUCHED], address, row) for address, row in self._oldest(txn, _WALK + wanted) if not row[REFS]]
        found.sort(key=lambda item: item[0])
        for _, address, row in found[:wanted]:
            self._delete(txn, address, row)
        return min(wanted, len(found))

    # --- all of them ---

    def entries(self, now: int) -> Iterator[tuple[bytes, Row]]:
        with self._env.begin(db=self._entries) as txn:
            found = [(self._key(address, data), data) for address, data in txn.cursor()]
        rows = [(key, self._layout.unpack(data)) for key, data in found]
        rows.sort(key=lambda item: item[1][TOUCHED])
        for key, row in rows:
            if not expired(row, self._expire, now):
                yield key, row

    def used(self, now: int) -> int:
        removed = _AT_A_TIME
        while self._expire and removed == _AT_A_TIME:
            removed = self._write(lambda txn: self._sweep(txn, now, _AT_A_TIME)) or 0
        with self._env.begin() as txn:
            return int(txn.stat(self._entries)["entries"])

    # --- who holds what ---

    def forget_the_dead(self) -> None:
        with self._env.begin(db=self._held) as txn:
            marks = {place[:12] for place, _ in txn.cursor()}
        for mark in marks:
            if mark != self._mark and _mark_of(int.from_bytes(mark[:4], "big")) != mark:
                self._give_back(mark)

    def _give_back(self, mark: bytes) -> None:
        more = True
        while more:
            more = self._write(lambda txn: self._give_some_back(txn, mark)) or False

    def _give_some_back(self, txn: Any, mark: bytes) -> bool:
        with txn.cursor(db=self._held) as cursor:
            found: list[tuple[bytes, bytes]] = []
            if cursor.set_range(mark):
                for place, data in cursor:
                    if place[:12] != mark or len(found) == _AT_A_TIME:
                        break
                    found.append((place, data))
        for place, held in found:
            txn.delete(place, db=self._held)
            address = place[12:]
            data = txn.get(address, db=self._entries)
            if data is not None:
                row = self._layout.unpack(data)
                apply(self._layout, row, 0, (), (), -int.from_bytes(held, "big"))
                txn.put(address, self._packed(row, self._key(address, data)), db=self._entries)
        return len(found) == _AT_A_TIME

    def close(self) -> None:
        if self._env is not None:
            self._give_back(self._mark)
            self._env.close()
            self._env = None
