"""Commands that HAProxy does not have: facts for the statistics page and the metrics that its own commands have no fields for.

Both answer with JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _nothing_more(name: str, words: Sequence[str]) -> None:
    if words:
        raise CommandError(f"'{name}' takes no '{words[0]}'.")


def show_history(words: Sequence[str], context: Context) -> str:
    _nothing_more("show history", words)
    return _json(context.history.facts())


def show_headgate(words: Sequence[str], context: Context) -> str:
    _nothing_more("show headgate", words)
    counters, now = context.counters, context.clock()
    return _json({
        "workers": len(context.workers),
        "accept_failures": counters.accept_failures,
        "dropped_logs": context.dropped_logs,
        "spliced_bytes": counters.spliced_bytes,
        "tls": {
            "connections": counters.tls_connections,
            "failures": counters.tls_failures,
            "sessions": counters.tls_sessions,
            "reused": counters.tls_reused,
            "rate": counters.tls_rate.rate(now),
            "rate_max": counters.tls_rate.maximum,
            "key_rate": counters.tls_key_rate.rate(now),
            "key_rate_max": counters.tls_key_rate.maximum,
            "server_connections": counters.tls_server_connections + context.check_keys.connections,
            "server_refused": counters.tls_server_refused,
            **_with_servers(context),
        },
        "certificates": _certificates(context),
        "ocsp": _ocsp(context),
        "descriptions": {
            spec.name: spec.description
            for spec in (
                *(side.spec for side in context.frontends.values()), *(side.spec for side in context.backends.values())
            )
            if spec.description
        },
    })


def _with_servers(context: Context) -> dict[str, int]:
    """Handshakes with all servers, of traffic and of health checks."""
    resumed = full = 0
    for backend in context.backends.values():
        for server in backend.state.servers:
            resumed += server.counters.tls_reused + server.check_exchanges.resumed
            full += server.counters.tls_full + server.check_exchanges.full
    now = context.clock()
    keys, checks = context.counters.tls_server_key_rate, context.check_keys.keys
    return {"server_reused": resumed, "server_full": full, "server_key_rate": keys.rate(now) + checks.rate(now)}


def _certificates(context: Context) -> list[Mapping[str, object]]:
    """All certificates that clients are shown, the one that expires first in front."""
    wall = context.wall()
    return [
        {
            "names": list(one.names),
            "file": one.file,
            "used_by": list(one.used_by),
            "not_after": datetime.fromtimestamp(one.not_after, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "expires": int(one.not_after),
            "days": int((one.not_after - wall) // 86400),
        }
        for one in sorted(context.certificates, key=lambda one: one.not_after)
    ]


def _ocsp(context: Context) -> list[Mapping[str, object]]:
    """Certificates that take part in OCSP stapling, the one whose response ends first in front."""
    if context.ocsp is None:
        return []
    wall = context.wall()
    return [
        {
            "file": one.path,
            "state": one.state(wall),
            "left": int(one.seconds_left(wall)),
            "next": None if one.next_at is None else max(int(one.next_at - wall), 0),
            "updates": one.updates,
            "must_staple": one.must_staple,
            "successes": one.successes,
            "failures": one.failures,
            "error": "" if one.cause is None else one.cause.label,
            "text": one.explanation(wall),
        }
        for one in sorted(context.ocsp.ledger, key=lambda one: one.seconds_left(wall))
    ]


COMMANDS = (
    Command("show headgate", ": TLS, certificates and other facts of headgate's own, as JSON", Level.USER, show_headgate),
    Command("show history", ": requests and errors of each proxy in the last two minutes, as JSON", Level.USER, show_history),
)
