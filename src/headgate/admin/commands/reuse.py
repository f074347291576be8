"""`show ssl reuse`: which TLS connections to servers resumed a session, and why the others did not.

A command of our own. The causes of each line sum up to its full handshakes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level
from headgate.balance.server import ServerState
from headgate.observe.full_handshakes import TEXTS, Cause


def _lines(context: Context) -> Iterator[dict[str, object]]:
    """What was counted of each server, traffic and checks apart; servers without TLS are left out."""
    for name, backend in context.backends.items():
        for server in backend.state.servers:
            counters, checks = server.counters, server.check_exchanges
            if _is_over_tls(server):
                yield _line(name, server.name, "traffic", counters.tls_reused, counters.tls_failed, counters.tls_causes)
            if checks.full or checks.resumed or checks.failed:
                yield _line(name, server.name, "checks", checks.resumed, checks.failed, checks.causes)


def _is_over_tls(server: ServerState) -> bool:
    counters = server.counters
    return server.tls or bool(counters.tls_full or counters.tls_reused or counters.tls_failed)


def _line(backend: str, server: str, kind: str, resumed: int, failed: int, causes: Sequence[int]) -> dict[str, object]:
    full = sum(causes)
    return {
        "backend": backend,
        "server": server,
        "kind": kind,
        "connections": full + resumed,
        "resumed": resumed,
        "full": full,
        "failed": failed,
        "causes": {cause.word: causes[cause] for cause in Cause if causes[cause]},
    }


def show_ssl_reuse(words: Sequence[str], context: Context) -> str:
    if words and list(words) != ["json"]:
        unknown = words[1] if words[0] == "json" else words[0]
        raise CommandError(f"'show ssl reuse' knows no '{unknown}': it takes json, or nothing.")
    found = list(_lines(context))
    if words:
        return json.dumps(found, separators=(",", ":"))
    if not found:
        return "No server is connected to over TLS."
    answer = ["# backend/server kind connections resumed full failed"]
    for one in found:
        connections, resumed = one["connections"], one["resumed"]
        answer.append(f"{one['backend']}/{one['server']} {one['kind']} {connections} {resumed} {one['full']} {one['failed']}")
        causes = one["causes"]
        if isinstance(causes, dict):
            answer += [f"  {count:>8} {word}: {TEXTS[Cause[word.upper()]]}" for word, count in causes.items()]
    return "\n".join(answer)


COMMANDS = (
    Command(
        "show ssl reuse", "[json] : report which TLS connections to servers resumed a session, and why others did not",
        Level.USER, show_ssl_reuse,
    ),
)
