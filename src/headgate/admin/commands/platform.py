"""`show dev`, `show libs`, and what can't be shown because headgate has no such thing (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, Level


def show_dev(_: Sequence[str], context: Context) -> str:
    lines = []
    for title, facts in context.inspection.platform().items():
        lines += [title, *[f"  {name}: {value}" for name, value in facts.items() if value]]
    return "\n".join(lines)


def show_libs(_: Sequence[str], context: Context) -> str:
    return "\n".join([
        f"0x{first:012x}-0x{last:012x} (0x{last - first + 1:07x}) {path}" for first, last, path in context.inspection.libraries()
    ])


def _absent(text: str) -> Callable[[Sequence[str], Context], str]:
    return lambda words, context: text


COMMANDS: tuple[Command, ...] = (
    Command("show dev", ": show debug info for developers", Level.OPERATOR, show_dev),
    Command("show libs", ": show loaded object files and libraries", Level.OPERATOR, show_libs),
    Command(
        "show cache",
        ": show cache status",
        Level.USER,
        _absent("No cache is configured: headgate has no 'cache' sections yet."),
    ),
    Command(
        "show peers",
        "[dict|-] [section] : dump some information about all the peers or this peers section",
        Level.OPERATOR,
        _absent("No peers are configured: headgate has no 'peers' sections yet."),
    ),
    Command(
        "show quic",
        "[<format>] [<filter>] : display quic connections status",
        Level.OPERATOR,
        _absent("There are no QUIC connections: headgate does not serve QUIC yet."),
    ),
)
