"""What a proxy is: mode, id, description, enabled, limits, retries, reuse (manual 4.2). Each is one setting of the draft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.config.cursor import Cursor
from headgate.config.drafts import ProxyDraft
from headgate.config.model import Mode
from headgate.config.registry import BACK, FRONT, KEYWORDS, NOT_DEFAULTS, PROXY, Keyword, Parser, Scope, Status

#: 4.2 "retry-on". Besides them: HTTP status codes.
RETRY_EVENTS = (
    "none", "conn-failure", "empty-response", "junk-response", "response-timeout", "0rtt-rejected", "all-retryable-errors",
)
RETRY_CODES = ("401", "403", "404", "408", "421", "425", "429", "500", "501", "502", "503", "504")


def setting(name: str, read: Callable[[Cursor], Any]) -> Parser:
    """A parser of a line with exactly one value: stores it under the keyword's name."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        value = read(cursor)
        place = cursor.last.location
        cursor.finish()
        draft.settings.put(name, value, place)

    return parse


def _mode(cursor: Cursor, draft: ProxyDraft) -> None:
    """`mode { tcp | http | log | spop }`."""
    word = cursor.next("a mode (tcp or http)")
    if word.text in ("log", "spop"):
        raise cursor.wrong(word, f"'mode {word.text}' is known but not yet supported", allowed=("tcp", "http"))
    if word.text == "health":
        remedy = "write 'http-request return status 200' in a frontend of mode http"
        raise cursor.wrong(word, "'mode health' was removed by HAProxy", remedy=remedy)
    if word.text not in ("tcp", "http"):
        raise cursor.wrong(word, f"unknown mode '{word.text}'", allowed=("tcp", "http", "log", "spop"))
    cursor.finish()
    draft.settings.put("mode", Mode(word.text), word.location)


def _description(cursor: Cursor, draft: ProxyDraft) -> None:
    """`description <string>`: all words of the line."""
    cursor.next("a description")
    cursor.take_all()
    draft.settings.put("description", " ".join(word.text for word in cursor.words[1:]), cursor.keyword.location)


def _switch(disabled: bool) -> Parser:
    """`disabled`, `enabled`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        cursor.finish()
        draft.settings.put("disabled", disabled, cursor.keyword.location)

    return parse


def _retry_on(cursor: Cursor, draft: ProxyDraft) -> None:
    """`retry-on <event or status> ...`."""
    cursor.next("a list of events to retry on")
    words = cursor.words[1:]
    cursor.take_all()
    events: set[str] = set()
    for word in words:
        if word.text not in RETRY_EVENTS and word.text not in RETRY_CODES:
            raise cursor.wrong(word, f"unknown event '{word.text}'", allowed=RETRY_EVENTS + RETRY_CODES)
        if word.text == "none" and len(words) > 1:
            raise cursor.wrong(word, "'none' must stand alone")
        if word.text == "all-retryable-errors":
            events |= {*RETRY_EVENTS[1:-1], "500", "502", "503", "504"}
        elif word.text != "none":
            events.add(word.text)
    draft.settings.put("retry-on", frozenset(events), cursor.keyword.location)


def _send_name_header(cursor: Cursor, draft: ProxyDraft) -> None:
    """`http-send-name-header [<header>]`; without a name it is off."""
    name = cursor.next("a header name").text if cursor.more else None
    cursor.finish()
    draft.settings.put("http-send-name-header", name, cursor.keyword.location)


def _rate_limit(cursor: Cursor) -> int:
    return cursor.integer("a number of sessions a second", 0)


def _state_source(cursor: Cursor) -> str:
    """`load-server-state-from-file { global | local | none }`; without a word it is global."""
    return cursor.choice("where states come from", {name: name for name in ("global", "local", "none")})


def _state_file_name(cursor: Cursor, draft: ProxyDraft) -> None:
    """`server-state-file-name [ { use-backend-name | <file> } ]`; None stands for the backend's name."""
    name = cursor.next("a file").text if cursor.more else "use-backend-name"
    cursor.finish()
    draft.settings.put("server-state-file-name", None if name == "use-backend-name" else name, cursor.keyword.location)


def _word(what: str) -> Callable[[Cursor], str]:
    return lambda cursor: cursor.next(what).text


def _count(what: str, low: int = 0) -> Callable[[Cursor], int]:
    return lambda cursor: cursor.integer(what, low, 0x7FFFFFFF)


_REUSE = {name: name for name in ("never", "safe", "aggressive", "always")}


def _row(name: str, scopes: frozenset[Scope], parse: Parser) -> Keyword:
    return Keyword(name, scopes, Status.IMPLEMENTED, parse)


KEYWORDS.add(
    _row("mode", PROXY, _mode),
    _row("id", NOT_DEFAULTS, setting("id", _count("a proxy id", 1))),
    _row("description", NOT_DEFAULTS, _description),
    _row("disabled", PROXY, _switch(True)),
    _row("enabled", PROXY, _switch(False)),
    _row("maxconn", FRONT, setting("maxconn", _count("maxconn"))),
    _row("fullconn", BACK, setting("fullconn", _count("fullconn"))),
    _row("backlog", FRONT, setting("backlog", _count("backlog"))),
    _row("retries", BACK, setting("retries", _count("retries"))),
    _row("retry-on", BACK, _retry_on),
    _row("http-reuse", BACK, setting("http-reuse", lambda cursor: cursor.choice("reuse strategy", _REUSE))),
    _row("http-send-name-header", BACK, _send_name_header),
    _row("load-server-state-from-file", BACK, setting("load-server-state-from-file", _state_source)),
    _row("server-state-file-name", frozenset({Scope.LISTEN, Scope.BACKEND}), _state_file_name),
    _row("rate-limit sessions", FRONT, setting("rate-limit sessions", _rate_limit)),
    _row("monitor-uri", FRONT, setting("monitor-uri", _word("a URI"))),
    _row("default_backend", FRONT, setting("default_backend", _word("a backend name"))),
    Keyword(
        "max-keep-alive-queue", BACK, Status.NO_EFFECT, setting("max-keep-alive-queue", _count("a queue length", -1)),
        "an idle connection of the client's own server is preferred however long that server's queue is",
    ),
)
