"""`stats ...` in proxies: the statistics page (manual 4.2). Any of these lines turns it on.

Access rules and admin conditions are rules like others; what they become is in `plan.actions.statistics`.
"""

from __future__ import annotations

from typing import Any

from headgate.config.actions import Accept, Action, Auth, Deny, ReplySpec, Rule, Ruleset
from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords.switching import refuse_anonymous
from headgate.config.model import User
from headgate.config.parse_condition import read_condition
from headgate.config.registry import KEYWORDS, NOT_DEFAULTS, PROXY, Keyword, Parser, Scope, Status

_ON = "stats enable"


def _put(cursor: Cursor, draft: ProxyDraft, name: str, value: Any) -> None:
    draft.settings.put(name, value, cursor.keyword.location)
    draft.settings.put(_ON, True, cursor.keyword.location)


def _enable(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats enable`."""
    cursor.finish()
    _put(cursor, draft, _ON, True)


def _uri(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats uri <prefix>`."""
    word = cursor.next("the prefix of a URI")
    if not word.text.isascii() or any(character <= " " or character == "\x7f" for character in word.text):
        raise cursor.wrong(word, f"'{word.text}' can't be a part of a request: encode it as in '%20'")
    cursor.finish()
    _put(cursor, draft, "stats uri", word.text)


def _realm(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats realm <realm>`."""
    realm = cursor.next("a realm").text
    cursor.finish()
    _put(cursor, draft, "stats realm", realm)


def _auth(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats auth <user>:<passwd>`; one line for each user."""
    word = cursor.next("<user>:<password>")
    user, colon, password = word.text.partition(":")
    if not user or not colon:
        # Not shown: what stands here may well be the password.
        remedy = "for example 'stats auth admin:secret'"
        raise cursor.wrong(cursor.keyword, "'stats auth' expects <user>:<password>", remedy=remedy)
    cursor.finish()
    draft.stats_users.append(User(user, password, insecure=True))
    _put(cursor, draft, "stats auth", True)


def _refresh(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats refresh <delay>`: in seconds unless a unit says otherwise."""
    delay = cursor.time("a delay", "s")
    cursor.finish()
    _put(cursor, draft, "stats refresh", delay)


def _scope(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats scope { <name> | "." }`; one line for each section."""
    name = cursor.next("the name of a section, or '.'").text
    cursor.finish()
    draft.stats_scopes.append(name)
    _put(cursor, draft, "stats scope", True)


def _text(name: str) -> Parser:
    """`stats show-desc [<desc>]`: the rest of the line."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        _put(cursor, draft, name, " ".join(word.text for word in cursor.take_all()))

    return parse


def _node(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats show-node [<name>]`."""
    name = cursor.next("a name").text if cursor.more else ""
    cursor.finish()
    _put(cursor, draft, "stats show-node", name)


def _switch(name: str, value: bool) -> Parser:
    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        cursor.finish()
        _put(cursor, draft, name, value)

    return parse


def _admin(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats admin { if | unless } <cond>`."""
    condition = read_condition(cursor)
    if condition is None:
        message = "'stats admin' expects 'if' or 'unless' and a condition"
        raise cursor.wrong(cursor.keyword, message, remedy="for example 'if LOCALHOST'")
    draft.stats_admin.append(condition)
    _put(cursor, draft, "stats admin", True)


def _http_request(cursor: Cursor, draft: ProxyDraft) -> None:
    """`stats http-request { allow | deny | auth [realm <realm>] } [ { if | unless } <condition> ]`."""
    refuse_anonymous(cursor, draft)
    verb = cursor.choice("action", {"allow": "allow", "deny": "deny", "auth": "auth"})
    action: Action = Accept()
    if verb == "deny":
        action = Deny(ReplySpec(default_errorfiles=True))
    elif verb == "auth":
        action = Auth(cursor.next("a realm").text if cursor.take("realm") is not None else None)
    condition = read_condition(cursor)
    draft.stats_rules.append(Rule(Ruleset.HTTP_REQUEST, action, condition, cursor.keyword.location))
    _put(cursor, draft, "stats http-request", True)


def _row(name: str, parse: Parser, scopes: frozenset[Scope] = PROXY) -> Keyword:
    return Keyword(f"stats {name}", scopes, Status.IMPLEMENTED, parse)


KEYWORDS.add(
    _row("enable", _enable),
    _row("uri", _uri),
    _row("realm", _realm),
    _row("auth", _auth),
    _row("refresh", _refresh),
    _row("scope", _scope),
    _row("hide-version", _switch("stats show-version", False)),
    _row("show-version", _switch("stats show-version", True)),
    _row("show-desc", _text("stats show-desc")),
    _row("show-legends", _switch("stats show-legends", True)),
    _row("show-modules", _switch("stats show-modules", True)),
    _row("show-node", _node),
    _row("admin", _admin, NOT_DEFAULTS),
    _row("http-request", _http_request, NOT_DEFAULTS),
)
