"""Request and response heads of HTTP/1 (RFC 9112, sections 2 to 5).

Header lines repeat: the same browser sends the same `User-Agent`, the same server the same `Server`. So each distinct line is
validated and split once and then interned; a head is parsed by one `split` and one dictionary look-up a line. That is what makes
a strict parser in Python cheaper than callbacks from a C one (docs/decisions). The intern table is bounded in entries and
in line length, and starts afresh when it is full, so a hostile client can slow itself to the price of the regular expression,
no more.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.wire.errors import ProtocolViolation

#: Kinds of fields that framing or connection handling must look at. 0 is any other field.
ORDINARY: Final = 0
CONTENT_LENGTH: Final = 1
TRANSFER_ENCODING: Final = 2
CONNECTION: Final = 3
KEEP_ALIVE: Final = 4
PROXY_CONNECTION: Final = 5
UPGRADE: Final = 6
EXPECT: Final = 7
HOST: Final = 8
TE: Final = 9
TRAILER: Final = 10
#: A Host field whose value can't be a host and port; requests with one are refused (RFC 9112 3.2).
INVALID_HOST: Final = 11

_KINDS: Final = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": KEEP_ALIVE,
    b"proxy-connection": PROXY_CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"host": HOST,
    b"te": TE,
    b"trailer": TRAILER,
}

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TOKEN_ONLY: Final = re.compile(_TOKEN)
#: RFC 9110 5.5: visible characters, space, tab, obs-text. Nothing else: no NUL, CR, LF, no other control character.
_FIELD_LINE: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
#: What a request target is made of; deleting it all must leave nothing (cheaper than a regular expression).
_TARGET_BYTES: Final = bytes(range(0x21, 0x7F))
#: Known to be valid without a look.
_METHODS: Final = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"})
#: RFC 9110 7.2 and RFC 3986 3.2: a host, literal or name, and a port. No user, no path, no second host.
_HOST: Final = re.compile(rb"(?:[0-9A-Za-z._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")


#: Bits of `Field.meaning` for Connection fields.
CONNECTION_CLOSE: Final = 1
CONNECTION_KEEP_ALIVE: Final = 2
CONNECTION_UPGRADE: Final = 4
_OPTIONS: Final = {b"close": CONNECTION_CLOSE, b"keep-alive": CONNECTION_KEEP_ALIVE, b"upgrade": CONNECTION_UPGRADE}
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")


def list_members(value: bytes) -> list[bytes]:
    """The members of a comma-separated list in lower case, empty ones left out."""
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


def _meaning(kind: int, value: bytes) -> int:
    if kind == CONTENT_LENGTH:
        return int(value) if _DIGITS.fullmatch(value) is not None else -1
    if kind == CONNECTION:
        bits = 0
        for member in list_members(value):
            bits |= _OPTIONS.get(member, 0)
        return bits
    if kind == TRANSFER_ENCODING:
        return int(value.lower() == b"chunked")
    if kind == EXPECT:
        return int(value.lower() == b"100-continue")
    return 0


class Field:
    """One header field.

    Attributes:
        name: lower case.
        value: without surrounding white space.
        line: the line as received (or as it will be sent), without CRLF; keeps the sender's spelling of the name.
        kind: one of the constants above.
        meaning: what the value says, for kinds that framing reads, so that it is parsed once with the interned line: the number
            of Content-Length, or -1; the CONNECTION_* bits of Connection; 1 for exactly `chunked` and for `100-continue`.
    """

    __slots__ = ("kind", "line", "meaning", "name", "value")

    def __init__(self, name: bytes, value: bytes, line: bytes, kind: int) -> None:
        self.name = name
        self.value = value
        self.line = line
        self.kind = kind
        self.meaning = _meaning(kind, value) if kind else 0

    def __repr__(self) -> str:
        return f"<Field {self.line!r}>"


def make_field(name: bytes, value: bytes) -> Field:
    """A field of our own. The caller guarantees that name and value are valid (see `valid_value`)."""
    lower = name.lower()
    return Field(lower, value, name + b": " + value, _KINDS.get(lower, ORDINARY))


_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")


def valid_value(value: bytes) -> bool:
    """Whether bytes may stand as a field's value."""
    return _VALUE.fullmatch(value) is not None


def valid_name(name: bytes) -> bool:
    """Whether bytes may stand as a field's name or a method."""
    return _TOKEN_ONLY.fullmatch(name) is not None


_INTERN_ENTRIES: Final = 4096
_INTERN_LENGTH: Final = 512
_interned: Final[dict[bytes, Field]] = {}


def parse_field(line: bytes) -> Field:
    """Validate and split one field line (without CRLF), through the intern table.

    Raises:
        ProtocolViolation: not a valid field line.
    """
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise ProtocolViolation(_fault(line))
    name = match[1].lower()
    field = Field(name, match[2].rstrip(b" \t"), line, _KINDS.get(name, ORDINARY))
    if field.kind == HOST and _HOST.fullmatch(field.value) is None:
        field.kind = INVALID_HOST
    if len(line) <= _INTERN_LENGTH:
        if len(_interned) >= _INTERN_ENTRIES:
            _interned.clear()
        _interned[line] = field
    return field


def _fault(line: bytes) -> str:
    """Name what is wrong with a field line."""
    if line[:1] in (b" ", b"\t"):
        return "folded header line"
    if b"\n" in line or b"\r" in line:
        return "bare CR or LF in a header line"
    name, colon, _ = line.partition(b":")
    if not colon:
        return "header line without a colon"
    if name[-1:] in (b" ", b"\t"):
        return "white space before the colon of a header"
    if not valid_name(name):
        return "invalid character in a header name"
    return "invalid character in a header value"


class _Head:
    """What heads have in common: the fields, and whether anything was changed.

    Most rules ask for fields that are not there, so the names are collected once, for the list of fields as it was then:
    a list that was replaced or has grown since is collected anew.
    """

    __slots__ = ("_collected", "_names", "_size", "edited", "fields")

    edited: bool
    fields: list[Field]
    _names: set[bytes]
    _collected: list[Field] | None
    _size: int

    def has(self, name: bytes) -> bool:
        """Whether there is a field called `name` (lower case)."""
        fields = self.fields
        if self._collected is not fields or self._size != len(fields):
            self._names = {field.name for field in fields}
            self._collected = fields
            self._size = len(fields)
        return name in self._names

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields called `name` (lower case), in order."""
        return [field.value for field in self.fields if field.name == name]

    def first(self, name: bytes) -> bytes | None:
        """The first value of `name` (lower case), or None."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None

    def add(self, name: bytes, value: bytes) -> None:
        self.append(make_field(name, value))

    def append(self, field: Field) -> None:
        """Put a field behind the others."""
        fields = self.fields
        if self._collected is fields and self._size == len(fields):
            self._names.add(field.name)
            self._size += 1
        fields.append(field)
        self.edited = True

    def remove(self, name: bytes) -> bool:
        """Remove all fields called `name` (lower case); whether there was one."""
        if not self.has(name):
            return False
        fields = self.fields = [field for field in self.fields if field.name != name]
        self._names.discard(name)
        self._collected = fields
        self._size = len(fields)
        self.edited = True
        return True

    def set(self, name: bytes, value: bytes) -> None:
        """Replace all fields called `name` (any case) by one."""
        self.remove(name.lower())
        self.add(name, value)


class RequestHead(_Head):
    """A request's start line and fields. Mutable: rules edit it in place.

    Attributes:
        method: as received, case-sensitive.
        target: request target as received (origin, absolute, authority or asterisk form; RFC 9112 3.2).
        version: 10 or 11.
        fields: in order of arrival.
        edited: whether a rule or the proxy changed anything; an unedited head may be forwarded as the bytes it came in.
    """

    __slots__ = ("method", "target", "version")

    def __init__(self, method: bytes, target: bytes, version: int, fields: list[Field]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields
        self.edited = False
        self._collected = None

    def encode(self) -> bytes:
        """The head as bytes, with the empty line."""
        version = b" HTTP/1.1\r\n" if self.version == 11 else b" HTTP/1.0\r\n"
        start = self.method + b" " + self.target + version
        if not self.fields:
            return start + b"\r\n"
        return start + b"\r\n".join([field.line for field in self.fields]) + b"\r\n\r\n"

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} {self.fields!r}>"


class ResponseHead(_Head):
    """A response's status line and fields; mutable as `RequestHead`."""

    __slots__ = ("reason", "status", "version")

    def __init__(self, status: int, reason: bytes, version: int, fields: list[Field]) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.fields = fields
        self.edited = False
        self._collected = None

    def encode(self) -> bytes:
        """The head as bytes, with the empty line."""
        version = b"HTTP/1.1 " if self.version == 11 else b"HTTP/1.0 "
        start = b"%s%d %s\r\n" % (version, self.status, self.reason)
        if not self.fields:
            return start + b"\r\n"
        return start + b"\r\n".join([field.line for field in self.fields]) + b"\r\n\r\n"

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} {self.fields!r}>"


_VERSIONS: Final = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}
#: Distinct start lines that were validated, bounded as the fields are: popular targets are asked for again and again.
_request_lines: Final[dict[bytes, tuple[bytes, bytes, int]]] = {}
_status_lines: Final[dict[bytes, tuple[int, bytes, int]]] = {}


def _request_line(line: bytes) -> tuple[bytes, bytes, int]:
    """Validate and split a request line, through its intern table."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise ProtocolViolation("malformed request line")
    method, target, protocol = parts
    version = _VERSIONS.get(protocol)
    if version is None:
        if protocol[:5] == b"HTTP/":
            raise ProtocolViolation("unsupported HTTP version", 505)
        raise ProtocolViolation("malformed request line")
    if method not in _METHODS and _TOKEN_ONLY.fullmatch(method) is None:
        raise ProtocolViolation("invalid character in the method")
    if not target or target.translate(None, _TARGET_BYTES):
        raise ProtocolViolation("invalid character in the request target")
    parsed = (method, target, version)
    if len(line) <= _INTERN_LENGTH:
        if len(_request_lines) >= _INTERN_ENTRIES:
            _request_lines.clear()
        _request_lines[line] = parsed
    return parsed


def _status_line(line: bytes) -> tuple[int, bytes, int]:
    """Validate and split a status line, through its intern table."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ProtocolViolation("malformed status line", 502)
    parsed = (int(match[2]), match[3] or b"", 11 if match[1] == b"1" else 10)
    if len(line) <= _INTERN_LENGTH:
        if len(_status_lines) >= _INTERN_ENTRIES:
            _status_lines.clear()
        _status_lines[line] = parsed
    return parsed


def parse_request_head(head: bytes, max_fields: int = 101) -> RequestHead:
    """Parse a complete request head.

    Args:
        head: from the first byte of the request line to the last byte before the empty line's CRLFCRLF (exclusive).
        max_fields: tune.http.maxhdr.

    Raises:
        ProtocolViolation: not a valid head; nothing of it may be forwarded.
    """
    lines = head.split(b"\r\n")
    line = lines.pop(0)
    method, target, version = _request_lines.get(line) or _request_line(line)
    if len(lines) > max_fields:
        raise ProtocolViolation("too many headers", 431)
    known = _interned.get
    return RequestHead(method, target, version, [known(line) or parse_field(line) for line in lines])


def parse_response_head(head: bytes, max_fields: int = 101) -> ResponseHead:
    """Parse a complete response head; arguments as `parse_request_head`.

    Raises:
        ProtocolViolation: not a valid head; always with status 502.
    """
    lines = head.split(b"\r\n")
    line = lines.pop(0)
    status, reason, version = _status_lines.get(line) or _status_line(line)
    if len(lines) > max_fields:
        raise ProtocolViolation("too many headers", 502)
    known = _interned.get
    try:
        fields = [known(line) or parse_field(line) for line in lines]
    except ProtocolViolation as fault:
        raise ProtocolViolation(fault.reason, 502) from None
    return ResponseHead(status, reason, version, fields)
