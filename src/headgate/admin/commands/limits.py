"""Commands about frontends, limits of the process, and counters (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Handler, Level, Scope
from headgate.balance.server import ServerState
from headgate.observe.counters import ProxyCounters


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


def _clear_maxima(words: Sequence[str], context: Context) -> str:
    if words:
        raise CommandError("'clear counters' expects 'all', 'server <backend>/<server>' or nothing.")
    return clear_counters(context, everything=False)


def _clear_all(words: Sequence[str], context: Context) -> str:
    if words:
        raise CommandError("'clear counters all' expects no more words.")
    return clear_counters(context, everything=True)


def clear_counters(context: Context, *, everything: bool) -> str:
    """Counters back to zero, or only the maxima to what there is now."""
    for frontend in context.frontends.values():
        _clear_proxy(frontend.counters, frontend.sessions, everything=everything)
        for listening in frontend.sockets.values():
            if everything:
                listening.counters.clear()
            listening.counters.maximum_sessions = listening.counters.sessions
    for backend in context.backends.values():
        state = backend.state
        _clear_proxy(backend.counters, state.sessions, everything=everything)
        backend.counters.maximum_queue = state.queued - sum(server.queued for server in state.servers)
        for server in state.servers:
            _clear_server(server, everything=everything)
    if everything:
        context.inspection.handshakes.clear()
    context.counters.clear_maxima()
    context.counters.maximum_sessions = context.sessions
    return ""


def clear_counters_server(words: Sequence[str], context: Context) -> str:
    """`clear counters server <backend>/<server> [force]`; nothing is shared beyond this program, so `force` changes nothing."""
    _, server = targets.server(words, context)
    if list(words[1:]) not in ([], ["force"]):
        raise CommandError("'clear counters server' expects <backend>/<server> and perhaps 'force'.")
    _clear_server(server, everything=True)
    return ""


def _clear_proxy(counters: ProxyCounters, sessions: int, *, everything: bool) -> None:
    if everything:
        counters.clear()
    else:
        counters.clear_maxima()
    counters.maximum_sessions = sessions


def _clear_server(server: ServerState, *, everything: bool) -> None:
    counters = server.counters
    if everything:
        counters.clear()
    else:
        counters.clear_maxima()
    counters.maximum_sessions = server.sessions
    counters.maximum_queue = server.queued


def _change(name: str, usage: str, handler: Handler, key: Callable[[Sequence[str]], tuple[str, ...] | None]) -> Command:
    return Command(name, usage, Level.ADMIN, handler, Scope.EVERYWHERE, key=key)


def _clear(name: str, usage: str, level: Level, handler: Handler) -> Command:
    """Done once: whoever comes later has nothing to clear."""
    return Command(name, usage, level, handler, Scope.EVERYWHERE, kept=False)


def _opening(words: Sequence[str]) -> tuple[str, ...]:
    """A frontend is open, closed or gone: what was said last holds."""
    return ("frontend", *words[:1], "opening")


def _frontend_limit(words: Sequence[str]) -> tuple[str, ...]:
    return ("frontend", *words[:1], "maxconn")


def _global_limit(_: Sequence[str]) -> tuple[str, ...]:
    return ("maxconn",)


COMMANDS = (
    _change("disable frontend", "<frontend> : temporarily disable a frontend", disable_frontend, _opening),
    _change("enable frontend", "<frontend> : re-enable a frontend", enable_frontend, _opening),
    _change("shutdown frontend", "<frontend> : stop a frontend for good", shutdown_frontend, _opening),
    _change("set maxconn frontend", "<frontend> <value> : change a frontend's maxconn", set_maxconn_frontend, _frontend_limit),
    _change("set maxconn global", "<value> : change the process-wide maxconn", set_maxconn_global, _global_limit),
    _clear("clear counters", ": clear max statistics counters", Level.OPERATOR, _clear_maxima),
    _clear("clear counters all", ": clear all statistics counters", Level.ADMIN, _clear_all),
    _clear(
        "clear counters server",
        "<backend>/<server> [force] : clear the statistics counters of a server",
        Level.ADMIN,
        clear_counters_server,
    ),
)
