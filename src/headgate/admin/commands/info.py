"""`show info` (management manual 9.3): the process in numbers, with HAProxy's names, at HAProxy's positions.

Every field that HAProxy has is there, since tools look for them. Those behind which there is nothing here say 0, which is true: a
compressor that does not exist compresses nothing. docs/operating.md lists where a field means something else than in HAProxy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headgate import COMPATIBLE_VERSION, RELEASE_DATE, __version__
from headgate.admin.columns import Value, compact_json, json_tags
from headgate.admin.context import Context
from headgate.admin.descriptions import INFO
from headgate.admin.registry import Command, CommandError, Level

#: What `show version` and the field Version say: the HAProxy version whose interface this is, then our own.
VERSION = f"{COMPATIBLE_VERSION}-headgate-{__version__}"

_Number = Callable[[Context], "Value | float"]
_MEGABYTE = 1 << 20


def _nothing(_: Context) -> int:
    return 0


def _rate(meter: str) -> _Number:
    def read(context: Context) -> int:
        return int(getattr(context.counters, meter).rate(context.clock()))

    return read


def _most(meter: str) -> _Number:
    def read(context: Context) -> int:
        return int(getattr(context.counters, meter).maximum)

    return read


def _limit(gate: str) -> _Number:
    """maxconnrate, maxsessrate, maxsslrate, as they are now; all frontends share them."""

    def read(context: Context) -> int:
        shared = next((side.shared for side in context.frontends.values()), None)
        return int(getattr(shared.gates, gate).limit) if shared is not None else 0

    return read


def _counter(name: str) -> _Number:
    def read(context: Context) -> int:
        return int(getattr(context.counters, name))

    return read


def _uptime(context: Context) -> str:
    seconds = int(context.clock() - context.started_at)
    return f"{seconds // 86400}d {seconds // 3600 % 24}h{seconds // 60 % 60:02}m{seconds % 60:02}s"


def _reuse(context: Context) -> int:
    """How many of the last second's handshakes of clients needed no new key, percent."""
    now = context.clock()
    handshakes = context.counters.tls_rate.rate(now)
    keys = context.counters.tls_key_rate.rate(now)
    return max(0, 100 * (handshakes - keys) // handshakes) if handshakes else 0


def _idle(context: Context) -> int:
    return max(0, 100 - context.counters.busy // max(1, context.threads))


def _listeners(context: Context) -> int:
    return sum(len(bind.address.ports) for side in context.frontends.values() if not side.stopped for bind in side.spec.binds)


def _jobs(context: Context) -> int:
    return context.sessions + _listeners(context)


def _tasks(context: Context) -> int:
    return context.sessions + len(context.checks.checked)


def _sent(context: Context) -> int:
    return sum(side.counters.bytes_out for side in context.frontends.values())


def _tls_connections(context: Context) -> int:
    counters = context.counters
    return counters.tls_connections + counters.tls_server_connections + context.check_keys.connections


def _server_keys(context: Context) -> int:
    """Key exchanges with servers: those of health checks cost as much as those of traffic."""
    now = context.clock()
    return context.counters.tls_server_key_rate.rate(now) + context.check_keys.keys.rate(now)


def _most_server_keys(context: Context) -> int:
    return context.counters.tls_server_key_rate.maximum + context.check_keys.keys.maximum


def _memory_limit(context: Context) -> int:
    return context.memory_limit


#: position, name, tags, type, value. Positions 45 and 46 are those of HAProxy's compression library.
_FIELDS: tuple[tuple[int, str, str, str, _Number], ...] = (
    (0, "Name", "POSV", "str", lambda _: "headgate"),
    (1, "Version", "POSV", "str", lambda _: VERSION),
    (2, "Release_date", "POSV", "str", lambda _: RELEASE_DATE),
    (3, "Nbthread", "CGSV", "u32", lambda context: context.threads),
    (4, "Nbproc", "CGSV", "u32", lambda _: 1),
    (5, "Process_num", "KGPV", "u32", lambda _: 1),
    (6, "Pid", "SGPV", "u32", lambda context: context.pid),
    (7, "Uptime", "MDPV", "str", _uptime),
    (8, "Uptime_sec", "MDPV", "u32", lambda context: int(context.clock() - context.started_at)),
    (9, "Memmax_MB", "CLPV", "u32", lambda context: _memory_limit(context) // _MEGABYTE),
    (10, "PoolAlloc_MB", "MGPV", "u32", lambda context: context.counters.resident // _MEGABYTE),
    (11, "PoolUsed_MB", "MGPV", "u32", lambda context: context.counters.resident // _MEGABYTE),
    (12, "PoolFailed", "MCPV", "u32", _nothing),
    (13, "Ulimit-n", "CLPV", "u32", lambda context: context.descriptor_limit),
    (14, "Maxsock", "CLPV", "u32", lambda context: context.descriptor_limit),
    (15, "Maxconn", "CLPV", "u32", lambda context: context.maxconn),
    (16, "Hard_maxconn", "CLPV", "u32", lambda context: context.initial_maxconn),
    (17, "CurrConns", "MGPV", "u32", lambda context: context.sessions),
    (18, "CumConns", "MCPV", "u32", _counter("connections")),
    (19, "CumReq", "MCPV", "u32", _counter("requests")),
    (20, "MaxSslConns", "MMPV", "u32", lambda context: context.tls_connections.limit),
    (21, "CurrSslConns", "MGPV", "u32", lambda context: context.tls_connections.count()),
    (22, "CumSslConns", "MCPV", "u32", _tls_connections),
    (23, "Maxpipes", "CLPV", "u32", _nothing),
    (24, "PipesUsed", "MGPV", "u32", _counter("pipes_used")),
    (25, "PipesFree", "MGPV", "u32", _counter("pipes_free")),
    (26, "ConnRate", "MRPV", "u32", _rate("connection_rate")),
    (27, "ConnRateLimit", "CLPV", "u32", _limit("connections")),
    (28, "MaxConnRate", "MMPV", "u32", _most("connection_rate")),
    (29, "SessRate", "MRPV", "u32", _rate("session_rate")),
    (30, "SessRateLimit", "CLPV", "u32", _limit("sessions")),
    (31, "MaxSessRate", "MRPV", "u32", _most("session_rate")),
    (32, "SslRate", "MRPV", "u32", _rate("tls_rate")),
    (33, "SslRateLimit", "CLPV", "u32", _limit("tls")),
    (34, "MaxSslRate", "MMPV", "u32", _most("tls_rate")),
    (35, "SslFrontendKeyRate", "MGPV", "u32", _rate("tls_key_rate")),
    (36, "SslFrontendMaxKeyRate", "MMPV", "u32", _most("tls_key_rate")),
    (37, "SslFrontendSessionReuse_pct", "MGPV", "u32", _reuse),
    (38, "SslBackendKeyRate", "MRPV", "u32", _server_keys),
    (39, "SslBackendMaxKeyRate", "MMPV", "u32", _most_server_keys),
    (40, "SslCacheLookups", "MCPV", "u32", _counter("tls_cache_lookups")),
    (41, "SslCacheMisses", "MCPV", "u32", _counter("tls_cache_misses")),
    (42, "CompressBpsIn", "MRPV", "u32", _nothing),
    (43, "CompressBpsOut", "MRPV", "u32", _nothing),
    (44, "CompressBpsRateLim", "CLPV", "u32", _nothing),
    (47, "Tasks", "MGPV", "u32", _tasks),
    (48, "Run_queue", "MGPV", "u32", _nothing),
    (49, "Idle_pct", "MaPV", "u32", _idle),
    (50, "node", "COSV", "str", lambda context: context.global_.node or context.host_name),
    (51, "description", "COSV", "str", lambda context: context.global_.description),
    (52, "Stopping", "MGPV", "u32", lambda context: int(context.stopping)),
    (53, "Jobs", "MGPV", "u32", _jobs),
    (54, "Unstoppable Jobs", "MGPV", "u32", _nothing),
    (55, "Listeners", "MGPV", "u32", _listeners),
    (56, "ActivePeers", "MGPV", "u32", _nothing),
    (57, "ConnectedPeers", "MGPV", "u32", _nothing),
    (58, "DroppedLogs", "MGPV", "u32", lambda context: context.dropped_logs),
    (59, "BusyPolling", "MGPV", "u32", _nothing),
    (60, "FailedResolutions", "MGPV", "u32", _nothing),
    (61, "TotalBytesOut", "MGPV", "u64", _sent),
    (62, "TotalSplicdedBytesOut", "MGPV", "u64", _counter("spliced_bytes")),  # so written by HAProxy
    (63, "BytesOutRate", "MRPV", "u64", _counter("bytes_rate")),
    (64, "DebugCommandsIssued", "MGPV", "u32", _nothing),
    (65, "CumRecvLogs", "MCPV", "u32", _nothing),
    (66, "Build info", "POSV", "str", lambda _: VERSION),
    (67, "Memmax_bytes", "CLPV", "u32", _memory_limit),
    (68, "PoolAlloc_bytes", "MGPV", "u64", _counter("resident")),
    (69, "PoolUsed_bytes", "MGPV", "u64", _counter("resident")),
    (70, "Start_time_sec", "MDPV", "u32", lambda context: int(context.wall() - (context.clock() - context.started_at))),
    (71, "Tainted", "SGPV", "str", _nothing),
)

#: With `float`: "some fields usually emitted as integers may switch to floats for better accuracy".
_PRECISE: dict[str, Callable[[Context], float]] = {
    "Uptime_sec": lambda context: context.clock() - context.started_at,
    "Start_time_sec": lambda context: context.wall() - (context.clock() - context.started_at),
}

_WORDS = frozenset({"typed", "json", "desc", "float"})


def show_info(words: Sequence[str], context: Context) -> str:
    unknown = [word for word in words if word not in _WORDS]
    if unknown:
        raise CommandError(f"'show info' knows no '{unknown[0]}': one of typed, json, desc, float.")
    fields: list[tuple[int, str, str, str, Value | float]] = []
    for position, name, tags, kind, read in _FIELDS:
        if "float" in words and name in _PRECISE:
            fields.append((position, name, tags, "flt", round(_PRECISE[name](context), 6)))
        elif (value := read(context)) is not None:
            fields.append((position, name, tags, kind, value))
    if "json" in words:
        return compact_json([
            {
                "field": {"pos": position, "name": name},
                "processNum": 1,
                "tags": json_tags(tags),
                "value": {"type": kind, "value": str(value) if kind == "str" else value},
            }
            for position, name, tags, kind, value in fields
        ])
    described = "desc" in words
    lines = []
    for position, name, tags, kind, value in fields:
        line = f"{position}.{name}.1:{tags}:{kind}:{value}" if "typed" in words else f"{name}: {value}"
        lines.append(f'{line}:"{INFO[name]}"' if described else line)
    return "\n".join(lines)


COMMANDS = (
    Command(
        "show info", "[typed|json] [desc] [float] : report information about the running process", Level.USER, show_info
    ),
)
