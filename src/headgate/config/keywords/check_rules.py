"""`tcp-check <rule>` and `http-check <rule>` (manual 4.2), in proxies and in `healthcheck` sections (12.9): one reader a rule.

What a rule says is kept as it stands; `check_drafts` puts in what is implied and `plan.checks` compiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from headgate.base.regex import regex
from headgate.config.actions import SetVar, UnsetVar
from headgate.config.addresses import parse_address
from headgate.config.check_drafts import CheckDraft
from headgate.config.checks import (
    CheckRule,
    CommentRule,
    ConnectRule,
    ExpectRule,
    FieldPattern,
    RequestRule,
    SendRule,
    Text,
    VariableRule,
)
from headgate.config.cursor import Cursor, Word
from headgate.config.keywords.actions_readers import CONDITIONS, regular_expression
from headgate.config.keywords.check_texts import hexadecimal, hexadecimal_format, log_format, text, text_bytes
from headgate.config.keywords.replies import header_name
from headgate.config.keywords.tls_options import protocols
from headgate.config.parse_arguments import parse_arguments
from headgate.config.parse_expression import parse_expression, read_expression
from headgate.config.parse_logformat import parse_logformat, read_logformat
from headgate.config.registry import BACK, KEYWORDS, Keyword, Parser, Scope, Status
from headgate.config.tls_options import Protocols

SCOPES = BACK | {Scope.HEALTHCHECK}

_STATUSES = regex(r"\d{3}(?:-\d{3})?(?:,\d{3}(?:-\d{3})?)*")
_METHOD = regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = regex(r"(proc|sess|check)\.([A-Za-z0-9_.]+)")


class HasCheck(Protocol):
    """A proxy's draft or a `healthcheck` section's."""

    check: CheckDraft


# --- connect, send, comment, variables -------------------------------------------------------------------------------


def _port(cursor: Cursor) -> Any:
    if (cursor.peek() or "").lstrip("+-").isdecimal():
        return cursor.integer("a port", 1, 65535)
    return parse_expression(cursor.next("a port or a sample expression"))


def read_protocol(cursor: Cursor) -> str:
    """The protocol of `proto` and `check-proto`."""
    word = cursor.next("a protocol")
    if word.text in ("h2", "fcgi", "quic", "spop"):
        raise cursor.wrong(word, f"checks with protocol '{word.text}' are known but not yet supported", allowed=("h1", "none"))
    if word.text not in ("h1", "none"):
        raise cursor.wrong(word, f"unknown protocol '{word.text}'", allowed=("h1", "none"))
    return word.text


def _alpn(cursor: Cursor) -> Protocols:
    """`alpn <protocols>`."""
    names = protocols(cursor)
    return Protocols(names, cursor.last.location)


_FLAGS = {"default": "default", "send-proxy": "send_proxy", "via-socks4": "via_socks4", "ssl": "ssl", "linger": "linger"}
_VALUES: Mapping[str, Callable[[Cursor], Any]] = {
    "port": _port,
    "addr": lambda cursor: parse_address(cursor.next("an address")),
    "sni": lambda cursor: cursor.next("a server name").text,
    "alpn": _alpn,
    "proto": read_protocol,
    "comment": lambda cursor: cursor.next("a comment").text,
}


def _connect(cursor: Cursor, kind: str) -> ConnectRule:
    """`connect [default] [port <expr>] [addr <ip>] [send-proxy] [via-socks4] [ssl] [sni <sni>] [alpn <alpn>] [linger] ...`."""
    fields: dict[str, Any] = {}
    while cursor.more:
        word = cursor.next("an option")
        if word.text in _FLAGS:
            fields[_FLAGS[word.text]] = True
        elif word.text in _VALUES:
            fields["address" if word.text == "addr" else word.text] = _VALUES[word.text](cursor)
        else:
            raise cursor.wrong(word, f"unknown option '{word.text}' of 'connect'", allowed=(*_FLAGS, *_VALUES))
    if fields.get("proto", "none") == "h1" and kind == "tcp":
        raise cursor.wrong(cursor.keyword, "'proto h1' is for http-check: tcp-check rules speak no HTTP")
    if fields.get("proto") == "none" and kind == "http":
        raise cursor.wrong(cursor.keyword, "'proto none' is for tcp-check: http-check rules speak HTTP", remedy="leave it out")
    alpn = fields.get("alpn")
    if alpn is not None and kind == "http" and "h2" in alpn.names:
        message = "alpn h2: checks over HTTP/2 are known but not yet supported"
        raise cursor.wrong(Word("h2", alpn.location), message, remedy="write 'alpn http/1.1', or none")
    return ConnectRule(**fields, location=cursor.keyword.location)


def _comment(cursor: Cursor) -> str:
    comment = cursor.next("a comment").text if cursor.take("comment") is not None else ""
    cursor.finish()
    return comment


def _send(read: Callable[[Cursor], Text], *, hexadecimal: bool = False) -> Callable[[Cursor, str], CheckRule]:
    """`send <data>`, `send-lf <fmt>`, `send-binary <hexstring>`, `send-binary-lf <hexfmt>`, each `[comment <msg>]`."""

    def rule(cursor: Cursor, kind: str) -> SendRule:
        return SendRule(read(cursor), hexadecimal, _comment(cursor), cursor.keyword.location)

    return rule


def _only_comment(cursor: Cursor, kind: str) -> CommentRule:
    """`comment <string>`."""
    text = cursor.next("a comment").text
    cursor.finish()
    return CommentRule(text, cursor.keyword.location)


def _variable(cursor: Cursor) -> tuple[str, str, tuple[str, ...]]:
    """The word `set-var(<name>[,<condition>...])`, which the cursor stands on."""
    word = cursor.next("a variable in parentheses")
    opening = word.text.find("(")
    arguments, end = parse_arguments(word, opening) if opening >= 0 else ((), 0)
    if end != len(word.text) or not arguments:
        raise cursor.wrong(word, f"'{word.text}' expects a variable in parentheses", remedy="for example 'set-var(check.port)'")
    name, *conditions = arguments
    match = _VARIABLE.fullmatch(name)
    if match is None:
        raise cursor.wrong(word, f"'{name}' is not a variable of checks: their scopes are proc, sess and check")
    for condition in conditions:
        if condition not in CONDITIONS:
            raise cursor.wrong(Word(condition, word.location), f"unknown condition '{condition}'", allowed=CONDITIONS)
    return match[1], match[2], tuple(conditions)


def _set_var(cursor: Cursor, kind: str) -> VariableRule:
    """`set-var(<var-name>[,<cond>...]) <expr>`."""
    scope, name, conditions = _variable(cursor)
    value = read_expression(cursor)
    cursor.finish()
    return VariableRule(SetVar(scope, name, conditions, value), cursor.keyword.location)


def _set_var_fmt(cursor: Cursor, kind: str) -> VariableRule:
    """`set-var-fmt(<var-name>[,<cond>...]) <fmt>`."""
    scope, name, conditions = _variable(cursor)
    value = read_logformat(cursor)
    cursor.finish()
    return VariableRule(SetVar(scope, name, conditions, value), cursor.keyword.location)


def _unset_var(cursor: Cursor, kind: str) -> VariableRule:
    """`unset-var(<var-name>)`."""
    scope, name, _ = _variable(cursor)
    cursor.finish()
    return VariableRule(UnsetVar(scope, name), cursor.keyword.location)


# --- the request of an HTTP check ------------------------------------------------------------------------------------


def method(cursor: Cursor, word: Word) -> str:
    """An HTTP method."""
    if _METHOD.fullmatch(word.text) is None:
        raise cursor.wrong(word, f"'{word.text}' is not an HTTP method")
    return word.text


def version_and_lines(cursor: Cursor, word: Word) -> tuple[str, tuple[tuple[str, str], ...]]:
    """An HTTP version, and behind it header lines with escaped line ends, as before HAProxy 2.2: understood, with a warning."""
    version, *lines = word.text.replace("\r\n", "\n").split("\n")
    if re.fullmatch(r"HTTP/[023](?:\.\d)?", version):
        raise cursor.wrong(word, f"checks speak HTTP/1, not '{version}'", allowed=("HTTP/1.0", "HTTP/1.1"))
    if not re.fullmatch(r"HTTP/1\.\d", version):
        raise cursor.wrong(word, f"'{version}' is not an HTTP version", allowed=("HTTP/1.0", "HTTP/1.1"))
    headers = []
    for line in filter(None, lines):
        name, colon, value = line.partition(":")
        if not colon or any(ord(char) < 32 for char in line):
            raise cursor.wrong(word, f"'{line}' is not a header line")
        headers.append((name.strip(), value.strip()))
    if headers:
        remedy = " ".join(["http-check send", *(f"hdr {name} {value}" for name, value in headers)])
        cursor.report.warn(
            "headers behind the version of 'option httpchk' are the form before HAProxy 2.2", word.location,
            remedy=f"write '{remedy}'",
        )
    return version, tuple(headers)


def _request(cursor: Cursor, kind: str) -> RequestRule:
    """`send [meth <method>] [{uri <uri> | uri-lf <fmt>}] [ver <version>] [hdr <name> <fmt>]* [{body <str> | body-lf <fmt>}]`."""
    fields: dict[str, Any] = {}
    headers: list[tuple[str, Any]] = []
    while cursor.more:
        word = cursor.next("an option")
        match word.text:
            case "meth":
                fields["method"] = method(cursor, cursor.next("a method"))
            case "uri":
                value = cursor.next("a URI")
                if not value.text or any(ord(char) <= 32 or ord(char) == 127 for char in value.text):
                    raise cursor.wrong(value, "a URI has no spaces and no control characters")
                fields["uri"] = value.text
            case "uri-lf":
                fields["uri"] = read_logformat(cursor)
            case "ver":
                fields["version"], lines = version_and_lines(cursor, cursor.next("an HTTP version"))
                headers += lines
            case "hdr":
                name = header_name(cursor)
                if name.lower() == "host" and any(other.lower() == "host" for other, _ in headers):
                    raise cursor.wrong(cursor.last, "a request has one Host")
                value = cursor.next("a header value")
                # 4.2: "this header or Transfer-encoding should not be present ... it will be ignored"
                if name.lower() not in ("content-length", "transfer-encoding"):
                    headers.append((name, parse_logformat(value)))
            case "body":
                fields["body"] = text_bytes(cursor.next("a body").text)
            case "body-lf":
                fields["body"] = read_logformat(cursor)
            case "comment":
                fields["comment"] = cursor.next("a comment").text
            case _:
                known = ("meth", "uri", "uri-lf", "ver", "hdr", "body", "body-lf", "comment")
                raise cursor.wrong(word, f"unknown option '{word.text}'", allowed=known)
    return RequestRule(**fields, headers=tuple(headers), location=cursor.keyword.location)


# --- expect ----------------------------------------------------------------------------------------------------------

_OK_STATUSES = ("L7OK", "L7OKC", "L6OK", "L4OK")
_ERROR_STATUSES = ("L7OKC", "L7RSP", "L7STS", "L6RSP", "L4CON")
_TIMEOUT_STATUSES = ("L7TOUT", "L6TOUT", "L4TOUT")


def _one_of(words: tuple[str, ...]) -> Callable[[Cursor], str]:
    return lambda cursor: cursor.choice("check status", {word: word for word in words})


_EXPECT_OPTIONS: Mapping[str, Callable[[Cursor], Any]] = {
    "min-recv": lambda cursor: cursor.integer("a number of bytes", -1, 0x7FFFFFFF),
    "comment": lambda cursor: cursor.next("a comment").text,
    "ok-status": _one_of(_OK_STATUSES),
    "error-status": _one_of(_ERROR_STATUSES),
    "tout-status": _one_of(_TIMEOUT_STATUSES),
    "on-success": read_logformat,
    "on-error": read_logformat,
    "status-code": read_expression,
}


def _statuses(cursor: Cursor) -> str:
    word = cursor.next("a list of statuses")
    if not _STATUSES.fullmatch(word.text):
        remedy = "write for example '200,204' or '200-399'"
        raise cursor.wrong(word, f"'{word.text}' is not a list of statuses", remedy=remedy)
    for part in word.text.split(","):
        low, dash, high = part.partition("-")
        if dash and high < low:
            raise cursor.wrong(word, f"no status is in the range '{part}'", remedy=f"write '{high}-{low}'")
    return word.text


_FIELD_METHODS = ("str", "beg", "end", "sub", "reg")


def _matched(cursor: Cursor, formatted: bool, what: str) -> tuple[Text, str]:
    """`[-m <meth>] <pattern>`."""
    way = "str"
    if cursor.take("-m") is not None:
        way = cursor.choice("matching method", {word: word for word in _FIELD_METHODS})
        if formatted and way == "reg":
            raise cursor.wrong(cursor.last, "a regular expression can't be a log format here")
    if formatted:
        return read_logformat(cursor), way
    return text_bytes(regular_expression(cursor) if way == "reg" else cursor.next(what).text), way


def _field(cursor: Cursor) -> FieldPattern:
    """`{ name | name-lf } [-m <meth>] <name> [{ value | value-lf } [-m <meth>] <value>]`."""
    which = cursor.choice("part of a header", {"name": "name", "name-lf": "name-lf"})
    name, name_method = _matched(cursor, which == "name-lf", "a header name")
    word = cursor.take("value", "value-lf")
    if word is None:
        return FieldPattern(name, name_method)
    value, value_method = _matched(cursor, word.text == "value-lf", "a header value")
    return FieldPattern(name, name_method, value, value_method)


_CONTENT_MATCHES: Mapping[str, Callable[[Cursor], Any]] = {
    "string": text("an empty string is found everywhere"),
    "rstring": regular_expression,
    "string-lf": log_format,
}
_MATCHES: Mapping[str, Mapping[str, Callable[[Cursor], Any]]] = {
    "tcp": {
        **_CONTENT_MATCHES,
        "binary": hexadecimal,
        "rbinary": regular_expression,
        "binary-lf": hexadecimal_format,
    },
    "http": {
        "status": _statuses,
        "rstatus": regular_expression,
        "hdr": _field,
        "fhdr": _field,
        **_CONTENT_MATCHES,
    },
}


def _expect(cursor: Cursor, kind: str) -> ExpectRule:
    """`expect [min-recv <int>] [comment <msg>] [ok-status <st>] ... [!] <match> <pattern>`; options may follow, too."""
    matches = _MATCHES[kind]
    fields: dict[str, Any] = {}
    while cursor.more:
        word = cursor.next("what to expect")
        if word.text in _EXPECT_OPTIONS:
            fields[word.text.replace("-", "_")] = _EXPECT_OPTIONS[word.text](cursor)
            continue
        negated, name = word.text.startswith("!"), word.text.removeprefix("!")
        if negated and not name:
            word = cursor.next("what not to expect")
            name = word.text
        if name not in matches:
            known = (*matches, *_EXPECT_OPTIONS)
            raise cursor.wrong(Word(name, word.location), f"unknown match '{name}'", allowed=known)
        if "match" in fields:
            raise cursor.wrong(word, "a rule expects one thing", remedy="write another 'expect' rule below it")
        fields |= {"match": name, "negated": negated, "pattern": matches[name](cursor)}
    if "match" not in fields:
        raise cursor.wrong(cursor.keyword, f"'expect' needs a match: {', '.join(matches)}")
    return ExpectRule(**fields, location=cursor.keyword.location)


# --- rows ------------------------------------------------------------------------------------------------------------


def _rule(kind: str, read: Callable[[Cursor, str], CheckRule]) -> Parser:
    """`http-check <rule>` or `tcp-check <rule>`."""

    def parse(cursor: Cursor, draft: HasCheck) -> None:
        rule = read(cursor, kind)
        draft.check.own(kind).append(rule)

    return parse


def _disable_on_404(cursor: Cursor, draft: HasCheck) -> None:
    """`http-check disable-on-404`."""
    cursor.finish()
    draft.check.disable_on_404 = True
    draft.check.written["http-check disable-on-404"] = "http", cursor.keyword.location


def _send_state(cursor: Cursor, draft: HasCheck) -> None:
    """`http-check send-state`."""
    cursor.finish()
    draft.check.send_state = True
    draft.check.written["http-check send-state"] = "http", cursor.keyword.location


_BOTH: Mapping[str, Callable[[Cursor, str], CheckRule]] = {
    "comment": _only_comment,
    "connect": _connect,
    "expect": _expect,
    "set-var": _set_var,
    "set-var-fmt": _set_var_fmt,
    "unset-var": _unset_var,
}
_RULES: Mapping[str, Mapping[str, Callable[[Cursor, str], CheckRule]]] = {
    "http": {**_BOTH, "send": _request},
    "tcp": {
        **_BOTH,
        "send": _send(text("an empty string sends nothing")),
        "send-lf": _send(log_format),
        "send-binary": _send(hexadecimal),
        "send-binary-lf": _send(hexadecimal_format, hexadecimal=True),
    },
}

KEYWORDS.add(
    *[
        Keyword(f"{kind}-check {name}", SCOPES, Status.IMPLEMENTED, _rule(kind, read), prefix_match="var" in name)
        for kind, readers in _RULES.items()
        for name, read in readers.items()
    ],
    Keyword("http-check disable-on-404", SCOPES, Status.IMPLEMENTED, _disable_on_404),
    Keyword("http-check send-state", SCOPES, Status.IMPLEMENTED, _send_state),
)
