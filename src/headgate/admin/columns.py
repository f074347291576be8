"""The columns of `show stat` in HAProxy's order (management manual 9.1), with what the typed format says of each (9.2).

Also written out here: CSV, typed and JSON forms of a row. What stands in the rows is made by `commands.statistics`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from headgate.admin.descriptions import STAT

Value = int | str | None
#: Column name -> value; what is missing or None is an empty cell.
Row = Mapping[str, Value]

#: name:tags:type, by position. Tags are origin, nature, scope and persistence.
_TABLE = """
pxname:KNSV:str svname:KNSV:str qcur:MGPV:u32 qmax:MMPV:u32 scur:MGPV:u32 smax:MMPV:u32 slim:CLPV:u32 stot:MCPP:u64
bin:MCPP:u64 bout:MCPP:u64 dreq:MCPP:u64 dresp:MCPP:u64 ereq:MCPP:u64 econ:MCPP:u64 eresp:MCPP:u64 wretr:MCPP:u64
wredis:MCPP:u64 status:SGPV:str weight:MaPV:u32 act:SGPV:u32 bck:SGPV:u32 chkfail:MCPP:u64 chkdown:MCPP:u64
lastchg:MAPV:u32 downtime:MCPP:u32 qlimit:CLPV:u32 pid:KGPV:u32 iid:KGSV:u32 sid:KGSV:u32 throttle:MGPV:u32
lbtot:MCPP:u64 tracked:CNSV:str type:CGSV:u32 rate:MRPP:u32 rate_lim:CLPV:u32 rate_max:MMPV:u32 check_status:MOPV:str
check_code:MOPV:u32 check_duration:MDPV:u64 hrsp_1xx:MCPP:u64 hrsp_2xx:MCPP:u64 hrsp_3xx:MCPP:u64 hrsp_4xx:MCPP:u64
hrsp_5xx:MCPP:u64 hrsp_other:MCPP:u64 hanafail:MCPP:u64 req_rate:MRPP:u32 req_rate_max:MMPV:u32 req_tot:MCPP:u64
cli_abrt:MCPP:u64 srv_abrt:MCPP:u64 comp_in:MCPP:u64 comp_out:MCPP:u64 comp_byp:MCPP:u64 comp_rsp:MCPP:u64
lastsess:MAPV:s32 last_chk:MOPV:str last_agt:MOPV:str qtime:MaPV:u32 ctime:MaPV:u32 rtime:MaPV:u32 ttime:MaPV:u32
agent_status:MOPV:str agent_code:MOPV:u32 agent_duration:MDPV:u64 check_desc:MOPV:str agent_desc:MOPV:str
check_rise:CGPV:u32 check_fall:CGPV:u32 check_health:SGPV:u32 agent_rise:CGPV:u32 agent_fall:CGPV:u32
agent_health:SGPV:u32 addr:CGSV:str cookie:CNSV:str mode:CGSV:str algo:CGSV:str conn_rate:MRPP:u32 conn_rate_max:MMPV:u32
conn_tot:MCPP:u64 intercepted:MCPP:u64 dcon:MCPP:u64 dses:MCPP:u64 wrew:MCPP:u64 connect:MCPP:u64 reuse:MCPP:u64
cache_lookups:MCPP:u64 cache_hits:MCPP:u64 srv_icur:MGPV:u32 src_ilim:CLPV:u32 qtime_max:MMPV:u32 ctime_max:MMPV:u32
rtime_max:MMPV:u32 ttime_max:MMPV:u32 eint:MCPP:u64 idle_conn_cur:MGPV:u32 safe_conn_cur:MGPV:u32 used_conn_cur:MGPV:u32
need_conn_est:MGPV:u32 uweight:MaPV:u32 agg_server_status:MGPV:u32 agg_server_check_status:MGPV:u32
agg_check_status:MGPV:u32 srid:MGPV:u32 sess_other:MCPP:u64 h1sess:MCPP:u64 h2sess:MCPP:u64 h3sess:MCPP:u64
req_other:MCPP:u64 h1req:MCPP:u64 h2req:MCPP:u64 h3req:MCPP:u64 proto:CGPV:str priv_idle_cur:MGPV:u32 reqbin:MCPP:u64
reqbout:MCPP:u64 resbin:MCPP:u64 resbout:MCPP:u64 cache_hint_hits:MCPP:u64
"""
#: Behind the column "-", as HAProxy's module for TLS has them.
_MODULES = "ssl_sess:MCPP:u64 ssl_reused_sess:MCPP:u64 ssl_failed_handshake:MCPP:u64"



def _columns(table: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((name, tags, kind) for name, tags, kind in (entry.split(":") for entry in table.split()))


_STATIC = _columns(_TABLE)
#: All columns by position; those from `STATIC_COLUMNS` on stand behind the column "-".
COLUMNS: tuple[tuple[str, str, str], ...] = _STATIC + _columns(_MODULES)
STATIC_COLUMNS = len(_STATIC)

#: The line above all others; the column "-" ends the static fields.
HEADER = "# " + ",".join([*(name for name, _, _ in _STATIC), "-", *(name for name, _, _ in COLUMNS[STATIC_COLUMNS:]), ""])

_ORIGIN = {"M": "Metric", "S": "Status", "K": "Key", "C": "Config", "P": "Product"}
_NATURE = {
    "A": "Age", "a": "Avg", "C": "Counter", "D": "Duration", "G": "Gauge", "L": "Limit", "M": "Max", "m": "Min", "N": "Name",
    "O": "Output", "R": "Rate", "T": "Time",
}  # fmt: skip
_SCOPE = {"C": "Cluster", "P": "Process", "S": "Service", "s": "System"}


def csv_line(row: Row) -> str:
    """A row as CSV, quoted where it is ambiguous (9.1)."""
    cells = [_cell(row.get(name)) for name, _, _ in COLUMNS]
    return ",".join([*cells[:STATIC_COLUMNS], "-", *cells[STATIC_COLUMNS:], ""])


def _cell(value: Value) -> str:
    if value is None:
        return ""
    text = str(value)
    if '"' in text or "," in text or "\n" in text:
        return '"' + text.replace('"', '""').replace("\n", " ") + '"'
    return text


_OBJECTS = {0: "F", 1: "B", 2: "S", 3: "L"}


def _object(row: Row) -> str:
    kind = row["type"]
    assert isinstance(kind, int)
    return _OBJECTS[kind]


def typed_lines(row: Row, *, described: bool = False) -> list[str]:
    """A row in the typed format (9.2), one line for each value that there is; with what it means where that is wanted."""
    prefix = f"{_object(row)}.{row['iid']}.{row['sid']}"
    return [
        f"{prefix}.{position}.{name}.1:{tags}:{kind}:{row[name]}" + (f':"{STAT[name]}"' if described else "")
        for position, (name, tags, kind) in enumerate(COLUMNS)
        if row.get(name) is not None
    ]


def json_fields(row: Row) -> list[dict[str, object]]:
    """A row in the JSON form of `show stat json` (schema: `show schema json` of HAProxy)."""
    names = {"F": "Frontend", "B": "Backend", "S": "Server", "L": "Listener"}
    return [
        {
            "objType": names[_object(row)],
            "proxyId": row["iid"],
            "id": row["sid"],
            "field": {"pos": position, "name": name},
            "processNum": 1,
            "tags": json_tags(tags),
            "value": {"type": kind, "value": row[name]},
        }
        for position, (name, tags, kind) in enumerate(COLUMNS)
        if row.get(name) is not None
    ]


def json_tags(tags: str) -> dict[str, str]:
    """The first three tag letters in words."""
    return {"origin": _ORIGIN[tags[0]], "nature": _NATURE[tags[1]], "scope": _SCOPE[tags[2]]}


def compact_json(value: Sequence[object] | Mapping[str, object]) -> str:
    """JSON without white space, as the manual has it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name}"}


def _typed(kind: str, value: dict[str, object]) -> dict[str, object]:
    names = {"type": {"type": "string", "enum": [kind]}, "value": value}
    return {"properties": names, "required": ["type", "value"]}


def _number(low: int, high: int) -> dict[str, object]:
    return {"type": "integer", "minimum": low, "maximum": high}


def schema() -> str:
    """`show schema json`: what `show info json` and `show stat json` look like (json-schema.org, draft 4)."""
    item: dict[str, object] = {name: _reference(name) for name in ("field", "processNum", "tags")}
    item["value"] = _reference("typedValue")
    count = {"type": "integer", "minimum": 0}
    precise = 2**53 - 1  # what a double holds
    kinds: dict[str, object] = {
        "s32Value": _typed("s32", _number(-(2**31), 2**31 - 1)),
        "s64Value": _typed("s64", _number(-precise, precise)),
        "u32Value": _typed("u32", _number(0, 2**32 - 1)),
        "u64Value": _typed("u64", _number(0, precise)),
        "fltValue": _typed("flt", {"type": "number"}),
        "strValue": _typed("str", {"type": "string"}),
    }
    stat = {"objType": {"enum": ["Frontend", "Backend", "Listener", "Server", "Unknown"]}, "proxyId": count, "id": count, **item}
    info_item = {"title": "InfoItem", "type": "object", "properties": item, "required": list(item)}
    stat_item = {"title": "InfoItem", "type": "object", "properties": stat, "required": list(stat)}
    tags = {"origin": _ORIGIN, "nature": _NATURE, "scope": _SCOPE}
    return compact_json({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "oneOf": [
            {"title": "Info", "type": "array", "items": info_item},
            {"title": "Stat", "type": "array", "items": {"title": "Object", "type": "array", "items": stat_item}},
            {"title": "Error", "type": "object", "properties": {"errorStr": {"type": "string"}}, "required": ["errorStr"]},
        ],
        "definitions": {
            "field": {
                "type": "object",
                "properties": {"pos": count, "name": {"type": "string"}},
                "required": ["pos", "name"],
            },
            "processNum": {"type": "integer", "minimum": 1},
            "tags": {
                "type": "object",
                "properties": {name: {"type": "string", "enum": [*words.values(), "Unknown"]} for name, words in tags.items()},
                "required": list(tags),
            },
            "typedValue": {
                "type": "object",
                "oneOf": [_reference(f"typedValue/definitions/{name}") for name in kinds],
                "definitions": kinds,
            },
        },
    })
