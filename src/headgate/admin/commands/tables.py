"""Stick tables, shown and changed: `show table`, `set table`, `clear table` (management manual 9.3).

All workers have the same entries, in shared memory: what is done by one process holds for all.
"""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level
from headgate.base.addresses import ip_text
from headgate.config.stick_tables import DATA_TYPES, KeyType, Kind
from headgate.plan.samples import Address, parse_address
from headgate.plan.table_layout import REFS, Column, Row
from headgate.tables.table import Table

#: How many filters one command may have.
_MOST_FILTERS = 4
#: Entries that are written in one piece.
_PIECE = 256
_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "le": operator.le, "ge": operator.ge, "lt": operator.lt, "gt": operator.gt,
}  # fmt: skip
_NEED_ARGUMENTS = 'Required arguments: <table> "data.<store_data_type>" <operator> <value> or <table> key <key>'
_NEED_KEY = "Required arguments: <table> key <key> [data.<store_data_type> <value>]*"
_ELEMENT = re.compile(r"([a-z0-9_]+)(?:\[([0-9]{1,3})\])?")
_TO_ESCAPE = re.compile(rb"[^!-<>-\[\]-~]")

#: A table, a column of it and the index of an element.
Place = tuple[Column, int]
Filter = Callable[[Row], bool]


# --- writing ---------------------------------------------------------------------------------------------------------


def _headline(table: Table) -> str:
    definition = table.definition
    return f"# table: {table.name}, type: {definition.key.value}, size:{definition.size}, used:{table.used()}"


def _escaped(match: re.Match[bytes]) -> bytes:
    byte = match[0]
    return b"\\" + byte if byte in b" =\\" else b"\\x%02X" % byte[0]


def _text(data: bytes) -> str:
    """A text in one word."""
    return _TO_ESCAPE.sub(_escaped, data).decode("ascii")


def _key_text(table: Table, key: bytes) -> str:
    kind = table.definition.key
    if kind is KeyType.STRING:
        return _text(key)
    if kind is KeyType.BINARY:
        return key.hex().upper()
    value = table.layout.value_of(key)
    return ip_text(value) if isinstance(value, Address) else str(value)


def _pointer(table: Table, key: bytes) -> str:
    """What stands for the address of an entry: the same in all processes, as long as the entry has this key."""
    digest = hashlib.blake2b(key, digest_size=6, key=table.name.encode("utf-8", "surrogateescape")[:64]).digest()
    return f"0x{int.from_bytes(digest, 'big') & 0x7FFFFFFFFFF0 | 0x400000000000:x}"


def _fields(table: Table, row: Row, now: int) -> Iterator[str]:
    for column in table.layout.columns.values():
        for index in range(column.count):
            name = column.name
            if DATA_TYPES[name].counted:
                name = f"gpc{index}_rate" if name == "gpc_rate" else f"{name}{index}"
            if column.period:
                name += f"({column.period})"
            value = column.read(row, now, index)
            yield f"{name}={_text(value) or '-' if column.kind is Kind.TEXT else value}"


def _line(table: Table, key: bytes, row: Row) -> str:
    values = " ".join(_fields(table, row, table.now()))
    start = f"{_pointer(table, key)}: key={_key_text(table, key)} use={row[REFS]} exp={table.remains(row)} shard=0"
    return f"{start} {values}" if values else start


# --- reading arguments -----------------------------------------------------------------------------------------------


def _table(words: Sequence[str], context: Context, usage: str) -> Table:
    if not words:
        raise CommandError(usage)
    for table in context.tables:
        if table.name == words[0]:
            return table
    raise CommandError("No such table")


def _place(table: Table, word: str) -> Place:
    """`data.<type>` or `data.<type>[<index>]`."""
    match = _ELEMENT.fullmatch(word.removeprefix("data."))
    if match is None or match[1] not in DATA_TYPES:
        raise CommandError("Unknown data type")
    column = table.layout.columns.get(match[1])
    index = int(match[2] or 0)
    if column is None or index >= column.count:
        raise CommandError("Data type not stored in this table")
    return column, index


def _number(word: str | None) -> int | None:
    if word is None or re.fullmatch(r"-?[0-9]{1,20}", word) is None:
        return None
    return int(word)


def _filter(table: Table, words: Sequence[str]) -> Filter:
    column, index = _place(table, words[0])
    compare = _OPERATORS.get(words[1]) if len(words) > 1 else None
    if compare is None:
        raise CommandError('Require and operator among "eq", "ne", "le", "ge", "lt", "gt"')
    wanted = _number(words[2] if len(words) > 2 else None)
    if wanted is None:
        raise CommandError("Require a valid integer value to compare against")
    if column.kind is Kind.TEXT:
        raise CommandError("Data type can't be compared with a number")
    return lambda row: compare(column.read(row, table.now(), index), wanted)


def _filters(table: Table, words: Sequence[str]) -> list[Filter]:
    found: list[Filter] = []
    for at in range(0, len(words), 3):
        if len(found) == _MOST_FILTERS or not words[at].startswith("data."):
            raise CommandError(f"Detected extra data in filter, '{words[at]}', after {len(found)} filters")
        try:
            found.append(_filter(table, words[at : at + 3]))
        except CommandError as error:
            raise CommandError(f"Filter entry #{len(found) + 1}: {error}") from None
    return found


def _key(table: Table, words: Sequence[str], what: str) -> bytes:
    """`key <key>` or `ptr <ptr>`, which is the key of an entry that is there."""
    if len(words) < 2 or not words[1]:
        raise CommandError("Key value expected" if words[0] == "key" else "Pointer value expected")
    if words[0] == "ptr":
        wanted = words[1].lower()
        for there, _ in table.entries():
            if _pointer(table, there) == wanted:
                return there
        raise CommandError("No such entry")
    kind, text = table.definition.key, words[1].encode("utf-8", "surrogateescape")
    if kind is KeyType.BINARY:
        raise CommandError(f"{what} tables of type other than ip, ipv6, string and integer is not supported")
    if kind is KeyType.STRING:
        value: object = text
    elif kind is KeyType.INTEGER:
        value = _number(words[1])
    else:
        value = parse_address(text)
    key = table.layout.key_of(value)
    if key is None:
        raise CommandError("Invalid key")
    return key


def _selected(table: Table, filters: Sequence[Filter]) -> Iterator[tuple[bytes, Row]]:
    for key, row in table.entries():
        if all(passes(row) for passes in filters):
            yield key, row


# --- commands --------------------------------------------------------------------------------------------------------


def show_table(words: Sequence[str], context: Context) -> str | AsyncIterator[str]:
    if not words:
        return "\n".join([_headline(table) for table in context.tables])
    table = _table(words, context, _NEED_ARGUMENTS)
    arguments = words[1:]
    if arguments and arguments[0] in ("key", "ptr"):
        key = _key(table, arguments, "Showing keys from")
        row = table.find(key)
        return "" if row is None else f"{_headline(table)}\n{_line(table, key, row)}"
    if arguments and not arguments[0].startswith("data."):
        raise CommandError('Optional argument only supports "data.<store_data_type>" <operator> <value> and key <key>')
    return _pieces(table, _selected(table, _filters(table, arguments)))


async def _pieces(table: Table, entries: Iterable[tuple[bytes, Row]]) -> AsyncIterator[str]:
    """A large table is written piece by piece."""
    lines = [_headline(table)]
    for key, row in entries:
        lines.append(_line(table, key, row))
        if len(lines) >= _PIECE:
            yield "\n".join(lines) + "\n"
            lines.clear()
    if lines:
        yield "\n".join(lines) + "\n"


def set_table(words: Sequence[str], context: Context) -> str:
    table = _table(words, context, _NEED_KEY)
    if len(words) < 2 or words[1] not in ("key", "ptr"):
        raise CommandError(_NEED_KEY)
    key = _key(table, words[1:], "Inserting keys into")
    values: list[tuple[str, int, object]] = []
    for at in range(3, len(words), 2):
        if not words[at].startswith("data."):
            raise CommandError('"data.<type>" followed by a value expected')
        column, index = _place(table, words[at])
        text = words[at + 1] if at + 1 < len(words) else None
        if column.kind is Kind.TEXT and text:
            values.append((column.name, index, text.encode("utf-8", "surrogateescape")))
            continue
        number = _number(text)
        if number is None:
            raise CommandError("Require a valid integer value to store")
        values.append((column.name, index, number))
    if table.assign(key, values) is None:
        raise CommandError("Unable to allocate a new entry")
    return ""


def clear_table(words: Sequence[str], context: Context) -> str:
    table = _table(words, context, _NEED_ARGUMENTS)
    arguments = words[1:]
    if arguments and arguments[0] in ("key", "ptr"):
        if not table.remove(_key(table, arguments, "Removing keys from")):
            raise CommandError("Entry currently in use, cannot remove")
        return ""
    if arguments and not arguments[0].startswith("data."):
        raise CommandError(_NEED_ARGUMENTS)
    for key, _ in list(_selected(table, _filters(table, arguments))):
        table.remove(key)
    return ""


_USER, _OPERATOR = Level.USER, Level.OPERATOR
_FILTER = "[ data.<type> <operator> <value> ]* | [ key <key> ] | [ ptr <ptr> ]"

COMMANDS = (
    Command("show table", f"[<table> {_FILTER}] : report table usage stats or dump a table's contents", _USER, show_table),
    Command("set table", "<table> key <key> [data.<type> <value>]* : update or create a table entry", _OPERATOR, set_table),
    Command("clear table", f"<table> {_FILTER} : remove entries from a table", _OPERATOR, clear_table),
)
