"""What fetches and converters make of an entry of a stick table: what `fetches.tables` and `converters.tables` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.base.records import dataclass
from headgate.plan.facts import Value
from headgate.plan.scope import Scope
from headgate.plan.table_layout import Column, Layout, Row, Steps
from headgate.plan.tables import StickTableFacts, TableArgument

#: Elements of arrays that have a name of their own, which stands for the array where that is stored.
_ELEMENTS: Final = {
    "gpc0": ("gpc", 0), "gpc1": ("gpc", 1), "gpt0": ("gpt", 0), "gpc0_rate": ("gpc_rate", 0), "gpc1_rate": ("gpc_rate", 1),
}  # fmt: skip

#: Plain values: the keyword's part behind `sc_`, `src_` and `table_`, and the data type.
PLAIN: Final = {
    name: name
    for name in (
        "bytes_in_rate bytes_out_rate conn_cnt conn_cur conn_rate glitch_cnt glitch_rate gpc0_rate gpc1_rate http_err_cnt"
        " http_err_rate http_fail_cnt http_fail_rate http_req_cnt http_req_rate sess_cnt sess_rate tls_fail_cnt tls_fail_rate"
    ).split()
} | {"kbytes_in": "bytes_in_cnt", "kbytes_out": "bytes_out_cnt"}
#: Counters and tags, and arrays of them: read as `sc_get_gpc0`, `src_get_gpc0`, `table_gpc0`.
SINGLE: Final = ("gpc0", "gpc1", "gpt0")
ARRAYS: Final = ("gpc", "gpt")
#: What can be counted up and cleared.
COUNTERS: Final = ("gpc0", "gpc1")


def locate(layout: Layout, name: str, index: int = 0) -> tuple[Column, int] | None:
    """The column of a data type, and the index in it; None when the table does not store it."""
    column = layout.columns.get(name)
    if column is None and name in _ELEMENTS:
        name, index = _ELEMENTS[name]
        column = layout.columns.get(name)
    return None if column is None or index >= column.count else (column, index)


def change_steps(layout: Layout, name: str, index: int, amount: int) -> Steps:
    """What counting a general purpose counter up takes, its rate included; nothing when the table has neither."""
    if name in _ELEMENTS and name not in layout.columns and f"{name}_rate" not in layout.columns:
        name, index = _ELEMENTS[name]
    return layout.steps((name, f"{name}_rate"), amount, index)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a keyword reads an entry.

    Attributes:
        data: the data type; index: of the element.
        shift: bits that are left out (kilobytes).
        scaled: the table's brates-factor multiplies it.
        array: a missing element of an array is 0.
    """

    data: str
    index: int = 0
    shift: int = 0
    scaled: bool = False
    array: bool = False

    def of(self, layout: Layout, row: Row | None, now: int) -> Value:
        """The value; None when the table does not store it, 0 without an entry."""
        found = locate(layout, self.data, self.index)
        if found is None:
            return 0 if self.array and self.data in layout.columns else None
        if row is None:
            return 0
        value: int = found[0].read(row, now, found[1]) >> self.shift
        return value * layout.definition.bytes_factor if self.scaled else value


def reading(name: str) -> Reading:
    """The reading of a keyword in `PLAIN`."""
    return Reading(PLAIN[name], shift=10 * name.startswith("kbytes"), scaled=name.startswith("bytes"))


def needs(scope: Scope, table: TableArgument, data: str, index: int = 0) -> None:
    """Warn when a table does not store what a keyword looks at (11.1: "the ACL will simply not match")."""
    if locate(table.layout, data, index) is not None:
        return
    definition, call = table.layout.definition, table.call
    message = f"stick-table '{definition.name}' does not store '{data}': '{call.name}' has no value here"
    if not any(item.message == message and item.location == call.location for item in scope.report.items):
        scope.report.warn(message, call.location, remedy=f"write 'store {data}' on its line ({definition.location.short})")


Change = Callable[[StickTableFacts, bytes], Value]


def increment(layout: Layout, name: str, index: int) -> Change:
    """Count a counter up, making the entry where there is none; its new value."""
    steps = change_steps(layout, name, index, 1)
    found = locate(layout, name, index) or locate(layout, f"{name}_rate", index)

    def change(table: StickTableFacts, key: bytes) -> Value:
        if found is None:
            return None
        row = table.count(key, steps)
        return None if row is None else found[0].read(row, table.now(), found[1])

    return change


def clear(layout: Layout, name: str, index: int) -> Change:
    """Set a counter to 0, making the entry where there is none; its value before."""
    found = locate(layout, name, index)

    def change(table: StickTableFacts, key: bytes) -> Value:
        if found is None:
            return None
        column, position = found
        row = table.find(key)
        before = 0 if row is None else column.read(row, table.now(), position)
        table.assign(key, [(column.name, position, 0)])
        return int(before)

    return change
