"""Error pages of a proxy (manual 4.2): `errorfile`, `errorfiles`, `errorloc`, `errorloc302`, `errorloc303`, `http-error`."""

from __future__ import annotations

from http import HTTPStatus

from headgate.config.actions import ReplySpec
from headgate.config.cursor import Cursor
from headgate.config.drafts import ConfigDraft, ProxyDraft
from headgate.config.expression import Literal
from headgate.config.keywords.replies import error_status, read_http_file, read_reply
from headgate.config.model import ErrorPage
from headgate.config.registry import KEYWORDS, PROXY, Keyword, Parser, Status


def read_error_page(cursor: Cursor, config: ConfigDraft) -> tuple[int, ErrorPage]:
    """Read `<code> <file>`, as `errorfile` of proxies and of http-errors sections writes it."""
    status = error_status(cursor)
    raw = read_http_file(cursor, config)
    cursor.finish()
    return status, ErrorPage(raw)


def _errorfile(cursor: Cursor, draft: ProxyDraft) -> None:
    """`errorfile <code> <file>`."""
    status, page = read_error_page(cursor, draft.config)
    draft.set_error_page(status, page, cursor.keyword.location)


def _errorfiles(cursor: Cursor, draft: ProxyDraft) -> None:
    """`errorfiles <name> [<code> ...]`: pages of an http-errors section, which `resolve` looks up."""
    name = cursor.next("the name of an http-errors section")
    codes = []
    while cursor.more:
        codes.append(error_status(cursor))
    draft.error_sections.append((name.text, tuple(codes), name.location))


def _errorloc(code: int) -> Parser:
    """`errorloc <code> <url>`, `errorloc302`, `errorloc303`."""

    def parse(cursor: Cursor, draft: ProxyDraft) -> None:
        status = error_status(cursor)
        url = cursor.next("a URL").text
        cursor.finish()
        draft.set_error_page(status, ErrorPage(None, url, code), cursor.keyword.location)

    return parse


def _http_error(cursor: Cursor, draft: ProxyDraft) -> None:
    """`http-error status <code> [content-type <type>] [content] [hdr <name> <fmt>]*`."""
    if cursor.peek() != "status":
        word = cursor.next("'status' and a code")
        raise cursor.wrong(word, f"'http-error' begins with 'status', not '{word.text}'", allowed=("status",))
    at = cursor.position
    cursor.next("'status'")
    status = error_status(cursor)
    cursor.position = at
    reply = read_reply(cursor, draft.config, default_pages=False)
    cursor.finish()
    place = cursor.keyword.location
    if reply.default_errorfiles:
        draft.error_pages.pop(status, None)
    elif reply.error_section is not None:
        draft.error_sections.append((reply.error_section, (status,), place))
    else:
        draft.set_error_page(status, ErrorPage(_message(cursor, status, reply)), place)


def _message(cursor: Cursor, status: int, reply: ReplySpec) -> bytes:
    """The complete HTTP message of an `http-error` with constant content."""
    if reply.raw is not None:
        return reply.raw
    if reply.body_format is not None or any(
        not isinstance(item, Literal) for header in reply.headers for item in header.value.items
    ):
        raise cursor.wrong(cursor.keyword, "log formats in 'http-error' are known but not yet supported")
    body = reply.body or b""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-length: {len(body)}"]
    if body:
        lines.append(f"content-type: {reply.content_type}")
    for header in reply.headers:
        value = "".join(item.text for item in header.value.items if isinstance(item, Literal))
        lines.append(f"{header.name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def _row(name: str, parse: Parser) -> Keyword:
    return Keyword(name, PROXY, Status.IMPLEMENTED, parse)


KEYWORDS.add(
    _row("errorfile", _errorfile),
    _row("errorfiles", _errorfiles),
    _row("errorloc", _errorloc(302)),
    _row("errorloc302", _errorloc(302)),
    _row("errorloc303", _errorloc(303)),
    _row("http-error", _http_error),
)
