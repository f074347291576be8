"""Reads the actions of rules (manual 4.4): one small function an action, from the words behind its name to its dataclass.

`rules` says in which rulesets each may stand and adds the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from headgate.base.regex import regex
from headgate.base.units import UnitError, parse_time
from headgate.config.actions import (
    SERVICES,
    Accept,
    Action,
    AddHeader,
    Auth,
    Capture,
    ChangePatterns,
    DeleteHeader,
    Deny,
    DisableL7Retry,
    Redirect,
    Reject,
    ReplaceHeader,
    ReplaceRequestPart,
    Return,
    Ruleset,
    SetHeader,
    SetLogLevel,
    SetRequestPart,
    SetRetries,
    SetStatus,
    SetTimeout,
    SetVar,
    SilentDrop,
    Tarpit,
    UnsetVar,
    UseService,
    WaitForHandshake,
)
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.expression import LogFormat, SampleExpression
from headgate.config.keywords.log_target import LEVELS
from headgate.config.keywords.redirects import read_redirect
from headgate.config.keywords.replies import header_name, read_reply
from headgate.config.parse_arguments import parse_arguments
from headgate.config.parse_expression import parse_expression, read_expression
from headgate.config.parse_logformat import read_logformat

#: Reads one action; the draft is for its files, and for what it declares.
ActionReader = Callable[[Cursor, ProxyDraft, Ruleset], Action]

_VARIABLE = regex(r"(proc|sess|txn|req|res)\.([A-Za-z0-9_.]+)")
_EARLY = (Ruleset.TCP_REQUEST_CONNECTION, Ruleset.TCP_REQUEST_SESSION)
#: Of `set-var(<name>,<condition>...)`.
CONDITIONS = ("ifexists", "ifnotexists", "ifempty", "ifnotempty", "ifset", "ifnotset", "ifgt", "iflt")


def plain(action: Action) -> ActionReader:
    """An action without arguments."""
    return lambda cursor, draft, ruleset: action


def read_deny(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Deny:
    """`deny [{status | deny_status} <code>] [reply]`."""
    return Deny(read_reply(cursor, draft.config, default_pages=True))


def read_tarpit(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Tarpit:
    """`tarpit [{status | deny_status} <code>] [reply]`."""
    return Tarpit(read_reply(cursor, draft.config, default_pages=True))


def read_return(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Return:
    """`return [status <code>] [reply]`."""
    return Return(read_reply(cursor, draft.config, default_pages=False))


def read_redirect_action(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Redirect:
    """`redirect {location | prefix | scheme} <fmt> [code <code>] <options>`."""
    return read_redirect(cursor, formatted=True)


def read_set_header(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetHeader:
    """`set-header <name> <fmt>`."""
    return SetHeader(header_name(cursor), read_logformat(cursor))


def read_add_header(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> AddHeader:
    """`add-header <name> <fmt>`."""
    return AddHeader(header_name(cursor), read_logformat(cursor))


def read_delete_header(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> DeleteHeader:
    """`del-header <name> [-m <method>]`."""
    name = cursor.next("a header name").text
    if cursor.take("-m") is None:
        return DeleteHeader(name)
    return DeleteHeader(name, cursor.choice("matching method", {word: word for word in ("str", "beg", "end", "sub", "reg")}))


def regular_expression(cursor: Cursor) -> str:
    """Read a regular expression; `plan` compiles it."""
    word = cursor.next("a regular expression")
    try:
        re.compile(word.text)
    except (re.error, RecursionError, OverflowError) as error:
        raise cursor.wrong(word, f"'{word.text}' is not a regular expression: {error}") from None
    return word.text


def _replace(each_value: bool) -> ActionReader:
    """`replace-header`, `replace-value`: `<name> <regex> <fmt>`."""

    def read(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> ReplaceHeader:
        return ReplaceHeader(header_name(cursor), regular_expression(cursor), read_logformat(cursor), each_value)

    return read


read_replace_header = _replace(False)
read_replace_value = _replace(True)


def set_part(part: str) -> ActionReader:
    """`set-method`, `set-path`, `set-pathq`, `set-query`, `set-uri`: `<fmt>`."""
    return lambda cursor, draft, ruleset: SetRequestPart(part, read_logformat(cursor))


def replace_part(part: str) -> ActionReader:
    """`replace-path`, `replace-pathq`, `replace-uri`: `<regex> <fmt>`."""
    return lambda cursor, draft, ruleset: ReplaceRequestPart(part, regular_expression(cursor), read_logformat(cursor))


def read_set_status(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetStatus:
    """`set-status <status> [reason <str>]`."""
    code = cursor.integer("an HTTP status", 100, 999)
    reason = cursor.next("a reason").text if cursor.take("reason") is not None else None
    return SetStatus(code, reason)


def _variable(cursor: Cursor, ruleset: Ruleset) -> tuple[str, str, tuple[str, ...]]:
    """The word `<action>(<scope>.<name>[,<condition>...])`, which the cursor stands on."""
    word = cursor.next("a variable in parentheses")
    opening = word.text.find("(")
    if opening < 0:
        remedy = f"for example '{word.text}(txn.name)'"
        raise cursor.wrong(word, f"'{word.text}' expects a variable in parentheses", remedy=remedy)
    arguments, end = parse_arguments(word, opening)
    if end != len(word.text) or not arguments:
        raise cursor.wrong(word, f"'{word.text}' expects exactly a variable in parentheses")
    name, *conditions = arguments
    scope, rest = variable_name(cursor, word, name)
    if ruleset in _EARLY and scope not in ("proc", "sess"):
        # The manual's own examples do so (7.3.1 concat), and HAProxy takes it: the variable is never seen again.
        cursor.report.warn(
            f"variable '{name}' is forgotten at once: no stream exists yet in '{ruleset.value}' rules", word.location,
            remedy=f"write 'sess.{rest}' to keep it for the connection",
        )
    for condition in conditions:
        if condition not in CONDITIONS:
            raise cursor.wrong(Word(condition, word.location), f"unknown condition '{condition}'", allowed=CONDITIONS)
    return scope, rest, tuple(conditions)


def variable_name(cursor: Cursor, word: Word, name: str) -> tuple[str, str]:
    """Scope and name of a variable; `word` is where it stands.

    Raises:
        ConfigError: it is none.
    """
    match = _VARIABLE.fullmatch(name)
    if match is None:
        scopes = "proc, sess, txn, req or res"
        raise cursor.wrong(word, f"'{name}' is not a variable: it begins with {scopes} and a dot, then letters, digits, '_', '.'")
    return match[1], match[2]


def read_set_var(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetVar:
    """`set-var(<name>[,<cond>...]) <expr>`."""
    scope, name, conditions = _variable(cursor, ruleset)
    value: SampleExpression | LogFormat = read_expression(cursor)
    return SetVar(scope, name, conditions, value)


def read_set_var_fmt(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetVar:
    """`set-var-fmt(<name>[,<cond>...]) <fmt>`."""
    scope, name, conditions = _variable(cursor, ruleset)
    return SetVar(scope, name, conditions, read_logformat(cursor))


def read_unset_var(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> UnsetVar:
    """`unset-var(<name>)`."""
    scope, name, _ = _variable(cursor, ruleset)
    return UnsetVar(scope, name)


def read_log_level(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetLogLevel:
    """`set-log-level <level>`: a syslog level or `silent`."""
    return SetLogLevel(cursor.choice("log level", {**LEVELS, "silent": -1}))


def read_capture(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Capture:
    """`capture <sample> {len <length> | id <slot>}`."""
    expression = read_expression(cursor)
    which = cursor.choice("kind of slot", {"len": "len", "id": "id"})
    if which == "len":
        in_request = ruleset in (Ruleset.HTTP_REQUEST, Ruleset.TCP_REQUEST_CONTENT)
        if not in_request or not (draft.is_frontend or draft.is_defaults):
            remedy = "use 'declare capture' in the frontend and 'id' here"
            raise cursor.wrong(cursor.last, "'len' works in request rules of frontends only", remedy=remedy)
        return Capture(expression, cursor.integer("a length", 1, 65535), None)
    return Capture(expression, None, cursor.integer("a slot", 0, 65535))


def read_set_timeout(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetTimeout:
    """`set-timeout {client | server | tunnel} {<timeout> | <expr>}`."""
    word = cursor.next("'client', 'server' or 'tunnel'")
    known = ("client", "server", "tunnel")
    if word.text in ("connect", "queue", "tarpit"):
        raise cursor.wrong(word, f"'set-timeout {word.text}' is known but not yet supported", allowed=known)
    if word.text not in known:
        raise cursor.wrong(word, f"unknown timeout '{word.text}'", allowed=known)
    value = cursor.next("a time or an expression")
    if value.text[:1].isdigit():
        try:
            return SetTimeout(word.text, parse_time(value.text))
        except UnitError as error:
            raise cursor.wrong(value, str(error)) from None
    return SetTimeout(word.text, parse_expression(value))


def read_set_retries(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SetRetries:
    """`set-retries <int> | <expr>`."""
    if (cursor.peek() or "")[:1].isdigit():
        return SetRetries(cursor.integer("a number of retries", 0, 100))
    return SetRetries(read_expression(cursor))


def read_silent_drop(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> SilentDrop:
    """`silent-drop [rst-ttl <ttl>]`."""
    if cursor.take("rst-ttl") is None:
        return SilentDrop()
    return SilentDrop(cursor.integer("a TTL", 1, 255))


def read_auth(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> Auth:
    """`auth [realm <realm>]`."""
    return Auth(cursor.next("a realm").text if cursor.take("realm") is not None else None)


def read_use_service(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> UseService:
    """`use-service <service-name>`."""
    if (cursor.peek() or "").startswith("lua."):
        raise cursor.wrong(cursor.next("a service"), "Lua is known but not yet supported")
    return UseService(cursor.choice("service", {name: name for name in SERVICES}))


def change_patterns(verb: str) -> ActionReader:
    """`set-map(<name>) <key fmt> <value fmt>`, `del-map`, `add-acl` and `del-acl(<name>) <key fmt>`."""

    def read(cursor: Cursor, draft: ProxyDraft, ruleset: Ruleset) -> ChangePatterns:
        word = cursor.next("the name of a list of patterns in parentheses")
        opening = word.text.find("(")
        arguments, end = parse_arguments(word, opening) if opening >= 0 else ((), 0)
        if end != len(word.text) or len(arguments) != 1 or not arguments[0]:
            remedy = f"for example '{verb}(/etc/haproxy/some.lst)'"
            raise cursor.wrong(word, f"'{verb}' expects the name of a list of patterns in parentheses", remedy=remedy)
        key = read_logformat(cursor)
        return ChangePatterns(verb, arguments[0], key, read_logformat(cursor) if verb == "set-map" else None, word.location)

    return read


accept = plain(Accept())
reject = plain(Reject())
disable_l7_retry = plain(DisableL7Retry())
wait_for_handshake = plain(WaitForHandshake())

