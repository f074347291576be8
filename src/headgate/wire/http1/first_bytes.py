"""Whether a connection begins with an HTTP request, where something else was expected."""

from __future__ import annotations

import re
from typing import Final

_METHODS: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT", b"PRI", b"PROPFIND")
#: A method (a token, RFC 9110 section 5.6.2), a blank, and the beginning of a target: a path, a URL, or another before a version.
_REQUEST: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ (?:/|\*(?: |\Z)|[Hh][Tt][Tt][Pp][Ss]?://|[^ \r\n]+ HTTP/\d)")


def begins_request(data: bytes) -> bool:
    """Whether these first bytes, one at least, are those of a request: perhaps only some letters of a method that all know."""
    method, blank, _ = data.partition(b" ")
    known = method in _METHODS if blank else any(one.startswith(method) for one in _METHODS)
    return known or _REQUEST.match(data) is not None
