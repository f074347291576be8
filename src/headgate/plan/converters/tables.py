"""Converters that look a sample up in a stick table (manual 7.3.1): `in_table`, `table_*`."""

from __future__ import annotations

from collections.abc import Callable

from headgate.plan.facts import Stream, Value
from headgate.plan.registry import Argument, converter
from headgate.plan.samples import Type, cast
from headgate.plan.scope import Scope
from headgate.plan.table_layout import REFS, SAMPLE_TYPES, Layout, Row
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
from headgate.plan.tables import StickTableFacts, TableArgument

INTEGER, TABLE = Argument.INTEGER, Argument.TABLE
Live = Callable[[Stream, Value], Value]


def _key_of(table: TableArgument) -> Callable[[Value], bytes | None]:
    convert = cast(Type.ANY, SAMPLE_TYPES[table.layout.definition.key])
    key_of = table.layout.key_of
    return key_of if convert is None else lambda value: key_of(convert(value))


def _looks(table: TableArgument, answer: Callable[[StickTableFacts, Row | None], Value]) -> Live:
    """A converter that makes its answer of the row, None where there is none."""
    key_of, number = _key_of(table), table.number

    def look(stream: Stream, value: Value) -> Value:
        key = key_of(value)
        if key is None:
            return None
        live = stream.session.world.tables[number]
        return answer(live, live.find(key))

    return look


def _changes(table: TableArgument, change: Change) -> Live:
    key_of, number = _key_of(table), table.number

    def act(stream: Stream, value: Value) -> Value:
        key = key_of(value)
        return None if key is None else change(stream.session.world.tables[number], key)

    return act


def _read(scope: Scope, table: TableArgument, how: Reading) -> Live:
    needs(scope, table, how.data, 0 if how.array else how.index)
    layout = table.layout
    return _looks(table, lambda live, row: how.of(layout, row, live.now()))


def _register(name: str, how: Reading) -> None:
    @converter(name, takes=Type.ANY, result=Type.SINT, arguments=(TABLE,), required=1, live=True)
    def compile_(scope: Scope, table: TableArgument) -> Live:
        return _read(scope, table, how)


def _register_array(name: str, data: str) -> None:
    @converter(name, takes=Type.ANY, result=Type.SINT, arguments=(INTEGER, TABLE), required=2, live=True)
    def compile_(scope: Scope, index: int, table: TableArgument) -> Live:
        return _read(scope, table, Reading(data, index, array=True))


def _register_change(verb: str, make: Callable[[Layout, str, int], Change]) -> None:
    for name in COUNTERS:

        @converter(f"table_{verb}_{name}", takes=Type.ANY, result=Type.SINT, arguments=(TABLE,), required=1, live=True)
        def single(scope: Scope, table: TableArgument, data: str = name) -> Live:
            needs(scope, table, data)
            return _changes(table, make(table.layout, data, 0))

    @converter(f"table_{verb}_gpc", takes=Type.ANY, result=Type.SINT, arguments=(INTEGER, TABLE), required=2, live=True)
    def array(scope: Scope, index: int, table: TableArgument) -> Live:
        needs(scope, table, "gpc", index)
        return _changes(table, make(table.layout, "gpc", index))


for _name in PLAIN:
    _register(f"table_{_name}", reading(_name))
for _name in SINGLE:
    _register(f"table_{_name}", Reading(_name))
_register("table_server_id", Reading("server_id"))
for _name in (*ARRAYS, "gpc_rate"):
    _register_array(f"table_{_name}", _name)
_register_change("inc", increment)
_register_change("clr", clear)


@converter("in_table", takes=Type.ANY, result=Type.BOOL, arguments=(TABLE,), required=1, live=True)
def in_table(scope: Scope, table: TableArgument) -> Live:
    return _looks(table, lambda live, row: row is not None)


@converter("table_trackers", takes=Type.ANY, result=Type.SINT, arguments=(TABLE,), required=1, live=True)
def table_trackers(scope: Scope, table: TableArgument) -> Live:
    table.layout.exact = True
    return _looks(table, lambda live, row: 0 if row is None else row[REFS])


@converter("table_expire", takes=Type.ANY, result=Type.SINT, arguments=(TABLE, INTEGER), required=1, live=True)
def table_expire(scope: Scope, table: TableArgument, default: int | None) -> Live:
    return _looks(table, lambda live, row: default if row is None else live.remains(row))


@converter("table_idle", takes=Type.ANY, result=Type.SINT, arguments=(TABLE, INTEGER), required=1, live=True)
def table_idle(scope: Scope, table: TableArgument, default: int | None) -> Live:
    return _looks(table, lambda live, row: default if row is None else live.now() - row[0])
