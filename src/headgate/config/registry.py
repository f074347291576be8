"""The table of configuration keywords: which exist, where they may stand, who parses them, and what we make of them.

Every keyword that HAProxy registers is one of: implemented (it has a parser), accepted without effect here (with the reason),
removed by HAProxy (with its modern form), or known but not yet supported, which is an error that says so. A keyword
family is one file under `keywords/` that adds its rows at import.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from headgate.base.diagnostics import Bug
from headgate.base.records import dataclass
from headgate.config.cursor import Cursor


class Scope(enum.Enum):
    """Where a keyword may stand: a section, or the options of a line."""

    GLOBAL = "global"
    DEFAULTS = "defaults"
    FRONTEND = "frontend"
    LISTEN = "listen"
    BACKEND = "backend"
    BIND = "bind"
    SERVER = "server"
    STATS_SOCKET = "stats socket"
    USERLIST = "userlist"
    RESOLVERS = "resolvers"
    PEERS = "peers"
    MAILERS = "mailers"
    HTTP_ERRORS = "http-errors"
    RING = "ring"
    LOG_FORWARD = "log-forward"
    LOG_PROFILE = "log-profile"
    CACHE = "cache"
    PROGRAM = "program"
    CRT_STORE = "crt-store"
    CRT_LIST = "crt-list"
    ACME = "acme"
    TRACES = "traces"
    FCGI_APP = "fcgi-app"
    HEALTHCHECK = "healthcheck"


PROXY = frozenset({Scope.DEFAULTS, Scope.FRONTEND, Scope.LISTEN, Scope.BACKEND})
FRONT = frozenset({Scope.DEFAULTS, Scope.FRONTEND, Scope.LISTEN})
BACK = frozenset({Scope.DEFAULTS, Scope.LISTEN, Scope.BACKEND})
NOT_DEFAULTS = PROXY - {Scope.DEFAULTS}


class Status(enum.Enum):
    """What we make of a keyword."""

    IMPLEMENTED = "implemented"
    NO_EFFECT = "accepted, no effect"
    UNSUPPORTED = "not yet supported"
    REMOVED = "removed by HAProxy"


#: Parses the words behind the keyword into the scope's draft. Raises ConfigError.
Parser = Callable[[Cursor, Any], None]


@dataclass(frozen=True, slots=True)
class Keyword:
    """One row.

    Attributes:
        name: one to three words: `maxconn`, `timeout client`, `http-request set-header`.
        scopes: where it may stand.
        status: what we make of it.
        parse: called with the cursor just behind the keyword's words, and the draft of the scope; for IMPLEMENTED, and for
            REMOVED keywords that are still understood (the parser warns, since it knows the modern form of the very line, and
            does what that does); without a parser `load` raises the error that names the modern form.
        note: for NO_EFFECT the reason; for REMOVED the modern form; for UNSUPPORTED what would be needed, if known.
        negatable: may be prefixed with `no` (and `default`): the cursor's `prefix` tells.
        prefix_match: the keyword's last word is a prefix, as in `http-request set-var(txn.x)`: the text from the
            parenthesis on belongs to the arguments. The cursor then stands ON the word, not behind it.
    """

    name: str
    scopes: frozenset[Scope]
    status: Status
    parse: Parser | None = None
    note: str = ""
    negatable: bool = False
    prefix_match: bool = False


class Registry:
    """All rows, by scope and name."""

    def __init__(self) -> None:
        self._rows: dict[tuple[Scope, str], Keyword] = {}
        self._longest = 1

    def add(self, *rows: Keyword) -> None:
        """Add rows; a name may stand only once in a scope."""
        for row in rows:
            for scope in row.scopes:
                if (scope, row.name) in self._rows:
                    raise Bug(f"keyword {row.name!r} is registered twice for {scope.value}")
                self._rows[scope, row.name] = row
            self._longest = max(self._longest, row.name.count(" ") + 1)

    def find(self, scope: Scope, words: Iterable[str]) -> tuple[Keyword, int] | None:
        """The row with the longest name that the line begins with, and how many words the name takes."""
        parts = list(words)[: self._longest]
        for count in range(len(parts), 0, -1):
            name = " ".join(parts[:count])
            row = self._rows.get((scope, name))
            if row is not None:
                return row, count
            last, digits = parts[count - 1][:8], parts[count - 1][8:]
            if last == "track-sc" and digits.isdecimal():
                # One action with a number in its name: the rows are those of the first ones.
                row = self._rows.get((scope, " ".join([*parts[: count - 1], "track-sc0"])))
                if row is not None:
                    return row, count
            last, parenthesis, _ = parts[count - 1].partition("(")
            if parenthesis:
                stem = " ".join([*parts[: count - 1], last])
                row = self._rows.get((scope, stem))
                if row is not None and row.prefix_match:
                    return row, count - 1
        return None

    def names(self, scope: Scope) -> list[str]:
        """All names that may stand in a scope, sorted: for "allowed here" and the nearest word."""
        return sorted(name for (where, name) in self._rows if where is scope)

    def scopes_of(self, name: str) -> list[Scope]:
        """Where a name may stand, for "belongs into"."""
        return [scope for (scope, known) in self._rows if known == name]

    def __iter__(self) -> Iterator[Keyword]:
        seen: set[int] = set()
        for row in self._rows.values():
            if id(row) not in seen:
                seen.add(id(row))
                yield row


#: The one registry; families add to it when they are imported (`keywords/__init__.py` lists them).
KEYWORDS = Registry()
