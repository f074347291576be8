"""What OpenSSL's DER form of a session says (`i2d_SSL_SESSION`): the binding has no calls that ask a session directly."""

from __future__ import annotations

from typing import Any, Final

from headgate.base.records import dataclass
from headgate.tls.openssl import ffi, lib
from headgate.wire.der import element

#: TLS 1.3 on the wire.
TLS_1_3: Final = 0x0304
#: Longest that a session without a lifetime of its own is kept (RFC 5246 F.1.4), and any ticket (RFC 8446 4.6.1), in seconds.
_DAY: Final = 86400
_WEEK: Final = 7 * 86400

_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_OCTETS_TAG: Final = bytes([_OCTETS])
#: Explicit tags behind the fixed fields: the hint that came with a ticket, and the ticket.
_HINT: Final = 0xA9
_TICKET: Final = 0xAA
_GROUP: Final = 0xB3


@dataclass(frozen=True, slots=True)
class SessionForm:
    """What a session is.

    Attributes:
        version: protocol version as on the wire.
        session_id: under which the server keeps it; b"" for none.
        hint: seconds that its ticket lives, 0 when the server said nothing.
        ticket: it has one.
        group: of the key exchange that made it, by its number in TLS; 0 for none.
    """

    version: int
    session_id: bytes
    hint: int
    ticket: bool
    group: int = 0

    @property
    def resumable(self) -> bool:
        """Whether a server can recognise it: by its ticket, or up to TLS 1.2 by its id."""
        return self.ticket or (bool(self.session_id) and self.version < TLS_1_3)

    @property
    def lifetime(self) -> int:
        """Seconds after which it is of no use. In TLS 1.3 no hint means at once; before that it means that nothing is known."""
        if self.version >= TLS_1_3:
            return min(self.hint, _WEEK) if self.ticket else 0
        return min(self.hint, _WEEK) if self.ticket and self.hint else _DAY


def encode_session(session: object, most: int) -> bytes | None:
    """The DER form of an `SSL_SESSION*`; None when it would be longer than `most` bytes, or there is none."""
    size = lib.i2d_SSL_SESSION(session, ffi.NULL)
    if not 0 < size <= most:
        return None
    memory = ffi.new("unsigned char[]", size)
    lib.i2d_SSL_SESSION(session, ffi.new("unsigned char **", memory))
    return bytes(ffi.buffer(memory, size))


def decode_session(encoded: bytes) -> object | None:
    """An `SSL_SESSION*` that is freed with its last reference; None for bytes that are none."""
    pointer = session_pointer(encoded)
    return ffi.gc(pointer, lib.SSL_SESSION_free) if pointer else None


def session_pointer(encoded: bytes) -> Any:
    """An `SSL_SESSION*` that is the caller's to free; NULL for bytes that are none."""
    with ffi.from_buffer(encoded) as start:
        place = ffi.new("const unsigned char **", ffi.cast("const unsigned char *", start))
        pointer = lib.d2i_SSL_SESSION(ffi.NULL, place, len(encoded))
    if not pointer:
        lib.ERR_clear_error()
    return pointer


def read_form(encoded: bytes) -> SessionForm:
    """What the DER form says: SEQUENCE { version, protocol, cipher, id, key, [1] time, ... [9] hint, [10] ticket, ... }.

    Bytes of another form are a session that can't be resumed.
    """
    at, _ = element(encoded, 0)
    version = hint = group = 0
    session_id = b""
    ticket = False
    for number in range(64):
        if at >= len(encoded):
            break
        tag = encoded[at]
        start, size = element(encoded, at)
        value = encoded[start : start + size]
        if number == 1 and tag == _INTEGER:
            version = int.from_bytes(value, "big")
        elif number == 3 and tag == _OCTETS:
            session_id = value
        elif tag == _HINT:
            inner, length = element(value, 0)
            hint = int.from_bytes(value[inner : inner + length], "big")
        elif tag == _GROUP:
            inner, length = element(value, 0)
            group = int.from_bytes(value[inner : inner + length], "big")
        elif tag == _TICKET:
            ticket = element(value, 0)[1] > 0
        at = start + size
    return SessionForm(version, session_id, hint, ticket, group)


def read_session_id(encoded: bytes) -> bytes:
    """The `session_id` of `read_form` alone, for those who ask behind each handshake; b"" for bytes of another form."""
    at, _ = element(encoded, 0)
    for _ in range(3):  # version, protocol, cipher
        start, size = element(encoded, at)
        at = start + size
    start, size = element(encoded, at)
    return encoded[start : start + size] if encoded[at : at + 1] == _OCTETS_TAG else b""
