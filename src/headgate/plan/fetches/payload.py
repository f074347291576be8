"""Fetches from the bytes of the request buffer (manual 7.3.5): TCP inspection, ClientHello, RDP.

Where the bytes are not there yet, they set `need_more`: content rules wait then, until the inspection delay is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from headgate.base.diagnostics import config_error
from headgate.plan.facts import Stream, Value
from headgate.plan.fetches.tls_offers import words
from headgate.plan.places import CLIENT, REQUEST, REQUEST_MEMORY, RESPONSE, RUNNING
from headgate.plan.registry import Argument, fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope
from headgate.wire.errors import ProtocolViolation

if TYPE_CHECKING:
    from headgate.wire.client_hello import ClientHello

STRING, INTEGER = Argument.STRING, Argument.INTEGER


def _wait_end(stream: Stream) -> Value:
    """True once nothing more will come; until then the rules wait (WAIT_END, 7.4)."""
    if stream.request_complete:
        return True
    stream.need_more = True
    return None


def _length(stream: Stream) -> Value:
    if not stream.request_complete:
        # "does not return false as long as the buffer is changing"
        stream.need_more = True
    return len(stream.request_buffer)


plain("wait_end", result=Type.BOOL, places=RUNNING, run=_wait_end)
plain("req.len", "req_len", result=Type.SINT, places=REQUEST, run=_length)
plain("res.len", result=Type.SINT, places=RESPONSE, run=lambda stream: len(stream.response_buffer))


def _buffer(scope: Scope) -> Callable[[Stream], bytes]:
    """The bytes that `payload` and `payload_lv` look at: the response's where there is one, else the request's."""
    if scope.place & RESPONSE:
        return lambda stream: stream.response_buffer
    return lambda stream: stream.request_buffer


@fetch("payload", result=Type.BIN, places=REQUEST | RESPONSE, arguments=(INTEGER, INTEGER))
@fetch("req.payload", result=Type.BIN, places=REQUEST, arguments=(INTEGER, INTEGER))
@fetch("res.payload", result=Type.BIN, places=RESPONSE, arguments=(INTEGER, INTEGER))
def payload(scope: Scope, offset: int, length: int) -> Run:
    if offset < 0 or length < 0:
        raise config_error("offset and length can't be negative", None)
    end = offset + length
    of = _buffer(scope)

    def run(stream: Stream) -> Value:
        buffer = of(stream)
        if not length:
            if not stream.request_complete:
                stream.need_more = True
            return bytes(buffer[offset:]) if len(buffer) > offset else None
        if len(buffer) >= end:
            return bytes(buffer[offset:end])
        stream.need_more = True
        return None

    return run


@fetch("payload_lv", result=Type.BIN, places=REQUEST | RESPONSE, arguments=(INTEGER, INTEGER, STRING), required=2)
@fetch("req.payload_lv", result=Type.BIN, places=REQUEST, arguments=(INTEGER, INTEGER, STRING), required=2)
@fetch("res.payload_lv", result=Type.BIN, places=RESPONSE, arguments=(INTEGER, INTEGER, STRING), required=2)
def payload_lv(scope: Scope, offset: int, size: int, start: bytes | None) -> Run:
    text = (start or b"+0").decode("latin-1")
    if re.fullmatch(r"[+-]?[0-9]+", text) is None:
        raise config_error(f"the third argument must be an offset, not '{text}'", None)
    begin = offset + size + int(text) if text[:1] in "+-" else int(text)
    if offset < 0 or not 0 < size <= 8 or begin < 0:
        raise config_error("offsets can't be negative, and the length takes 1 to 8 bytes", None)
    of = _buffer(scope)

    def run(stream: Stream) -> Value:
        buffer = of(stream)
        if len(buffer) >= offset + size:
            length = int.from_bytes(buffer[offset : offset + size], "big")
            if not length:
                return None  # a client without a session must not share a key with all the others
            if len(buffer) >= begin + length:
                return bytes(buffer[begin : begin + length])
        stream.need_more = True
        return None

    return run


# --- ClientHello -----------------------------------------------------------------------------------------------------


def client_hello(stream: Stream) -> ClientHello | None:
    """The ClientHello at the beginning of the request buffer, parsed once a connection; None: none, or not complete."""
    session = stream.session
    if session.tls is not None:
        # What the buffer holds was deciphered: the hello is not in it (7.3.5).
        return None
    if session.hello is None:
        from headgate.wire.client_hello import parse_client_hello

        try:
            session.hello = parse_client_hello(bytes(stream.request_buffer))
        except ProtocolViolation:
            return None
        if session.hello is None:
            stream.need_more = True
    return session.hello


def _of_hello(answer: Callable[[Any], Value]) -> Run:
    def run(stream: Stream) -> Value:
        hello = client_hello(stream)
        return None if hello is None else answer(hello)

    return run


def hello_version(hello: Any) -> int:
    """The highest version on offer as `major << 16 | minor`, so that `3.1` in an ACL compares as two numbers."""
    # GREASE values (RFC 8701) have the same nibble pattern in both bytes: no real version reaches 0x0400.
    real = [version for version in hello.versions if version <= 0x0304]
    version: int = max(real, default=hello.legacy_version)
    return (version >> 8) << 16 | (version & 0xFF)


def _ticket_extension(hello: ClientHello) -> Value:
    """0: no session ticket extension (RFC 5077), 1: an empty one, 2: one with a ticket."""
    return 2 if hello.has_ticket else int(_SESSION_TICKET in hello.extensions)


_SUPPORTED_GROUPS: Final = 10
_SESSION_TICKET: Final = 35

plain("req.ssl_hello_type", "req_ssl_hello_type", result=Type.SINT, places=REQUEST, run=_of_hello(lambda hello: 1))
plain("req.ssl_sni", "req_ssl_sni", result=Type.STR, places=REQUEST, run=_of_hello(lambda hello: hello.sni))
plain("req.ssl_ver", "req_ssl_ver", result=Type.SINT, places=REQUEST, run=_of_hello(hello_version))
plain(
    "req.ssl_alpn", result=Type.STR, places=REQUEST,
    run=_of_hello(lambda hello: b",".join(hello.alpn) if hello.alpn else None),
)
plain(
    "req.ssl_ec_ext", result=Type.BOOL, places=REQUEST,
    run=_of_hello(lambda hello: _SUPPORTED_GROUPS in hello.extensions),
)
plain("req.ssl_st_ext", result=Type.SINT, places=REQUEST, run=_of_hello(_ticket_extension))
plain("req.ssl_cipherlist", result=Type.BIN, places=CLIENT, run=_of_hello(lambda hello: words(hello.ciphers)))
plain("req.ssl_keyshare_groups", result=Type.BIN, places=CLIENT, run=_of_hello(lambda hello: words(hello.key_shares)))
plain("req.ssl_sigalgs", result=Type.BIN, places=CLIENT, run=_of_hello(lambda hello: words(hello.signature_algorithms)))
plain("req.ssl_supported_groups", result=Type.BIN, places=CLIENT, run=_of_hello(lambda hello: words(hello.groups)))


def _server_hello_type(stream: Stream) -> Value:
    """2 for a server's hello, whole in the response buffer; the rules look at that once, with what is there."""
    from headgate.wire.client_hello import server_hello_type

    try:
        return server_hello_type(stream.response_buffer)
    except ProtocolViolation:
        return None


plain("res.ssl_hello_type", "rep_ssl_hello_type", result=Type.SINT, places=RESPONSE, run=_server_hello_type)


# --- HTTP and RDP ----------------------------------------------------------------------------------------------------


def _proto_http(stream: Stream) -> Value:
    if stream.request is not None:
        return True
    if stream.request_complete:
        return False
    stream.need_more = True
    return None


plain("req.proto_http", "req_proto_http", result=Type.BOOL, places=REQUEST_MEMORY, run=_proto_http)

#: X.224 connection request behind a TPKT header, with the routing cookie of MS-RDPBCGR 2.2.1.1.
_RDP_COOKIE: Final = re.compile(rb"\x03\x00..[\x06-\xff]\xe0.....Cookie: ([^=\r\n]{1,64})=([^\r\n]*)\r\n", re.DOTALL)
_RDP_START: Final = 11 + len(b"Cookie: ")


def rdp_cookie(stream: Stream, name: bytes | None) -> bytes | None:
    """The RDP cookie in the request buffer, when it is called `name` (any case; None: any)."""
    buffer = stream.request_buffer
    match = _RDP_COOKIE.match(buffer)
    if match is None:
        begins_so = buffer[:1] in (b"", b"\x03") and b"\n" not in buffer[_RDP_START:]
        if begins_so and len(buffer) < 1024:
            stream.need_more = True
        return None
    return match[2] if name is None or match[1].lower() == name else None


@fetch(
    "req.rdp_cookie", "rdp_cookie", "req_rdp_cookie", result=Type.STR, places=REQUEST, arguments=(STRING,), required=0
)
def rdp_cookie_value(scope: Scope, name: bytes | None) -> Run:
    wanted = name.lower() if name else None
    return lambda stream: rdp_cookie(stream, wanted)


@fetch(
    "req.rdp_cookie_cnt", "rdp_cookie_cnt", "req_rdp_cookie_cnt",
    result=Type.SINT, places=REQUEST, arguments=(STRING,), required=0,
)
def rdp_cookie_count(scope: Scope, name: bytes | None) -> Run:
    wanted = name.lower() if name else None
    return lambda stream: int(rdp_cookie(stream, wanted) is not None)
