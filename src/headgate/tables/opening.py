"""Opens all tables of a configuration: in this process alone, or in a directory that its siblings and successors open too."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from headgate.base.diagnostics import config_error
from headgate.config.stick_tables import StickTable
from headgate.plan.table_layout import Layout
from headgate.tables.store import LocalStore, Store
from headgate.tables.table import Clock, Table

_SUFFIX: Final = ".table"


class Tables(Sequence[Table]):
    """All tables of a process, in the order of the configuration."""

    def __init__(self, tables: Sequence[Table], directory: str | None = None) -> None:
        self._tables = tuple(tables)
        self._by_name = {table.name: table for table in tables}
        # Open, since a process that is in its chroot() jail by then has no path to it.
        self._directory = None if directory is None else os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __getitem__(self, number: int) -> Table:  # type: ignore[override]  # nobody slices
        return self._tables[number]

    def __len__(self) -> int:
        return len(self._tables)

    def __iter__(self) -> Iterator[Table]:
        return iter(self._tables)

    def named(self, name: str) -> Table | None:
        """The table that the proxy `name` declares."""
        return self._by_name.get(name)

    def settle(self) -> None:
        """Once a second: note who follows entries for longer than a moment."""
        for table in self._tables:
            table.store.settle(table.now())

    def forget_the_dead(self) -> None:
        """Give back what processes held that are gone."""
        for table in self._tables:
            table.store.forget_the_dead()

    def discard_others(self) -> None:
        """Remove the files of tables that this configuration does not have: called once it serves."""
        if self._directory is None:
            return
        mine = {_file_name(table.layout) for table in self._tables}
        for name in os.listdir(self._directory):
            if name.removesuffix("-lock").endswith(_SUFFIX) and name.removesuffix("-lock") not in mine:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self._directory)

    def close(self) -> None:
        """Give back what this process holds."""
        for table in self._tables:
            table.store.close()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None


def open_tables(definitions: Sequence[StickTable], directory: str | None, clock: Clock) -> Tables:
    """Open tables in the process that will use them (an open table does not survive a fork).

    Args:
        definitions: `Plan.tables`.
        directory: in shared memory, of tables that several processes use; None for tables of this process alone. A table that is
            there already is taken over with its entries when type, length of the key and stored data are the same; otherwise it
            begins empty.
        clock: of the process.

    Raises:
        ConfigError: a table can't be opened; with its place.
    """
    tables = []
    for definition in definitions:
        layout = Layout(definition)
        store: Store = LocalStore(layout) if directory is None else _shared(layout, directory)
        tables.append(Table(layout, store, clock))
    opened = Tables(tables, directory)
    opened.forget_the_dead()
    return opened


def notices(definitions: Sequence[StickTable], directory: str) -> list[str]:
    """What the operator should know before these tables are opened: which begin empty after a reload, and lack of memory."""
    from headgate.tables.shared_store import map_size

    found = []
    existing = os.listdir(directory)
    needed = 0
    for definition in definitions:
        layout = Layout(definition)
        needed += map_size(layout)
        stem = _stem(definition.name) + "-"
        if any(one.startswith(stem) and one.endswith(_SUFFIX) for one in existing) and _file_name(layout) not in existing:
            found.append(f"stick-table '{definition.name}' has another type or other data than before: it begins empty")
    room = os.statvfs(directory)
    left = room.f_bavail * room.f_frsize
    if needed > left:
        found.append(
            f"stick tables may need {needed >> 20} MB of shared memory when they are full, and {directory} has {left >> 20} MB"
            " left: lower their sizes or enlarge /dev/shm"
        )
    return found


def _file_name(layout: Layout) -> str:
    """The name tells the table's layout: another one is another file."""
    return f"{_stem(layout.definition.name)}-{hashlib.sha256(layout.signature.encode()).hexdigest()[:16]}{_SUFFIX}"


def _stem(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _shared(layout: Layout, directory: str) -> Store:
    import lmdb  # a configuration without tables, or with one process, does without

    from headgate.tables.shared_store import SharedStore

    definition = layout.definition
    path = os.path.join(directory, _file_name(layout))
    try:
        store = SharedStore(layout, path)
        if os.geteuid() == 0:
            # Processes that come later may have dropped their privileges: the files are whose the directory is.
            owner = os.stat(directory)
            for file in (path, path + "-lock"):
                os.chown(file, owner.st_uid, owner.st_gid)
        return store
    except (lmdb.Error, OSError) as error:
        message = f"stick-table '{definition.name}' can't be opened in {directory}: {error}"
        raise config_error(message, definition.location) from None
