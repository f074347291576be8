"""Where a table's entries are: the protocol, and the store of a process that is alone.

Times are arguments, in milliseconds. An entry is found until it has expired; one that is tracked does not expire.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from headgate.plan.table_layout import REFS, TOUCHED, Layout, Row, Steps, count

#: What an assignment sets: data type, index, value.
Values = Sequence[tuple[str, int, object]]
#: How many of the oldest entries a new one looks at for expired ones.
SWEEP: Final = 8


class Store(Protocol):
    """The entries of one table.

    Attributes:
        shares_rows: a row that it hands out is the entry itself and stays up to date.
        refused: new entries for which there was no room.
    """

    shares_rows: bool
    refused: int

    def find(self, key: bytes, now: int) -> Row | None:
        """An entry; nothing is changed."""

    def change(
        self, key: bytes, now: int, steps: Steps = (), values: Values = (), *, create: bool = True, refs: int = 0,
        touch: bool = True,
    ) -> Row | None:
        """Add and set; all at once for all processes.

        Args:
            key: as `Layout.key_of` makes it.
            now: milliseconds.
            steps: what is added.
            values: what is set, behind that.
            create: make the entry when it is not there.
            refs: how many more (or, negative, fewer) follow the entry; conn_cur goes along.
            touch: its time begins anew.

        Returns:
            The entry behind the change; None when there is none, or no room for a new one.
        """

    def remove(self, key: bytes, now: int) -> bool:
        """Forget an entry; False when it is tracked."""

    def entries(self, now: int) -> Iterator[tuple[bytes, Row]]:
        """All entries, the least recently used first (as far as that is known)."""

    def used(self, now: int) -> int:
        """How many there are, expired ones removed."""

    def settle(self, now: int) -> None:
        """Note who follows entries for longer than a moment; called about once a second."""

    def forget_the_dead(self) -> None:
        """Give back what processes held that are gone."""

    def close(self) -> None:
        """Give back what this process holds."""


def expired(row: Row, expire: int, now: int) -> bool:
    """Whether an entry is over; `expire` in milliseconds, 0 for never."""
    return bool(expire and row[TOUCHED] + expire <= now and not row[REFS])


def apply(layout: Layout, row: Row, now: int, steps: Steps, values: Values, refs: int) -> None:
    """Carry out a change on a row."""
    if refs:
        row[REFS] = max(row[REFS] + refs, 0)
        current = layout.current
        if current:
            row[current] = max(row[current] + refs, 0)
    if steps:
        count(row, steps, now)
    for name, index, value in values:
        column = layout.columns.get(name)
        if column is not None and index < column.count:
            column.set(row, value, now, index)


class LocalStore:
    """Entries in a dictionary, in the order of their last use. See `Store`."""

    __slots__ = ("_expire", "_layout", "_nopurge", "_rows", "_size", "refused", "shares_rows")

    def __init__(self, layout: Layout) -> None:
        definition = layout.definition
        self._layout = layout
        self._size = definition.size
        self._nopurge = definition.nopurge
        self._expire = round((definition.expire or 0) * 1000)
        self._rows: OrderedDict[bytes, Row] = OrderedDict()
        self.shares_rows = True
        self.refused = 0

    def find(self, key: bytes, now: int) -> Row | None:
        row = self._rows.get(key)
        return None if row is None or expired(row, self._expire, now) else row

    def change(
        self, key: bytes, now: int, steps: Steps = (), values: Values = (), *, create: bool = True, refs: int = 0,
        touch: bool = True,
    ) -> Row | None:
        row = self._rows.get(key)
        if row is not None and expired(row, self._expire, now):
            del self._rows[key]
            row = None
        if row is None:
            if not create or not self._has_room(now):
                return None
            row = self._layout.blank.copy()
            row[TOUCHED] = now
            self._rows[key] = row
        elif touch:
            row[TOUCHED] = now
            self._rows.move_to_end(key)
        apply(self._layout, row, now, steps, values, refs)
        return row

    def _has_room(self, now: int) -> bool:
        """Make room for one entry: expired ones go, and when that is not enough the oldest."""
        rows = self._rows
        if self._expire:
            for key in [key for key, _ in zip(rows, range(SWEEP), strict=False)]:
                if not expired(rows[key], self._expire, now):
                    break
                del rows[key]
        if len(rows) < self._size:
            return True
        if not self._nopurge:
            for key, row in rows.items():
                if not row[REFS]:
                    del rows[key]
                    return True
        elif self.used(now) < self._size:
            return True
        self.refused += 1
        return False

    def remove(self, key: bytes, now: int) -> bool:
        row = self._rows.get(key)
        if row is not None:
            if row[REFS]:
                return False
            del self._rows[key]
        return True

    def entries(self, now: int) -> Iterator[tuple[bytes, Row]]:
        self.used(now)
        yield from list(self._rows.items())

    def used(self, now: int) -> int:
        if self._expire:
            for key in [key for key, row in self._rows.items() if expired(row, self._expire, now)]:
                del self._rows[key]
        return len(self._rows)

    def settle(self, now: int) -> None:
        """It is noted at once."""

    def forget_the_dead(self) -> None:
        """There is nobody else."""

    def close(self) -> None:
        """It all goes with the process."""
