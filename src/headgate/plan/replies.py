"""Replies of our own: the standard error pages, `errorfile`, `errorloc`, and the replies of rules (manual 4.2, 4.4 "return")."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from headgate.config.model import ErrorPage, Proxy
from headgate.plan.verdicts import Reply

#: What the pages say, in a sentence.
_SENTENCES: Final = {
    400: "Your browser sent an invalid request.",
    401: "You need a valid user and password to access this content.",
    403: "Request forbidden by administrative rules.",
    404: "The resource could not be found.",
    405: "This method is not allowed here.",
    407: "You need a valid user and password to access this content.",
    408: "Your browser didn't send a complete request in time.",
    410: "The resource is no longer available and will not be available again.",
    413: "The request is larger than the server is willing to process.",
    414: "The request target is longer than the server is willing to process.",
    421: "This server does not answer for the requested host on this connection.",
    422: "The request could not be processed.",
    425: "Your browser sent early data.",
    429: "You have sent too many requests in a given amount of time.",
    431: "The header fields of the request are too large.",
    500: "An internal server error occurred.",
    501: "The server does not support what the request needs.",
    502: "The server returned an invalid or incomplete response.",
    503: "No server is available to handle this request.",
    504: "The server didn't respond in time.",
    505: "The protocol version of the request is not supported.",
}


def reason_of(status: int) -> str:
    """The standard reason phrase, "Other" for a status that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Other"


def status_line(status: int) -> bytes:
    """`HTTP/1.1 503 Service Unavailable` with CRLF."""
    return f"HTTP/1.1 {status} {reason_of(status)}\r\n".encode()


def make_reply(status: int, fields: bytes, body: bytes = b"", *, denied: bool = False) -> Reply:
    """A reply with its Content-Length; `fields` are complete lines."""
    return Reply(status, status_line(status) + b"content-length: %d\r\n" % len(body) + fields, body, denied=denied)


def standard_reply(status: int, *, denied: bool = False) -> Reply:
    """The built-in page for an error status; 200 has a small page too (`monitor-uri`)."""
    if status == 200:
        body = b"<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n"
    else:
        sentence = _SENTENCES.get(status)
        text = f"<html><body><h1>{status} {reason_of(status)}</h1>\n" + (f"{sentence}\n" if sentence else "") + "</body></html>\n"
        body = text.encode()
    return make_reply(status, b"cache-control: no-cache\r\ncontent-type: text/html\r\n", body, denied=denied)


def page_reply(status: int, page: ErrorPage, *, denied: bool = False) -> Reply:
    """The reply of an `errorfile` or `errorloc` line."""
    if page.redirect is not None:
        location = page.redirect.encode("utf-8", "surrogateescape")
        fields = b"cache-control: no-cache\r\nlocation: " + location + b"\r\n"
        return make_reply(page.redirect_code, fields, denied=denied)
    return Reply(status, page.raw or b"", b"", raw=True, denied=denied)


_STANDARD: Final = {status: standard_reply(status) for status in (200, *_SENTENCES)}


def error_replies(proxy: Proxy) -> Mapping[int, Reply]:
    """All replies of a proxy by status: its own pages, and the standard ones."""
    if not proxy.error_pages:
        return _STANDARD
    return _STANDARD | {status: page_reply(status, page) for status, page in proxy.error_pages.items()}


def denied_copy(reply: Reply) -> Reply:
    """The same reply, counted as a denied request."""
    return Reply(reply.status, reply.head, reply.body, raw=reply.raw, denied=True)
