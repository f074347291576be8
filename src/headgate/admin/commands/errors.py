"""`show errors` (management manual 9.3): the last invalid request and response of each proxy, in all workers.

The bytes are shown as they came: that is the point of this command, and why it takes level operator.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headgate.admin.context import Context
from headgate.admin.gathering import gathered
from headgate.admin.registry import Command, CommandError, Level
from headgate.admin.writing import date
from headgate.proxy.invalid import InvalidMessage

#: Printed characters of a line of the message.
_WIDTH = 70
_SHORT = {9: "\\t", 10: "\\n", 13: "\\r", 27: "\\e", 92: "\\\\"}


def _wanted(words: Sequence[str], context: Context) -> tuple[int, str | None]:
    """Proxy id (-1 for all) and direction."""
    rest = list(words)
    direction = rest.pop() if rest and rest[-1] in ("request", "response") else None
    if not rest:
        return -1, direction
    if len(rest) > 1:
        raise CommandError("Expects [<iid>|<proxy>] [request|response].")
    if rest[0].lstrip("-").isdecimal():
        return int(rest[0]), direction
    side = context.frontends.get(rest[0]) or context.backends.get(rest[0])
    if side is None:
        raise CommandError("No such proxy.")
    return side.spec.id, direction


def _collect(words: Sequence[str], context: Context) -> dict[str, Any]:
    proxy, direction = _wanted(words, context)
    invalid = context.inspection.invalid
    return {
        "now": context.wall(),
        "events": invalid.events,
        "kept": [
            _facts(message)
            for message in invalid.all()
            if proxy in (-1, message.proxy[1], message.other[1])
            and direction in (None, "response" if message.response else "request")
        ],
    }


def _facts(message: InvalidMessage) -> dict[str, Any]:
    return {
        "number": message.number, "at": message.at, "response": message.response, "reason": message.reason,
        "proxy": list(message.proxy), "other": list(message.other), "server": list(message.server), "source": message.source,
        "data": base64.b64encode(message.data).decode(), "position": message.position, "session": message.session,
    }  # fmt: skip


def _render(_: Sequence[str], facts: Mapping[int, dict[str, Any]]) -> str:
    latest: dict[tuple[int, bool], dict[str, Any]] = {}
    for worker in facts.values():
        for message in worker["kept"]:
            key = (message["proxy"][1], message["response"])
            if key not in latest or latest[key]["at"] < message["at"]:
                latest[key] = message
    now = max(worker["now"] for worker in facts.values())
    events = sum(worker["events"] for worker in facts.values())
    lines = [f"Total events captured on [{date(now)}] : {events}"]
    for proxy in sorted(latest):
        lines += [" ", *_block(latest[proxy])]
    return "\n".join(lines)


def _block(message: dict[str, Any]) -> Iterator[str]:
    kind = "backend" if message["response"] else "frontend"
    what = "response" if message["response"] else "request"
    other = "frontend" if message["response"] else "backend"
    data = base64.b64decode(message["data"])
    yield f"[{date(message['at'])}] {kind} {_named(message['proxy'])}: invalid {what}"
    yield (
        f"  {other} {_named(message['other'])}, server {_named(message['server'])}, event #{message['number']},"
        f" src {message['source']}"
    )
    yield f"  stream #{message['session']}, {message['reason']}"
    yield f"  len {len(data)}, error at position {message['position']} :"
    yield "  "
    for line in dump_lines(data):
        yield f"  {line}"


def _named(pair: Sequence[Any]) -> str:
    return f"{pair[0]} (#{pair[1]})"


def dump_lines(data: bytes) -> Iterator[str]:
    """A message with positions, one of its lines on each; what is not printable is written with a backslash."""
    start, mark, text = 0, " ", ""
    for position, byte in enumerate(data):
        shown = _SHORT.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02X}")
        if len(text) + len(shown) > _WIDTH:
            yield f"{start:05}{mark} {text}"
            start, mark, text = position, "+", ""
        text += shown
        if byte == 10:
            yield f"{start:05}{mark} {text}"
            start, mark, text = position + 1, " ", ""
    if text:
        yield f"{start:05}{mark} {text}"


COMMANDS: tuple[Command, ...] = (
    gathered(
        "show errors",
        "[<px>] [request|response] : report last request and/or response errors for each proxy",
        Level.OPERATOR,
        _collect,
        _render,
    ),
)
