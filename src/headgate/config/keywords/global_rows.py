"""Makes rows of the global section (manual 3), for `global_process`, `global_tuning` and `global_tls`. Not a family of its own.

A value is stored under the keyword as written, in its final unit; `resolve` and the runtime read it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.config.cursor import Cursor
from headgate.config.registry import Keyword, Parser, Scope, Status
from headgate.config.section_drafts import GlobalSection

_GLOBAL = frozenset({Scope.GLOBAL})


def implemented(name: str, parse: Parser, *, negatable: bool = False) -> Keyword:
    """A row with a parser of its own."""
    return Keyword(name, _GLOBAL, Status.IMPLEMENTED, parse, negatable=negatable)


def value(name: str, read: Callable[[Cursor], Any], *, as_: str = "") -> Keyword:
    """A keyword with one value, which `read` reads; `as_` is the keyword that it is another name of."""
    kept = as_ or name

    def parse(cursor: Cursor, section: GlobalSection) -> None:
        section.settings.put(kept, read(cursor), cursor.keyword.location)
        cursor.finish()

    return implemented(name, parse)


def switch(name: str, *, negatable: bool = False) -> Keyword:
    """A keyword without a value: it is on, or off behind `no`."""

    def parse(cursor: Cursor, section: GlobalSection) -> None:
        cursor.finish()
        section.settings.put(name, not cursor.prefix, cursor.keyword.location)

    return implemented(name, parse, negatable=negatable)


def without_effect(reason: str, *names: str) -> list[Keyword]:
    """Keywords that are accepted and change nothing here; their arguments are not looked at."""
    return [Keyword(name, _GLOBAL, Status.NO_EFFECT, note=reason, negatable=True) for name in names]


def impossible(takes: str, *names: str) -> list[Keyword]:
    """Keywords that we can't follow, with what it would take."""
    return [Keyword(name, _GLOBAL, Status.UNSUPPORTED, note=takes, negatable=True) for name in names]


def removed(modern: str, *names: str) -> list[Keyword]:
    """Keywords that HAProxy dropped, with what to write instead."""
    return [Keyword(name, _GLOBAL, Status.REMOVED, note=modern) for name in names]
