"""How long a message's body is, and what becomes of its connection (RFC 9112, 6 and 9).

Here lies the defence against request smuggling: two readers of one message must not come to different ends, so
everything on which they could differ is refused.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.heads import (
    CONNECTION,
    CONNECTION_CLOSE,
    CONNECTION_KEEP_ALIVE,
    CONNECTION_UPGRADE,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    INVALID_HOST,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    RequestHead,
    ResponseHead,
    list_members,
)

#: Values of `Framing.length` that are not lengths.
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2

_DIGITS: Final = re.compile(rb"[0-9]{1,18}")


class Framing:
    """What a head says about its message.

    Attributes:
        length: bytes of body, or CHUNKED, or UNTIL_CLOSE (responses only).
        persistent: whether the sender wants to keep the connection.
        upgrade: whether `Connection: upgrade` comes with an Upgrade field.
        expects_continue: `Expect: 100-continue`.
        hop_by_hop: whether fields are present that must not be forwarded (Connection, Keep-Alive, ...).
    """

    __slots__ = ("expects_continue", "hop_by_hop", "length", "persistent", "upgrade")

    def __init__(self, length: int, persistent: bool) -> None:
        self.length = length
        self.persistent = persistent
        self.upgrade = False
        self.expects_continue = False
        self.hop_by_hop = False


def request_framing(head: RequestHead) -> Framing:
    """Decide a request's body length and connection options.

    Raises:
        ProtocolViolation: the length is ambiguous or invalid, or Host is missing or repeated (RFC 9112 3.2).
    """
    version = head.version
    framing = Framing(0, version == 11)
    lengths = codings = hosts = connections = 0
    length = options = 0
    chunked = upgrade_field = False
    for field in head.fields:
        kind = field.kind
        if kind == 0:
            continue
        if kind == HOST:
            hosts += 1
        elif kind == CONNECTION:
            connections += 1
            options |= field.meaning
        elif kind == CONTENT_LENGTH:
            lengths += 1
            length = field.meaning
        elif kind == TRANSFER_ENCODING:
            codings += 1
            chunked = field.meaning == 1
        elif kind == UPGRADE:
            upgrade_field = True
        elif kind == EXPECT:
            framing.expects_continue = version == 11 and field.meaning == 1
        elif kind == KEEP_ALIVE or kind == PROXY_CONNECTION:
            framing.hop_by_hop = True
        elif kind == INVALID_HOST:
            raise ProtocolViolation("invalid Host header")
    if hosts != 1 and (hosts or version == 11):
        raise ProtocolViolation("no Host header" if not hosts else "several Host headers")
    if head.target[0] != 47 or head.method == b"CONNECT":
        _check_target(head)
    if connections:
        _apply_connection(framing, version, options)
        framing.upgrade = upgrade_field and options & CONNECTION_UPGRADE != 0
    if codings:
        if lengths or version == 10 or codings != 1 or not chunked:
            raise _ambiguous(head, lengths, 400)
        framing.length = CHUNKED
    elif lengths:
        framing.length = length if lengths == 1 and length >= 0 else _agreed_length(head, 400)
    return framing


def response_framing(head: ResponseHead, request_method: bytes) -> Framing:
    """Decide a response's body length (RFC 9112 6.3), given the method that it answers.

    Raises:
        ProtocolViolation: the length is ambiguous or invalid.
    """
    version = head.version
    framing = Framing(UNTIL_CLOSE, version == 11)
    lengths = codings = connections = 0
    length = options = 0
    chunked = False
    for field in head.fields:
        kind = field.kind
        if kind == 0:
            continue
        if kind == CONTENT_LENGTH:
            lengths += 1
            length = field.meaning
        elif kind == CONNECTION:
            connections += 1
            options |= field.meaning
        elif kind == TRANSFER_ENCODING:
            codings += 1
            chunked = field.meaning == 1
        elif kind == KEEP_ALIVE or kind == PROXY_CONNECTION:
            framing.hop_by_hop = True
    if connections:
        _apply_connection(framing, version, options)
    status = head.status
    if status < 200 or status == 204:
        # RFC 9112 6.1: a server must not send these with 1xx or 204; one that does can't be trusted with the next message.
        if codings:
            raise ProtocolViolation("Transfer-Encoding in a response without a body", 502)
        framing.length = 0
    elif codings:
        if lengths or version == 10 or codings != 1 or not chunked:
            raise _ambiguous(head, lengths, 502)
        framing.length = CHUNKED
    elif lengths:
        framing.length = length if lengths == 1 and length >= 0 else _agreed_length(head, 502)
    if request_method == b"HEAD" or status == 304:
        framing.length = 0
    elif framing.length == UNTIL_CLOSE:
        framing.persistent = False
    return framing


def _agreed_length(head: RequestHead | ResponseHead, status: int) -> int:
    """The one length that all Content-Length values agree on; what was said more than once is forwarded once (RFC 9110 8.6).

    Raises:
        ProtocolViolation: they are not plain numbers, or differ.
    """
    numbers = [part.strip(b" \t") for value in head.values(b"content-length") for part in value.split(b",")]
    if any(_DIGITS.fullmatch(number) is None for number in numbers):
        raise ProtocolViolation("invalid Content-Length", status)
    if len({int(number) for number in numbers}) != 1:
        raise ProtocolViolation("several differing Content-Length values", status)
    head.set(b"Content-Length", b"%d" % int(numbers[0]))
    return int(numbers[0])


def _ambiguous(head: RequestHead | ResponseHead, lengths: int, status: int) -> ProtocolViolation:
    """Only a plain `Transfer-Encoding: chunked`, alone, is taken: others may read `,chunked` or a repeated field otherwise."""
    if lengths:
        return ProtocolViolation("Content-Length together with Transfer-Encoding", status)
    if head.version == 10:
        return ProtocolViolation("Transfer-Encoding in HTTP/1.0", status)
    known = list_members(b",".join(head.values(b"transfer-encoding")))
    unsupported = status == 400 and known[-1:] == [b"chunked"] and known.count(b"chunked") == 1 and len(known) > 1
    return ProtocolViolation("unsupported Transfer-Encoding", 501 if unsupported else status)


_AUTHORITY: Final = re.compile(rb"(?:[0-9A-Za-z._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)")
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}


def _check_target(head: RequestHead) -> None:
    """A target that is no path: it must have one of the other forms of RFC 9112 3.2, and name the host that Host names."""
    target = head.target
    host = head.first(b"host")
    if head.method == b"CONNECT":
        match = _AUTHORITY.fullmatch(target)
        if match is None or not match[1]:
            raise ProtocolViolation("malformed CONNECT target")
        scheme, authority = b"", target
    elif target == b"*":
        if head.method != b"OPTIONS":
            raise ProtocolViolation("malformed request target")
        return
    else:
        absolute = _ABSOLUTE.match(target)
        if absolute is None or _AUTHORITY.fullmatch(absolute[2]) is None:
            raise ProtocolViolation("malformed request target")
        scheme, authority = absolute[1].lower(), absolute[2]
    if host is not None and _without_port(authority, scheme) != _without_port(host, scheme):
        raise ProtocolViolation("request target and Host header differ")


def _without_port(authority: bytes, scheme: bytes) -> bytes:
    """In lower case and without the scheme's default port; CONNECT has none, but Host may leave out 80 or 443."""
    lower = authority.lower()
    for port in (_DEFAULT_PORTS[scheme],) if scheme in _DEFAULT_PORTS else (b":80", b":443"):
        lower = lower.removesuffix(port)
    return lower


def _apply_connection(framing: Framing, version: int, options: int) -> None:
    framing.hop_by_hop = True
    if options & CONNECTION_CLOSE:
        framing.persistent = False
    elif version == 10:
        framing.persistent = options & CONNECTION_KEEP_ALIVE != 0
