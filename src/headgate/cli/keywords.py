"""`headgate keywords` and `-dK`: every keyword that HAProxy knows, and what we make of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headgate.cli.options import CommandLineError

if TYPE_CHECKING:
    from headgate.config.table import TableRow

#: Classes of `-dK`, as HAProxy names them, and the scopes of our table that they stand for; None: all that are left.
CLASSES: dict[str, tuple[str, ...] | None] = {
    "acl": ("acl",),
    "cfg": None,
    "cli": ("cli",),
    "cnv": ("converter",),
    "flt": ("filter",),
    "smp": ("fetch",),
}


def keywords_table() -> list[TableRow]:
    """The table, with what the layers above the configuration have registered."""
    from headgate.admin.commands import all_commands
    from headgate.admin.registry import Level
    from headgate.config.registry import Status
    from headgate.config.table import rows
    from headgate.plan.conditions import ACL_KEYWORDS
    from headgate.plan.registry import CONVERTERS, FETCHES

    commands = [command.name for command in all_commands().matching((), Level.ADMIN)]
    table = rows({*FETCHES, *ACL_KEYWORDS}, CONVERTERS, (), commands)
    # ACL keywords such as `path_beg` are no fetches of their own.
    return [row for row in table if row.scope != "fetch" or row.status is not Status.IMPLEMENTED or row.name in FETCHES]


def keywords_command(words: Sequence[str]) -> int:
    """`headgate keywords [--markdown]`.

    Raises:
        CommandLineError: other words.
    """
    show = _SHOW.get(tuple(words))
    if show is None:
        raise CommandLineError(f"'keywords' takes '--markdown' or nothing, not '{' '.join(words)}'")
    sys.stdout.write(show(keywords_table()))
    return 0


def _as_text(table: Sequence[TableRow]) -> str:
    """One line a row: place, keyword, status and note, in columns."""
    cells = [(row.scope, row.name, row.status.value, row.note) for row in table]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(3)]
    lines = ("  ".join([cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)]).rstrip() for row in cells)
    return "".join(f"{line}\n" for line in lines)


def _as_markdown(table: Sequence[TableRow]) -> str:
    from headgate.config.table import to_markdown

    return to_markdown(table)


_SHOW: dict[tuple[str, ...], Callable[[Sequence[TableRow]], str]] = {(): _as_text, ("--markdown",): _as_markdown}


def classes_text() -> str:
    """What `-dKhelp` says."""
    return "# List of supported keyword classes:\nall: list all keywords\n" + "".join(f"{name}\n" for name in CLASSES)


def dump_text(classes: str) -> str:
    """The keywords of the classes behind `-dK`.

    Args:
        classes: names separated by commas, or "all".

    Raises:
        CommandLineError: an unknown class.
    """
    chosen = list(CLASSES) if classes == "all" else classes.split(",")
    table = keywords_table()
    named = {scope for scopes in CLASSES.values() if scopes is not None for scope in scopes}
    parts = []
    for name in chosen:
        if name not in CLASSES:
            raise CommandLineError(f"unknown keyword class '{name}' behind '-dK': one of all, {', '.join(CLASSES)}")
        scopes = CLASSES[name]
        picked = [row for row in table if (row.scope in scopes if scopes is not None else row.scope not in named)]
        parts.append(f"# List of registered {name} keywords:\n{_as_text(picked)}")
    return "".join(parts)
