"""`show info`, `show version`, `show env` and other questions about the process itself (management manual 9.3).

`show info` has the fields that are known here, at HAProxy's positions; the others are left out rather than invented.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate import COMPATIBLE_VERSION, __version__
from headgate.admin.columns import Value, compact_json, json_tags
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level

#: What `show version` and the field Version say: the HAProxy version whose interface this is, then our own.
VERSION = f"{COMPATIBLE_VERSION}-headgate-{__version__}"

#: position, name, tags, type
_FIELDS = (
    (0, "Name", "POSV", "str"),
    (1, "Version", "POSV", "str"),
    (3, "Nbthread", "CGSV", "u32"),
    (4, "Nbproc", "CGSV", "u32"),
    (5, "Process_num", "KGPV", "u32"),
    (6, "Pid", "SGPV", "u32"),
    (7, "Uptime", "MDPV", "str"),
    (8, "Uptime_sec", "MDPV", "u32"),
    (15, "Maxconn", "CLPV", "u32"),
    (16, "Hard_maxconn", "CLPV", "u32"),
    (17, "CurrConns", "MGPV", "u32"),
    (18, "CumConns", "MCPV", "u32"),
    (19, "CumReq", "MCPV", "u32"),
    (22, "CumSslConns", "MCPV", "u32"),
    (50, "node", "CGSV", "str"),
    (51, "description", "CGSV", "str"),
    (52, "Stopping", "SGPV", "u32"),
    (58, "DroppedLogs", "MGPV", "u32"),
)


def _values(context: Context) -> dict[str, Value | float]:
    counters, global_ = context.counters, context.global_
    seconds = int(context.clock() - context.started_at)
    uptime = f"{seconds // 86400}d {seconds // 3600 % 24}h{seconds // 60 % 60:02}m{seconds % 60:02}s"
    return {
        "Name": "headgate", "Version": VERSION, "Nbthread": context.threads, "Nbproc": 1, "Process_num": 1, "Pid": context.pid,
        "Uptime": uptime, "Uptime_sec": seconds, "Maxconn": context.maxconn, "Hard_maxconn": context.initial_maxconn,
        "CurrConns": context.sessions, "CumConns": counters.connections, "CumReq": counters.requests,
        "CumSslConns": counters.tls_connections, "node": global_.node, "description": global_.description,
        "Stopping": int(context.stopping), "DroppedLogs": context.dropped_logs,
    }  # fmt: skip


def show_info(words: Sequence[str], context: Context) -> str:
    unknown = [word for word in words if word not in ("typed", "json", "float")]
    if unknown:
        raise CommandError(f"'show info' knows no '{unknown[0]}': one of typed, json, float.")
    values = _values(context)
    present = [field for field in _FIELDS if values[field[1]] is not None]
    if "float" in words:
        # "some fields usually emitted as integers may switch to floats for better accuracy" (management manual, 9.3)
        values["Uptime_sec"] = round(context.clock() - context.started_at, 6)
        present = [(place, name, tags, "flt" if name == "Uptime_sec" else kind) for place, name, tags, kind in present]
    if "json" in words:
        return compact_json([
            {
                "field": {"pos": position, "name": name},
                "processNum": 1,
                "tags": json_tags(tags),
                "value": {"type": kind, "value": values[name]},
            }
            for position, name, tags, kind in present
        ])
    if "typed" in words:
        return "\n".join([f"{position}.{name}.1:{tags}:{kind}:{values[name]}" for position, name, tags, kind in present])
    return "\n".join([f"{name}: {values[name]}" for _, name, _, _ in present])


def show_version(_: Sequence[str], context: Context) -> str:
    return VERSION


def show_env(words: Sequence[str], context: Context) -> str:
    environment = context.environment
    if not words:
        return "\n".join([f"{name}={value}" for name, value in environment.items()])
    if words[0] not in environment:
        raise CommandError("Variable not found")
    return f"{words[0]}={environment[words[0]]}"


def show_errors(_: Sequence[str], context: Context) -> str:
    return "Total events captured: 0. headgate keeps no copies of invalid messages: see the frontends' logs."


def show_pools(_: Sequence[str], context: Context) -> str:
    return "Not available: headgate has no memory pools, Python's allocator manages its memory."


def show_activity(_: Sequence[str], context: Context) -> str:
    return f"sessions: {context.sessions}  connections: {context.counters.connections}  requests: {context.counters.requests}"


COMMANDS = (
    Command("show info", "[typed|json] : report information about the running process", Level.USER, show_info),
    Command("show version", ": show version of the current process", Level.USER, show_version),
    Command("show env", "[<name>] : dump environment variables known to the process", Level.OPERATOR, show_env),
    Command("show errors", ": report last request and response errors (none are kept)", Level.OPERATOR, show_errors),
    Command("show pools", ": report on memory pools (there are none)", Level.USER, show_pools),
    Command("show activity", ": show a few totals of the process", Level.USER, show_activity),
)
