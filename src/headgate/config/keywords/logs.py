"""Logs of a proxy (manual 4.2, 8): `log`, `log-format` and its kin, `option httplog` and its kin, unique IDs and captures."""

from __future__ import annotations

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.keywords.log_target import parse_log_target
from headgate.config.keywords.options import switch
from headgate.config.keywords.proxy_basics import setting
from headgate.config.keywords.replies import header_name
from headgate.config.log_options import CookieCapture, HeaderCapture
from headgate.config.parse_logformat import read_logformat
from headgate.config.registry import FRONT, KEYWORDS, NOT_DEFAULTS, PROXY, Keyword, Parser, Status

_SWITCHES = ("dontlog-normal", "dontlognull", "log-separate-errors", "logasap")


def _log(cursor: Cursor, draft: ProxyDraft) -> None:
    """`log global`, `log <target> ...`, `no log`."""
    if cursor.prefix == "no":
        cursor.finish()
        draft.log_global = None
        draft.log_targets.clear()
    elif cursor.take("global") is not None:
        cursor.finish()
        draft.log_global = cursor.keyword.location
    else:
        draft.log_targets.append(parse_log_target(cursor))


def _style(option: str, style: str, words: dict[str, str]) -> Parser:
    """`option httplog [clf]`, `option tcplog`, `option httpslog`: each overrides `log-format`, and is overridden by it."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        chosen = style
        if cursor.more:
            chosen = cursor.choice("log style", words) if words else style
        cursor.finish()
        key = "log style"
        if cursor.prefix:
            draft.settings.pop(key, None)
            return
        _warn_overridden(cursor, draft, "log-format", option)
        draft.settings.pop("log-format", None)
        draft.settings.put(key, chosen, cursor.keyword.location)

    return parse


def _warn_overridden(cursor: Cursor, draft: ProxyDraft, earlier: str, now: str) -> None:
    known = draft.settings.get(earlier)
    if known is not None and not known.inherited:
        what = "log-format" if earlier == "log-format" else f"log style of {known.location.short}"
        cursor.report.warn(f"'{now}' overrides the {what} of this section ({known.location.short})", cursor.keyword.location)


def _log_format(cursor: Cursor, draft: ProxyDraft) -> None:
    """`log-format <fmt>`."""
    form = read_logformat(cursor, merge_spaces=True)
    cursor.finish()
    _warn_overridden(cursor, draft, "log style", "log-format")
    draft.settings.pop("log style", None)
    draft.settings.put("log-format", form, cursor.keyword.location)


def _merged(name: str) -> Parser:
    """`log-format-sd`, `unique-id-format`: spaces are delimiters."""
    return setting(name, lambda cursor: read_logformat(cursor, merge_spaces=True))


def _capture_header(side: str) -> Parser:
    """`capture {request | response} header <name> len <length>`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        name = header_name(cursor)
        capture = HeaderCapture(name, _length(cursor))
        captures = draft.request_captures if side == "request" else draft.response_captures
        # Slots are numbered in the order of the lines: one declared further up is a header that no message has.
        captures += [HeaderCapture("", length) for where, length in draft.declared_captures if where == side]
        draft.declared_captures = [slot for slot in draft.declared_captures if slot[0] != side]
        captures.append(capture)

    return parse


def _length(cursor: Cursor) -> int:
    cursor.choice("'len'", {"len": None})
    length = cursor.integer("a length", 1, 65535)
    cursor.finish()
    return length


def _capture_cookie(cursor: Cursor, draft: ProxyDraft) -> None:
    """`capture cookie <name> len <length>`: the name is a beginning unless it ends with `=`."""
    name = cursor.next("a cookie name").text
    draft.cookie_capture = CookieCapture(name.removesuffix("="), _length(cursor), not name.endswith("="))


def _declare_capture(cursor: Cursor, draft: ProxyDraft) -> None:
    """`declare capture {request | response} len <length>`."""
    side = cursor.choice("side", {"request": "request", "response": "response"})
    draft.declared_captures.append((side, _length(cursor)))


_SECTIONS = FRONT & NOT_DEFAULTS

KEYWORDS.add(
    Keyword("log", PROXY, Status.IMPLEMENTED, _log, negatable=True),
    Keyword("log-format", FRONT, Status.IMPLEMENTED, _log_format),
    Keyword("log-format-sd", FRONT, Status.IMPLEMENTED, _merged("log-format-sd")),
    Keyword("error-log-format", FRONT, Status.IMPLEMENTED, _merged("error-log-format")),
    Keyword("log-tag", PROXY, Status.IMPLEMENTED, setting("log-tag", lambda cursor: cursor.next("a tag").text)),
    Keyword("unique-id-format", PROXY, Status.IMPLEMENTED, _merged("unique-id-format")),
    Keyword("unique-id-header", FRONT, Status.IMPLEMENTED, setting("unique-id-header", header_name)),
    Keyword("option httplog", FRONT, Status.IMPLEMENTED, _style("option httplog", "http", {"clf": "clf"}), negatable=True),
    Keyword("option tcplog", FRONT, Status.IMPLEMENTED, _style("option tcplog", "tcp", {}), negatable=True),
    Keyword("option httpslog", FRONT, Status.IMPLEMENTED, _style("option httpslog", "https", {}), negatable=True),
    *[Keyword(f"option {name}", FRONT, Status.IMPLEMENTED, switch(name), negatable=True) for name in _SWITCHES],
    Keyword("capture request header", _SECTIONS, Status.IMPLEMENTED, _capture_header("request")),
    Keyword("capture response header", _SECTIONS, Status.IMPLEMENTED, _capture_header("response")),
    Keyword("capture cookie", _SECTIONS, Status.IMPLEMENTED, _capture_cookie),
    Keyword("declare capture", _SECTIONS, Status.IMPLEMENTED, _declare_capture),
)
