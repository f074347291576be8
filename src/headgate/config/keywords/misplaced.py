"""Keywords on the wrong side: a frontend's in a backend and the reverse are ignored with a warning, as HAProxy does (4.2).

Imported after the families, whose rows it looks through. Lines that make up a proxy (`bind`, `server`, rules) stay errors there.
"""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.registry import KEYWORDS, Keyword, Scope, Status

_SETTINGS = frozenset((
    "backlog", "balance", "capture cookie", "capture request header", "capture response header", "cookie", "default_backend",
    "error-log-format", "fullconn", "hash-balance-factor", "hash-type", "http-reuse", "http-send-name-header", "log-format",
    "log-format-sd", "max-keep-alive-queue", "maxconn", "monitor-uri", "rate-limit sessions", "retries", "retry-on", "source",
    "unique-id-header",
))


def _ignore(cursor: Cursor, draft: ProxyDraft) -> None:
    """Warn that the line does nothing here."""
    side = "frontend" if draft.is_backend else "backend"
    cursor.take_all()
    words = [word.text for word in cursor.words]
    name = " ".join(words[:2]) if words[0] in ("option", "timeout", "capture", "rate-limit") else words[0]
    cursor.report.warn(f"'{name}' is ignored, because {draft.title} has no {side} capability", cursor.keyword.location)


def _rows() -> list[Keyword]:
    found = []
    for row in KEYWORDS:
        if row.name not in _SETTINGS and not row.name.startswith(("option ", "timeout ")):
            continue
        if row.status is Status.REMOVED or Scope.LISTEN not in row.scopes:
            continue
        other = {Scope.FRONTEND, Scope.BACKEND} - row.scopes
        if len(other) == 1:
            side = "backend" if Scope.FRONTEND in other else "frontend"
            note = f"it needs {side} capability: ignored with a warning"
            found.append(Keyword(row.name, frozenset(other), Status.NO_EFFECT, _ignore, note, negatable=row.negatable))
    return found


KEYWORDS.add(*_rows())
