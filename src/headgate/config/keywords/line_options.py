"""Options behind a bind or server line (manual 5): reads them by their rows in the registry, and makes the common kinds of rows.

An option's parser stores what it read in `draft.settings`, under the name that `resolve` looks up. Not a family of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from headgate.base.diagnostics import Severity
from headgate.config.addresses import split_commas
from headgate.config.cursor import Cursor
from headgate.config.drafts import Settings
from headgate.config.registry import KEYWORDS, Keyword, Parser, Scope, Status


class HasSettings(Protocol):
    """What option parsers fill: a bind or server draft."""

    settings: Settings


def read_options(cursor: Cursor, scope: Scope, draft: HasSettings) -> None:
    """Read all options up to the end of the line.

    Raises:
        ConfigError: an unknown option, one that is not supported, or a bad value.
    """
    while cursor.more:
        read_option(cursor, scope, draft)


def read_option(cursor: Cursor, scope: Scope, draft: HasSettings, *, allowed: Sequence[str] = ()) -> None:
    """Read one option.

    Args:
        allowed: what is said to be allowed where the word is unknown; () for all that the scope has.

    Raises:
        ConfigError: as `read_options`.
    """
    line = f"'{cursor.keyword.text}' line"
    found = KEYWORDS.find(scope, [cursor.rest[0].text])
    if found is None:
        word = cursor.rest[0]
        raise cursor.wrong(word, f"unknown option '{word.text}' on a {line}", allowed=allowed or KEYWORDS.names(scope))
    row, _ = found
    word = cursor.rest[0] if row.prefix_match else cursor.next("an option")
    if row.status is Status.UNSUPPORTED:
        raise cursor.wrong(word, f"option '{row.name}' on a {line} is known but not yet supported", remedy=row.note or None)
    if row.status is Status.REMOVED:
        if row.parse is None:
            raise cursor.wrong(word, f"option '{row.name}' was removed by HAProxy", remedy=row.note)
        cursor.report.warn(f"option '{row.name}' was removed by HAProxy", word.location, remedy=row.note)
    elif row.status is Status.NO_EFFECT:
        cursor.report.note(Severity.DIAG, f"option '{row.name}' has no effect here: {row.note}", word.location)
    if row.parse is not None:
        row.parse(cursor, draft)


def store(key: str, read: Callable[[Cursor], Any]) -> Parser:
    """A parser that reads a value and stores it under `key`."""

    def parse(cursor: Cursor, draft: HasSettings) -> None:
        place = cursor.last.location
        draft.settings.put(key, read(cursor), place)

    return parse


def flag(key: str, value: Any = True) -> Parser:
    """A parser of a single word that stores a fixed value under `key`."""
    return store(key, lambda cursor: value)


def text(what: str) -> Callable[[Cursor], str]:
    """Reads one word as it stands."""
    return lambda cursor: cursor.next(what).text


def integer(what: str, low: int | None = None, high: int | None = None) -> Callable[[Cursor], int]:
    """Reads a whole number."""
    return lambda cursor: cursor.integer(what, low, high)


def time(what: str, default_unit: str = "ms") -> Callable[[Cursor], float]:
    """Reads a duration, in seconds."""
    return lambda cursor: cursor.time(what, default_unit)


def one_of(what: str, allowed: Mapping[str, Any]) -> Callable[[Cursor], Any]:
    """Reads one of some words."""
    return lambda cursor: cursor.choice(what, allowed)


def shards(cursor: Cursor) -> None:
    """`shards { <number> | by-thread | by-group }` (5.1), which has no effect on any line."""
    if cursor.take("by-thread", "by-group") is None:
        cursor.integer("shards", 1)


def skip(*readers: Callable[[Cursor], object]) -> Parser:
    """A parser that passes over the values of an option without effect, each with a reader of its own."""

    def parse(cursor: Cursor, draft: HasSettings) -> None:
        for read in readers:
            read(cursor)

    return parse


def comma_list(what: str, allowed: tuple[str, ...] | None = None) -> Callable[[Cursor], tuple[str, ...]]:
    """Reads a comma-separated list, of known words where `allowed` says so."""

    def read(cursor: Cursor) -> tuple[str, ...]:
        word = cursor.next(what)
        parts = [part for part in split_commas(word) if part.text]
        for part in parts:
            if allowed is not None and part.text not in allowed:
                raise cursor.wrong(part, f"unknown {what} '{part.text}'", allowed=allowed)
        return tuple(part.text for part in parts)

    return read


def rows(scope: Scope, parsers: Mapping[str, Parser]) -> list[Keyword]:
    """Implemented options of one scope."""
    return [Keyword(name, frozenset({scope}), Status.IMPLEMENTED, parse) for name, parse in parsers.items()]


def unsupported(scope: Scope, names: str, note: str = "") -> list[Keyword]:
    """Options that HAProxy knows and we do not yet."""
    return [Keyword(name, frozenset({scope}), Status.UNSUPPORTED, note=note) for name in names.split()]


def without_effect(scope: Scope, name: str, note: str, *readers: Callable[[Cursor], object]) -> Keyword:
    """An option whose values are read and change nothing here, with the reason."""
    return Keyword(name, frozenset({scope}), Status.NO_EFFECT, skip(*readers), note)
