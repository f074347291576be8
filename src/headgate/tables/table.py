"""A live table: its store with the clock of the process. And the entries that sessions and streams follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from headgate.plan.table_layout import TOUCHED, Layout, Row, Steps
from headgate.tables.store import Store, Values


class Clock(Protocol):
    """Monotonic seconds, the same for all processes of the machine, and constant within a batch of events."""

    @property
    def now(self) -> float: ...


class Table:
    """One table. Implements `plan.tables.StickTableFacts`.

    Attributes:
        name: of the proxy that declares it.
        definition, layout: as declared.
        store: its entries.
    """

    __slots__ = ("_clock", "definition", "layout", "name", "store")

    def __init__(self, layout: Layout, store: Store, clock: Clock) -> None:
        self.layout = layout
        self.definition = layout.definition
        self.name = layout.definition.name
        self.store = store
        self._clock = clock

    def now(self) -> int:
        """Milliseconds, on the clock of the rows."""
        return int(self._clock.now * 1000.0)

    def find(self, key: bytes) -> Row | None:
        """An entry, without any effect on it."""
        return self.store.find(key, self.now())

    def touch(self, key: bytes) -> Row | None:
        """An entry, whose time begins anew."""
        return self.store.change(key, self.now(), create=False)

    def count(self, key: bytes, steps: Steps, *, create: bool = True) -> Row | None:
        """Add to an entry, which is made when it is not there; None when that can't be."""
        return self.store.change(key, self.now(), steps, create=create)

    def assign(self, key: bytes, values: Values, *, create: bool = True) -> Row | None:
        """Set elements of an entry; else as `count`."""
        return self.store.change(key, self.now(), (), values, create=create)

    def remove(self, key: bytes) -> bool:
        """Forget an entry; False when it is tracked."""
        return self.store.remove(key, self.now())

    def entries(self) -> Iterator[tuple[bytes, Row]]:
        """All entries."""
        return self.store.entries(self.now())

    def used(self) -> int:
        """How many entries there are."""
        return self.store.used(self.now())

    def remains(self, row: Row) -> int:
        """Milliseconds until the entry goes, 0 when it never does."""
        expire = self.definition.expire
        return 0 if expire is None else max(int(row[TOUCHED] + expire * 1000 - self.now()), 0)

    def track(self, key: bytes, steps: Steps) -> Tracked | None:
        """Begin to follow an entry, counting `steps` at once; None when there is no room for it."""
        now = self.now()
        row = self.store.change(key, now, steps, refs=1)
        return None if row is None else Tracked(self, key, row, now)


class Tracked:
    """An entry that a session or a stream follows: it does not expire until `release`. See `plan.tables.TrackedEntry`."""

    __slots__ = ("_row", "_seen", "key", "table")

    def __init__(self, table: Table, key: bytes, row: Row, now: int) -> None:
        self.table = table
        self.key = key
        self._row = row
        self._seen = now

    def row(self) -> Row:
        """The entry as it is now: what this process saw at the same instant need not be asked for again."""
        table = self.table
        now = table.now()
        if not table.store.shares_rows and now != self._seen:
            self._seen = now
            self._row = table.store.find(self.key, now) or self._row
        return self._row

    def count(self, steps: Steps) -> Row:
        """Add to it; the entry behind the addition."""
        if steps:
            self._changed(self.table.count(self.key, steps))
        return self._row

    def assign(self, values: Values) -> None:
        """Set elements: data type, index, value."""
        self._changed(self.table.assign(self.key, values))

    def _changed(self, row: Row | None) -> None:
        if row is not None:
            self._row = row
            self._seen = self.table.now()

    def refresh(self) -> None:
        """It was changed past this object: the next look is a new one."""
        self._seen = -1

    def release(self, steps: Steps = ()) -> None:
        """Follow it no longer; what is still to be counted is."""
        self.table.store.change(self.key, self.table.now(), steps, create=False, refs=-1)
