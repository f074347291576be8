"""The head of the page: the process in a few figures, and TLS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from headgate.base.handshake_causes import ADDRESSES_KEPT
from headgate.observe.page.cells import amount, digits, duration
from headgate.observe.page.facts import number

Info = Mapping[str, str]


def _tile(identifier: str, name: str, text: str, more: str = "") -> dict[str, str]:
    return {"id": identifier, "name": name, "text": text, "more": more}


def _most(info: Info, most: str) -> str:
    return f"most {digits(info[most])}" if info.get(most) else ""


def process_tiles(info: Info) -> list[dict[str, str]]:
    """The process: what HAProxy's page has above its tables."""
    tiles = [
        _tile("conns", "Connections", digits(info.get("CurrConns", "")), f"of {digits(info.get('Maxconn', ''))}"),
        _tile("connrate", "Connections/s", digits(info.get("ConnRate", "")), _most(info, "MaxConnRate")),
        _tile("sessrate", "Sessions/s", digits(info.get("SessRate", "")), _most(info, "MaxSessRate")),
        _tile("requests", "Requests", digits(info.get("CumReq", ""))),
        _tile("bits", "Sent/s", amount(info.get("BytesOutRate", ""))),
        _tile("ssl", "TLS connections", digits(info.get("CurrSslConns", ""))),
        _tile("idle", "Idle", f"{info['Idle_pct']} %" if info.get("Idle_pct") else "", _tasks(info)),
        _tile("uptime", "Uptime", duration(info.get("Uptime_sec", "")), f"pid {info.get('Pid', '')}"),
        _tile("workers", "Workers", info.get("Nbthread", "")),
    ]
    return [tile for tile in tiles if tile["text"]]


def _tasks(info: Info) -> str:
    return f"{info.get('Run_queue', '0')}/{info['Tasks']} tasks" if info.get("Tasks") else ""


def _limits(info: Info) -> str:
    wanted = (("ulimit-n", "Ulimit-n"), ("maxsock", "Maxsock"), ("maxconn", "Maxconn"), ("maxpipes", "Maxpipes"))
    return ", ".join(f"{word} {digits(info[name])}" for word, name in wanted if info.get(name))


#: Rows of the table of failed handshakes.
_CAUSES_MOST: Final = 20


def tls_view(info: Info, own: Mapping[str, Any], causes: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any] | None:
    """The TLS panel; None for a configuration without TLS.

    Args:
        info: of `show info`.
        own: of `show headgate`.
        causes: of `show ssl handshake-counters`, the most frequent first.
    """
    tls: Mapping[str, int] = own.get("tls", {})
    certificates: Sequence[Mapping[str, Any]] = own.get("certificates", ())
    if not certificates and not tls.get("connections") and not tls.get("server_connections"):
        return None
    stapled = {one["file"]: one for one in own.get("ocsp", ())}
    rows = [_certificate(one) | _stapling(stapled.get(one.get("file"))) for one in certificates]
    soon = sum(1 for row in rows if row["look"] != "up")
    summary = f"{len(rows)} certificate{'' if len(rows) == 1 else 's'}" + (f", {soon} to renew" if soon else "")
    bad = sum(1 for row in rows if row["ocsp_look"] == "down")
    summary += f", {bad} without a good OCSP response" if bad else ""
    return {"summary": summary, "tiles": tls_tiles(tls), "certificates": rows, "stapled": bool(stapled), "causes": [
        {
            "line": f"{one['frontend']}/{one['listener']}", "cause": one["cause"], "total": digits(str(one["total"])),
            "hour": digits(str(one["hour"])), "sources": _addresses(one["sources"]),
            "look": "open" if one["probe"] else "falling",
        }
        for one in causes[:_CAUSES_MOST]
    ]}  # fmt: skip


def _addresses(sources: int) -> str:
    return str(sources) if sources <= ADDRESSES_KEPT else f"> {ADDRESSES_KEPT}"


def tls_tiles(tls: Mapping[str, int]) -> list[dict[str, str]]:
    """Handshakes with clients, and what they cost."""
    connections, failures, reused = tls.get("connections", 0), tls.get("failures", 0), tls.get("reused", 0)
    good = max(connections - failures, 0)
    tiles = [
        _tile("tls-now", "TLS connections", digits(str(tls.get("sessions", 0)))),
        _tile("tls-ok", "Handshakes done", digits(str(good))),
        _tile("tls-failed", "Handshakes failed", digits(str(failures)), _share(failures, connections)),
        _tile("tls-resumed", "Resumed", _share(reused, good) or "–", f"{digits(str(reused))} sessions"),
        _tile("tls-rate", "Handshakes/s", digits(str(tls.get("rate", 0))), f"most {digits(str(tls.get('rate_max', 0)))}"),
        _tile("tls-keys", "New keys/s", digits(str(tls.get("key_rate", 0))), f"most {digits(str(tls.get('key_rate_max', 0)))}"),
    ]
    return tiles + (_server_tiles(tls) if tls.get("server_connections") else [])


def _server_tiles(tls: Mapping[str, int]) -> list[dict[str, str]]:
    """Handshakes with servers, of traffic and of health checks; `show ssl reuse` says why those that are full ones are."""
    resumed, full = tls.get("server_reused", 0), tls.get("server_full", 0)
    return [
        _tile("tls-server", "To servers", digits(str(tls.get("server_connections", 0)))),
        _tile("tls-server-resumed", "To servers resumed", _share(resumed, resumed + full) or "–", f"{digits(str(full))} in full"),
        _tile("tls-server-keys", "Server keys/s", digits(str(tls.get("server_key_rate", 0)))),
    ]


def _share(part: int, whole: int) -> str:
    return f"{part * 100 / whole:.1f} %" if whole else ""


def _certificate(one: Mapping[str, Any]) -> dict[str, Any]:
    days = int(one.get("days", 0))
    look = "down" if days < 7 else "falling" if days < 30 else "up"
    names = one.get("names", ())
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return {
        "names": listed or one.get("file", ""), "used_by": ", ".join(one.get("used_by", ())), "expires": one.get("not_after", ""),
        "days": str(days) if days >= 0 else "expired", "look": look,
    }  # fmt: skip


def _stapling(one: Mapping[str, Any] | None) -> dict[str, str]:
    """What is stapled with a certificate; nothing where it takes no part in OCSP."""
    if one is None:
        return {"ocsp": "", "ocsp_look": "", "ocsp_text": ""}
    state, left = str(one["state"]), one["left"]
    text = f"{state}, {duration(str(left))} left" if left else state
    look = "down" if state != "good" else "falling" if one["error"] else "up"
    return {"ocsp": text, "ocsp_look": look, "ocsp_text": one["text"]}


def live_texts(info: Info, own: Mapping[str, Any]) -> dict[str, str]:
    """What the head of the page shows, by the names of its places."""
    tiles = [*process_tiles(info), *tls_tiles(own.get("tls", {}))]
    return {tile["id"]: tile["text"] for tile in tiles}


def last_line(info: Info, *, version: bool) -> str:
    """The line at the end of the page."""
    text = f"headgate {info.get('Version', '')}" if version else "headgate"
    stopping = ", stopping" if number(info.get("Stopping", "")) else ""
    return f"{text}, pid {info.get('Pid', '')}{stopping}; {_limits(info)}"
