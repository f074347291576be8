"""The PROXY protocol: written headers are read back, whole = byte-by-byte = with trailing data, broken ones are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.addresses import ip_text
from headgate.base.connection_errors import ConnectionFailure
from headgate.wire import proxy_protocol
from headgate.wire.errors import ProtocolViolation
from headgate.wire.proxy_protocol import (
    Command,
    Family,
    HeaderViolation,
    ProxyHeader,
    TlsInfo,
    encode_v1,
    encode_v2,
    parse,
    tlvs_for,
)

IPV4 = st.ip_addresses(v=4).map(lambda address: str(address).encode())
IPV6 = st.ip_addresses(v=6).map(lambda address: ip_text(address).encode())
PORT = st.integers(0, 65535)
TLVS = st.lists(st.tuples(st.sampled_from([1, 2, 4, 5, 0x30, 0xE0, 0xFF]), st.binary(max_size=100)), max_size=5)


def read(header: bytes) -> ProxyHeader:
    """Parse whole, byte by byte and with trailing data, and insist that all agree."""
    for length in range(len(header)):
        assert parse(header[:length]) is None
    whole = parse(header)
    assert whole is not None and whole.length == len(header) and whole == parse(header + b"GET / HTTP/1.1\r\n")
    return whole


@given(st.one_of(st.tuples(IPV4, IPV4), st.tuples(IPV6, IPV6)), PORT, PORT, TLVS, st.booleans())
def test_round_trip(
    pair: tuple[bytes, bytes], source_port: int, port: int, tlvs: list[tuple[int, bytes]], checksum: bool
) -> None:
    addresses = (pair[0], source_port, pair[1], port)
    for header in (encode_v1(*addresses), encode_v2(*addresses, tlvs, crc32c=checksum)):
        found = read(header)
        assert (found.command, found.source, found.source_port) == (Command.PROXY, pair[0], source_port)
        assert (found.destination, found.destination_port, found.stream) == (pair[1], port, True)
    assert list(found.tlvs)[: len(tlvs)] == tlvs and len(found.tlvs) == len(tlvs) + checksum


def test_examples_of_the_specification() -> None:
    found = read(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n")
    assert (found.family, found.source, found.destination_port) == (Family.INET, b"192.168.0.1", 443)
    assert read(b"PROXY UNKNOWN\r\n").family is Family.UNSPEC
    assert read(b"PROXY UNKNOWN ffff:: what ever 1 2\r\n").source == b""
    assert encode_v1(b"10.0.0.1", 1, b"10.0.0.2", 2) == b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"
    assert encode_v1(b"", 0, b"/run/x", 0) == b"PROXY UNKNOWN\r\n"
    assert encode_v1(b"10.0.0.1", 1, b"::1", 2) == b"PROXY TCP6 ::ffff:10.0.0.1 ::1 1 2\r\n"
    for header in (b"PROXY TCP6 ::ffff:a00:1 ::1 1 2\r\n", encode_v2(b"10.0.0.1", 1, b"::1", 2)):
        assert read(header).source == b"::ffff:10.0.0.1", "as inet_ntop(3) writes it"


@pytest.mark.parametrize("line", [
    b"GET / HTTP/1.1\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n",
    b"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
    b"PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n", b"PROXY TCP4 ::1 ::2 1 2\r\n", b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
    b"PROXY TCP6 ::1::2 ::1 1 2\r\n", b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"PROXY UNKNOWNX\r\n", b"PROXY UNKNOWN a\rb\r\n", b"PROXY UNKNOWN " + b"a" * 100,
    b"PROXY TCP4\rx",
])
def test_broken_lines(line: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse(line)


def v2(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    size = len(block) if length is None else length
    return proxy_protocol.SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + block


@pytest.mark.parametrize("header", [
    v2(0x11, 0x11, bytes(12)), v2(0x31, 0x11, bytes(12)), v2(0x22, 0x11, bytes(12)), v2(0x21, 0x41, bytes(12)),
    v2(0x21, 0x13, bytes(12)), v2(0x21, 0x11, bytes(11)), v2(0x21, 0x21, bytes(35)), v2(0x21, 0x31, bytes(215)),
    v2(0x21, 0x11, bytes(12) + b"\x01\x00"), v2(0x21, 0x11, bytes(12) + b"\x01\x00\x05abc"),
    v2(0x21, 0x11, bytes(12) + b"\x03\x00\x04abcd"), v2(0x21, 0x11, bytes(12) + b"\x03\x00\x03abc"),
    v2(0x21, 0x11, bytes(12) + b"\x05\x00\x81" + bytes(129)), v2(0x21, 0x11, bytes(12) + b"\x20\x00\x04" + bytes(4)),
    v2(0x21, 0x11, bytes(12) + b"\x20\x00\x07" + bytes(5) + b"\x21\x00"), v2(0x21, 0x11, b"", 65535), b"\r\n\r\n\x00\r\nQUIX",
])
def test_broken_binary_headers(header: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse(header)


@pytest.mark.parametrize(("header", "failure"), [
    (b"GET / HTTP/1.1\r\n", "NOT_HDR"), (b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "NOT_HDR"), (b"\r\n\r\n\0\r\nQUIX", "NOT_HDR"),
    (v2(0x11, 0x11, bytes(12)), "NOT_HDR"), (v2(0x31, 0x11, bytes(12)), "NOT_HDR"),
    (b"PROXY TCP9 1.2.3.4 5.6.7.8 1 2\r\n", "BAD_PROTO"), (b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "BAD_PROTO"),
    (b"PROXY UNKNOWNX\r\n", "BAD_PROTO"), (b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "BAD_PROTO"),
    (b"PROXY TCP4 here there 1 2\r\n", "BAD_HDR"), (b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "BAD_HDR"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 x 2\r\n", "BAD_HDR"), (b"PROXY TCP4 1.2.3.4\r\n", "BAD_HDR"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rx", "BAD_HDR"), (v2(0x22, 0x11, bytes(12)), "BAD_HDR"),
    (v2(0x21, 0x41, bytes(12)), "BAD_HDR"),
    (v2(0x21, 0x11, bytes(4)), "BAD_HDR"), (v2(0x21, 0x11, bytes(12) + b"\3\0\4abcd"), "BAD_HDR"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "TRUNCATED"), (b"PROXY TCP4 " + b"1" * 200, "TRUNCATED"),
    (v2(0x21, 0x11, b"", 65535), "TRUNCATED"),
])  # fmt: skip
def test_what_is_wrong_has_the_number_that_haproxy_gives_it(header: bytes, failure: str) -> None:
    with pytest.raises(HeaderViolation) as caught:
        parse(header)
    assert caught.value.failure is ConnectionFailure[f"PRX_{failure}"]


def test_a_flipped_bit_is_found_by_the_checksum() -> None:
    header = encode_v2(b"10.0.0.1", 1, b"10.0.0.2", 2, [(5, b"id")], crc32c=True)
    for place in range(16, len(header)):
        broken = header[:place] + bytes((header[place] ^ 1,)) + header[place + 1 :]
        try:
            found = parse(broken)
        except ProtocolViolation:
            continue
        # Only a flip in the type of the checksum itself hides it.
        assert found is None or found.tlv(proxy_protocol.CRC32C) is None


def test_local_unknown_and_unix() -> None:
    assert read(proxy_protocol.encode_local()).command is Command.LOCAL
    assert read(v2(0x20, 0x11, bytes(range(30)))).source == b"", "the block of LOCAL is discarded whatever it is"
    assert read(v2(0x21, 0x10, bytes(5))).family is Family.UNSPEC
    unspecified = read(encode_v2(b"", 0, b"", 0, [(2, b"a.example")]))
    assert unspecified.family is Family.UNSPEC and unspecified.tlv(2) == b"a.example"
    unix = read(encode_v2(b"/run/a", 0, b"/run/b", 0))
    assert (unix.family, unix.source, unix.destination) == (Family.UNIX, b"/run/a", b"/run/b")
    assert not read(v2(0x21, 0x12, bytes(12))).stream


def test_options() -> None:
    tls = TlsInfo(proxy_protocol.CLIENT_SSL, 0, b"TLSv1.3", b"client", b"AES", b"RSA-SHA256", b"RSA2048")
    every = frozenset({"ssl", "cert-cn", "ssl-cipher", "cert-sig", "cert-key", "authority", "unique-id", "crc32c"})
    tlvs = dict(tlvs_for(every, tls=tls, alpn=b"h2", authority=b"a.example", unique_id=b"u" * 200))
    assert tlvs[proxy_protocol.ALPN] == b"h2" and tlvs[proxy_protocol.AUTHORITY] == b"a.example"
    assert tlvs[proxy_protocol.UNIQUE_ID] == b"u" * 128
    assert proxy_protocol.parse_tls_info(tlvs[proxy_protocol.SSL]) == tls
    only = dict(tlvs_for(frozenset({"ssl"}), tls=tls, authority=b"a", unique_id=b"u"))
    assert set(only) == {proxy_protocol.SSL}
    assert proxy_protocol.parse_tls_info(only[proxy_protocol.SSL]) == TlsInfo(1, 0, b"TLSv1.3")
    assert tlvs_for(frozenset(), tls=tls, authority=b"a", unique_id=b"u") == []


@given(st.binary(max_size=80))
def test_arbitrary_bytes(data: bytes) -> None:
    for start in (b"", b"PROXY ", proxy_protocol.SIGNATURE + b"\x21\x11"):
        try:
            found = parse(start + data)
        except ProtocolViolation:
            continue
        assert found is None or found.length <= len(start + data)
