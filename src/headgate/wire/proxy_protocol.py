"""The PROXY protocol, versions 1 and 2 (proxy-protocol.txt 2.1, 2.2): the header in front of a connection, read and written.

Not here: who may send one (`accept-proxy`, `expect-proxy`) and what becomes of the addresses. Called by the connection machines
for bind lines, and by whoever connects to a server with `send-proxy*`.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from headgate.base.addresses import ip_text
from headgate.base.connection_errors import ConnectionFailure
from headgate.base.records import dataclass
from headgate.wire.errors import ProtocolViolation

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
#: Longest version 1 line with its CRLF (2.1).
_LONGEST_LINE: Final = 107

ALPN: Final = 0x01
AUTHORITY: Final = 0x02
CRC32C: Final = 0x03
NOOP: Final = 0x04
UNIQUE_ID: Final = 0x05
SSL: Final = 0x20
SSL_VERSION: Final = 0x21
SSL_CN: Final = 0x22
SSL_CIPHER: Final = 0x23
SSL_SIG_ALG: Final = 0x24
SSL_KEY_ALG: Final = 0x25
SSL_GROUP: Final = 0x26
SSL_SIG_SCHEME: Final = 0x27
SSL_CLIENT_CERT: Final = 0x28
NETNS: Final = 0x30

#: Bits of the `client` byte of the SSL TLV (2.2.6).
CLIENT_SSL: Final = 0x01
CLIENT_CERT_CONN: Final = 0x02
CLIENT_CERT_SESS: Final = 0x04

_LONGEST_UNIQUE_ID: Final = 128


class HeaderViolation(ProtocolViolation):
    """This is no PROXY header, or a broken one.

    Args:
        reason: see `ProtocolViolation`.
        failure: what HAProxy calls it (manual 7.3.3, fc_err_str).
    """

    def __init__(self, reason: str, failure: ConnectionFailure = ConnectionFailure.PRX_BAD_HDR) -> None:
        super().__init__(reason)
        self.failure = failure


class Command(enum.IntEnum):
    """LOCAL: the sender's own connection, whose real addresses count. PROXY: relayed for the source that is named."""

    LOCAL = 0
    PROXY = 1


class Family(enum.IntEnum):
    UNSPEC = 0
    INET = 1
    INET6 = 2
    UNIX = 3


_ADDRESS_BYTES: Final = {Family.UNSPEC: 0, Family.INET: 12, Family.INET6: 36, Family.UNIX: 216}


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """One header.

    Attributes:
        command: LOCAL means that the real addresses of the connection are to be used, as does Family.UNSPEC.
        family: what the addresses are.
        source, destination: address text; the path for UNIX; b"" when there is none.
        source_port, destination_port: 0 when there is none.
        tlvs: (type, value) in order, as received.
        length: bytes of the header: where the connection's own data begins.
        stream: whether the transport is a stream (TCP) and not datagrams.
    """

    command: Command
    family: Family
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    tlvs: tuple[tuple[int, bytes], ...]
    length: int
    stream: bool = True

    def tlv(self, kind: int) -> bytes | None:
        """The value of the first TLV of this type, or None."""
        for found, value in self.tlvs:
            if found == kind:
                return value
        return None


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """The SSL TLV (2.2.6): what the sender tells about the client's TLS connection. None: not told.

    Attributes:
        client: CLIENT_SSL and friends, or-ed.
        verify: 0 when the client presented a certificate that was verified.
    """

    client: int
    verify: int
    version: bytes | None = None
    cn: bytes | None = None
    cipher: bytes | None = None
    sig_alg: bytes | None = None
    key_alg: bytes | None = None
    group: bytes | None = None
    sig_scheme: bytes | None = None
    client_cert: bytes | None = None


#: Sub-TLV type, attribute of TlsInfo, and the word of `proxy-v2-options` that asks for it (5.2); None: with "ssl" itself.
_TLS_PARTS: Final[tuple[tuple[int, str, str | None], ...]] = (
    (SSL_VERSION, "version", None),
    (SSL_CN, "cn", "cert-cn"),
    (SSL_CIPHER, "cipher", "ssl-cipher"),
    (SSL_SIG_ALG, "sig_alg", "cert-sig"),
    (SSL_KEY_ALG, "key_alg", "cert-key"),
    (SSL_GROUP, "group", "ssl-group"),
    (SSL_SIG_SCHEME, "sig_scheme", "ssl-sig-scheme"),
    (SSL_CLIENT_CERT, "client_cert", "ssl-client-cert"),
)


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(data: bytes, limit: int = 16384) -> ProxyHeader | None:
    """Read the header at the beginning of a connection.

    Args:
        data: all bytes received so far.
        limit: longest header that is accepted, in bytes.

    Returns:
        The header, or None while it is incomplete.

    Raises:
        HeaderViolation: this is no header, or a broken one; the connection must be dropped.
    """
    if data[:5] == b"PROXY"[: len(data)]:
        return _parse_v1(data)
    if data[:12] == SIGNATURE[: len(data)]:
        return _parse_v2(data, limit)
    raise HeaderViolation("no PROXY protocol header", ConnectionFailure.PRX_NOT_HDR)


_V1_LINE: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]{2,45}) ([0-9A-Fa-f.:]{2,45}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_V1_KNOWN: Final = re.compile(rb"PROXY (?:TCP4|TCP6|UNKNOWN)(?: |\Z)|PROXY\Z")
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise HeaderViolation("PROXY protocol line too long", ConnectionFailure.PRX_TRUNCATED)
        if b"\r" in data[:-1]:
            raise HeaderViolation("bare CR in a PROXY protocol line")
        return None
    line = data[: end - 1]
    if data[end - 1] != 13:
        # What ends a line is missing: to HAProxy it has not come yet.
        raise HeaderViolation("bare LF in a PROXY protocol line", ConnectionFailure.PRX_TRUNCATED)
    if b"\r" in line:
        raise HeaderViolation("bare CR in a PROXY protocol line")
    if _V1_UNKNOWN.fullmatch(line) is not None:
        return ProxyHeader(Command.PROXY, Family.UNSPEC, b"", 0, b"", 0, (), end + 1)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        if _V1_KNOWN.match(line) is None:
            raise HeaderViolation("unknown protocol in a PROXY protocol line", ConnectionFailure.PRX_BAD_PROTO)
        raise HeaderViolation("malformed PROXY protocol line")
    family = Family.INET if match[1] == b"TCP4" else Family.INET6
    source_port, destination_port = int(match[4]), int(match[5])
    if source_port > 65535 or destination_port > 65535:
        raise HeaderViolation("invalid port in a PROXY protocol line")
    return ProxyHeader(
        Command.PROXY, family, _address_text(match[2], family), source_port, _address_text(match[3], family), destination_port,
        (), end + 1,
    )


def _address_text(text: bytes, family: Family) -> bytes:
    kind = ipaddress.IPv4Address if family is Family.INET else ipaddress.IPv6Address
    try:
        return ip_text(kind(text.decode("ascii"))).encode("ascii")
    except ValueError:
        raise HeaderViolation("invalid address in a PROXY protocol line") from None


def _parse_v2(data: bytes, limit: int) -> ProxyHeader | None:
    if len(data) >= 13 and data[12] >> 4 != 2:
        # HAProxy counts the version with the signature.
        raise HeaderViolation("unknown PROXY protocol version", ConnectionFailure.PRX_NOT_HDR)
    if len(data) >= 13 and data[12] & 15 > 1:
        raise HeaderViolation("unknown PROXY protocol command")
    if len(data) >= 14 and (data[13] >> 4 > 3 or data[13] & 15 > 2):
        raise HeaderViolation("unknown PROXY protocol address family")
    if len(data) < 16:
        return None
    length = 16 + int.from_bytes(data[14:16], "big")
    if length > limit:
        raise HeaderViolation("PROXY protocol header too long", ConnectionFailure.PRX_TRUNCATED)
    if len(data) < length:
        return None
    command = Command(data[12] & 15)
    family = Family(data[13] >> 4)
    transport = data[13] & 15
    if command is Command.LOCAL:
        # 2.2: the address block of a LOCAL header is discarded, whatever it holds; so nothing tells where TLVs would begin.
        return ProxyHeader(command, Family.UNSPEC, b"", 0, b"", 0, (), length)
    if transport == 0:
        family = Family.UNSPEC
    if family is Family.UNSPEC and data[13] != 0:
        # A half-known address of unknown length: no telling where TLVs would begin (2.2: skip by the length field).
        return ProxyHeader(command, family, b"", 0, b"", 0, (), length, transport != 2)
    behind = 16 + _ADDRESS_BYTES[family]
    if behind > length:
        raise HeaderViolation("truncated addresses in a PROXY protocol header")
    tlvs = _parse_tlvs(data, behind, length)
    _verify(data, behind, length, tlvs)
    source, source_port, destination, destination_port = _addresses(data, family)
    return ProxyHeader(command, family, source, source_port, destination, destination_port, tlvs, length, transport != 2)


def _addresses(data: bytes, family: Family) -> tuple[bytes, int, bytes, int]:
    if family is Family.UNSPEC:
        return b"", 0, b"", 0
    if family is Family.UNIX:
        return data[16:124].rstrip(b"\0"), 0, data[124:232].rstrip(b"\0"), 0
    width = 4 if family is Family.INET else 16
    ports = 16 + 2 * width
    return (
        ip_text(ipaddress.ip_address(data[16 : 16 + width])).encode("ascii"),
        int.from_bytes(data[ports : ports + 2], "big"),
        ip_text(ipaddress.ip_address(data[16 + width : ports])).encode("ascii"),
        int.from_bytes(data[ports + 2 : ports + 4], "big"),
    )


def _parse_tlvs(data: bytes, position: int, end: int) -> tuple[tuple[int, bytes], ...]:
    tlvs = []
    while position < end:
        if position + 3 > end:
            raise HeaderViolation("truncated TLV in a PROXY protocol header")
        behind = position + 3 + int.from_bytes(data[position + 1 : position + 3], "big")
        if behind > end:
            raise HeaderViolation("truncated TLV in a PROXY protocol header")
        tlvs.append((data[position], data[position + 3 : behind]))
        position = behind
    return tuple(tlvs)


def _verify(data: bytes, position: int, length: int, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """Check what the types themselves promise: the checksum above all (2.2.3: a wrong one makes the connection invalid)."""
    for kind, value in tlvs:
        if kind == CRC32C:
            if len(value) != 4:
                raise HeaderViolation("invalid checksum TLV in a PROXY protocol header")
            import google_crc32c  # few senders add a checksum

            zeroed = data[: position + 3] + b"\0\0\0\0" + data[position + 7 : length]
            if google_crc32c.value(zeroed) != int.from_bytes(value, "big"):
                raise HeaderViolation("wrong checksum of a PROXY protocol header")
        elif kind == UNIQUE_ID and len(value) > _LONGEST_UNIQUE_ID:
            raise HeaderViolation("unique id too long in a PROXY protocol header")
        elif kind == SSL:
            parse_tls_info(value)
        position += 3 + len(value)


def parse_tls_info(value: bytes) -> TlsInfo:
    """Read the value of an SSL TLV.

    Raises:
        HeaderViolation: it is shorter than it must be.
    """
    if len(value) < 5:
        raise HeaderViolation("truncated SSL TLV in a PROXY protocol header")
    parts = dict(_parse_tlvs(value, 5, len(value)))
    named = {attribute: parts.get(kind) for kind, attribute, _ in _TLS_PARTS}
    return TlsInfo(value[0], int.from_bytes(value[1:5], "big"), **named)


# --- writing ---------------------------------------------------------------------------------------------------------

_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _pair(source: bytes, destination: bytes) -> tuple[_IpAddress, _IpAddress] | None:
    """Both addresses in one family (IPv4 is mapped into IPv6 when they differ); None when one of them is no IP address."""
    try:
        first = ipaddress.ip_address(source.decode("ascii"))
        second = ipaddress.ip_address(destination.decode("ascii"))
    except ValueError:
        return None
    if first.version != second.version:
        return _mapped(first), _mapped(second)
    return first, second


def _mapped(address: _IpAddress) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)


def encode_v1(source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """The line for a relayed connection; `PROXY UNKNOWN` when the addresses are not IP addresses."""
    pair = _pair(source, destination)
    if pair is None:
        return b"PROXY UNKNOWN\r\n"
    family = 4 if pair[0].version == 4 else 6
    return f"PROXY TCP{family} {ip_text(pair[0])} {ip_text(pair[1])} {source_port} {destination_port}\r\n".encode("ascii")


def encode_local() -> bytes:
    """The version 2 header of a connection of our own, such as a health check."""
    return SIGNATURE + b"\x20\x00\x00\x00"


def encode_v2(
    source: bytes,
    source_port: int,
    destination: bytes,
    destination_port: int,
    tlvs: Sequence[tuple[int, bytes]] = (),
    *,
    crc32c: bool = False,
) -> bytes:
    """The binary header for a relayed stream connection.

    Args:
        source, destination: address text; paths of unix sockets make a UNIX header, b"" an UNSPEC one.
        source_port, destination_port: ignored where there are no ports.
        tlvs: (type, value) to send, in order; see `tlvs_for`.
        crc32c: whether to add the checksum TLV.
    """
    pair = _pair(source, destination)
    if pair is not None:
        family = 0x11 if pair[0].version == 4 else 0x21
        block = pair[0].packed + pair[1].packed + source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")
    elif source[:1] == b"/" or destination[:1] == b"/":
        family = 0x31
        block = source[:108].ljust(108, b"\0") + destination[:108].ljust(108, b"\0")
    else:
        family, block = 0x00, b""
    block += b"".join([bytes((kind,)) + len(value).to_bytes(2, "big") + value for kind, value in tlvs])
    if not crc32c:
        return SIGNATURE + bytes((0x21, family)) + len(block).to_bytes(2, "big") + block
    import google_crc32c

    header = SIGNATURE + bytes((0x21, family)) + (len(block) + 7).to_bytes(2, "big") + block + b"\x03\x00\x04"
    return header + int(google_crc32c.value(header + b"\0\0\0\0")).to_bytes(4, "big")


def encode_tls_info(info: TlsInfo, options: frozenset[str]) -> bytes:
    """The value of an SSL TLV: flags, version, and the parts that `options` (words of `proxy-v2-options`) ask for."""
    value = bytes((info.client,)) + info.verify.to_bytes(4, "big")
    for kind, attribute, option in _TLS_PARTS:
        part: bytes | None = getattr(info, attribute)
        if part is not None and (option is None or option in options):
            value += bytes((kind,)) + len(part).to_bytes(2, "big") + part
    return value


def tlvs_for(
    options: frozenset[str],
    *,
    tls: TlsInfo | None = None,
    alpn: bytes | None = None,
    authority: bytes | None = None,
    unique_id: bytes | None = None,
) -> list[tuple[int, bytes]]:
    """The TLVs that `proxy-v2-options` ask for (5.2), out of what is known; pass "crc32c" to `encode_v2` separately.

    Any of the options about TLS implies `ssl`. The ALPN that the client agreed on is sent whenever there is one.
    """
    tlvs: list[tuple[int, bytes]] = []
    if alpn is not None:
        tlvs.append((ALPN, alpn))
    if authority is not None and "authority" in options:
        tlvs.append((AUTHORITY, authority))
    if unique_id is not None and "unique-id" in options:
        tlvs.append((UNIQUE_ID, unique_id[:_LONGEST_UNIQUE_ID]))
    if tls is not None and options & _TLS_OPTIONS:
        tlvs.append((SSL, encode_tls_info(tls, options)))
    return tlvs


_TLS_OPTIONS: Final = frozenset({"ssl"} | {option for _, _, option in _TLS_PARTS if option is not None})
