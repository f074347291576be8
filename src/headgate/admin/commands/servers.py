"""Commands that show servers and their states (management manual 9.3); those that change them are in `server_settings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, Level, Scope
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
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
    return "-" if address.family is Family.NAME else address.host or "-"


def _state_line(backend: Backend, server: ServerState, context: Context) -> str:
    spec = server.spec
    changed, status, result, health, state = _check_columns(server, context)
    address = server.address
    check = server.check
    values = (
        backend.spec.id, backend.name, server.id, server.name, _host(address), _operational(server),
        _administrative(server), server.weight, spec.weight, changed, status, result, health, state, 0, 0, 0,
        spec.address.host if spec.address.family is Family.NAME else "-", address.port, "-", int(server.tls),
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
            f"{backend.name}/{server.name}", f"{backend.spec.id}/{server.id}", _host(server.address),
            server.address.port, "-", int(spec.pool_purge_delay * 1000), server.sessions, server.sessions, server.counters.maximum_sessions,
            spec.pool_max_conn, server.idle,
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
