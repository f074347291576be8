"""The syntax trees of sample expressions, ACLs, conditions and log formats (manual 7 and 8.2.6).

Syntax only: which fetches and converters exist, and what types they have, is known to `plan`, which compiles these trees.
"""

from __future__ import annotations

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """A fetch or converter with its arguments as written: `req.hdr(host,1)`."""

    name: str
    arguments: tuple[str, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class SampleExpression:
    """`fetch(args),converter(args),...` (7.3)."""

    fetch: Call
    converters: tuple[Call, ...]
    location: Location
    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """Text of a log format that is copied as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Alias:
    """`%ci`, `%{+Q}o`, `%(name)ST`: a variable of a log format (8.2.6).

    Attributes:
        name: the letters behind the percent sign.
        flags: options in force at this item: subset of {"Q", "X", "E", "M", "json", "cbor", "bin"}.
        label: the item's name for encoded formats, or None.
    """

    name: str
    flags: frozenset[str]
    argument: str | None
    label: str | None
    location: Location


@dataclass(frozen=True, slots=True)
class Evaluated:
    """`%[expression]` inside a log format."""

    expression: SampleExpression
    flags: frozenset[str]
    label: str | None
    location: Location


LogItem = Literal | Alias | Evaluated


@dataclass(frozen=True, slots=True)
class LogFormat:
    """A whole log format string. `flags` are the options that were set for the complete line by a leading %{...}o."""

    items: tuple[LogItem, ...]
    location: Location
    text: str
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern of an ACL as written."""

    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class Criterion:
    """What an ACL tests: an expression, how it is matched, and against what (7.1).

    Attributes:
        expression: the sample; for legacy keywords (`path_beg`, `hdr_sub(host)`) the keyword stands as the fetch's name.
        ignore_case: -i.
        match_method: the word behind -m, or None for the default of the keyword or type.
        pattern_files: files behind -f, with their locations.
        map_files: files behind -M.
        identifier: -u.
        no_resolve: -n.
        patterns: the words behind the flags.
    """

    expression: SampleExpression
    ignore_case: bool
    match_method: str | None
    pattern_files: tuple[Pattern, ...]
    map_files: tuple[Pattern, ...]
    identifier: int | None
    no_resolve: bool
    patterns: tuple[Pattern, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class AclDefinition:
    """`acl <name> <criterion> ...`. Several definitions of one name are alternatives."""

    name: str
    criterion: Criterion
    location: Location


@dataclass(frozen=True, slots=True)
class AclReference:
    """A name inside a condition."""

    name: str
    location: Location


@dataclass(frozen=True, slots=True)
class Term:
    """One test of a condition: a named or an anonymous ACL, perhaps negated."""

    negated: bool
    test: AclReference | Criterion


@dataclass(frozen=True, slots=True)
class Condition:
    """`if A B || C` : alternatives of conjunctions; `unless` turns the result around (7.2)."""

    unless: bool
    alternatives: tuple[tuple[Term, ...], ...]
    location: Location
