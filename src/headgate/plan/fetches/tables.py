"""Fetches from stick tables (manual 7.3.2, 7.3.3): `sc_*` of what is tracked, `src_*` of the client's address, `table_cnt`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.plan.facts import Stream, Value
from headgate.plan.places import RUNNING
from headgate.plan.registry import FETCHES, Argument, fetch
from headgate.plan.samples import Run, Type, cast
from headgate.plan.scope import Scope
from headgate.plan.table_layout import CONNECTION, REFS, SAMPLE_TYPES, Layout, Row
from headgate.plan.table_values import (
    ARRAYS,
    COUNTERS,
    PLAIN,
    SINGLE,
    Change,
    Reading,
    clear,
    increment,
    needs,
    reading,
)
from headgate.plan.tables import StickTableFacts, TableArgument, tracked

INTEGER, TABLE = Argument.INTEGER, Argument.TABLE
#: Of `scN_*`: the sticky counters that have fetches of their own.
_NUMBERED: Final = (0, 1, 2)


# --- what is tracked -------------------------------------------------------------------------------------------------


def _entry(stream: Stream, slot: int, other: TableArgument | None) -> tuple[StickTableFacts, bytes, Row | None] | None:
    """The table, key and row that a sticky counter leads to: of its own table, or of another one under the same key."""
    entry = tracked(stream, slot)
    if entry is None:
        return None
    if other is None or stream.session.world.tables[other.number] is entry.table:
        return entry.table, entry.key, entry.row()
    if other.layout.definition.key is not entry.table.layout.definition.key:
        return None
    table = stream.session.world.tables[other.number]
    key = other.layout.key_of(entry.table.layout.value_of(entry.key))
    return None if key is None else (table, key, table.find(key))


def _reads(slot: int, other: TableArgument | None, how: Reading) -> Run:
    def run(stream: Stream) -> Value:
        found = _entry(stream, slot, other)
        return None if found is None else how.of(found[0].layout, found[2], found[0].now())

    return run


def _changes(slot: int, other: TableArgument | None, make: Callable[[Layout, str, int], Change], name: str, index: int) -> Run:
    made: dict[int, Change] = {}

    def run(stream: Stream) -> Value:
        found = _entry(stream, slot, other)
        if found is None:
            return None
        table, key, _ = found
        # Which table is tracked is known only now; there are not many.
        change = made.get(id(table.layout))
        if change is None:
            change = made[id(table.layout)] = make(table.layout, name, index)
        value = change(table, key)
        entry = tracked(stream, slot)
        if entry is not None and entry.table is table:
            entry.refresh()
        return value

    return run


def _register_tracked(name: str, make: Callable[[Scope, int, TableArgument | None], Run], result: Type = Type.SINT) -> None:
    """`sc_<name>(<ctr>[,<table>])` and `scN_<name>([<table>])`."""

    @fetch(f"sc_{name}", result=result, places=RUNNING, arguments=(INTEGER, TABLE), required=1)
    def numbered(scope: Scope, slot: int, other: TableArgument | None) -> Run:
        return make(scope, slot, other)

    for number in _NUMBERED:

        @fetch(f"sc{number}_{name}", result=result, places=RUNNING, arguments=(TABLE,), required=0)
        def fixed(scope: Scope, other: TableArgument | None, slot: int = number) -> Run:
            return make(scope, slot, other)


def _reader(how: Reading) -> Callable[[Scope, int, TableArgument | None], Run]:
    return lambda scope, slot, other: _reads(slot, other, how)


def _changer(make: Callable[[Layout, str, int], Change], name: str) -> Callable[[Scope, int, TableArgument | None], Run]:
    return lambda scope, slot, other: _changes(slot, other, make, name, 0)


for _name in PLAIN:
    _register_tracked(_name, _reader(reading(_name)))
for _name in SINGLE:
    _register_tracked(f"get_{_name}", _reader(Reading(_name)))
for _name in COUNTERS:
    _register_tracked(f"inc_{_name}", _changer(increment, _name))
    _register_tracked(f"clr_{_name}", _changer(clear, _name))


def _register_arrays(keyword: str, data: str) -> None:
    @fetch(keyword, result=Type.SINT, places=RUNNING, arguments=(INTEGER, INTEGER, TABLE), required=2)
    def read(scope: Scope, index: int, slot: int, other: TableArgument | None) -> Run:
        return _reads(slot, other, Reading(data, index, array=True))


for _name in ARRAYS:
    _register_arrays(f"sc_get_{_name}", _name)
_register_arrays("sc_gpc_rate", "gpc_rate")


@fetch("sc_inc_gpc", result=Type.SINT, places=RUNNING, arguments=(INTEGER, INTEGER, TABLE), required=2)
def sc_inc_gpc(scope: Scope, index: int, slot: int, other: TableArgument | None) -> Run:
    return _changes(slot, other, increment, "gpc", index)


@fetch("sc_clr_gpc", result=Type.SINT, places=RUNNING, arguments=(INTEGER, INTEGER, TABLE), required=2)
def sc_clr_gpc(scope: Scope, index: int, slot: int, other: TableArgument | None) -> Run:
    return _changes(slot, other, clear, "gpc", index)


def _tracked(scope: Scope, slot: int, other: TableArgument | None) -> Run:
    def run(stream: Stream) -> Value:
        found = _entry(stream, slot, other)
        return found is not None and found[2] is not None

    return run


def _trackers(scope: Scope, slot: int, other: TableArgument | None) -> Run:
    for layout in scope.tables if other is None else (other.layout,):
        layout.exact = True

    def run(stream: Stream) -> Value:
        found = _entry(stream, slot, other)
        if found is None:
            return None
        return 0 if found[2] is None else found[2][REFS]

    return run


_register_tracked("tracked", _tracked, Type.BOOL)
_register_tracked("trackers", _trackers)


def _key(slot: int) -> Run:
    def run(stream: Stream) -> Value:
        entry = tracked(stream, slot)
        return None if entry is None else entry.table.layout.value_of(entry.key)

    return run


@fetch("sc_key", result=Type.ANY, places=RUNNING, arguments=(INTEGER,))
def sc_key(scope: Scope, slot: int) -> Run:
    return _key(slot)


for _number in _NUMBERED:

    @fetch(f"sc{_number}_key", result=Type.ANY, places=RUNNING)
    def sc_n_key(scope: Scope, slot: int = _number) -> Run:
        return _key(slot)


# --- the client's address --------------------------------------------------------------------------------------------


def _source_key(scope: Scope, table: TableArgument) -> Callable[[Stream], bytes | None]:
    source = FETCHES["src"].compile(scope)
    convert = cast(Type.ADDR, SAMPLE_TYPES[table.layout.definition.key])
    key_of = table.layout.key_of

    def key(stream: Stream) -> bytes | None:
        value = source(stream)  # type: ignore[operator]  # it is no Many
        if value is not None and convert is not None:
            value = convert(value)
        return key_of(value)

    return key


def _source_reads(scope: Scope, table: TableArgument, how: Reading) -> Run:
    key_of, number, layout = _source_key(scope, table), table.number, table.layout
    needs(scope, table, how.data, 0 if how.array else how.index)

    def run(stream: Stream) -> Value:
        key = key_of(stream)
        if key is None:
            return None
        live = stream.session.world.tables[number]
        return how.of(layout, live.find(key), live.now())

    return run


def _source_changes(scope: Scope, table: TableArgument, change: Change) -> Run:
    key_of, number = _source_key(scope, table), table.number

    def run(stream: Stream) -> Value:
        key = key_of(stream)
        return None if key is None else change(stream.session.world.tables[number], key)

    return run


def _register_source(name: str, how: Reading) -> None:
    @fetch(name, result=Type.SINT, places=RUNNING, arguments=(TABLE,), required=1)
    def read(scope: Scope, table: TableArgument) -> Run:
        return _source_reads(scope, table, how)


for _name in PLAIN:
    _register_source(f"src_{_name}", reading(_name))
for _name in SINGLE:
    _register_source(f"src_get_{_name}", Reading(_name))


def _register_source_array(name: str, data: str) -> None:
    @fetch(name, result=Type.SINT, places=RUNNING, arguments=(INTEGER, TABLE), required=2)
    def read(scope: Scope, index: int, table: TableArgument) -> Run:
        return _source_reads(scope, table, Reading(data, index, array=True))


for _name in ARRAYS:
    _register_source_array(f"src_get_{_name}", _name)
_register_source_array("src_gpc_rate", "gpc_rate")


def _register_source_change(verb: str, make: Callable[[Layout, str, int], Change]) -> None:
    for name in COUNTERS:

        @fetch(f"src_{verb}_{name}", result=Type.SINT, places=RUNNING, arguments=(TABLE,), required=1)
        def single(scope: Scope, table: TableArgument, data: str = name) -> Run:
            needs(scope, table, data)
            return _source_changes(scope, table, make(table.layout, data, 0))

    @fetch(f"src_{verb}_gpc", result=Type.SINT, places=RUNNING, arguments=(INTEGER, TABLE), required=2)
    def array(scope: Scope, index: int, table: TableArgument) -> Run:
        needs(scope, table, "gpc", index)
        return _source_changes(scope, table, make(table.layout, "gpc", index))


_register_source_change("inc", increment)
_register_source_change("clr", clear)


@fetch("src_updt_conn_cnt", result=Type.SINT, places=RUNNING, arguments=(TABLE,), required=1)
def src_updt_conn_cnt(scope: Scope, table: TableArgument) -> Run:
    needs(scope, table, "conn_cnt")
    column = table.layout.columns.get("conn_cnt")
    steps = table.layout.steps(CONNECTION[:1], 1)

    def change(live: StickTableFacts, key: bytes) -> Value:
        row = None if column is None else live.count(key, steps)
        return None if row is None or column is None else row[column.slot]

    return _source_changes(scope, table, change)


# --- tables as a whole -----------------------------------------------------------------------------------------------


@fetch("table_cnt", result=Type.SINT, places=RUNNING, arguments=(TABLE,), required=1)
def table_cnt(scope: Scope, table: TableArgument) -> Run:
    number = table.number
    return lambda stream: stream.session.world.tables[number].used()


@fetch("table_avl", result=Type.SINT, places=RUNNING, arguments=(TABLE,), required=1)
def table_avl(scope: Scope, table: TableArgument) -> Run:
    number, size = table.number, table.layout.definition.size
    return lambda stream: size - stream.session.world.tables[number].used()
