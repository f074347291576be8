"""Legacy captures (manual 4.2 "capture", 8.7, 8.8): closures that fill a stream's slots from a head."""

from __future__ import annotations

from collections.abc import Callable

from headgate.config.log_options import CookieCapture, HeaderCapture, Logging
from headgate.plan.facts import Stream
from headgate.plan.fetches.http_fields import request_cookies, response_cookies
from headgate.wire.http1.heads import Field

Fill = Callable[[Stream], None]


def _headers(captures: tuple[HeaderCapture, ...]) -> dict[bytes, list[tuple[int, int]]]:
    """Slots and lengths by field name: one header may be captured twice."""
    wanted: dict[bytes, list[tuple[int, int]]] = {}
    for slot, capture in enumerate(captures):
        wanted.setdefault(capture.name.lower().encode(), []).append((slot, capture.length))
    return wanted


def _slots(fields: list[Field], wanted: dict[bytes, list[tuple[int, int]]], count: int) -> list[bytes | None]:
    slots: list[bytes | None] = [None] * count
    # "if one header appears more than once, only its last occurrence will be logged"
    for field in fields:
        for slot, length in wanted.get(field.name, ()):
            slots[slot] = field.value[:length]
    return slots


def _cookie(capture: CookieCapture) -> Callable[[bytes, bytes], bytes | None]:
    """From a cookie to the text that is logged, or None when it is another one."""
    name, length, prefix = capture.name.encode(), capture.length, capture.prefix

    def match(found: bytes, value: bytes) -> bytes | None:
        if found == name or (prefix and found.startswith(name)):
            return (found + b"=" + value)[:length]
        return None

    return match


def compile_request_capture(logging: Logging) -> Fill | None:
    """Fill the request's slots and %CC; None when nothing is captured."""
    wanted = _headers(logging.request_captures)
    count = len(logging.request_captures) + sum(1 for side, _ in logging.declared_captures if side == "request")
    cookie = _cookie(logging.cookie_capture) if logging.cookie_capture is not None else None
    if not count and cookie is None:
        return None

    def fill(stream: Stream) -> None:
        head = stream.request
        if head is None:
            return
        if count:
            stream.captures_request = _slots(head.fields, wanted, count)
        if cookie is not None:
            found = (cookie(name, value) for name, value in request_cookies(head.fields))
            stream.captured_request_cookie = next((text for text in found if text is not None), None)

    return fill


def compile_response_capture(logging: Logging) -> Fill | None:
    """Fill the response's slots and %CS; None when nothing is captured."""
    wanted = _headers(logging.response_captures)
    count = len(logging.response_captures) + sum(1 for side, _ in logging.declared_captures if side == "response")
    cookie = _cookie(logging.cookie_capture) if logging.cookie_capture is not None else None
    if not count and cookie is None:
        return None

    def fill(stream: Stream) -> None:
        head = stream.response
        if head is None:
            return
        if count:
            stream.captures_response = _slots(head.fields, wanted, count)
        if cookie is not None:
            found = (cookie(name, value) for name, value in response_cookies(head.fields))
            stream.captured_response_cookie = next((text for text in found if text is not None), None)

    return fill
