"""The header-editing keywords that HAProxy 2.1 removed: `reqadd`, `reqrep`, `rspdel` and their kin, and `block`.

They matched regular expressions against whole header lines, the request line being the first. Each line here warns once, with the
rules that replace it, and does what those rules do. A pattern that can't be translated faithfully is an error that says so:
what is left of a line must never quietly stop protecting a site.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from headgate.base.diagnostics import ConfigError, config_error
from headgate.base.records import dataclass
from headgate.base.regex import regex
from headgate.config.actions import (
    Accept,
    Action,
    AddHeader,
    DeleteHeader,
    Deny,
    ReplaceHeader,
    ReplaceRequestPart,
    ReplySpec,
    Rule,
    Ruleset,
    Tarpit,
)
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ProxyDraft
from headgate.config.expression import Condition, Criterion, LogFormat, Pattern, Term
from headgate.config.parse_condition import read_condition
from headgate.config.parse_expression import parse_expression
from headgate.config.parse_logformat import literal_format
from headgate.config.registry import KEYWORDS, NOT_DEFAULTS, PROXY, Keyword, Parser, Status

#: `^Name:` at the beginning of a pattern, an optional space class behind it.
_HEADER = regex(r"\^([A-Za-z0-9_-]+):(?:\\ |\\s|\[ \\t\]|[ ])?[*+]?(.*)", re.DOTALL)
_ANYTHING = ("", ".*", ".*$", "$")


@dataclass(frozen=True, slots=True)
class _Side:
    """Which message a keyword edits."""

    ruleset: Ruleset
    fetch: str


_REQUEST = _Side(Ruleset.HTTP_REQUEST, "req.fhdr")
_RESPONSE = _Side(Ruleset.HTTP_RESPONSE, "res.fhdr")


def _untranslatable(cursor: Cursor, word: Word, modern: str) -> ConfigError:
    return config_error(
        f"'{cursor.keyword.text}' was removed by HAProxy 2.1, and '{word.text}' can't be translated by itself", word.location,
        remedy=f"write {modern} instead",
    )


def _quoted(text: str) -> str:
    """A word as it must be written again."""
    return f"'{text}'" if re.search(r"[\s\"#\\$]", text) and "'" not in text else text.replace(" ", "\\ ")


def _finish(
    cursor: Cursor, draft: ProxyDraft, side: _Side, modern: str, action: Action, condition: Condition | None, *, shown: str
) -> None:
    """Add the rule and warn with what to write."""
    rule = Rule(side.ruleset, action, condition, cursor.keyword.location)
    draft.edits.append(rule)
    cursor.report.warn(
        f"'{cursor.keyword.text}' was removed by HAProxy 2.1", cursor.keyword.location,
        remedy=f"write '{side.ruleset.value} {modern}{shown}'",
    )


def _condition(cursor: Cursor) -> tuple[Condition | None, str]:
    """The condition behind the arguments, and how it was written."""
    shown = "".join(f" {word.text}" for word in cursor.rest)
    return read_condition(cursor), shown


def _add(side: _Side) -> Parser:
    """`reqadd <string> [{if | unless} <cond>]`, `rspadd ...`: the string is a whole header line."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        word = cursor.next("a header line such as 'X-Name:\\ value'")
        name, colon, value = word.text.partition(":")
        if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise cursor.wrong(word, f"'{word.text}' is not a header line: '<name>: <value>'")
        value = value.strip(" \t")
        condition, shown = _condition(cursor)
        form: LogFormat = literal_format(value, word)
        modern = f"add-header {name} {_quoted(value.replace('%', '%%'))}"
        _finish(cursor, draft, side, modern, AddHeader(name, form), condition, shown=shown)

    return parse


def _pattern(cursor: Cursor) -> Word:
    word = cursor.next("a regular expression")
    try:
        re.compile(word.text)
    except (re.error, RecursionError, OverflowError) as error:
        raise cursor.wrong(word, f"'{word.text}' is not a regular expression: {error}") from None
    return word


def _delete(side: _Side) -> Parser:
    """`reqdel <search>`, `reqidel`, `rspdel`, `rspidel`: lines that match disappear."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        word = _pattern(cursor)
        match = _HEADER.fullmatch(word.text)
        if match is None or match[2] not in _ANYTHING:
            raise _untranslatable(cursor, word, f"'{side.ruleset.value} del-header <name>' or 'replace-header'")
        condition, shown = _condition(cursor)
        _finish(cursor, draft, side, f"del-header {match[1]}", DeleteHeader(match[1]), condition, shown=shown)

    return parse


def _replace(side: _Side, *, ignore_case: bool) -> Parser:
    """`reqrep <search> <string>`, `reqirep`, `rsprep`, `rspirep`: `^Name: pattern` -> `Name: replacement`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        word = _pattern(cursor)
        target = cursor.next("a replacement")
        match, new = _HEADER.fullmatch(word.text), re.fullmatch(r"([^:\s]+):[ ]?(.*)", target.text, re.DOTALL)
        if match is not None and new is not None and match[1].lower() == new[1].lower():
            pattern = ("(?i)^" if ignore_case else "^") + match[2]
            action: Action = ReplaceHeader(match[1], pattern, literal_format(new[2], target))
            modern = f"replace-header {match[1]} {_quoted(pattern)} {_quoted(new[2])}"
        else:
            action, modern = _request_line(cursor, side, word, target)
        condition, shown = _condition(cursor)
        _finish(cursor, draft, side, modern, action, condition, shown=shown)

    return parse


_PATH_EDIT = regex(r"\^\(\[\^(?:\\)? (?::)?\]\*\)(?:\\)? (.*)", re.DOTALL)


def _request_line(cursor: Cursor, side: _Side, word: Word, target: Word) -> tuple[Action, str]:
    r"""The common form of `reqrep` on the request line: `^([^ ]*) /old/(.*)  \1 /new/\2`; the method's group falls away."""
    match = _PATH_EDIT.fullmatch(word.text)
    new = re.fullmatch(r"\\1(?:\\)? (.*)", target.text, re.DOTALL)
    if side is not _REQUEST or match is None or new is None or re.search(r"\\1(?!\d)|\\\d\d", new[1]) or " " in match[1]:
        raise _untranslatable(cursor, word, f"'{side.ruleset.value} replace-path <regex> <path>' or 'replace-header'")
    pattern = match[1]
    replacement = re.sub(r"\\(\d)", lambda group: f"\\{int(group[1]) - 1}", new[1])
    # The old pattern also ran over the version behind the URI, which a greedy group put back unchanged.
    action = ReplaceRequestPart("uri", "^" + pattern, literal_format(replacement, target))
    return action, f"replace-uri {_quoted('^' + pattern)} {_quoted(replacement)}"


def _judge(side: _Side, name: str, make: Callable[[], Action], *, ignore_case: bool) -> Parser:
    """`reqdeny <search>`, `reqallow`, `reqpass`, `reqtarpit`, `rspdeny` and the `i` forms: on a header line that matches."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        word = _pattern(cursor)
        match = _HEADER.fullmatch(word.text)
        if match is None:
            raise _untranslatable(cursor, word, f"'{side.ruleset.value} {name} if {{ path_reg <regex> }}' or with another fetch")
        if cursor.more:
            raise _untranslatable(cursor, cursor.rest[0], f"the condition behind '{side.ruleset.value} {name} if'")
        fetch = f"{side.fetch}({match[1]})"
        found, pattern = match[2] in _ANYTHING, f"^{match[2]}"
        criterion = Criterion(
            expression=parse_expression(Word(fetch, word.location)),
            ignore_case=ignore_case and not found,
            match_method="found" if found else "reg",
            pattern_files=(),
            map_files=(),
            identifier=None,
            no_resolve=False,
            patterns=() if found else (Pattern(pattern, word.location),),
            location=word.location,
        )
        condition = Condition(False, ((Term(False, criterion),),), word.location)
        test = "-m found" if found else f"-m reg {'-i ' if ignore_case else ''}{_quoted(pattern)}"
        _finish(cursor, draft, side, f"{name} if {{ {fetch} {test} }}", make(), condition, shown="")

    return parse


def _block(cursor: Cursor, draft: ProxyDraft) -> None:
    """`block {if | unless} <condition>`: `http-request deny` in front of all other http-request rules."""
    condition, shown = _condition(cursor)
    if condition is None:
        raise config_error("'block' expects 'if' or 'unless' and a condition", cursor.end)
    reply = ReplySpec(default_errorfiles=True)
    draft.denials.append(Rule(Ruleset.HTTP_REQUEST, Deny(reply), condition, cursor.keyword.location))
    cursor.report.warn(
        "'block' was removed by HAProxy 2.1", cursor.keyword.location,
        remedy=f"write 'http-request deny{shown}' above all other http-request rules",
    )


def _deny() -> Action:
    return Deny(ReplySpec(default_errorfiles=True))


def _tarpit() -> Action:
    return Tarpit(ReplySpec(default_errorfiles=True))


_PARSERS: dict[str, tuple[Parser, str]] = {
    "reqadd": (_add(_REQUEST), "http-request add-header"),
    "rspadd": (_add(_RESPONSE), "http-response add-header"),
    "reqdel": (_delete(_REQUEST), "http-request del-header"),
    "reqidel": (_delete(_REQUEST), "http-request del-header"),
    "rspdel": (_delete(_RESPONSE), "http-response del-header"),
    "rspidel": (_delete(_RESPONSE), "http-response del-header"),
    "reqrep": (_replace(_REQUEST, ignore_case=False), "http-request replace-header, replace-path"),
    "reqirep": (_replace(_REQUEST, ignore_case=True), "http-request replace-header, replace-path"),
    "rsprep": (_replace(_RESPONSE, ignore_case=False), "http-response replace-header"),
    "rspirep": (_replace(_RESPONSE, ignore_case=True), "http-response replace-header"),
    "reqdeny": (_judge(_REQUEST, "deny", _deny, ignore_case=False), "http-request deny"),
    "reqideny": (_judge(_REQUEST, "deny", _deny, ignore_case=True), "http-request deny"),
    "reqallow": (_judge(_REQUEST, "allow", Accept, ignore_case=False), "http-request allow"),
    "reqiallow": (_judge(_REQUEST, "allow", Accept, ignore_case=True), "http-request allow"),
    "reqpass": (_judge(_REQUEST, "allow", Accept, ignore_case=False), "http-request allow"),
    "reqipass": (_judge(_REQUEST, "allow", Accept, ignore_case=True), "http-request allow"),
    "reqtarpit": (_judge(_REQUEST, "tarpit", _tarpit, ignore_case=False), "http-request tarpit"),
    "reqitarpit": (_judge(_REQUEST, "tarpit", _tarpit, ignore_case=True), "http-request tarpit"),
    "rspdeny": (_judge(_RESPONSE, "deny", _deny, ignore_case=False), "http-response deny"),
    "rspideny": (_judge(_RESPONSE, "deny", _deny, ignore_case=True), "http-response deny"),
}

KEYWORDS.add(
    *[Keyword(name, PROXY, Status.REMOVED, parse, f"write '{modern}'") for name, (parse, modern) in _PARSERS.items()],
    Keyword("block", NOT_DEFAULTS, Status.REMOVED, _block, "write 'http-request deny'"),
    Keyword("reqsetbe", PROXY, Status.REMOVED, note="write 'use_backend <backend> if <condition>'"),
    Keyword("reqisetbe", PROXY, Status.REMOVED, note="write 'use_backend <backend> if <condition>'"),
    Keyword("dispatch", PROXY, Status.REMOVED, note="write 'server <name> <address>:<port>'"),
    Keyword("monitor-net", PROXY, Status.REMOVED,
            note="write 'http-request return status 200 if { src <network> }', or 'tcp-request connection reject if ...'"),
    Keyword("bind-process", PROXY, Status.REMOVED, note="leave it out, or write 'thread' on the bind line"),
    Keyword("transparent", PROXY, Status.REMOVED, note="write 'option transparent'"),
)
