"""Rules: `tcp-request ...`, `tcp-response ...`, `http-request`, `http-response`, `http-after-response` (manual 4.2, 4.3).

The table says which action may stand in which ruleset, as the matrix of 4.3 does; the actions themselves are read by
`actions_readers`.
"""

from __future__ import annotations

from headgate.config.actions import Rule, Ruleset
from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords import actions_readers as read
from headgate.config.keywords import destination_actions as destination
from headgate.config.keywords import stick_actions as stick
from headgate.config.keywords.actions_readers import ActionReader
from headgate.config.keywords.rule_order import check_order
from headgate.config.keywords.switching import refuse_anonymous
from headgate.config.parse_condition import read_condition
from headgate.config.registry import BACK, FRONT, KEYWORDS, PROXY, Keyword, Parser, Scope, Status

_CONNECTION, _SESSION, _CONTENT, _RESPONSE_CONTENT, _REQUEST, _RESPONSE, _AFTER = Ruleset

_SCOPES: dict[Ruleset, frozenset[Scope]] = {
    Ruleset.TCP_REQUEST_CONNECTION: FRONT,
    Ruleset.TCP_REQUEST_SESSION: FRONT,
    Ruleset.TCP_REQUEST_CONTENT: PROXY,
    Ruleset.TCP_RESPONSE_CONTENT: BACK,
    Ruleset.HTTP_REQUEST: PROXY,
    Ruleset.HTTP_RESPONSE: PROXY,
    Ruleset.HTTP_AFTER_RESPONSE: PROXY,
}

_TCP = (_CONNECTION, _SESSION, _CONTENT, _RESPONSE_CONTENT)
_HTTP = (_REQUEST, _RESPONSE, _AFTER)
_EVERYWHERE = _TCP + _HTTP
_TO_SERVER = (_CONNECTION, _SESSION, _CONTENT, _REQUEST)
_TRACKING = (_CONNECTION, _SESSION, _CONTENT, _REQUEST, _RESPONSE)

#: Action -> its reader and the rulesets it may stand in. A name with `*` has its first argument in parentheses.
_ACTIONS: dict[str, tuple[ActionReader, tuple[Ruleset, ...]]] = {
    "accept": (read.accept, _TCP),
    "add-acl*": (read.change_patterns("add-acl"), (_REQUEST, _RESPONSE)),
    "add-header": (read.read_add_header, _HTTP),
    "allow": (read.accept, _HTTP),
    "auth": (read.read_auth, (_REQUEST,)),
    "capture": (read.read_capture, (_CONTENT, *_HTTP)),
    "close": (read.reject, (_RESPONSE_CONTENT,)),
    "del-acl*": (read.change_patterns("del-acl"), (_REQUEST, _RESPONSE)),
    "del-map*": (read.change_patterns("del-map"), _HTTP),
    "del-header": (read.read_delete_header, _HTTP),
    "deny": (read.read_deny, (_REQUEST, _RESPONSE)),
    "disable-l7-retry": (read.disable_l7_retry, (_REQUEST,)),
    "do-resolve*": (destination.read_do_resolve, (_CONTENT, _REQUEST)),
    "redirect": (read.read_redirect_action, (_REQUEST, _RESPONSE)),
    "reject": (read.reject, (*_TCP, _REQUEST)),
    "replace-header": (read.read_replace_header, _HTTP),
    "replace-path": (read.replace_part("path"), (_REQUEST,)),
    "replace-pathq": (read.replace_part("pathq"), (_REQUEST,)),
    "replace-uri": (read.replace_part("uri"), (_REQUEST,)),
    "replace-value": (read.read_replace_value, _HTTP),
    "return": (read.read_return, (_REQUEST, _RESPONSE)),
    "sc-add-gpc*": (stick.read_add, _EVERYWHERE),
    "sc-inc-gpc*": (stick.read_increment, _EVERYWHERE),
    "sc-inc-gpc0*": (stick.read_increment_0, _EVERYWHERE),
    "sc-inc-gpc1*": (stick.read_increment_1, _EVERYWHERE),
    "sc-set-gpt*": (stick.read_set_tag, _EVERYWHERE),
    "sc-set-gpt0*": (stick.read_set_tag_0, _EVERYWHERE),
    "set-dst": (destination.set_address, _TO_SERVER),
    "set-dst-port": (destination.set_port, _TO_SERVER),
    "set-header": (read.read_set_header, _HTTP),
    "set-log-level": (read.read_log_level, (_CONTENT, _RESPONSE_CONTENT, *_HTTP)),
    "set-map*": (read.change_patterns("set-map"), _HTTP),
    "set-method": (read.set_part("method"), (_REQUEST,)),
    "set-path": (read.set_part("path"), (_REQUEST,)),
    "set-pathq": (read.set_part("pathq"), (_REQUEST,)),
    "set-query": (read.set_part("query"), (_REQUEST,)),
    "set-retries": (read.read_set_retries, (_CONTENT, _REQUEST)),
    "set-status": (read.read_set_status, (_RESPONSE, _AFTER)),
    "set-timeout": (read.read_set_timeout, (_REQUEST, _RESPONSE)),
    "set-uri": (read.set_part("uri"), (_REQUEST,)),
    "set-var*": (read.read_set_var, _EVERYWHERE),
    "set-var-fmt*": (read.read_set_var_fmt, _EVERYWHERE),
    "silent-drop": (read.read_silent_drop, (*_TCP, _REQUEST, _RESPONSE)),
    "tarpit": (read.read_tarpit, (_REQUEST,)),
    "use-service": (read.read_use_service, (_REQUEST,)),
    "track-sc0": (stick.read_track, _TRACKING),
    "track-sc1": (stick.read_track, _TRACKING),
    "track-sc2": (stick.read_track, _TRACKING),
    "unset-var*": (read.read_unset_var, _EVERYWHERE),
    "wait-for-handshake": (read.wait_for_handshake, (_REQUEST,)),
}


def _rule(ruleset: Ruleset, reader: ActionReader) -> Parser:
    """`<ruleset> <action> [options] [{if | unless} <condition>]`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        refuse_anonymous(cursor, draft)
        check_order(cursor, draft, ruleset.value)
        action = reader(cursor, draft, ruleset)
        condition = read_condition(cursor)
        draft.rules.setdefault(ruleset, []).append(Rule(ruleset, action, condition, cursor.keyword.location))

    return parse


def _inspect_delay(cursor: Cursor, draft: ProxyDraft) -> None:
    """`tcp-request inspect-delay <timeout>`."""
    refuse_anonymous(cursor, draft)
    delay = cursor.time("a time")
    cursor.finish()
    draft.settings.put(f"{cursor.keyword.text} inspect-delay", delay, cursor.keyword.location)


KEYWORDS.add(
    *[
        Keyword(
            f"{ruleset.value} {name.rstrip('*')}", _SCOPES[ruleset], Status.IMPLEMENTED, _rule(ruleset, reader),
            prefix_match=name.endswith("*"),
        )
        for name, (reader, rulesets) in _ACTIONS.items()
        for ruleset in rulesets
    ],
    Keyword("tcp-request inspect-delay", PROXY, Status.IMPLEMENTED, _inspect_delay),
)
