"""`show events`, `show startup-logs`, `show cli sockets` (management manual 9.3).

Rings are the controller's: what workers write into a ring arrives there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from headgate.admin.context import Context
from headgate.admin.inspection import Ring
from headgate.admin.registry import Command, CommandError, Level
from headgate.base.addresses import Address, Family

_SINKS = "Supported events sinks are listed below. Add -w(wait), -n(new). Any key to stop"
#: How often a ring that is watched is looked at when nobody said that there is something new, seconds.
_LOOK = 0.2
_OPTIONS = frozenset("wn0")


def show_events(words: Sequence[str], context: Context) -> str | AsyncIterator[str]:
    if not words:
        sinks = context.inspection.sinks
        listed = [f"    {sink.name:<11}: type={sink.kind}, {sink.dropped} dropped, {sink.description}" for sink in sinks]
        return "\n".join([_SINKS, *listed])
    if words[0] not in [sink.name for sink in context.inspection.sinks]:
        raise CommandError("No such event sink")
    ring = context.inspection.rings.get(words[0])
    if ring is None:
        raise CommandError("Nothing to report for this sink")
    options = _options(words[1:])
    end = "\0" if "0" in options else "\n"
    start = ring.written if "n" in options else 0
    if "w" in options:
        return _watched(ring, start, end, context)
    lines, _, _ = ring.since(start)
    return "".join([_text(line, end) for line in lines])


def _options(words: Sequence[str]) -> set[str]:
    options: set[str] = set()
    for word in words:
        letters = set(word[1:])
        if word[:1] != "-" or not letters or letters - _OPTIONS:
            raise CommandError("unknown option: one of -w (wait), -n (new), -0 (delimited by NUL).")
        options |= letters
    return options


def _text(line: bytes, end: str) -> str:
    return line.rstrip(b"\n").decode("utf-8", "surrogateescape") + end


async def _watched(ring: Ring, start: int, end: str, context: Context) -> AsyncIterator[str]:
    """What is there, and what comes, until the client has enough."""
    sequence = start
    while True:
        lines, sequence, lost = ring.since(sequence)
        if lost and start != sequence:
            yield f"{lost} events lost{end}"
        if lines:
            yield "".join([_text(line, end) for line in lines])
        await context.inspection.pause(_LOOK)


def show_startup_logs(_: Sequence[str], context: Context) -> str:
    return context.inspection.startup_logs.rstrip("\n")


def show_cli_sockets(_: Sequence[str], context: Context) -> str:
    lines = ["# socket lvl processes"]
    for line in context.stats_sockets:
        lines += [f"{address} {line.level} all" for address in _addresses(line.address)]
    return "\n".join(lines)


def _addresses(address: Address) -> list[str]:
    """As HAProxy writes them; each port of a range on its own."""
    if address.family is Family.UNIX:
        return [f"unix@{address.host}"]
    if address.family in (Family.INET, Family.INET6):
        host = f"[{address.host}]" if ":" in address.host else address.host or "0.0.0.0"
        return [f"{host}:{port}" for port in address.ports]
    return [str(address)]


COMMANDS: tuple[Command, ...] = (
    Command(
        "show events", "[<sink>] [-w] [-n] [-0] : show event sink state", Level.OPERATOR, show_events, watches=True
    ),
    Command("show startup-logs", ": report logs emitted during HAProxy startup", Level.OPERATOR, show_startup_logs),
    Command("show cli sockets", ": dump list of cli sockets", Level.OPERATOR, show_cli_sockets),
)
