"""The first message of a TLS client, read before any TLS object exists (RFC 8446 4.1.2, 5.1; RFC 5246 E.2 for SSLv2's).

Only facts are taken out, nothing is negotiated. Rules (`req.ssl_sni` and friends), the choice of the certificate, and handshake
records look at them. Values that we don't know, GREASE (RFC 8701) among them, are kept as they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headgate.wire.errors import ProtocolViolation

#: Longest hello that is looked at, in bytes of handshake message.
LONGEST_HELLO: Final = 16384
_LONGEST_RECORD: Final = 16384

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1
SERVER_HELLO: Final = 2

VERSION_NAMES: Final = {
    0x0002: "SSLv2", 0x0300: "SSLv3", 0x0301: "TLSv1.0", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3",
}

SERVER_NAME: Final = 0
_STATUS_REQUEST: Final = 5
_SUPPORTED_GROUPS: Final = 10
_POINT_FORMATS: Final = 11
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
_SESSION_TICKET: Final = 35
_PRE_SHARED_KEY: Final = 41
_EARLY_DATA: Final = 42
_SUPPORTED_VERSIONS: Final = 43
_CERTIFICATE_ALGORITHMS: Final = 50
KEY_SHARE: Final = 51


def version_name(version: int) -> str:
    """`TLSv1.3` for 0x0304; hexadecimal for what has no name."""
    return VERSION_NAMES.get(version) or f"0x{version:04x}"


def is_grease(value: int) -> bool:
    """Whether a 16-bit value is one of those that clients send only to keep servers tolerant (RFC 8701)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def without_grease(values: tuple[int, ...]) -> tuple[int, ...]:
    """The values that mean something, in their order."""
    return tuple(value for value in values if value & 0x0F0F != 0x0A0A or value >> 8 != value & 0xFF)


class ClientHello:
    """A client's offer.

    Attributes:
        record_version: version of the record layer, as 0x0301.
        legacy_version: version field of the hello; 0x0303 in TLS 1.2 and 1.3.
        versions: offered versions in the client's order: supported_versions, or only legacy_version without it.
        random: the client's random bytes (the challenge of an SSLv2 hello).
        ciphers: cipher suite numbers, in order (SSLv2: 24-bit ones).
        compressions: compression methods.
        extensions: extension numbers, in order.
        groups: supported groups (curves), in order.
        point_formats: EC point formats, in order.
        signature_algorithms: in order; certificate_algorithms: those for certificates, where they are told apart.
        key_shares: the groups that the client sent a key share for (TLS 1.3).
        alpn: offered protocols, in order.
        sni: host name as it was sent, None without one.
        session_id: as sent; not empty when a session of TLS 1.2 is to be resumed, or for middleboxes in 1.3.
        has_ticket: a session ticket (TLS 1.2) was presented.
        offers_psk: a pre-shared key was offered: in TLS 1.3 the client wants to resume.
        offers_early_data: the client sends 0-RTT data.
        wants_status: it asks for a stapled OCSP response.
        handshake_length: bytes of the handshake message with its header.
    """

    __slots__ = (
        "alpn", "certificate_algorithms", "ciphers", "compressions", "extensions", "groups", "handshake_length", "has_ticket",
        "key_shares", "legacy_version", "offers_early_data", "offers_psk", "point_formats", "random", "record_version",
        "session_id", "signature_algorithms", "sni", "versions", "wants_status",
    )  # fmt: skip

    def __init__(self, record_version: int, legacy_version: int, handshake_length: int) -> None:
        self.record_version = record_version
        self.legacy_version = legacy_version
        self.handshake_length = handshake_length
        self.versions: tuple[int, ...] = (legacy_version,)
        self.random = b""
        self.ciphers: tuple[int, ...] = ()
        self.compressions: tuple[int, ...] = ()
        self.extensions: tuple[int, ...] = ()
        self.groups: tuple[int, ...] = ()
        self.point_formats: tuple[int, ...] = ()
        self.signature_algorithms: tuple[int, ...] = ()
        self.certificate_algorithms: tuple[int, ...] = ()
        self.key_shares: tuple[int, ...] = ()
        self.alpn: tuple[bytes, ...] = ()
        self.sni: bytes | None = None
        self.session_id = b""
        self.has_ticket = False
        self.offers_psk = False
        self.offers_early_data = False
        self.wants_status = False

    @property
    def grease(self) -> tuple[int, ...]:
        """The invented values (RFC 8701) among all that is offered, each once, in the order of the hello."""
        offered = (self.ciphers, self.extensions, self.groups, self.signature_algorithms, self.versions)
        return tuple(dict.fromkeys(value for values in offered for value in values if is_grease(value)))

    def __repr__(self) -> str:
        versions = ",".join(map(version_name, self.versions))
        return f"<ClientHello {versions} sni={self.sni!r} alpn={self.alpn!r}>"


def parse_client_hello(data: bytes, *, lenient: bool = False) -> ClientHello | None:
    """Read the hello at the beginning of a connection.

    Args:
        data: all bytes received so far; the hello may be spread over several records.
        lenient: an extension that can't be read, or comes again, is left out, and not the whole hello: to explain why a
            handshake failed, not for decisions.

    Returns:
        The hello, or None while it is incomplete.

    Raises:
        ProtocolViolation: this is no TLS, or no valid hello, or it is longer than LONGEST_HELLO.
    """
    if not data:
        return None
    if data[0] & 0x80:
        return _parse_sslv2(data)
    message = _handshake_message(data, CLIENT_HELLO)
    if message is None:
        return None
    reader = _Reader(message, 4)
    hello = ClientHello(int.from_bytes(data[1:3], "big"), reader.number(2), len(message))
    if hello.legacy_version >> 8 != 3:
        raise ProtocolViolation("unknown version in a ClientHello")
    hello.random = reader.take(32)
    hello.session_id = reader.vector(1)
    if len(hello.session_id) > 32:
        raise ProtocolViolation("malformed ClientHello")
    hello.ciphers = _numbers(reader.vector(2), 2)
    hello.compressions = tuple(reader.vector(1))
    if not hello.ciphers or not hello.compressions:
        raise ProtocolViolation("malformed ClientHello")
    if reader.rest():
        extensions = _Reader(reader.vector(2), 0)
        if reader.rest():
            raise ProtocolViolation("malformed ClientHello")
        _read_extensions(hello, extensions, lenient)
    return hello


def looks_like_tls(data: bytes) -> bool:
    """Whether the first bytes of a connection may be the beginning of a hello, an SSLv2 one included."""
    return data[:1] == b"\x16" or (data[:1] >= b"\x80" and data[2:3] in (b"", b"\x01"))


def is_whole(data: bytes) -> bool:
    """Whether all of a ClientHello is there, or what is there can't become one. Cheap when it lies in one record, as they do."""
    if len(data) > 9 and data[0] == HANDSHAKE:
        length = 4 + int.from_bytes(data[6:9], "big")
        if length <= (data[3] << 8 | data[4]):
            return len(data) >= 5 + length
    try:
        return bool(data) and parse_client_hello(data) is not None
    except ProtocolViolation:
        return True


def server_hello_type(data: bytes) -> int | None:
    """The handshake type at the beginning of a server's answer, SERVER_HELLO for a hello (`rep.ssl_hello_type`).

    Returns:
        The type once the whole message is there; None while it is incomplete.

    Raises:
        ProtocolViolation: this is no TLS handshake record.
    """
    if not data:
        return None
    message = _handshake_message(data, None)
    return message[0] if message is not None else None


def _handshake_message(data: bytes, expected: int | None) -> bytes | None:
    """The first handshake message, put together from its records; None while incomplete."""
    message = b""
    position = 0
    wanted = -1
    while wanted < 0 or len(message) < wanted:
        header = data[position : position + 5]
        if header[:1] not in (b"", b"\x16") or header[1:2] not in (b"", b"\x03") or (len(header) > 2 and header[2] > 4):
            raise ProtocolViolation("not a TLS handshake record")
        if len(header) < 5:
            return None
        length = header[3] << 8 | header[4]
        if not 0 < length <= _LONGEST_RECORD:
            raise ProtocolViolation("invalid length of a TLS record")
        fragment = data[position + 5 : position + 5 + length]
        message += fragment
        if expected is not None and message and message[0] != expected:
            raise ProtocolViolation("not a ClientHello")
        if wanted < 0 and len(message) >= 4:
            wanted = 4 + int.from_bytes(message[1:4], "big")
            if wanted > LONGEST_HELLO:
                raise ProtocolViolation("TLS hello too long")
        if len(fragment) < length and (wanted < 0 or len(message) < wanted):
            return None
        position += 5 + length
    return message[:wanted]


class _Reader:
    """Takes length-prefixed parts out of a message; a part that does not fit is a violation."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise ProtocolViolation("malformed ClientHello")
        part = self._data[self._position : end]
        self._position = end
        return part

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))

    def whole_vector(self, width: int) -> bytes:
        """A vector that fills all the rest."""
        part = self.vector(width)
        if self.rest():
            raise ProtocolViolation("malformed ClientHello")
        return part

    def rest(self) -> int:
        return len(self._data) - self._position


def _numbers(data: bytes, width: int) -> tuple[int, ...]:
    if len(data) % width:
        raise ProtocolViolation("malformed ClientHello")
    return tuple(int.from_bytes(data[start : start + width], "big") for start in range(0, len(data), width))


def _read_extensions(hello: ClientHello, reader: _Reader, lenient: bool) -> None:
    kinds: dict[int, None] = {}
    while reader.rest():
        try:
            kind = reader.number(2)
            body = reader.vector(2)
        except ProtocolViolation:
            if not lenient:
                raise
            break
        try:
            if kind in kinds:
                raise ProtocolViolation("repeated extension in a ClientHello")
            kinds[kind] = None
            _read_extension(hello, kind, body)
        except ProtocolViolation:
            if not lenient:
                raise
    hello.extensions = tuple(kinds)
    hello.offers_psk = _PRE_SHARED_KEY in kinds
    hello.offers_early_data = _EARLY_DATA in kinds
    hello.wants_status = _STATUS_REQUEST in kinds


def _read_extension(hello: ClientHello, kind: int, body: bytes) -> None:
    if kind == SERVER_NAME:
        hello.sni = _host_name(_Reader(body, 0))
    elif kind == _SUPPORTED_GROUPS:
        hello.groups = _numbers(_Reader(body, 0).whole_vector(2), 2)
    elif kind == _POINT_FORMATS:
        hello.point_formats = tuple(_Reader(body, 0).whole_vector(1))
    elif kind == SIGNATURE_ALGORITHMS:
        hello.signature_algorithms = _numbers(_Reader(body, 0).whole_vector(2), 2)
    elif kind == ALPN:
        hello.alpn = tuple(_names(_Reader(_Reader(body, 0).whole_vector(2), 0)))
    elif kind == _SUPPORTED_VERSIONS:
        hello.versions = _numbers(_Reader(body, 0).whole_vector(1), 2)
    elif kind == _SESSION_TICKET:
        hello.has_ticket = bool(body)
    elif kind == _CERTIFICATE_ALGORITHMS:
        hello.certificate_algorithms = _numbers(_Reader(body, 0).whole_vector(2), 2)
    elif kind == KEY_SHARE:
        hello.key_shares = tuple(_key_shares(_Reader(_Reader(body, 0).whole_vector(2), 0)))


def _host_name(reader: _Reader) -> bytes | None:
    """RFC 6066 3: the first host name of the list."""
    names = _Reader(reader.whole_vector(2), 0)
    found: bytes | None = None
    while names.rest():
        kind = names.number(1)
        name = names.vector(2)
        if kind != 0:
            continue
        if found is not None or not name or b"\0" in name:
            raise ProtocolViolation("invalid server name in a ClientHello")
        found = name
    return found


def _key_shares(reader: _Reader) -> Iterator[int]:
    """RFC 8446 4.2.8: a group and a key for each."""
    while reader.rest():
        yield reader.number(2)
        reader.vector(2)


def _names(reader: _Reader) -> Iterator[bytes]:
    while reader.rest():
        name = reader.vector(1)
        if not name:
            raise ProtocolViolation("malformed ClientHello")
        yield name


def _parse_sslv2(data: bytes) -> ClientHello | None:
    """RFC 5246 E.2: a version 2 hello, which old clients send to ask for a newer version too."""
    if len(data) >= 3 and data[2] != CLIENT_HELLO:
        raise ProtocolViolation("not a TLS handshake record")
    if len(data) >= 4 and data[3] not in (0, 3):
        raise ProtocolViolation("not a TLS handshake record")
    if len(data) < 2:
        return None
    length = (data[0] & 0x7F) << 8 | data[1]
    if not 9 <= length <= LONGEST_HELLO:
        raise ProtocolViolation("invalid length of an SSLv2 hello")
    if len(data) < 2 + length:
        return None
    reader = _Reader(data[: 2 + length], 3)
    version = reader.number(2)
    hello = ClientHello(0x0002, version, length)
    if version != 0x0002 and version >> 8 != 3:
        raise ProtocolViolation("unknown version in a ClientHello")
    ciphers, session, challenge = reader.number(2), reader.number(2), reader.number(2)
    hello.ciphers = _numbers(reader.take(ciphers), 3)
    hello.session_id = reader.take(session)
    hello.random = reader.take(challenge)
    if reader.rest():
        raise ProtocolViolation("malformed SSLv2 hello")
    return hello
