"""Reads the actions about where a connection goes (manual 4.4): `set-dst`, `set-dst-port`.

Not a family of its own: `rules` adds the rows.
"""

from __future__ import annotations

from headgate.config.actions import Ruleset, SetDestination
from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.parse_expression import read_expression


def set_address(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetDestination:
    """`set-dst <expr>`."""
    return SetDestination("address", read_expression(cursor))


def set_port(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetDestination:
    """`set-dst-port <expr>`."""
    return SetDestination("port", read_expression(cursor))
