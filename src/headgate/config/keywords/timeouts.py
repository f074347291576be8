"""`timeout <what> <time>` (manual 4.2), and the three words that HAProxy 2.1 removed. A bare number counts milliseconds."""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.registry import BACK, FRONT, KEYWORDS, PROXY, Keyword, Parser, Scope, Status

_TIMEOUTS: dict[str, frozenset[Scope]] = {
    "check": BACK,
    "client": FRONT,
    "client-fin": FRONT,
    "client-hs": FRONT,
    "connect": BACK,
    "http-keep-alive": PROXY,
    "http-request": PROXY,
    "queue": BACK,
    "server": BACK,
    "server-fin": BACK,
    "tarpit": PROXY,
    "tunnel": BACK,
}

_REMOVED = {"clitimeout": "client", "contimeout": "connect", "srvtimeout": "server"}


def _timeout(which: str, *, removed: bool = False) -> Parser:
    """`timeout <which> <time>`, or the old word for it."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        seconds = cursor.time("a time")
        written = cursor.last.text
        cursor.finish()
        draft.settings.put(f"timeout {which}", seconds, cursor.keyword.location)
        if removed:
            cursor.report.warn(
                f"'{cursor.keyword.text}' was removed by HAProxy 2.1", cursor.keyword.location,
                remedy=f"write 'timeout {which} {written}'",
            )

    return parse


KEYWORDS.add(
    *[
        Keyword(f"timeout {which}", scopes, Status.IMPLEMENTED, _timeout(which))
        for which, scopes in _TIMEOUTS.items()
    ],
    *[
        Keyword(old, PROXY, Status.REMOVED, _timeout(which, removed=True), f"timeout {which} <time>")
        for old, which in _REMOVED.items()
    ],
)
