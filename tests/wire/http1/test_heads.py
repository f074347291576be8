"""Heads: what is accepted, and the table of what smuggles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.heads import (
    INVALID_HOST,
    Field,
    make_field,
    parse_field,
    parse_request_head,
    parse_response_head,
    valid_name,
    valid_value,
)

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=12).map(str.encode)
VALUE = st.binary(max_size=40).map(lambda raw: bytes(byte for byte in raw if byte > 31 and byte != 127).strip(b" \t"))


def test_request() -> None:
    head = parse_request_head(b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-A:\t1 2 \t")
    assert (head.method, head.target, head.version) == (b"GET", b"/a?b=c", 11)
    assert [(field.name, field.value) for field in head.fields] == [(b"host", b"example.com"), (b"x-a", b"1 2")]
    assert head.encode() == b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-A:\t1 2 \t\r\n\r\n"
    assert not head.edited


@pytest.mark.parametrize("head", [
    b"GET / HTTP/1.0", b"get / HTTP/1.1", b"OPTIONS * HTTP/1.1", b"M-SEARCH / HTTP/1.1", b"GET / HTTP/1.1\r\nA:",
    b"GET / HTTP/1.1\r\nA: \xc3\xa9", b"GET / HTTP/1.1\r\nA: b\tc", b"GET / HTTP/1.1\r\nA: b: c",
])
def test_accepted(head: bytes) -> None:
    for _ in range(2):  # the second time through the intern tables
        assert parse_request_head(head).encode() == head + b"\r\n\r\n"


SMUGGLING = {
    "no version": (b"GET /", 400),
    "HTTP/0.9": (b"GET / HTTP/0.9", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2", 505),
    "HTTP/2.0": (b"GET / HTTP/2.0", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0", 505),
    "lower-case protocol": (b"GET / http/1.1", 400),
    "digits in version": (b"GET / HTTP/1.10", 505),
    "two spaces": (b"GET  / HTTP/1.1", 400),
    "tab for space": (b"GET\t/ HTTP/1.1", 400),
    "tab in target": (b"GET /a\tb HTTP/1.1", 400),
    "trailing space": (b"GET / HTTP/1.1 ", 400),
    "leading space": (b" GET / HTTP/1.1", 400),
    "space in target": (b"GET /a b HTTP/1.1", 400),
    "raw octets in target": (b"GET /\xff HTTP/1.1", 400),
    "NUL in target": (b"GET /\x00 HTTP/1.1", 400),
    "LF in target": (b"GET /\nX: HTTP/1.1", 400),
    "colon in method": (b"GE:T / HTTP/1.1", 400),
    "empty method": (b" / HTTP/1.1", 400),
    "empty head": (b"", 400),
    "leading empty line": (b"\r\nGET / HTTP/1.1", 400),
    "bare LF after start line": (b"GET / HTTP/1.1\nHost: a", 400),
    "bare LF between fields": (b"GET / HTTP/1.1\r\nHost: a\nX: b", 400),
    "bare CR between fields": (b"GET / HTTP/1.1\r\nHost: a\rX: b", 400),
    "CR at the end": (b"GET / HTTP/1.1\r\nHost: a\r", 400),
    "LF first": (b"GET / HTTP/1.1\r\n\nHost: a", 400),
    "obs-fold with space": (b"GET / HTTP/1.1\r\nA: b\r\n c", 400),
    "obs-fold with tab": (b"GET / HTTP/1.1\r\nA: b\r\n\tc", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nContent-Length : 5", 400),
    "tab before colon": (b"GET / HTTP/1.1\r\nContent-Length\t: 5", 400),
    "space before name": (b"GET / HTTP/1.1\r\n Content-Length: 5", 400),
    "empty name": (b"GET / HTTP/1.1\r\n: 5", 400),
    "no colon": (b"GET / HTTP/1.1\r\nContent-Length", 400),
    "space in name": (b"GET / HTTP/1.1\r\nContent Length: 5", 400),
    "NUL in name": (b"GET / HTTP/1.1\r\nA\x00: 5", 400),
    "slash in name": (b"GET / HTTP/1.1\r\nA/B: 5", 400),
    "obs-text in name": (b"GET / HTTP/1.1\r\nA\xe9: 5", 400),
    "brackets in name": (b"GET / HTTP/1.1\r\n[a]: 5", 400),
    "NUL in value": (b"GET / HTTP/1.1\r\nA: b\x00c", 400),
    "vertical tab in value": (b"GET / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked", 400),
    "form feed in value": (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\x0c", 400),
    "DEL in value": (b"GET / HTTP/1.1\r\nA: \x7f", 400),
    "ESC in value": (b"GET / HTTP/1.1\r\nA: \x1b[2J", 400),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_refused(name: str) -> None:
    head, status = SMUGGLING[name]
    for _ in range(2):  # a refused line must not have got into the intern tables
        with pytest.raises(ProtocolViolation) as caught:
            parse_request_head(head)
        assert caught.value.status == status


def test_too_many_fields() -> None:
    head = b"GET / HTTP/1.1" + b"\r\nA: b" * 5
    assert len(parse_request_head(head, 5).fields) == 5
    with pytest.raises(ProtocolViolation) as caught:
        parse_request_head(head, 4)
    assert caught.value.status == 431


def test_reason_names_the_fault() -> None:
    reasons = {
        b" folded": "folded header line", b"a\nb: c": "bare CR or LF in a header line", b"name": "header line without a colon",
        b"a : b": "white space before the colon of a header", b"a(: b": "invalid character in a header name",
        b"a: \x00": "invalid character in a header value",
    }
    for line, reason in reasons.items():
        with pytest.raises(ProtocolViolation, match=reason):
            parse_field(line)


@pytest.mark.parametrize("host", [
    b"a b", b"a/b", b"user@a", b"a, b", b"a?b", b"a#b", b"[::1", b"a:b", b"a:123456", b"\xc3\xa9", b'"a"',
])
def test_invalid_host_is_marked(host: bytes) -> None:
    assert parse_field(b"Host: " + host).kind == INVALID_HOST


@pytest.mark.parametrize("host", [b"", b"a", b"a.b.c:80", b"[::1]:443", b"192.0.2.1", b"under_score.example", b"a:"])
def test_valid_host(host: bytes) -> None:
    assert parse_field(b"Host: " + host).kind != INVALID_HOST


def test_response() -> None:
    head = parse_response_head(b"HTTP/1.1 404 Not Found\r\nServer: x")
    assert (head.status, head.reason, head.version) == (404, b"Not Found", 11)
    assert head.encode() == b"HTTP/1.1 404 Not Found\r\nServer: x\r\n\r\n"
    assert parse_response_head(b"HTTP/1.0 200").encode() == b"HTTP/1.0 200 \r\n\r\n"


@pytest.mark.parametrize("head", [
    b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 x", b"HTTP/2 200", b"HTTP/1.2 200 OK",
    b"http/1.1 200 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 200 a\nb", b"HTTP/1.1 200 \x00", b"HTTP/1.1 200 OK\nA: b",
    b"HTTP/1.1 200 OK\r\nA : b", b"HTTP/1.1 200 OK\r\n A: b", b"HTTP/1.1 200 OK\r\nA: \x00", b"HTTP/1.1 +20 OK",
    b"HTTP/1.1 200 OK" + b"\r\nA: b" * 102,
])
def test_response_refused(head: bytes) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_response_head(head)
    assert caught.value.status == 502


def test_editing() -> None:
    head = parse_request_head(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3")
    assert head.values(b"a") == [b"1", b"3"]
    assert head.first(b"a") == b"1" and head.first(b"c") is None
    assert not head.remove(b"c") and not head.edited
    head.set(b"A", b"4")
    assert head.edited
    assert head.encode() == b"GET / HTTP/1.1\r\nB: 2\r\nA: 4\r\n\r\n"
    assert head.remove(b"a") and head.remove(b"b")
    assert head.encode() == b"GET / HTTP/1.1\r\n\r\n"


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=8))
def test_what_is_encoded_is_read_back(pairs: list[tuple[bytes, bytes]]) -> None:
    head = parse_request_head(b"GET / HTTP/1.1")
    for name, value in pairs:
        assert valid_name(name) and valid_value(value)
        head.add(name, value)
    again = parse_request_head(head.encode()[:-4])
    assert [(field.name, field.value) for field in again.fields] == [(name.lower(), value) for name, value in pairs]


@given(st.binary(max_size=60))
def test_a_line_is_split_or_refused(line: bytes) -> None:
    try:
        field = parse_field(line)
    except ProtocolViolation:
        return
    assert field.line == line
    assert valid_name(field.name) and valid_value(field.value)
    assert not set(line) & {0, 10, 13}


def test_interned_fields_are_shared_and_bounded() -> None:
    first = parse_request_head(b"GET / HTTP/1.1\r\nX-Shared: 1").fields[0]
    assert parse_request_head(b"GET / HTTP/1.1\r\nX-Shared: 1").fields[0] is first
    for number in range(9000):
        parse_request_head(b"GET /%d HTTP/1.1\r\nX-Flood: %d" % (number, number))
    from headgate.wire.http1 import heads

    assert len(heads._interned) <= heads._INTERN_ENTRIES
    assert len(heads._request_lines) <= heads._INTERN_ENTRIES


def test_own_fields() -> None:
    field = make_field(b"Content-Length", b"5")
    assert isinstance(field, Field) and field.line == b"Content-Length: 5" and field.kind == parse_field(b"content-length:5").kind
