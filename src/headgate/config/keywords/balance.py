"""`balance`, `hash-type`, `hash-balance-factor` (manual 4.2): which server takes a connection that persistence left open."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords.proxy_basics import setting
from headgate.config.model import Balance, HashType
from headgate.config.parse_expression import read_expression
from headgate.config.registry import BACK, KEYWORDS, Keyword, Status

ALGORITHMS = (
    "roundrobin", "static-rr", "leastconn", "first", "source", "uri", "url_param", "hdr(<name>)", "random[(<draws>)]",
    "rdp-cookie[(<name>)]", "hash <expression>",
)

_CALL = regex(r"([a-z_-]+)(?:\(([^()]*)\))?")


def _balance(cursor: Cursor, draft: ProxyDraft) -> None:
    """`balance <algorithm> [<arguments>]`."""
    word = cursor.next("an algorithm")
    match = _CALL.fullmatch(word.text)
    reader = _READERS.get(match[1]) if match is not None else None
    if match is None or reader is None:
        if word.text in ("sticky", "log-hash", "log-sticky"):
            raise cursor.wrong(word, f"balance '{word.text}' is known but not yet supported: it serves log backends")
        raise cursor.wrong(word, f"unknown balance algorithm '{word.text}'", allowed=ALGORITHMS)
    balance = reader(cursor, word, match[1], match[2])
    cursor.finish()
    draft.settings.put("balance", balance, word.location)


def _plain(cursor: Cursor, word: Word, name: str, argument: str | None) -> Balance:
    """`roundrobin`, `static-rr`, `leastconn`, `first`, `source`."""
    if argument is not None:
        raise cursor.wrong(word, f"balance '{name}' takes no argument")
    return Balance(name)


def _uri(cursor: Cursor, word: Word, name: str, argument: str | None) -> Balance:
    """`uri [whole] [len <len>] [depth <depth>] [path-only]`."""
    _plain(cursor, word, name, argument)
    options: set[str] = set()
    length = depth = None
    while (option := cursor.take("whole", "len", "depth", "path-only")) is not None:
        if option.text == "len":
            length = cursor.integer("a length", 1)
        elif option.text == "depth":
            depth = cursor.integer("a depth", 1)
        else:
            options.add(option.text)
    if options == {"whole", "path-only"}:
        raise cursor.wrong(word, "'whole' and 'path-only' exclude each other")
    return Balance(name, options=frozenset(options), length=length, depth=depth)


def _url_param(cursor: Cursor, word: Word, name: str, argument: str | None) -> Balance:
    """`url_param <param> [check_post [<max_wait>]]`."""
    _plain(cursor, word, name, argument)
    parameter = cursor.next("a parameter name").text
    options: frozenset[str] = frozenset()
    if cursor.take("check_post") is not None:
        options = frozenset({"check_post"})
        if cursor.more:
            cursor.integer("a length", 0)
    return Balance(name, parameter, options=options)


def _header(cursor: Cursor, word: Word, name: str, argument: str | None) -> Balance:
    """`hdr(<name>) [use_domain_only]`."""
    if not argument:
        raise cursor.wrong(word, "'balance hdr' expects a header name in parentheses", remedy="write 'balance hdr(host)'")
    options = frozenset({"use_domain_only"} if cursor.take("use_domain_only") is not None else ())
    return Balance(name, argument, options=options)


def _random(cursor: Cursor, word: Word, name: str, argument: str | None) -> Balance:
    """`random[(<draws>)]`."""
    if argument is None:
        return Balance(name)
    if not argument.isascii() or not argument.isdigit() or not 0 < int(argument) <= 0x7FFFFFFF:
        raise cursor.wrong(word, f"'random' expects a number of draws of at least 1, not '{argument}'")
    return Balance(name, draws=int(argument))


def _rdp_cookie(cursor: Cursor, word: Word, name: str, argument: str | None) -> Balance:
    """`rdp-cookie[(<name>)]`; the name is `mstshash` by default."""
    return Balance(name, argument or "mstshash")


def _hash(cursor: Cursor, word: Word, name: str, argument: str | None) -> Balance:
    """`hash <expression>`."""
    _plain(cursor, word, name, argument)
    return Balance(name, expression=read_expression(cursor))


_READERS: dict[str, Callable[[Cursor, Word, str, str | None], Balance]] = {
    **dict.fromkeys(("roundrobin", "static-rr", "leastconn", "first", "source"), _plain),
    "uri": _uri,
    "url_param": _url_param,
    "hdr": _header,
    "random": _random,
    "rdp-cookie": _rdp_cookie,
    "hash": _hash,
}

_METHODS = {"map-based": "map-based", "consistent": "consistent"}
_FUNCTIONS = {name: name for name in ("sdbm", "djb2", "wt6", "crc32", "none")}


def _hash_type(cursor: Cursor, draft: ProxyDraft) -> None:
    """`hash-type <method> [<function> [avalanche]]`.

    `avalanche` as the method is the form of HAProxy 1.4: map-based sdbm with avalanche.
    """
    if cursor.take("avalanche") is not None:
        hash_type = HashType("map-based", "sdbm", True)
        cursor.report.warn(
            "'hash-type avalanche' is the form of HAProxy 1.4", cursor.keyword.location,
            remedy="write 'hash-type map-based sdbm avalanche'",
        )
    else:
        method = cursor.choice("hash method", _METHODS)
        if cursor.more:
            function = cursor.choice("hash function", _FUNCTIONS)
            hash_type = HashType(method, function, cursor.take("avalanche") is not None)
        else:
            # Consistent hashing scrambles with avalanche when no function is named.
            hash_type = HashType(method, "sdbm", method == "consistent")
    cursor.finish()
    draft.settings.put("hash-type", hash_type, cursor.keyword.location)


def _factor(cursor: Cursor) -> int:
    word = cursor.rest[0] if cursor.more else None
    factor = cursor.integer("a factor in percent", 0, 65535)
    if word is not None and 0 < factor <= 100:
        raise cursor.wrong(word, "hash-balance-factor must be 0 (off) or more than 100 percent")
    return factor


KEYWORDS.add(
    Keyword("balance", BACK, Status.IMPLEMENTED, _balance),
    Keyword("hash-type", BACK, Status.IMPLEMENTED, _hash_type),
    Keyword("hash-balance-factor", BACK, Status.IMPLEMENTED, setting("hash-balance-factor", _factor)),
)
