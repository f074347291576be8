"""`wait` (management manual 9.3): for a delay, or until a backend or a server can be removed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from headgate.admin import targets
from headgate.admin.commands.dynamic_backends import obstacle
from headgate.admin.commands.server_settings import is_referenced
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level
from headgate.balance.server import Admin
from headgate.base.units import UnitError, parse_time

_USAGE = """Wait for a condition to be satisfied, or for a delay. Usage: wait {-h | <delay>} [<condition> [<args>...]]
  <delay>: milliseconds, or with a unit (us, ms, s, m, h, d).
  Without a condition the whole delay is waited. Conditions:
   - be-removable <proxy>          : the backend can be removed by 'del backend'
   - srv-removable <proxy>/<server>: the server can be removed by 'del server'"""

#: How often the condition is looked at, seconds, and how long may be waited.
_LOOK = 0.1
_LONGEST = 86400.0

#: Whether it holds now; raises CommandError when it never will.
_Condition = Callable[[Sequence[str], Context], bool]


def wait(words: Sequence[str], context: Context) -> str | AsyncIterator[str]:
    if "-h" in words[:2]:
        return _USAGE
    if not words:
        raise CommandError(f"A delay is expected.\n{_USAGE}")
    try:
        delay = parse_time(words[0])
    except UnitError as error:
        raise CommandError(str(error)) from None
    if delay > _LONGEST:
        raise CommandError("At most one day can be waited.")
    condition: _Condition | None = None
    if len(words) > 1:
        condition = _CONDITIONS.get(words[1])
        if condition is None:
            raise CommandError(f"Unknown condition '{words[1]}'.\n{_USAGE}")
    return _wait(delay, condition, words[2:], context)


async def _wait(delay: float, condition: _Condition | None, words: Sequence[str], context: Context) -> AsyncIterator[str]:
    inspection = context.inspection
    if condition is None:
        await inspection.pause(delay)
        yield "Done."
        return
    left = delay
    while True:
        await inspection.refresh()
        if condition(words, context):
            yield "Done."
            return
        if left <= 0.0:
            raise CommandError("Wait delay expired.")
        pause = min(left, _LOOK)
        await inspection.pause(pause)
        left -= pause


def server_removable(words: Sequence[str], context: Context) -> bool:
    """In maintenance, named by nothing in the configuration, and without connections."""
    backend, server = targets.server(words, context)
    if is_referenced(backend, server, context):
        raise CommandError("This server cannot be removed at runtime due to other configuration elements pointing to it.")
    if not server.admin & Admin.MAINT:
        raise CommandError("Server is not in maintenance mode.")
    return not server.sessions and not server.idle and not server.queued


def backend_removable(words: Sequence[str], context: Context) -> bool:
    backend = targets.named_backend(words, context)
    reason = obstacle(backend, context)
    if reason is not None:
        raise CommandError(reason)
    return not backend.state.sessions and not backend.state.queued


_CONDITIONS: Mapping[str, _Condition] = {"srv-removable": server_removable, "be-removable": backend_removable}

COMMANDS: tuple[Command, ...] = (
    Command(
        "wait", "{-h|<delay_ms>} [cond [args...]] : wait the specified delay or condition (-h to see list)", Level.USER, wait
    ),
)
