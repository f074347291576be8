"""`show ssl handshakes`: the last TLS handshakes of clients in all workers, why they failed, how often. Ours, not HAProxy's."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from headgate.admin.context import Context
from headgate.admin.gathering import gathered
from headgate.admin.registry import Command, CommandError, Level
from headgate.admin.writing import date, endpoint
from headgate.base.handshake_causes import ADDRESSES_KEPT, BY_CODE, CAUSES, Cause, similar_failures
from headgate.base.records import dataclass
from headgate.base.units import LONGEST_SPAN, UnitError, parse_time

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord

#: Records that are shown without `last`: each costs the worker a moment, in which it serves nobody.
_LAST: Final = 50
_LAST_MOST: Final = 1024
_RESULTS: Final = ("failed", "ok", "probes")
_SYNTAX: Final = (
    "Expects [failed|ok|probes] [json] [frontend <name>] [listener <name>] [cause <code>] [source <address>[/<bits>]]"
    " [since <time>] [last <number>]."
)

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class _Wanted:
    """What the words of a command ask for.

    Attributes:
        since: seconds before now, 0.0 for all.
    """

    result: str = ""
    as_json: bool = False
    frontend: str = ""
    listener: str = ""
    cause: Cause | None = None
    source: _Network | None = None
    since: float = 0.0
    last: int = _LAST


def _wanted(words: Sequence[str]) -> _Wanted:
    wanted = _Wanted()
    rest = iter(words)
    for word in rest:
        if word in _RESULTS:
            if wanted.result not in ("", word):
                raise CommandError(f"'{wanted.result}' and '{word}' exclude each other. {_SYNTAX}")
            wanted.result = word
        elif word == "json":
            wanted.as_json = True
        elif word in _FILTERS:
            value = next(rest, None)
            if value is None:
                raise CommandError(f"'{word}' expects an argument. {_SYNTAX}")
            _FILTERS[word](wanted, value)
        else:
            raise CommandError(_SYNTAX)
    return wanted


def _set_cause(wanted: _Wanted, value: str) -> None:
    if value not in BY_CODE:
        raise CommandError(f"Unknown cause '{value}': see 'show ssl handshake-causes'.")
    wanted.cause = BY_CODE[value]


def _set_source(wanted: _Wanted, value: str) -> None:
    try:
        wanted.source = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise CommandError(f"'{value}' is no address and no network.") from None


def _set_since(wanted: _Wanted, value: str) -> None:
    try:
        wanted.since = parse_time(value, "s", longest=LONGEST_SPAN)
    except UnitError as error:
        raise CommandError(f"{error}.") from None


def _set_last(wanted: _Wanted, value: str) -> None:
    if not value.isdecimal() or not 0 < int(value) <= _LAST_MOST:
        raise CommandError(f"'last' expects a number from 1 to {_LAST_MOST}.")
    wanted.last = int(value)


def _set_frontend(wanted: _Wanted, value: str) -> None:
    wanted.frontend = value


def _set_listener(wanted: _Wanted, value: str) -> None:
    wanted.listener = value


_FILTERS: Final = {
    "cause": _set_cause, "source": _set_source, "since": _set_since, "last": _set_last, "frontend": _set_frontend,
    "listener": _set_listener,
}  # fmt: skip


# --- records ---


def _collect(words: Sequence[str], context: Context) -> dict[str, Any]:
    wanted = _wanted(words)
    log = context.inspection.handshakes
    earliest = context.wall() - wanted.since if wanted.since else 0.0
    records: list[HandshakeRecord] = []
    for kept in (log.failures, log.successes):
        records += [one for one in cast("Iterable[HandshakeRecord]", kept) if _is_wanted(one, wanted, earliest)]
    records.sort(key=lambda one: one.number)
    return {"records": [one.facts() for one in records[-wanted.last :]]}


def _is_wanted(record: HandshakeRecord, wanted: _Wanted, earliest: float) -> bool:
    cause = record.cause
    result = "ok" if cause is Cause.NONE else "probes" if cause.probe else "failed"
    return (
        (not wanted.result or wanted.result == result)
        and record.at >= earliest
        and (not wanted.frontend or wanted.frontend == record.proxy)
        and (not wanted.listener or wanted.listener == record.line_name)
        and (wanted.cause is None or wanted.cause is cause)
        and (wanted.source is None or _inside(record.address if record.outgoing else record.client, wanted.source))
    )


def _inside(client: bytes, network: _Network) -> bool:
    try:
        return ipaddress.ip_address(client.decode("ascii", "replace")) in network
    except ValueError:
        return False


def _render(words: Sequence[str], facts: Mapping[int, dict[str, Any]]) -> str:
    wanted = _wanted(words)
    records = [{"worker": worker, **one} for worker, some in facts.items() for one in some["records"]]
    records.sort(key=lambda one: (one["at"], one["worker"], one["number"]))
    records = records[-wanted.last :]
    if wanted.as_json:
        return json.dumps(records, separators=(",", ":"), ensure_ascii=True)
    return "\n".join([line for one in records for line in _lines(one)]) or "No handshakes."


def _lines(one: Mapping[str, Any]) -> list[str]:
    """Who, where and what in one line; what it offered and the advice below it, indented."""
    host, port = ("address", "port") if one["outgoing"] else ("client", "client_port")
    peer = endpoint(one[host].encode(), one[port])
    head = (
        f"[{date(one['at'])}] {one['worker']}/{one['number']} {one['frontend']}/{one['listener']} {peer} {one['result']}"
        f" {one['cause']} sni={one['sni'] or '-'} step={one['step']} ended_by={one['ended_by']} {one['milliseconds']}ms"
    )
    chosen, offered = one["chosen"], one["offered"]
    if one["result"] == "ok":
        return [
            f"{head} {chosen['version']} {chosen['cipher']} {chosen['group'] or '-'} alpn={chosen['alpn'] or '-'}"
            f"{' resumed' if chosen['resumed'] else ''} ja4={offered['ja4'] if offered else '-'}"
        ]
    lines = [head]
    if offered is not None:
        lines.append(f"  offers {','.join(offered['versions'])} alpn={','.join(offered['alpn']) or '-'} ja4={offered['ja4']}")
    if one["alert_received"] or one["alert_sent"]:
        lines.append(f"  alert received {one['alert_received'] or '-'}, sent {one['alert_sent'] or '-'}")
    return [*lines, f"  {one['advice']}"]


# --- counters ---


def _counters(words: Sequence[str], context: Context) -> list[dict[str, Any]]:
    if tuple(words) not in ((), ("json",)):
        raise CommandError("Expects [json].")
    wall = context.wall()
    rows = []
    for (frontend, listener, cause), tally in context.inspection.handshakes.tallies.items():
        count, addresses = tally.hour(wall)
        rows.append({
            "frontend": frontend, "listener": listener, "cause": cause.code, "probe": cause.probe, "total": tally.total,
            "hour": count, "last": tally.last, "more": tally.overflows(wall),
            "addresses": [one.decode("ascii", "replace") for one in addresses],
        })  # fmt: skip
    return rows


def added(facts: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row for each line and cause, from those of all workers: the most frequent first. Addresses are only counted."""
    sums: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in (row for rows in facts.values() for row in rows):
        key = (row["frontend"], row["listener"], row["cause"])
        one = sums.setdefault(key, {**row, "total": 0, "hour": 0, "last": 0.0, "more": False, "addresses": []})
        one["total"] += row["total"]
        one["hour"] += row["hour"]
        one["last"] = max(one["last"], row["last"])
        one["more"] |= row["more"]
        one["addresses"] = [*one["addresses"], *row["addresses"]]
    for one in sums.values():
        known, more = len(set(one.pop("addresses"))), one.pop("more")
        one["sources"] = max(known, ADDRESSES_KEPT + 1) if more else known
    return sorted(sums.values(), key=lambda one: (-one["hour"], -one["total"], one["frontend"], one["listener"], one["cause"]))


def _render_counters(words: Sequence[str], facts: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    rows = added(facts)
    if "json" in words:
        return json.dumps({"counters": rows}, separators=(",", ":"), ensure_ascii=True)
    lines = ["# frontend/listener cause total last_seen: last hour"]
    for one in rows:
        what = "probe" if one["probe"] else "failure"
        hour = similar_failures(one["hour"], one["sources"]).replace("such failure", what)
        lines.append(f"{one['frontend']}/{one['listener']} {one['cause']} {one['total']} [{date(one['last'])}]: {hour}")
    return "\n".join(lines)


def show_causes(words: Sequence[str], context: Context) -> str:
    """`show ssl handshake-causes [json]`."""
    rows = [
        {
            "code": one.code, "number": one.number, "probe": one.probe, "severity": one.gravity.name.lower(),
            "blame": one.blame.value, "meaning": one.meaning,
        }
        for one in CAUSES
        if one is not Cause.NONE
    ]  # fmt: skip
    if tuple(words) == ("json",):
        return json.dumps(rows, separators=(",", ":"))
    if words:
        raise CommandError("Expects [json].")
    return "\n".join([f"{one['number']:>4} {one['code']:<40} {one['meaning']}" for one in rows])


COMMANDS: tuple[Command, ...] = (
    gathered(
        "show ssl handshakes",
        "[failed|ok|probes] [json] [<filter> <value>]* : last TLS handshakes with clients, with cause and advice",
        Level.OPERATOR,
        _collect,
        _render,
        checks=True,
    ),
    gathered(
        "show ssl handshake-counters",
        "[json] : failed TLS handshakes and probes by listener and cause",
        Level.USER,
        _counters,
        _render_counters,
        checks=True,
    ),
    Command("show ssl handshake-causes", "[json] : why TLS handshakes can fail, the closed list", Level.USER, show_causes),
)
