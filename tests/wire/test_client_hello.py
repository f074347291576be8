"""ClientHello: a real client's, hand-made ones, in one record or many, and what is refused."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.wire.client_hello import (
    SERVER_HELLO,
    ClientHello,
    is_grease,
    is_whole,
    looks_like_tls,
    parse_client_hello,
    server_hello_type,
    version_name,
)
from headgate.wire.errors import ProtocolViolation


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def extension(kind: int, body: bytes) -> bytes:
    return words(kind) + vector(2, body)


def server_name(*names: bytes) -> bytes:
    return extension(0, vector(2, b"".join(b"\0" + vector(2, name) for name in names)))


def message(extensions: bytes | None, *, version: int = 0x0303, ciphers: bytes = words(0x1301), session: bytes = b"") -> bytes:
    body = words(version) + bytes(range(32)) + vector(1, session) + vector(2, ciphers) + b"\x01\x00"
    if extensions is not None:
        body += vector(2, extensions)
    return b"\x01" + vector(3, body)


def records(handshake: bytes, size: int = 16384, version: int = 0x0301) -> bytes:
    pieces = [handshake[start : start + size] for start in range(0, len(handshake), size)]
    return b"".join(b"\x16" + words(version) + vector(2, piece) for piece in pieces)


def read(data: bytes) -> ClientHello:
    found = parse_client_hello(data)
    assert found is not None
    return found


FULL = message(
    server_name(b"WWW.Example.COM") + extension(10, vector(2, words(0x0A0A, 29, 23))) + extension(11, vector(1, b"\0\1"))
    + extension(13, vector(2, words(0x0403, 0x0804))) + extension(16, vector(2, vector(1, b"h2") + vector(1, b"http/1.1")))
    + extension(5, b"\1\0\0\0\0") + extension(50, vector(2, words(0x0804))) + extension(42, b"")
    + extension(51, vector(2, words(0x0A0A) + vector(2, b"\0") + words(29) + vector(2, b"k" * 32)))
    + extension(35, b"ticket") + extension(43, vector(1, words(0x1A1A, 0x0304, 0x0303))) + extension(41, b"binder"),
    ciphers=words(0x2A2A, 0x1301, 0xC02F), session=b"s" * 32,
)


def test_all_facts() -> None:
    hello = read(records(FULL))
    assert (hello.record_version, hello.legacy_version, hello.versions) == (0x0301, 0x0303, (0x1A1A, 0x0304, 0x0303))
    assert hello.sni == b"WWW.Example.COM" and hello.alpn == (b"h2", b"http/1.1")
    assert hello.ciphers == (0x2A2A, 0x1301, 0xC02F) and hello.groups == (0x0A0A, 29, 23)
    assert hello.signature_algorithms == (0x0403, 0x0804) and hello.point_formats == (0, 1) and hello.compressions == (0,)
    assert hello.extensions == (0, 10, 11, 13, 16, 5, 50, 42, 51, 35, 43, 41)
    assert hello.key_shares == (0x0A0A, 29) and hello.certificate_algorithms == (0x0804,)
    assert hello.offers_early_data and hello.wants_status and hello.grease == (0x2A2A, 0x0A0A, 0x1A1A)
    assert hello.session_id == b"s" * 32 and hello.random == bytes(range(32))
    assert hello.has_ticket and hello.offers_psk and hello.handshake_length == len(FULL)


def test_old_hellos() -> None:
    for extensions in (None, b""):
        hello = read(records(message(extensions, version=0x0301), version=0x0300))
        assert hello.versions == (0x0301,) and hello.sni is None and hello.alpn == () and not hello.extensions
        assert not hello.has_ticket and not hello.offers_psk
    assert not read(records(message(extension(35, b"")))).has_ticket, "an empty ticket only says that tickets are understood"


@given(st.integers(1, 300), st.binary(max_size=20))
def test_any_fragmentation_and_trailing_data(size: int, trailing: bytes) -> None:
    data = records(FULL, size)
    whole, again = read(records(FULL)), read(data + trailing)
    assert all(getattr(whole, name) == getattr(again, name) for name in ClientHello.__slots__)


def test_byte_by_byte() -> None:
    for data in (records(FULL), records(FULL, 50)):
        assert all(parse_client_hello(data[:length]) is None for length in range(len(data)))
        assert read(data).sni == b"WWW.Example.COM"


def test_a_real_client() -> None:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="real.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    data = outgoing.read()
    hello = read(data)
    assert hello.sni == b"real.example" and hello.alpn == (b"h2", b"http/1.1") and 0x0304 in hello.versions
    assert 0x1301 in hello.ciphers and 29 in hello.groups and hello.signature_algorithms and not hello.offers_psk
    assert hello.handshake_length == len(data) - 5


REFUSED = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n", "SSH": b"SSH-2.0-x\r\n", "alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "record version": b"\x16\x02\x00",
    "record minor": b"\x16\x03\x09", "empty record": b"\x16\x03\x01\x00\x00", "record too long": b"\x16\x03\x01\x50\x00",
    "server hello": records(b"\x02" + FULL[1:]), "hello too long": b"\x16\x03\x01\x00\x04\x01\x00\x50\x00",
    "other record between": records(FULL[:20]) + b"\x17\x03\x03\x00\x01x", "version 4": records(message(None, version=0x0400)),
    "no ciphers": records(message(None, ciphers=b"")), "odd ciphers": records(message(None, ciphers=b"\0\0\0")),
    "long session id": records(message(None, session=b"s" * 33)), "repeated extension": records(message(extension(5, b"") * 2)),
    "truncated": records(b"\x01" + vector(3, FULL[4:-3])), "surplus": records(b"\x01" + vector(3, FULL[4:] + b"x")),
    "empty name": records(message(server_name(b""))), "NUL in name": records(message(server_name(b"a\0b"))),
    "two names": records(message(server_name(b"a", b"b"))),
    "surplus in sni": records(message(extension(0, vector(2, b"") + b"x"))),
    "empty protocol": records(message(extension(16, vector(2, vector(1, b""))))),
    "odd groups": records(message(extension(10, vector(2, b"\0")))), "short extension": records(message(b"\0\0\0\5a")),
    "short key share": records(message(extension(51, vector(2, words(29, 32) + b"k")))),
    "SSLv2 type": b"\x80\x10\x02\x00\x02", "SSLv2 length": b"\x80\x02\x01\x00\x02",
    "SSLv2 surplus": b"\x80\x0a\x01\x03\x01\0\0\0\0\0\0x",
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(ProtocolViolation):
        parse_client_hello(REFUSED[name])


UNREADABLE = {
    "empty name": server_name(b""), "NUL in name": server_name(b"a\0b"), "surplus in sni": extension(0, vector(2, b"") + b"x"),
    "odd groups": extension(10, vector(2, b"\0")), "repeated": extension(5, b"") * 2, "surplus": b"\0",
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_bad_extension_hides_no_others(name: str) -> None:
    data = records(message(extension(43, vector(1, words(0x0302))) + UNREADABLE[name]))
    with pytest.raises(ProtocolViolation):
        parse_client_hello(data)
    hello = parse_client_hello(data, lenient=True)
    assert hello is not None and hello.versions == (0x0302,) and hello.sni is None


def test_sslv2() -> None:
    body = b"\x01\x03\x01" + words(6, 0, 16) + b"\x00\x00\x2f\x01\x00\x80" + b"c" * 16
    data = bytes((0x80, len(body))) + body
    assert all(parse_client_hello(data[:length]) is None for length in range(len(data)))
    hello = read(data + b"more")
    assert (hello.record_version, hello.legacy_version, hello.ciphers) == (0x0002, 0x0301, (0x2F, 0x010080))
    assert hello.random == b"c" * 16 and hello.handshake_length == len(body)


def test_server_hello_type() -> None:
    answer = records(b"\x02" + vector(3, b"x" * 40))
    assert server_hello_type(answer) == SERVER_HELLO and server_hello_type(answer[:-1]) is None and server_hello_type(b"") is None
    with pytest.raises(ProtocolViolation):
        server_hello_type(b"HTTP/1.1 200 OK")


def test_names() -> None:
    assert version_name(0x0304) == "TLSv1.3" and version_name(0x0301) == "TLSv1.0" and version_name(0x7F1C) == "0x7f1c"
    assert is_grease(0x0A0A) and is_grease(0xFAFA) and not is_grease(0x0A1A) and not is_grease(0x1301)


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    for start in (b"", b"\x16\x03\x01", b"\x80"):
        for lenient in (False, True):
            try:
                parse_client_hello(start + data, lenient=lenient)
            except ProtocolViolation:
                pass


@given(st.integers(0, len(FULL) - 1), st.integers(0, 255))
def test_a_changed_byte_never_escapes(place: int, byte: int) -> None:
    try:
        parse_client_hello(records(FULL[:place] + bytes((byte,)) + FULL[place + 1 :]))
    except ProtocolViolation:
        pass


@given(st.integers(1, 300), st.data())
def test_whether_it_is_whole(size: int, data: st.DataObject) -> None:
    whole = records(FULL, size)
    seen = data.draw(st.integers(1, len(whole)))
    assert is_whole(whole[:seen]) is (seen == len(whole))


def test_what_looks_like_tls() -> None:
    assert looks_like_tls(b"\x16") and looks_like_tls(b"\x80\x2e\x01") and not looks_like_tls(b"\x80\x2e\x02")
    assert not looks_like_tls(b"GET ") and not looks_like_tls(b"")
