"""Commands about servers: their states, weights and limits, read and changed (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Scope
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
from headgate.health.state import ServerStatus
from headgate.proxy.sides import Backend

_ADMIN, _USER, _OPERATOR = Level.ADMIN, Level.USER, Level.OPERATOR

#: The most that a weight may be.
_HEAVIEST = 256
#: 4.2 balance: algorithms whose weights can't change while running.
_STATIC = frozenset({"static-rr"})


# --- changing --------------------------------------------------------------------------------------------------------


def _set_admin(backend: Backend, server: ServerState, state: Admin, context: Context) -> str:
    before = server.admin
    if state is not before:
        streams = backend.state.set_admin(server, state, context.wall())
        context.checks.admin_changed(backend.state, server, before)
        context.resume(backend, streams)
    return ""


_STATES = {"ready": Admin.READY, "drain": Admin.DRAIN, "maint": Admin.MAINT}


def enable_server(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    return _set_admin(backend, server, server.admin & ~Admin.MAINT, context)


def disable_server(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    return _set_admin(backend, server, server.admin | Admin.MAINT, context)


def _set_state(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    state = _STATES.get(words[2]) if len(words) > 2 else None
    if state is None:
        raise CommandError("'set server <srv> state' expects 'ready', 'drain' and 'maint'.")
    return _set_admin(backend, server, state, context)


_HEALTH = {"up": ServerStatus.UP, "stopping": ServerStatus.NOLB, "down": ServerStatus.DOWN}


def _set_health(words: Sequence[str], context: Context) -> str:
    _, server = targets.server(words, context)
    status = _HEALTH.get(words[2]) if len(words) > 2 else None
    if status is None:
        raise CommandError("'set server <srv> health' expects 'up', 'stopping', or 'down'.")
    if not context.checks.force(server, status):
        raise CommandError("Health checks are not enabled on this server, enable them to change its health.")
    return ""


def _weight(text: str, initial: int) -> int:
    percent = text.endswith("%")
    digits = text.removesuffix("%")
    if not digits.isdecimal() or len(digits) > 9:
        raise CommandError("Weight must be a number, or a percentage of the initial weight.")
    if percent:
        return min(_HEAVIEST, -(-initial * int(digits) // 100))
    if int(digits) > _HEAVIEST:
        raise CommandError("Absolute weight can only be between 0 and 256 inclusive.")
    return int(digits)


def set_weight(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    if len(words) < 2:
        raise CommandError("Require <weight> or <weight%>.")
    weight = _weight(words[1], server.spec.weight)
    balance = backend.spec.balance.algorithm
    if balance in _STATIC and weight not in (0, server.spec.weight):
        raise CommandError("Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.")
    streams = backend.state.set_weight(server, weight, context.wall())
    context.checks.survey(backend.state)
    context.resume(backend, streams)
    return ""


def get_weight(words: Sequence[str], context: Context) -> str:
    _, server = targets.server(words, context)
    return f"{server.weight} (initial {server.spec.weight})"


def set_maxconn_server(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    if len(words) < 2 or not words[1].isdecimal() or len(words[1]) > 9:
        raise CommandError("'set maxconn server' expects a number of connections, zero for no limit.")
    context.resume(backend, backend.state.set_maxconn(server, int(words[1]), context.wall()))
    return ""


def _set_weight_word(words: Sequence[str], context: Context) -> str:
    return set_weight([words[0], *words[2:]], context)


_SET_SERVER: dict[str, Callable[[Sequence[str], Context], str]] = {
    "state": _set_state,
    "weight": _set_weight_word,
    "health": _set_health,
}
_SET_SERVER_LATER = frozenset(
    {"addr", "agent", "agent-addr", "agent-port", "agent-send", "check-addr", "check-port", "fqdn", "name", "ssl"}
)


def set_server(words: Sequence[str], context: Context) -> str:
    targets.server(words, context)
    attribute = words[1] if len(words) > 1 else ""
    handler = _SET_SERVER.get(attribute)
    if handler is not None:
        return handler(words, context)
    if attribute in _SET_SERVER_LATER:
        raise CommandError(f"'set server <srv> {attribute}' is not supported yet.")
    raise CommandError("usage: set server <backend>/<server> state|weight|health <value>")


def _health(enabled: bool) -> Callable[[Sequence[str], Context], str]:
    def switch(words: Sequence[str], context: Context) -> str:
        _, server = targets.server(words, context)
        if not context.checks.enable_health(server, enabled):
            raise CommandError("Health checks are not configured on this server.")
        return ""

    return switch


def shutdown_sessions(words: Sequence[str], context: Context) -> str:
    backend, server = targets.server(words, context)
    context.shutdown_sessions(backend, server)
    return ""


# --- showing ---------------------------------------------------------------------------------------------------------


def _selected(words: Sequence[str], context: Context) -> Iterator[tuple[Backend, ServerState]]:
    backends = [targets.backend(words[0], context)] if words else sorted(context.backends.values(), key=lambda one: one.spec.id)
    for backend in backends:
        for server in backend.state.servers:
            yield backend, server


_STATE_HEADER = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change "
    "srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn "
    "srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
#: Bits of srv_admin_state.
_FORCED_MAINTENANCE, _CONFIGURED_MAINTENANCE, _FORCED_DRAIN = 0x01, 0x04, 0x08
#: Bits of srv_check_state.
_IN_PROGRESS, _CONFIGURED, _ENABLED, _PAUSED = 0x01, 0x02, 0x04, 0x08


def _operational(server: ServerState) -> int:
    """srv_op_state: 0 stopped, 1 starting, 2 running, 3 stopping."""
    if not server.usable():
        return 0
    if server.stopping:
        return 3
    return 1 if server.up_since and server.slowstart else 2


def _administrative(server: ServerState) -> int:
    mask = 0
    if server.admin & Admin.MAINT:
        mask |= _CONFIGURED_MAINTENANCE if server.spec.disabled else _FORCED_MAINTENANCE
    if server.admin & Admin.DRAIN:
        mask |= _FORCED_DRAIN
    return mask


def _check_columns(server: ServerState, context: Context) -> tuple[int, int, int, int, int]:
    """Time since the last change, check status, result, health and state."""
    now = context.clock()
    checked = context.checks.checked.get(server)
    if checked is None:
        return int(now - context.started_at), 1, 0, 0, 0
    health = checked.health
    state = _CONFIGURED | (_ENABLED if checked.enabled else 0) | (_IN_PROGRESS if checked.in_progress else 0)
    if server.admin & Admin.MAINT:
        state |= _PAUSED
    status = health.result.status
    return int(now - health.changed_at), status.number, status.outcome.value, health.level, state


def _host(address: Address) -> str:
    return address.host or "-"


def _state_line(backend: Backend, server: ServerState, context: Context) -> str:
    spec = server.spec
    changed, status, result, health, state = _check_columns(server, context)
    named = spec.address.family is Family.NAME
    check = spec.check
    values = (
        backend.spec.id, backend.name, server.id, server.name, "-" if named else _host(spec.address), _operational(server),
        _administrative(server), server.weight, spec.weight, changed, status, result, health, state, 0, 0, 0,
        spec.address.host if named else "-", spec.address.port, "-", int(spec.tls is not None),
        (check.port if check is not None else 0) or 0,
        check.address.host if check is not None and check.address is not None else "-", "-", 0,
    )  # fmt: skip
    return " ".join([str(value) for value in values])


def show_servers_state(words: Sequence[str], context: Context) -> str:
    return "\n".join(["1", _STATE_HEADER, *[_state_line(*each, context) for each in _selected(words, context)]])


def show_servers_conn(words: Sequence[str], context: Context) -> str:
    lines = ["# bkname/svname bkid/svid addr port - purge_delay served used_cur used_max idle_lim idle_cur"]
    for backend, server in _selected(words, context):
        spec = server.spec
        values = (
            f"{backend.name}/{server.name}", f"{backend.spec.id}/{server.id}", _host(spec.address), spec.address.port, "-",
            int(spec.pool_purge_delay * 1000), server.sessions, server.sessions, server.counters.maximum_sessions,
            spec.pool_max_conn, server.idle,
        )  # fmt: skip
        lines.append(" ".join([str(value) for value in values]))
    return "\n".join(lines)


def show_backend(_: Sequence[str], context: Context) -> str:
    return "\n".join(["# name", *[side.name for side in sorted(context.backends.values(), key=lambda one: one.spec.id)]])


COMMANDS = (
    Command("enable server", "<backend>/<server> : enable a disabled server", _ADMIN, enable_server, Scope.EVERYWHERE),
    Command("disable server", "<backend>/<server> : put a server into maintenance", _ADMIN, disable_server, Scope.EVERYWHERE),
    Command("enable health", "<backend>/<server> : enable health checks", _ADMIN, _health(True), Scope.EVERYWHERE),
    Command("disable health", "<backend>/<server> : disable health checks", _ADMIN, _health(False), Scope.EVERYWHERE),
    Command(
        "set server",
        "<backend>/<server> state|weight|health <value> : change a server",
        _ADMIN,
        set_server,
        Scope.EVERYWHERE,
    ),
    Command("set weight", "<backend>/<server> <weight>[%] : change a server's weight", _ADMIN, set_weight, Scope.EVERYWHERE),
    Command("get weight", "<backend>/<server> : report a server's current weight", _USER, get_weight),
    Command(
        "set maxconn server",
        "<backend>/<server> <value> : change a server's maxconn",
        _ADMIN,
        set_maxconn_server,
        Scope.EVERYWHERE,
    ),
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
