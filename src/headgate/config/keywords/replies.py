"""Replies of our own: what `deny`, `tarpit`, `return` and `http-error` send (manual 4.4 "return", 4.2 "http-error", "errorfile").

    [{status | deny_status} <code>] [content-type <type>]
    [default-errorfiles | errorfile <file> | errorfiles <name> | file <file> | lf-file <file> | string <str> | lf-string <fmt>]
    [hdr <name> <fmt>]*

Files are read here, once, so that a missing one is an error with its line.
"""

from __future__ import annotations

from typing import Any

from headgate.base.diagnostics import Location
from headgate.base.regex import regex
from headgate.config.actions import HeaderArgument, ReplySpec
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ConfigDraft
from headgate.config.parse_logformat import parse_logformat, read_logformat

#: Statuses that have an error page (4.2 "errorfile").
ERROR_STATUSES = (200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 414, 421, 422, 425, 429, 431, 500, 501, 502, 503, 504)

#: Beyond this a page does not fit the buffers that it is sent from.
LARGEST_PAGE = 1 << 20

_HEADER_NAME = regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_CONTENTS = ("default-errorfiles", "errorfile", "errorfiles", "file", "lf-file", "string", "lf-string")


def read_file(cursor: Cursor, config: ConfigDraft, what: str) -> tuple[bytes, Word]:
    """Read the file that the next word names.

    Raises:
        ConfigError: it can't be read, or is larger than LARGEST_PAGE.
    """
    word = cursor.next(what)
    try:
        with open(config.path(word.text), "rb") as file:
            content = file.read(LARGEST_PAGE + 1)
    except OSError as error:
        raise cursor.wrong(word, f"can't read '{word.text}': {error.strerror}") from None
    except ValueError:
        raise cursor.wrong(word, "a file name can't contain a zero byte") from None
    if len(content) > LARGEST_PAGE:
        raise cursor.wrong(word, f"'{word.text}' is larger than {LARGEST_PAGE} bytes")
    return content, word


def read_http_file(cursor: Cursor, config: ConfigDraft) -> bytes:
    """Read a file that holds a complete HTTP response, or nothing (which means: close without a word)."""
    content, word = read_file(cursor, config, "a file with a complete HTTP response")
    if content and not content.startswith(b"HTTP/"):
        remedy = "it begins with a status line such as 'HTTP/1.0 503 Service Unavailable'; for a body alone use 'http-error'"
        raise cursor.wrong(word, f"'{word.text}' does not hold an HTTP response", remedy=remedy)
    return content


def error_status(cursor: Cursor) -> int:
    """Read a status that has an error page."""
    word = cursor.next("an HTTP status")
    if not (word.text.isascii() and word.text.isdigit()) or int(word.text) not in ERROR_STATUSES:
        allowed = tuple(str(status) for status in ERROR_STATUSES)
        raise cursor.wrong(word, f"there is no error page for status '{word.text}'", allowed=allowed)
    return int(word.text)


def header_name(cursor: Cursor) -> str:
    """Read the name of an HTTP header field."""
    word = cursor.next("a header name")
    if not _HEADER_NAME.fullmatch(word.text):
        raise cursor.wrong(word, f"'{word.text}' is not a header name")
    return word.text


def read_reply(cursor: Cursor, config: ConfigDraft, *, default_pages: bool) -> ReplySpec:
    """Read a reply; what follows it (a condition) is left on the line.

    Args:
        cursor: stands behind the action's name.
        config: for file names.
        default_pages: a reply without content is the proxy's error page (`deny`, `tarpit`).
    """
    fields: dict[str, Any] = {}
    headers: list[HeaderArgument] = []
    content: Location | None = None
    while (word := cursor.take("status", "deny_status", "content-type", "hdr", *_CONTENTS)) is not None:
        if word.text in ("status", "deny_status"):
            fields["status"] = cursor.integer("an HTTP status", 200, 599)
        elif word.text == "content-type":
            fields["content_type"] = cursor.next("a content type").text
        elif word.text == "hdr":
            headers.append(HeaderArgument(header_name(cursor), read_logformat(cursor)))
        else:
            if content is not None:
                raise cursor.wrong(word, f"'{word.text}': the reply has its content already")
            content = word.location
            fields.update(_content(cursor, config, word.text))
    if content is None and default_pages:
        fields["default_errorfiles"] = True
    if (fields.get("body") or fields.get("body_format")) and "content_type" not in fields:
        raise cursor.wrong(cursor.last, "a reply with a body needs 'content-type'",
                           remedy="for example 'content-type text/plain'")
    return ReplySpec(headers=tuple(headers), **fields)


def _content(cursor: Cursor, config: ConfigDraft, kind: str) -> dict[str, Any]:
    if kind == "default-errorfiles":
        return {"default_errorfiles": True}
    if kind == "errorfile":
        return {"raw": read_http_file(cursor, config)}
    if kind == "errorfiles":
        return {"error_section": cursor.next("the name of an http-errors section").text}
    if kind == "file":
        return {"body": read_file(cursor, config, "a file")[0]}
    if kind == "lf-file":
        content, word = read_file(cursor, config, "a file")
        return {"body_format": parse_logformat(Word(content.decode("utf-8", "surrogateescape"), word.location))}
    if kind == "string":
        return {"body": cursor.next("a string").text.encode("utf-8", "surrogateescape")}
    return {"body_format": read_logformat(cursor)}
