"""`set rate-limit`: how many connections, sessions and TLS sessions all frontends together accept in a second (manual 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Scope

#: The word of the command -> the gate of `proxy.rates.Gates`.
_GATES = {"connections": "connections", "sessions": "sessions", "ssl-sessions": "tls"}
_USAGE = """'set rate-limit' only supports :
   - 'connections global' to set the per-process maximum connection rate
   - 'sessions global' to set the per-process maximum session rate
   - 'ssl-sessions global' to set the per-process maximum SSL session rate
   - 'http-compression global' to set the per-process maximum compression speed in kB/s"""


def set_rate_limit(words: Sequence[str], context: Context) -> str:
    kind = words[0] if words else ""
    if (kind not in _GATES and kind != "http-compression") or words[1:2] != ["global"]:
        raise CommandError(_USAGE)
    if len(words) < 3 or not words[2].isdecimal() or len(words[2]) > 9:
        raise CommandError("Expects an integer value.")
    if kind == "http-compression":
        raise CommandError("Nothing is compressed here, so there is no compression to slow down.")
    shared = next((side.shared for side in context.frontends.values()), None)
    if shared is not None:
        getattr(shared.gates, _GATES[kind]).limit = int(words[2])
        context.accept_again()
    return ""


def _which(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("rate-limit", words[0]) if words else None


COMMANDS = (
    Command(
        "set rate-limit", "<setting> <value> : change a rate limiting value", Level.ADMIN, set_rate_limit, Scope.EVERYWHERE,
        key=_which,
    ),
)
