"""Rules that choose a backend or a server, and conditions on persistence and monitoring (manual 4.2).

`acl`, `use_backend`, `use-server`, `force-persist`, `ignore-persist`, `monitor fail`.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import config_error
from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.expression import Condition, LogFormat
from headgate.config.keywords.rule_order import check_order
from headgate.config.model import UseBackend, UseServer
from headgate.config.parse_condition import parse_acl, read_condition
from headgate.config.parse_logformat import parse_logformat
from headgate.config.registry import BACK, FRONT, KEYWORDS, NOT_DEFAULTS, PROXY, Keyword, Parser, Scope, Status


def refuse_anonymous(cursor: Cursor, draft: ProxyDraft) -> None:
    """Rules and ACLs may stand in named defaults sections only (4.1, the (!) marks)."""
    if draft.is_defaults and not draft.name:
        remedy = "give the section a name: 'defaults <name>'"
        raise config_error(f"'{cursor.keyword.text}' needs a named defaults section", cursor.keyword.location, remedy=remedy)


def _acl(cursor: Cursor, draft: ProxyDraft) -> None:
    """`acl <aclname> <criterion> [flags] [operator] <value> ...`."""
    refuse_anonymous(cursor, draft)
    draft.acls.append(parse_acl(cursor))


def _name_or_format(cursor: Cursor, what: str) -> tuple[str | None, LogFormat | None]:
    """A plain name, or a log format that makes one."""
    word = cursor.next(what)
    if "%" in word.text:
        return None, parse_logformat(word)
    return word.text, None


def _use_backend(cursor: Cursor, draft: ProxyDraft) -> None:
    """`use_backend <backend> [{if | unless} <condition>]`."""
    check_order(cursor, draft, "use_backend")
    name, form = _name_or_format(cursor, "a backend name")
    place = cursor.last.location
    draft.use_backends.append(UseBackend(name, form, read_condition(cursor), place))


def _use_server(cursor: Cursor, draft: ProxyDraft) -> None:
    """`use-server <server> {if | unless} <condition>`."""
    check_order(cursor, draft, "use-server")
    name, form = _name_or_format(cursor, "a server name")
    place = cursor.last.location
    draft.use_servers.append(UseServer(name, form, _needed_condition(cursor), place))


def _needed_condition(cursor: Cursor) -> Condition:
    condition = read_condition(cursor)
    if condition is None:
        message = f"'{cursor.keyword.text}' expects 'if' or 'unless' and a condition"
        raise config_error(message, cursor.end, allowed=("if", "unless"))
    return condition


def _conditional(conditions: Callable[[ProxyDraft], list[Condition]]) -> Parser:
    """`force-persist`, `ignore-persist`, `monitor fail`: `{if | unless} <condition>`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        conditions(draft).append(_needed_condition(cursor))

    return parse


def _row(name: str, scopes: frozenset[Scope], parse: Parser) -> Keyword:
    return Keyword(name, scopes, Status.IMPLEMENTED, parse)


KEYWORDS.add(
    _row("acl", PROXY, _acl),
    _row("use_backend", FRONT & NOT_DEFAULTS, _use_backend),
    _row("use-server", BACK & NOT_DEFAULTS, _use_server),
    _row("force-persist", BACK & NOT_DEFAULTS, _conditional(lambda draft: draft.force_persist)),
    _row("ignore-persist", BACK & NOT_DEFAULTS, _conditional(lambda draft: draft.ignore_persist)),
    _row("monitor fail", FRONT & NOT_DEFAULTS, _conditional(lambda draft: draft.monitor_fail)),
)
