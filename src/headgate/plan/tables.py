"""What rules may ask of and do to stick tables, as protocols: `tables` implements them, above this layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from headgate.base.diagnostics import Location, config_error
from headgate.config.expression import Call
from headgate.config.model import Config
from headgate.config.stick_tables import StickTable, Stored

if TYPE_CHECKING:
    from headgate.plan.facts import Session, Stream
    from headgate.plan.table_layout import Layout, Row, Steps


class TrackedEntry(Protocol):
    """An entry that is followed: what happens is counted there, and it does not expire."""

    @property
    def table(self) -> StickTableFacts: ...

    @property
    def key(self) -> bytes: ...

    def row(self) -> Row:
        """The entry as it is now."""

    def count(self, steps: Steps) -> Row:
        """Add to it; the entry behind the addition."""

    def assign(self, values: Sequence[tuple[str, int, object]]) -> None:
        """Set elements: data type, index, value."""

    def refresh(self) -> None:
        """It was changed past this object: the next look is a new one."""

    def release(self, steps: Steps = ()) -> None:
        """Follow it no longer; what is still to be counted is."""


class StickTableFacts(Protocol):
    """One table, live."""

    @property
    def name(self) -> str: ...

    @property
    def layout(self) -> Layout: ...

    def now(self) -> int:
        """Milliseconds, on the clock of the rows."""

    def find(self, key: bytes) -> Row | None:
        """An entry, without any effect on it."""

    def touch(self, key: bytes) -> Row | None:
        """An entry, whose time begins anew."""

    def count(self, key: bytes, steps: Steps, *, create: bool = True) -> Row | None:
        """Add to an entry, which is made when it is not there; None when that can't be."""

    def assign(self, key: bytes, values: Sequence[tuple[str, int, object]], *, create: bool = True) -> Row | None:
        """Set elements of an entry: data type, index, value; else as `count`."""

    def used(self) -> int:
        """How many entries there are."""

    def remains(self, row: Row) -> int:
        """Milliseconds until the entry goes, 0 when it never does."""

    def track(self, key: bytes, steps: Steps) -> TrackedEntry | None:
        """Begin to follow an entry, counting `steps` at once; None when there is no room for it."""


Tracks = list["TrackedEntry | None"]


def tracked(stream: Stream, slot: int) -> TrackedEntry | None:
    """What a sticky counter tracks: for the stream, or else for its session."""
    for tracks in (stream.tracks, stream.session.tracks):
        if tracks is not None and slot < len(tracks):
            entry = tracks[slot]
            if entry is not None:
                return entry
    return None


def follow(owner: Stream | Session, slot: int, entry: TrackedEntry) -> None:
    """Let a sticky counter of a stream or session track an entry."""
    tracks = owner.tracks
    if tracks is None:
        tracks = owner.tracks = []
    if slot >= len(tracks):
        tracks.extend([None] * (slot + 1 - len(tracks)))
    tracks[slot] = entry


def all_tracked(stream: Stream) -> list[TrackedEntry]:
    """The entries that events of a stream are counted in: its own and those of its session, each sticky counter once."""
    found = [entry for entry in stream.tracks or () if entry is not None]
    for slot, entry in enumerate(stream.session.tracks or ()):
        if entry is not None and not (stream.tracks and slot < len(stream.tracks) and stream.tracks[slot] is not None):
            found.append(entry)
    return found


def table_definitions(config: Config) -> tuple[StickTable, ...]:
    """All tables of a configuration, with what is stored in them because stick rules need it."""
    learning = {rule.table or proxy.name for proxy in config.proxies for rule in proxy.stick_rules}
    return tuple(
        _with_server(proxy.stick_table) if proxy.name in learning else proxy.stick_table
        for proxy in config.proxies
        if proxy.stick_table is not None
    )


def _with_server(table: StickTable) -> StickTable:
    from dataclasses import replace

    names = {stored.name for stored in table.stores}
    added = tuple(Stored(name) for name in ("server_id", "server_key") if name not in names)
    return replace(table, stores=(*table.stores, *added))


class TableArgument:
    """A table that a fetch or converter names: its number in `World.tables`, its layout, and who names it."""

    __slots__ = ("call", "layout", "number")

    def __init__(self, number: int, layout: Layout, call: Call) -> None:
        self.number = number
        self.layout = layout
        self.call = call


def find_table(tables: Sequence[Layout], name: str, place: Location, what: str) -> int:
    """The number of the table called `name`, for `World.tables`.

    Args:
        tables: all there are.
        name: of the proxy that declares it.
        place: of the reference.
        what: refers to it, for the message.

    Raises:
        ConfigError: there is none.
    """
    known = [layout.definition.name for layout in tables]
    if name in known:
        return known.index(name)
    raise config_error(
        f"unable to find table '{name}' referenced by {what}", place, allowed=known, written=name if known else None,
        remedy=None if known else "declare one: 'stick-table type <type> size <size>'",
    )
