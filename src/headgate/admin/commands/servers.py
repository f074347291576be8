"""Commands that show servers and their states (management manual 9.3); those that change them are in `server_settings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, Level, Scope
from headgate.admin.rows import last_change
from headgate.admin.server_states import HEADER, plain, state_line
from headgate.admin.server_states import VERSION as STATE_VERSION
from headgate.balance.server import ServerState
from headgate.proxy.sides import Backend

_ADMIN, _USER, _OPERATOR = Level.ADMIN, Level.USER, Level.OPERATOR


def get_weight(words: Sequence[str], context: Context) -> str:
    _, server = targets.server(words, context)
    return f"{server.weight} (initial {server.spec.weight})"


def shutdown_sessions(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    context.shutdown_sessions(backend, server)
    return ""


# --- showing ---------------------------------------------------------------------------------------------------------


def _selected(words: Sequence[str], context: Context) -> Iterator[tuple[Backend, ServerState]]:
    backends = sorted(context.backends.values(), key=lambda one: one.spec.id)
    if words:
        backends = [targets.backend(words[0], context, missing="Can't find backend.")]
    for backend in backends:
        for server in backend.state.servers:
            yield backend, server


def show_servers_state(words: Sequence[str], context: Context) -> str:
    checked, agents = context.checks.checked, context.checks.agents
    lines = [
        state_line(backend.spec, server, checked.get(server), last_change(server, context), agents.get(server))
        for backend, server in _selected(words, context)
    ]
    return "\n".join([STATE_VERSION, HEADER, *lines])


#: The connections of a server belong to no thread: their number stands once, as if there were one.
_CONNECTIONS = (
    "# bkname/svname bkid/svid addr port - purge_delay served used_cur used_max need_est idle_sess unsafe_nb safe_nb idle_lim "
    "idle_cur idle_per_thr[1]"
)


def show_servers_conn(words: Sequence[str], context: Context) -> str:
    lines = [_CONNECTIONS]
    for backend, server in _selected(words, context):
        spec, counters = server.spec, server.counters
        idle = counters.idle_safe + counters.idle_unsafe
        values = (
            f"{backend.name}/{server.name}", f"{backend.spec.id}/{server.id}", plain(server.address), server.address.port, "-",
            int(spec.pool_purge_delay * 1000), server.sessions, server.sessions, counters.maximum_sessions, server.sessions, 0,
            counters.idle_unsafe, counters.idle_safe, spec.pool_max_conn, idle, idle,
        )  # fmt: skip
        lines.append(" ".join([str(value) for value in values]))
    return "\n".join(lines)


def show_backend(_: Sequence[str], context: Context) -> str:
    return "\n".join(["# name", *[side.name for side in sorted(context.backends.values(), key=lambda one: one.spec.id)]])


COMMANDS = (
    Command("get weight", "<backend>/<server> : report a server's current weight", _USER, get_weight),
    Command(
        "shutdown sessions server",
        "<backend>/<server> : kill sessions on a server",
        _ADMIN,
        shutdown_sessions,
        Scope.EVERYWHERE,
        kept=False,
    ),
    Command("show servers state", "[<backend>] : dump volatile server information", _USER, show_servers_state),
    Command("show servers conn", "[<backend>] : dump server connections status", _USER, show_servers_conn),
    Command("show backend", ": list backends in the current running config", _USER, show_backend),
)
