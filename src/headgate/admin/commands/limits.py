"""Commands about frontends, limits of the process, and counters (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level
from headgate.observe.counters import ProxyCounters, ServerCounters


def disable_frontend(words: Sequence[str], context: Context) -> str:
    frontend = targets.frontend(words, context)
    if frontend.stopped:
        raise CommandError("All sockets are already disabled.")
    context.disable_frontend(frontend)
    return ""


def enable_frontend(words: Sequence[str], context: Context) -> str:
    frontend = targets.frontend(words, context)
    if not frontend.stopped:
        raise CommandError("All sockets are already enabled.")
    reason = context.enable_frontend(frontend)
    if reason is not None:
        raise CommandError(f"Failed to resume frontend, check logs for precise cause: {reason}")
    return ""


def shutdown_frontend(words: Sequence[str], context: Context) -> str:
    context.shut_frontend(targets.frontend(words, context))
    return ""


def _limit(words: Sequence[str], at: int) -> int:
    if len(words) <= at or not words[at].isdecimal() or len(words[at]) > 9:
        raise CommandError("Integer value expected.")
    return int(words[at])


def set_maxconn_frontend(words: Sequence[str], context: Context) -> str:
    context.set_frontend_maxconn(targets.frontend(words, context), _limit(words, 1))
    return ""


def set_maxconn_global(words: Sequence[str], context: Context) -> str:
    limit = _limit(words, 0)
    if limit > context.initial_maxconn:
        raise CommandError("Value out of range.")
    context.set_global_maxconn(limit or context.initial_maxconn)
    return ""


def clear_counters(words: Sequence[str], context: Context) -> str:
    if list(words) == ["all"]:
        raise CommandError("'clear counters all' is not supported yet: 'clear counters' clears the maxima.")
    if words:
        raise CommandError(f"'clear counters {words[0]}' is not supported yet: 'clear counters' clears the maxima.")
    for frontend in context.frontends.values():
        _clear_maxima(frontend.counters, frontend.sessions)
    for backend in context.backends.values():
        _clear_maxima(backend.counters, backend.state.sessions)
        backend.counters.maximum_queue = backend.state.queued
        for server in backend.state.servers:
            _clear_maxima(server.counters, server.sessions)
    context.counters.maximum_sessions = context.sessions
    return ""


def _clear_maxima(counters: ProxyCounters | ServerCounters, sessions: int) -> None:
    counters.maximum_sessions = sessions
    counters.session_rate.maximum = 0


COMMANDS = (
    Command("disable frontend", "<frontend> : temporarily disable a frontend", Level.ADMIN, disable_frontend),
    Command("enable frontend", "<frontend> : re-enable a frontend", Level.ADMIN, enable_frontend),
    Command("shutdown frontend", "<frontend> : stop a frontend for good", Level.ADMIN, shutdown_frontend),
    Command("set maxconn frontend", "<frontend> <value> : change a frontend's maxconn", Level.ADMIN, set_maxconn_frontend),
    Command("set maxconn global", "<value> : change the process-wide maxconn", Level.ADMIN, set_maxconn_global),
    Command("clear counters", ": clear max statistics counters", Level.OPERATOR, clear_counters),
)
