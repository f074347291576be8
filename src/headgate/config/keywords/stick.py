"""`stick-table`, `stick match|on|store-request|store-response` (manual 4.2 and 11.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.base.diagnostics import nearest_word
from headgate.base.regex import regex
from headgate.base.units import UnitError, parse_size, parse_time
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.parse_condition import read_condition
from headgate.config.parse_expression import read_expression
from headgate.config.registry import BACK, KEYWORDS, NOT_DEFAULTS, Keyword, Parser, Status
from headgate.config.spans import piece_of
from headgate.config.stick_tables import DATA_TYPES, OVERRIDES, KeyType, StickRule, StickTable, Stored

_TYPES = {
    "ip": KeyType.IP, "ipv4": KeyType.IP, "ipv6": KeyType.IPV6, "integer": KeyType.INTEGER, "string": KeyType.STRING,
    "binary": KeyType.BINARY,
}  # fmt: skip
_DEFAULT_LENGTH = 32
_LONGEST_KEY = 16384
_MOST_ELEMENTS = 100
_MOST_ENTRIES = 0xFFFFFFFF
_ITEM = regex(r"([a-z0-9_]+)(?:\(([^()]*)\))?")


class _Table:
    """What the arguments of one line say so far."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.stores: dict[str, Stored] = {}


def _type(cursor: Cursor, table: _Table) -> None:
    word = cursor.next("a type")
    if word.text not in _TYPES:
        raise cursor.wrong(word, f"stick-table: unknown type '{word.text}'", allowed=tuple(_TYPES))
    key = _TYPES[word.text]
    table.fields["key"] = key
    if key in (KeyType.STRING, KeyType.BINARY):
        taken = cursor.take("len")
        table.fields["length"] = _DEFAULT_LENGTH if taken is None else cursor.integer("a length", 1, _LONGEST_KEY)


def _size(cursor: Cursor, table: _Table) -> None:
    word = cursor.next("a size")
    try:
        size = parse_size(word.text)
    except UnitError as error:
        raise cursor.wrong(word, f"stick-table: size: {error}") from None
    if not 0 < size <= _MOST_ENTRIES:
        raise cursor.wrong(word, f"stick-table: size must be from 1 to {_MOST_ENTRIES} entries, not {size}")
    table.fields["size"] = size


def _expire(cursor: Cursor, table: _Table) -> None:
    word = cursor.rest[0] if cursor.more else None
    expire = cursor.time("an expiration delay")
    if word is not None and expire <= 0:
        raise cursor.wrong(word, "stick-table: the expiration delay must be more than 0")
    table.fields["expire"] = expire


def _server_key(cursor: Cursor, table: _Table) -> None:
    word = cursor.next("a server key type (name or addr)")
    if word.text not in ("name", "addr"):
        raise cursor.wrong(word, f"stick-table: unknown server key type '{word.text}'", allowed=("name", "addr"))
    table.fields["server_key"] = word.text


def _write_to(cursor: Cursor, table: _Table) -> None:
    word = cursor.next("a table name")
    raise cursor.wrong(
        word, "stick-table: 'write-to' is known but not yet supported: tables are not exchanged with peers",
        remedy="leave it out",
    )


def _peers(cursor: Cursor, table: _Table) -> None:
    word = cursor.next("the name of a peers section")
    raise cursor.wrong(
        word, "stick-table: 'peers' is known but not yet supported: tables are not exchanged with peers yet",
        remedy="leave 'peers' out: a table is shared by all workers of this machine, and kept over a reload",
    )


def _recv_only(cursor: Cursor, table: _Table) -> None:
    word = cursor.last
    raise cursor.wrong(word, "stick-table: 'recv-only' is known but not yet supported: nobody fills it", remedy="leave it out")


def _nopurge(cursor: Cursor, table: _Table) -> None:
    table.fields["nopurge"] = True


def _factor(cursor: Cursor, table: _Table) -> None:
    table.fields["bytes_factor"] = cursor.integer("brates-factor", 1, 1024)


def _items(word: Word) -> list[Word]:
    """The data types of one word: the commas outside of parentheses separate them."""
    items, depth, start = [], 0, 0
    for at, char in enumerate(word.text + ","):
        depth += (char == "(") - (char == ")")
        if char == "," and depth <= 0:
            items.append(Word(word.text[start:at], piece_of(word, start, at)))
            start = at + 1
    return items


def _store(cursor: Cursor, table: _Table) -> None:
    for item in _items(cursor.next("a list of data types")):
        stored = _stored(cursor, item)
        if stored.name in table.stores:
            cursor.report.warn(f"stick-table: store option '{stored.name}' already enabled, ignored", item.location)
            continue
        table.stores[stored.name] = stored
        for array, single in OVERRIDES.items():
            clash = next((name for name in single if name in table.stores), None)
            if array in table.stores and clash is not None:
                raise cursor.wrong(
                    item, f"stick-table: simultaneous usage of '{array}' and '{clash}' in a same table is not permitted as"
                    f" '{array}' overrides '{clash}'",
                )


def _stored(cursor: Cursor, item: Word) -> Stored:
    """`http_req_rate(10s)`, `gpc(2)`, `gpc_rate(2,10s)`."""
    match = _ITEM.fullmatch(item.text)
    name = match[1] if match is not None else item.text
    if match is None or name not in DATA_TYPES:
        near = nearest_word(name, DATA_TYPES)
        raise cursor.wrong(Word(name, item.location), f"stick-table: unknown store option '{name}'",
                           remedy=f"did you mean '{near}'?" if near else f"one of: {', '.join(DATA_TYPES)}")
    kind = DATA_TYPES[name]
    given = [] if not match[2] else [part.strip() for part in match[2].split(",")]
    wanted = kind.counted + kind.timed
    if len(given) < wanted:
        raise cursor.wrong(item, f"stick-table: missing argument to store option '{name}'",
                           remedy=f"for example '{name}({'2' * kind.counted}{',' * (wanted == 2)}{'10s' * kind.timed})'")
    if len(given) > wanted:
        raise cursor.wrong(item, f"stick-table: unexpected argument to store option '{name}'")
    count, period = 1, 0
    if kind.counted:
        count = int(given[0]) if given[0].isdecimal() and len(given[0]) < 6 else 0
        if not 1 <= count <= _MOST_ELEMENTS:
            raise cursor.wrong(
                item, f"stick-table: array size is out of allowed range (1-{_MOST_ELEMENTS}) for store option '{name}'"
            )
    if kind.timed:
        try:
            period = round(parse_time(given[-1]) * 1000)
        except UnitError as error:
            raise cursor.wrong(item, f"stick-table: store option '{name}': {error}") from None
        if period < 1:
            raise cursor.wrong(item, f"stick-table: the period of store option '{name}' must be at least 1 ms")
    return Stored(name, count, period)


_ARGUMENTS: dict[str, Callable[[Cursor, _Table], None]] = {
    "type": _type, "size": _size, "expire": _expire, "nopurge": _nopurge, "recv-only": _recv_only, "write-to": _write_to,
    "srvkey": _server_key, "store": _store, "brates-factor": _factor, "peers": _peers,
}  # fmt: skip


def _stick_table(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stick-table type <type> size <size> [args...]`."""
    earlier = draft.settings.get("stick-table")
    if earlier is not None:
        raise cursor.wrong(
            cursor.keyword, f"stick-table name '{draft.name}' conflicts with table declared in {draft.title} at"
            f" {earlier.location.short}", remedy="a second table goes into a backend of its own, which needs no servers",
        )
    table = _Table()
    while cursor.more:
        word = cursor.next("an argument")
        read = _ARGUMENTS.get(word.text)
        if read is None:
            raise cursor.wrong(word, f"stick-table: unknown argument '{word.text}'", allowed=tuple(_ARGUMENTS))
        read(cursor, table)
    for name, field in (("type", "key"), ("size", "size")):
        if field not in table.fields:
            raise cursor.wrong(cursor.keyword, f"stick-table: missing {name}", remedy=f"write '{name} ...' on the line")
    stores = tuple(table.stores[name] for name in DATA_TYPES if name in table.stores)
    definition = StickTable(name=draft.name, location=cursor.keyword.location, stores=stores, **table.fields)
    if definition.nopurge and definition.expire is None:
        cursor.report.warn(
            "stick-table: 'nopurge' without 'expire': once the table is full, new entries are refused for ever",
            cursor.keyword.location, remedy="write 'expire <delay>'",
        )
    draft.settings.put("stick-table", definition, cursor.keyword.location)


def _stick(*, match: bool = False, request: bool = False, response: bool = False) -> Parser:
    """`stick <verb> <pattern> [table <table>] [{if | unless} <condition>]`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        expression = read_expression(cursor)
        table = cursor.next("a table name").text if cursor.take("table") is not None else None
        condition = read_condition(cursor)
        draft.stick_rules.append(
            StickRule(match, request, response, expression, table, condition, cursor.keyword.location)
        )

    return parse


def _row(name: str, parse: Parser) -> Keyword:
    return Keyword(name, BACK & NOT_DEFAULTS, Status.IMPLEMENTED, parse)


KEYWORDS.add(
    Keyword("stick-table", NOT_DEFAULTS, Status.IMPLEMENTED, _stick_table),
    _row("stick match", _stick(match=True)),
    _row("stick on", _stick(match=True, request=True)),
    _row("stick store-request", _stick(request=True)),
    _row("stick store-response", _stick(response=True)),
)
