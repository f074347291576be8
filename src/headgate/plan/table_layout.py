"""How an entry of a stick table lies in memory: its columns, its packed form, its key; and what events add to it (manual 11.1).

A row is a list of integers (and of texts): three of its own, then the columns in the order of `DATA_TYPES`. A rate takes three
slots: when its period began (milliseconds), what was counted in it, and what in the period before.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence
from typing import Any

from headgate.config.stick_tables import DATA_TYPES, KeyType, Kind, StickTable
from headgate.plan.facts import Value
from headgate.plan.samples import Address, Type

#: Slots of every row: when it was last used (milliseconds), how many streams and sessions track it, and its place in the order.
TOUCHED, REFS, INDEXED = range(3)
_OWN = 3
#: Bytes of a server's name or address.
TEXT_LENGTH = 128

Row = list[Any]
#: One addition: the column's slot, the period of a rate (0: a plain counter), how much, and the highest value of the counter.
Step = tuple[int, int, int, int]
Steps = tuple[Step, ...]

_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_FORMATS = {Kind.NUMBER: "I", Kind.LARGE: "Q", Kind.RATE: "QII", Kind.TEXT: f"{TEXT_LENGTH}s"}
_SLOTS = {Kind.NUMBER: 1, Kind.LARGE: 1, Kind.RATE: 3, Kind.TEXT: 1}
_BLANK: dict[Kind, list[Any]] = {Kind.NUMBER: [0], Kind.LARGE: [0], Kind.RATE: [0, 0, 0], Kind.TEXT: [b""]}

#: What keys of each type are made of.
SAMPLE_TYPES = {
    KeyType.IP: Type.ADDR,
    KeyType.IPV6: Type.ADDR,
    KeyType.INTEGER: Type.SINT,
    KeyType.STRING: Type.STR,
    KeyType.BINARY: Type.BIN,
}

#: Events and the columns that count them.
CONNECTION = ("conn_cnt", "conn_rate")
SESSION = ("sess_cnt", "sess_rate")
REQUEST = ("http_req_cnt", "http_req_rate")
ERROR = ("http_err_cnt", "http_err_rate")
FAILURE = ("http_fail_cnt", "http_fail_rate")
GLITCH = ("glitch_cnt", "glitch_rate")
TLS_FAILURE = ("tls_fail_cnt", "tls_fail_rate")
EVENTS = (CONNECTION, SESSION, REQUEST, ERROR, FAILURE, GLITCH, TLS_FAILURE)

#: 5xx statuses that say something about the request and nothing about the server.
_REQUEST_STATUSES = (501, 505)


class Column:
    """One stored data type of a table: `slot` is where it begins in a row, `width` how many slots an element takes."""

    __slots__ = ("count", "kind", "name", "period", "slot", "width")

    def __init__(self, name: str, kind: Kind, slot: int, count: int, period: int) -> None:
        self.name = name
        self.kind = kind
        self.slot = slot
        self.count = count
        self.period = period
        self.width = _SLOTS[kind]

    def read(self, row: Row, now: int, index: int = 0) -> Any:
        """The value of an element: for a rate, what was counted during the last period; `now` in milliseconds."""
        slot = self.slot + index * self.width
        return rate(row, slot, self.period, now) if self.period else row[slot]

    def set(self, row: Row, value: Any, now: int, index: int = 0) -> None:
        """Set an element; of a rate, as if all of it had been counted now."""
        slot = self.slot + index * self.width
        if self.period:
            row[slot : slot + 3] = [now, value & _U32, 0]
        elif self.kind is Kind.TEXT:
            row[slot] = value[:TEXT_LENGTH]
        else:
            row[slot] = value & (_U64 if self.kind is Kind.LARGE else _U32)


def count(row: Row, steps: Sequence[Step], now: int) -> None:
    """Add to counters and rates; `now` in milliseconds."""
    for slot, period, amount, most in steps:
        if not period:
            row[slot] = (row[slot] + amount) & most
            continue
        elapsed = now - row[slot]
        if elapsed >= period:
            if elapsed < 2 * period:
                row[slot] += period
                row[slot + 2] = row[slot + 1]
            else:
                row[slot] = now
                row[slot + 2] = 0
            row[slot + 1] = 0
        row[slot + 1] = (row[slot + 1] + amount) & most


def rate(row: Row, slot: int, period: int, now: int) -> int:
    """What was counted during the last `period` milliseconds: this period's count, and a part of that of the one before."""
    elapsed = now - row[slot]
    current, previous = row[slot + 1], row[slot + 2]
    if elapsed >= period:
        elapsed -= period
        if elapsed >= period:
            return 0
        current, previous = 0, current
    if previous <= 1 and not current:
        return int(previous)  # one event does not flicker between 0 and 1
    return int(current + previous * (period - max(elapsed, 0)) // period)


class Layout:
    """The layout of one table.

    Attributes:
        columns: by data type.
        events: what each of `EVENTS` adds, by the event.
        current: slot of conn_cur, 0 when it is not stored.
        exact: who follows an entry must be noted at once: it is stored, or a rule asks for it.
        signature: two tables with the same one can read each other's entries.
    """

    __slots__ = (
        "_counts_bytes", "_pack", "_texts", "_unpack", "blank", "columns", "current", "definition", "events", "exact",
        "key_length", "signature", "size",
    )

    def __init__(self, definition: StickTable) -> None:
        self.definition = definition
        self.columns: dict[str, Column] = {}
        form = "<QIQ"
        blank: Row = [0] * _OWN
        stored = {each.name: each for each in definition.stores}
        for name, data in DATA_TYPES.items():
            one = stored.get(name)
            if one is not None:
                self.columns[name] = Column(name, data.kind, len(blank), one.count, one.period)
                form += _FORMATS[data.kind] * one.count
                blank += _BLANK[data.kind] * one.count
        packer = struct.Struct(form)
        self._pack, self._unpack, self.size = packer.pack, packer.unpack_from, packer.size
        self._texts = tuple(column.slot for column in self.columns.values() if column.kind is Kind.TEXT)
        self.blank = blank
        self.current = self.columns["conn_cur"].slot if "conn_cur" in self.columns else 0
        self._counts_bytes = any(name.startswith("bytes_") for name in self.columns)
        self.exact = bool(self.current) or definition.counts_trackers
        self.key_length = {KeyType.IP: 4, KeyType.IPV6: 16, KeyType.INTEGER: 4}.get(definition.key, definition.length)
        self.signature = f"1 {definition.key.value} {self.key_length} " + " ".join(
            f"{column.name}*{column.count}/{column.period}" for column in self.columns.values()
        )
        if definition.bytes_factor != 1:
            self.signature += f" x{definition.bytes_factor}"
        self.events: dict[tuple[str, ...], Steps] = {event: self.steps(event, 1) for event in EVENTS}

    def steps(self, names: Sequence[str], amount: int, index: int = 0) -> Steps:
        """What adding `amount` to those of `names` that are stored takes."""
        found: list[Step] = []
        for name in names:
            column = self.columns.get(name)
            if column is not None and index < column.count:
                most = _U64 if column.kind is Kind.LARGE else _U32
                found.append((column.slot + index * column.width, column.period, amount, most))
        return tuple(found)

    def answered(self, status: int) -> Steps:
        """What a server's response adds (11.1 http_err_cnt, http_fail_cnt)."""
        if 400 <= status < 500:
            return self.events[ERROR]
        return self.events[FAILURE] if status >= 500 and status not in _REQUEST_STATUSES else ()

    def bytes_passed(self, taken: int, given: int) -> Steps:
        """What bytes from and to the client add."""
        if not self._counts_bytes:
            return ()
        factor = self.definition.bytes_factor
        steps: Steps = ()
        if taken:
            steps = self.steps(("bytes_in_cnt",), taken) + self.steps(("bytes_in_rate",), -(-taken // factor))
        if given:
            steps += self.steps(("bytes_out_cnt",), given) + self.steps(("bytes_out_rate",), -(-given // factor))
        return steps

    # --- packed ---

    def pack(self, row: Row) -> bytes:
        """The row as bytes."""
        return self._pack(*row)

    def unpack(self, data: bytes) -> Row:
        """The row that `data` begins with."""
        row = list(self._unpack(data))
        for slot in self._texts:
            row[slot] = row[slot].rstrip(b"\0")
        return row

    # --- keys ---

    def key_of(self, value: Value) -> bytes | None:
        """The key that a sample of the table's own type is kept under; None when it is none."""
        if value is None:
            return None
        kind = self.definition.key
        if kind is KeyType.STRING or kind is KeyType.BINARY:
            if not isinstance(value, bytes):
                return None
            value = value[: self.key_length]
            return value.ljust(self.key_length, b"\0") if kind is KeyType.BINARY else value
        if kind is KeyType.INTEGER:
            return (value & _U32).to_bytes(4, "big") if isinstance(value, int) else None
        return _address_key(value, six=kind is KeyType.IPV6) if isinstance(value, Address) else None

    def value_of(self, key: bytes) -> Value:
        """The sample that a key stands for."""
        kind = self.definition.key
        if kind is KeyType.INTEGER:
            return int.from_bytes(key, "big")
        if kind is KeyType.STRING or kind is KeyType.BINARY:
            return key
        return ipaddress.ip_address(key)


def _address_key(address: Address, *, six: bool) -> bytes | None:
    """IPv4 addresses are mapped into IPv6 tables, and mapped ones come back out for IPv4 tables (RFC 4291)."""
    packed: bytes = address.packed
    if six:
        return packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed
    if len(packed) == 4:
        return packed
    return packed[12:] if packed[:12] == b"\0" * 10 + b"\xff\xff" else None
