"""`show stat` (management manual 9.1 to 9.3): a row for each frontend, server and backend.

Only what is counted stands in a row; other cells stay empty rather than zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headgate.admin.columns import HEADER, Row, Value, compact_json, csv_line, json_fields, typed_lines
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level
from headgate.balance.server import ServerState
from headgate.base.addresses import Address, Family
from headgate.config.model import Mode
from headgate.health.farm import count
from headgate.health.results import CheckStatus
from headgate.observe.counters import ProxyCounters, ServerCounters
from headgate.proxy.sides import Backend, Frontend

_FRONTEND, _BACKEND, _SERVER = 1, 2, 4

#: Index in `responses` -> column.
_RESPONSES = ("hrsp_other", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx")


def _responses(counters: ProxyCounters | ServerCounters, mode: Mode) -> dict[str, Value]:
    return dict(zip(_RESPONSES, counters.responses, strict=True)) if mode is Mode.HTTP else {}


def frontend_row(frontend: Frontend, context: Context) -> Row:
    """The FRONTEND line."""
    counters, spec = frontend.counters, frontend.spec
    row: dict[str, Value] = {
        "pxname": frontend.name, "svname": "FRONTEND", "scur": frontend.sessions, "smax": counters.maximum_sessions,
        "slim": frontend.maxconn, "stot": counters.sessions_total, "bin": counters.bytes_in, "bout": counters.bytes_out,
        "dreq": counters.denied_requests, "dresp": counters.denied_responses, "ereq": counters.request_errors,
        "status": "STOP" if frontend.stopped else "OPEN", "pid": 1, "iid": spec.id, "sid": 0, "type": 0,
        "rate": counters.session_rate.rate(context.clock()), "rate_lim": spec.rate_limit_sessions,
        "rate_max": counters.session_rate.maximum, "mode": spec.mode.value, "conn_tot": counters.connections,
        "dcon": counters.denied_connections, "wrew": counters.failed_header_rewrites, "eint": counters.internal_errors,
    }  # fmt: skip
    if spec.mode is Mode.HTTP:
        row["req_tot"] = counters.requests
    return row | _responses(counters, spec.mode)


def backend_row(backend: Backend, context: Context) -> Row:
    """The BACKEND line."""
    counters, spec, state = backend.counters, backend.spec, backend.state
    now = context.clock()
    farm = count(state.servers)
    availability = context.checks.availability.get(backend.name)
    row: dict[str, Value] = {
        "pxname": backend.name, "svname": "BACKEND", "qcur": state.queued - sum(server.queued for server in state.servers),
        "qmax": counters.maximum_queue, "scur": state.sessions, "smax": counters.maximum_sessions, "slim": state.fullconn,
        "stot": counters.sessions_total, "bin": counters.bytes_in, "bout": counters.bytes_out, "dreq": counters.denied_requests,
        "dresp": counters.denied_responses, "econ": counters.connection_errors, "eresp": counters.response_errors,
        "wretr": counters.retries, "wredis": counters.redispatches, "status": "UP" if farm.active + farm.backup else "DOWN",
        "weight": sum(server.effective for server in state.selected), "act": farm.active, "bck": farm.backup, "pid": 1,
        "iid": spec.id, "sid": 0, "type": 1, "rate": counters.session_rate.rate(now),
        "rate_max": counters.session_rate.maximum, "cli_abrt": counters.aborted_by_client,
        "srv_abrt": counters.aborted_by_server, "cookie": spec.cookie.name if spec.cookie is not None else None,
        "mode": spec.mode.value, "algo": spec.balance.algorithm, "wrew": counters.failed_header_rewrites,
        "reuse": counters.reused_connections, "eint": counters.internal_errors,
        "uweight": sum(server.weight for server in state.selected),
    }  # fmt: skip
    if availability is not None:
        row |= {
            "chkdown": availability.falls, "lastchg": int(now - availability.changed_at),
            "downtime": int(availability.downtime(now)),
        }  # fmt: skip
    if spec.mode is Mode.HTTP:
        row["req_tot"] = counters.requests
    return row | _responses(counters, spec.mode)


def server_row(backend: Backend, server: ServerState, context: Context) -> Row:
    """The line of a server."""
    counters, spec = server.counters, server.spec
    now = context.clock()
    row: dict[str, Value] = {
        "pxname": backend.name, "svname": server.name, "qcur": server.queued, "scur": server.sessions,
        "smax": counters.maximum_sessions, "slim": server.maxconn or None, "stot": counters.sessions_total,
        "bin": counters.bytes_in, "bout": counters.bytes_out, "econ": counters.connection_errors,
        "eresp": counters.response_errors, "wretr": counters.retries, "wredis": counters.redispatches,
        "status": server_status(server, context), "weight": server.effective, "act": int(not server.backup),
        "bck": int(server.backup), "qlimit": server.maxqueue or None, "pid": 1, "iid": backend.spec.id, "sid": server.id,
        "throttle": server.effective * 100 // server.weight if server.up_since and server.weight else None,
        "lbtot": counters.sessions_total, "type": 2, "rate": counters.session_rate.rate(now),
        "rate_max": counters.session_rate.maximum, "cli_abrt": counters.aborted_by_client,
        "srv_abrt": counters.aborted_by_server, "addr": address_text(spec.address), "cookie": spec.cookie,
        "mode": backend.spec.mode.value, "connect": counters.connections, "reuse": counters.reused_connections,
        "srv_icur": server.idle, "src_ilim": spec.pool_max_conn if spec.pool_max_conn >= 0 else None,
        "used_conn_cur": server.sessions, "uweight": server.weight,
    }  # fmt: skip
    return row | _responses(counters, backend.spec.mode) | _check_cells(server, context, now)


def _check_cells(server: ServerState, context: Context, now: float) -> dict[str, Value]:
    checked = context.checks.checked.get(server)
    if checked is None:
        return {}
    health = checked.health
    result = health.result
    cells: dict[str, Value] = {
        "chkfail": health.failures, "chkdown": health.falls, "lastchg": int(now - health.changed_at),
        "downtime": int(health.downtime(now)), "check_rise": health.rise, "check_fall": health.fall,
        "check_health": health.level, "check_desc": result.status.description, "last_chk": result.info,
        "check_status": ("* " if checked.in_progress else "") + result.status.word, "check_code": result.code,
    }  # fmt: skip
    if result.status is not CheckStatus.INI:
        cells["check_duration"] = result.milliseconds
    return cells


def server_status(server: ServerState, context: Context) -> str:
    """The `status` cell: a server on its way up or down shows how far it is, as in "UP 1/3"."""
    state = server.state
    checked = context.checks.checked.get(server)
    if checked is None or not checked.enabled:
        return "no check" if state == "UP" else state
    health = checked.health
    if state == "UP" and health.checked and health.level < health.full:
        return f"UP {health.level - health.rise + 1}/{health.fall}"
    if state == "DOWN" and health.level > 0:
        return f"DOWN {health.level}/{health.rise}"
    return state


def address_text(address: Address) -> str:
    """As column `addr` has it: `address:port`, or "unix"."""
    return "unix" if address.family in (Family.UNIX, Family.ABNS, Family.ABNSZ) else str(address)


# --- the command -----------------------------------------------------------------------------------------------------


class _Selection:
    """Which rows are wanted: `[{<iid>|<proxy>} <type> <sid>] [up|no-maint]`."""

    def __init__(self, words: Sequence[str], context: Context) -> None:
        self.format = "csv"
        self.up = self.no_maintenance = False
        self.proxy, self.types, self.server = -1, -1, -1
        rest = list(words)
        if rest[:1] == ["domain"]:
            if rest[1:2] != ["proxy"]:
                raise CommandError("Only the domain 'proxy' has statistics; 'resolvers' is not supported yet.")
            del rest[:2]
        if rest and rest[0] not in _FLAGS:
            if len(rest) < 3 or not all(_is_number(word) for word in rest[1:3]):
                raise CommandError("'show stat' expects {<iid>|<proxy>} <type> <sid>, or none of them.")
            self.proxy = int(rest[0]) if _is_number(rest[0]) else _proxy_id(rest[0], context)
            self.types, self.server = int(rest[1]), int(rest[2])
            del rest[:3]
        for word in rest:
            if word in ("typed", "json"):
                self.format = word
            elif word == "up":
                self.up = True
            elif word == "no-maint":
                self.no_maintenance = True
            else:
                raise CommandError(f"'show stat' knows no '{word}': one of typed, json, up, no-maint.")

    def wants(self, kind: int, proxy: int, server: int = -1) -> bool:
        return (
            bool(self.types & kind)
            and self.proxy in (-1, proxy)
            and (self.server == -1 or (kind == _SERVER and self.server == server))
        )


_FLAGS = frozenset({"typed", "json", "up", "no-maint"})


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdecimal()


def _proxy_id(name: str, context: Context) -> int:
    side = context.frontends.get(name) or context.backends.get(name)
    if side is None:
        raise CommandError("No such proxy.")
    return side.spec.id


def rows(selection: _Selection, context: Context) -> Iterator[Row]:
    """All wanted rows, proxy by proxy: FRONTEND, servers, BACKEND."""
    specs = {side.spec.id: side.name for side in context.frontends.values()}
    specs |= {side.spec.id: side.name for side in context.backends.values()}
    for number, name in sorted(specs.items()):
        frontend = context.frontends.get(name)
        if frontend is not None and frontend.spec.id == number and selection.wants(_FRONTEND, number):
            yield frontend_row(frontend, context)
        backend = context.backends.get(name)
        if backend is None or backend.spec.id != number:
            continue
        for server in backend.state.servers:
            if selection.wants(_SERVER, number, server.id) and not _hidden(server, selection):
                yield server_row(backend, server, context)
        if selection.wants(_BACKEND, number):
            yield backend_row(backend, context)


def _hidden(server: ServerState, selection: _Selection) -> bool:
    state = server.state
    return (selection.up and state in ("DOWN", "MAINT")) or (selection.no_maintenance and state == "MAINT")


def show_stat(words: Sequence[str], context: Context) -> str:
    selection = _Selection(words, context)
    chosen = rows(selection, context)
    if selection.format == "json":
        return compact_json([json_fields(row) for row in chosen])
    if selection.format == "typed":
        return "\n".join([line for row in chosen for line in typed_lines(row)])
    return "\n".join([HEADER, *[csv_line(row) for row in chosen]])


COMMANDS = (
    Command(
        "show stat",
        "[{<iid>|<proxy>} <type> <sid>] [typed|json] [up|no-maint] : report counters for each proxy and server",
        Level.USER,
        show_stat,
    ),
)
