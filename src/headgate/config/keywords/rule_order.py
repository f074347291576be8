"""Rules run in the order of their kinds, not of their lines: says so where the lines suggest otherwise, as HAProxy does.

Not a family of its own: the rule keywords call it.
"""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft

_ORDER = (
    "tcp-request connection", "tcp-request session", "tcp-request content", "http-request", "redirect",
    "use_backend", "use-server",
)
_RANKS = {name: rank for rank, name in enumerate(_ORDER, 1)}


def check_order(cursor: Cursor, draft: ProxyDraft, name: str) -> None:
    """Warn when a rule stands behind one that is evaluated after it.

    Args:
        cursor: of the rule's line.
        draft: its section.
        name: the rule's kind; kinds that are no part of a request's way are passed over.
    """
    rank = _RANKS.get(name)
    if rank is None:
        return
    latest, its_name = draft.latest_rule
    if rank >= latest:
        draft.latest_rule = rank, name
        return
    cursor.report.warn(
        f"a '{name}' rule placed after a '{its_name}' rule will still be processed before", cursor.keyword.location,
        remedy=f"move it above the '{its_name}' rules",
    )
