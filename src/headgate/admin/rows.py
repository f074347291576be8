"""The rows of `show stat` (management manual 9.1): the columns of frontends, listening sockets, servers and backends.

Which cells are filled and which stay empty follows what HAProxy does for each kind of object and mode.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from headgate.admin.columns import Row, Value
from headgate.admin.context import Context
from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
from headgate.config.model import Mode
from headgate.health.farm import count
from headgate.health.results import CheckStatus
from headgate.health.tracking import inherited
from headgate.observe.counters import ListenerCounters, ProxyCounters, RateMeter, ServerCounters
from headgate.proxy.sides import Backend, Frontend
from headgate.proxy.sockets import ListeningSocket

#: Index in `responses` -> column.
_RESPONSES = ("hrsp_other", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx")
#: Nothing is compressed or cached here yet; tools add these up.
_COMPRESSION: Row = {"comp_in": 0, "comp_out": 0, "comp_byp": 0, "comp_rsp": 0}
_CACHE: Row = {"cache_lookups": 0, "cache_hits": 0}
_UNIX = (Family.UNIX, Family.ABNS, Family.ABNSZ)


def _responses(counters: ProxyCounters | ServerCounters) -> Row:
    return dict(zip(_RESPONSES, counters.responses, strict=True))


def _handshakes(*counters: ProxyCounters | ServerCounters | ListenerCounters) -> Row:
    return {
        "ssl_sess": sum(one.tls_full for one in counters),
        "ssl_reused_sess": sum(one.tls_reused for one in counters),
        "ssl_failed_handshake": sum(one.tls_failed for one in counters),
    }


def _since(meter: RateMeter, now: float) -> int:
    """Column `lastsess`."""
    return max(0, int(now) - meter.last) if meter.last else -1


def average(total: int, samples: int) -> int:
    """The average of a sum over the last samples, rounded up."""
    return -(-total // samples) if samples else 0


def frontend_row(frontend: Frontend, context: Context) -> Row:
    """The FRONTEND line."""
    counters, spec = frontend.counters, frontend.spec
    now = context.clock()
    http = spec.mode is Mode.HTTP
    row: dict[str, Value] = {
        "pxname": frontend.name, "svname": "FRONTEND", "scur": frontend.sessions, "smax": counters.maximum_sessions,
        "slim": frontend.maxconn, "stot": counters.sessions_total, "bin": counters.bytes_in, "bout": counters.bytes_out,
        "dreq": counters.denied_requests, "dresp": counters.denied_responses, "ereq": counters.request_errors,
        "status": frontend_status(frontend, context), "pid": 1, "iid": spec.id, "sid": 0, "type": 0,
        "rate": counters.session_rate.rate(now), "rate_lim": spec.rate_limit_sessions, "rate_max": counters.session_rate.maximum,
        "req_rate": counters.request_rate.rate(now), "req_rate_max": counters.request_rate.maximum, "req_tot": counters.requests,
        "mode": spec.mode.value, "conn_rate": counters.connection_rate.rate(now),
        "conn_rate_max": counters.connection_rate.maximum, "conn_tot": counters.connections,
        "dcon": counters.denied_connections, "dses": counters.denied_sessions, "wrew": counters.failed_header_rewrites,
        "eint": counters.internal_errors, "sess_other": 0 if http else counters.sessions_total,
        "h1sess": counters.sessions_total if http else 0, "h2sess": 0, "h3sess": 0,
        "req_other": 0 if http else counters.sessions_total, "h1req": counters.requests, "h2req": 0, "h3req": 0,
        "reqbin": counters.bytes_in, "resbout": counters.bytes_out, **_COMPRESSION,
        **_handshakes(counters),
    }  # fmt: skip
    if http:
        row |= {"intercepted": counters.intercepted, "cache_hint_hits": 0, **_CACHE, **_responses(counters)}
    return row


def frontend_status(frontend: Frontend, context: Context) -> str:
    """The `status` cell: OPEN, PAUSED (`disable frontend`) or STOP (`shutdown frontend`, or a soft stop)."""
    if frontend.shut or context.stopping:
        return "STOP"
    return "PAUSED" if frontend.stopped else "OPEN"


def socket_row(frontend: Frontend, listening: ListeningSocket) -> Row:
    """The line of a listening socket (`option socket-stats`)."""
    counters, bind = listening.counters, listening.bind
    limit = bind.maxconn or 0
    row: dict[str, Value] = {
        "pxname": frontend.name, "svname": listening.name, "scur": counters.sessions, "smax": counters.maximum_sessions,
        "slim": limit, "stot": counters.sessions_total, "bin": counters.bytes_in, "bout": counters.bytes_out,
        "dreq": counters.denied_requests, "dresp": counters.denied_responses, "ereq": counters.request_errors,
        "status": "FULL" if 0 < limit <= counters.sessions else "WAITING" if frontend.accept_paused else "OPEN",
        "pid": 1, "iid": frontend.spec.id, "sid": listening.number, "type": 3, "mode": frontend.spec.mode.value,
        "addr": socket_address(bind.address, listening.port), "dcon": counters.denied_connections,
        "dses": counters.denied_sessions, "wrew": counters.failed_header_rewrites, "eint": counters.internal_errors,
        "proto": _protocol(bind.address), "reqbin": counters.bytes_in, "resbout": counters.bytes_out,
        **_handshakes(counters),
    }  # fmt: skip
    return row


def _protocol(address: Address) -> str:
    return {Family.INET: "tcpv4", Family.INET6: "tcpv6"}.get(address.family, "unix_stream")


def socket_address(address: Address, port: int) -> str:
    """The `addr` cell of one socket of a bind line."""
    if address.family in _UNIX:
        return "unix"
    host = address.host if address.host not in ("", "*") else "0.0.0.0"
    return f"[{host}]:{port}" if address.family is Family.INET6 else f"{host}:{port}"


def backend_row(backend: Backend, context: Context) -> Row:
    """The BACKEND line."""
    counters, spec, state = backend.counters, backend.spec, backend.state
    now = context.clock()
    farm = count(state.servers)
    availability = context.checks.availability.get(backend.name)
    http = spec.mode is Mode.HTTP
    up = farm.active + farm.backup > 0 or not state.servers
    row: dict[str, Value] = {
        "pxname": backend.name, "svname": "BACKEND", "qcur": state.queued - sum(server.queued for server in state.servers),
        "qmax": counters.maximum_queue, "scur": state.sessions, "smax": counters.maximum_sessions, "slim": state.fullconn,
        "stot": counters.sessions_total, "bin": counters.bytes_in, "bout": counters.bytes_out, "dreq": counters.denied_requests,
        "dresp": counters.denied_responses, "econ": counters.connection_errors, "eresp": counters.response_errors,
        "wretr": counters.retries, "wredis": counters.redispatches, "status": "UP" if up else "DOWN",
        "weight": sum(server.effective for server in state.selected), "act": farm.active, "bck": farm.backup, "pid": 1,
        "iid": spec.id, "sid": 0, "lbtot": sum(server.counters.picks for server in state.servers), "type": 1,
        "rate": counters.session_rate.rate(now), "rate_max": counters.session_rate.maximum,
        "cli_abrt": counters.aborted_by_client, "srv_abrt": counters.aborted_by_server,
        "lastsess": _since(counters.session_rate, now), "cookie": spec.cookie.name if spec.cookie is not None else None,
        "mode": spec.mode.value, "algo": spec.balance.algorithm, "wrew": counters.failed_header_rewrites,
        "connect": counters.connections, "reuse": counters.reused_connections, "eint": counters.internal_errors,
        "uweight": sum(server.weight for server in state.selected), "agg_server_status": 0, "agg_server_check_status": 0,
        "agg_check_status": 0, "reqbin": counters.bytes_in, "resbout": counters.bytes_out, **_COMPRESSION,
        **_times([server.counters for server in state.servers]),
        **_handshakes(*(server.counters for server in state.servers)),
        "chkdown": 0, "lastchg": int(now - context.started_at), "downtime": 0,
    }  # fmt: skip
    if availability is not None:
        row |= {
            "chkdown": availability.falls, "lastchg": int(now - availability.changed_at),
            "downtime": int(availability.downtime(now)),
        }  # fmt: skip
    if http:
        row |= {"req_tot": counters.requests, "cache_hint_hits": 0, **_CACHE, **_responses(counters)}
    return row


def _times(counters: Iterable[ServerCounters]) -> Row:
    """Averages and maxima of one server's times, or of several: those of a backend are those of its servers."""
    measured = list(counters)
    samples = sum(one.samples for one in measured)
    row: dict[str, Value] = {}
    for column, name in (("qtime", "queue"), ("ctime", "connect"), ("rtime", "response"), ("ttime", "total")):
        row[column] = average(sum(getattr(one, f"times_{name}") for one in measured), samples)
        row[f"{column}_max"] = max((getattr(one, f"maximum_time_{name}") for one in measured), default=0)
    return row


def server_row(backend: Backend, server: ServerState, context: Context) -> Row:
    """The line of a server."""
    counters, spec = server.counters, server.spec
    now = context.clock()
    http = backend.spec.mode is Mode.HTTP
    row: dict[str, Value] = {
        "pxname": backend.name, "svname": server.name, "qcur": server.queued, "qmax": counters.maximum_queue,
        "scur": server.sessions, "smax": counters.maximum_sessions, "slim": server.maxconn or None,
        "stot": counters.connections + counters.reused_connections, "bin": counters.bytes_in, "bout": counters.bytes_out,
        "dresp": counters.denied_responses, "econ": counters.connection_errors, "eresp": counters.response_errors,
        "wretr": counters.retries, "wredis": counters.redispatches, "status": server_status(server, context),
        "weight": server.effective, "act": int(not server.backup), "bck": int(server.backup),
        "lastchg": last_change(server, context), "qlimit": server.maxqueue or None, "pid": 1, "iid": backend.spec.id,
        "sid": server.id,
        "throttle": server.effective * 100 // server.weight if server.up_since and server.weight else None,
        "lbtot": counters.picks, "type": 2, "rate": counters.session_rate.rate(now), "rate_max": counters.session_rate.maximum,
        "cli_abrt": counters.aborted_by_client, "srv_abrt": counters.aborted_by_server,
        "lastsess": _since(counters.session_rate, now), "addr": address_text(server.address),
        "cookie": None if server.cookie is None else server.cookie.decode("latin-1"),
        "mode": backend.spec.mode.value, "wrew": counters.failed_header_rewrites, "connect": counters.connections,
        "reuse": counters.reused_connections, "srv_icur": counters.idle_safe + counters.idle_unsafe,
        "src_ilim": spec.pool_max_conn if spec.pool_max_conn >= 0 else None, "eint": counters.internal_errors,
        "idle_conn_cur": counters.idle_unsafe, "safe_conn_cur": counters.idle_safe, "used_conn_cur": server.sessions,
        "need_conn_est": server.sessions, "uweight": server.weight, "srid": 0, "priv_idle_cur": 0,
        "reqbin": counters.bytes_in, "resbout": counters.bytes_out, **_times([counters]),
        **_handshakes(counters),
    }  # fmt: skip
    if http:
        row |= {"req_tot": counters.requests, **_responses(counters)}
    row.update(_check_cells(server, context, now))
    return row


def last_change(server: ServerState, context: Context) -> int:
    """Seconds since the server went up or down, or since the start."""
    if server.changed_at:
        return max(0, int(context.wall() - server.changed_at))
    return int(context.clock() - context.started_at)


def _check_cells(server: ServerState, context: Context, now: float) -> Row:
    cells = _agent_cells(server, context)
    if server.spec.track is not None:
        cells["tracked"] = "/".join(server.spec.track)
    checked = context.checks.checked.get(server)
    if checked is None:
        return cells
    health = checked.health
    result = health.result
    cells |= {
        "chkfail": health.failures, "chkdown": health.falls, "downtime": int(health.downtime(now)), "check_rise": health.rise,
        "check_fall": health.fall, "check_health": health.level, "check_desc": result.status.description,
        "last_chk": result.info, "check_status": ("* " if checked.in_progress else "") + result.status.word,
        "check_code": result.shown_code, "hanafail": health.analyses,
    }  # fmt: skip
    if result.status is not CheckStatus.INI:
        cells["check_duration"] = result.milliseconds
    return cells


def _agent_cells(server: ServerState, context: Context) -> dict[str, Value]:
    agent = context.checks.agents.get(server)
    if agent is None:
        return {}
    health = agent.health
    result = health.result
    cells: dict[str, Value] = {
        "agent_status": ("* " if agent.in_progress else "") + result.status.word, "agent_code": result.shown_code,
        "agent_desc": result.status.description, "last_agt": result.info, "agent_rise": health.rise, "agent_fall": health.fall,
        "agent_health": health.level,
    }  # fmt: skip
    if result.status is not CheckStatus.INI:
        cells["agent_duration"] = result.milliseconds
    return cells


def _tracked(server: ServerState, context: Context) -> tuple[BackendState, ServerState] | None:
    """The server that one tracks; workers show the statistics, too, and have no checks to ask."""
    side = context.backends.get(server.spec.track[0]) if server.spec.track is not None else None
    found = side.state.server(server.spec.track[1]) if side is not None and server.spec.track is not None else None
    return (side.state, found) if side is not None and found is not None else None


def server_status(server: ServerState, context: Context) -> str:
    """The `status` cell: a server on its way up or down shows how far it is, as in "UP 1/3"."""
    state = server.state
    has = inherited(server, partial(_tracked, context=context))
    if has & Admin.MAINT and not server.admin & Admin.OUT:
        return f"MAINT (via {'/'.join(server.spec.track or ())})"
    if has & Admin.DRAIN and state in ("NOLB", "DRAIN"):
        return "DRAIN"
    agent = context.checks.agents.get(server)
    if agent is not None and agent.enabled:
        if state == "DOWN" and not agent.health.up:
            return "DOWN (agent)"
        if state == "DRAIN" and (agent.drained or server.weight == 0):
            return "DRAIN (agent)"
    if state == "DRAIN" and not server.admin & Admin.DRAIN:
        # A weight of 0 is not a state of its own.
        state = "NOLB" if server.stopping else "UP"
    checked = context.checks.checked.get(server)
    if checked is None or not checked.enabled:
        return "no check" if state == "UP" and server.spec.track is None else state
    health = checked.health
    if state == "UP" and health.checked and health.level < health.full:
        return f"UP {health.level - health.rise + 1}/{health.fall}"
    if state == "DOWN" and health.level > 0:
        return f"DOWN {health.level}/{health.rise}"
    return state


def address_text(address: Address) -> str:
    """As column `addr` has it: `address:port`, or "unix"."""
    return "unix" if address.family in _UNIX else str(address)
