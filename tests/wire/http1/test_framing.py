"""Framing: body lengths, persistence, and what must be refused because two readers could disagree."""

from __future__ import annotations

import pytest

from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.framing import CHUNKED, UNTIL_CLOSE, Framing, request_framing, response_framing
from headgate.wire.http1.heads import parse_request_head, parse_response_head


def request(*lines: bytes, start: bytes = b"POST / HTTP/1.1", host: bool = True) -> Framing:
    return request_framing(parse_request_head(b"\r\n".join([start, *([b"Host: a"] if host else []), *lines])))


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", method: bytes = b"GET") -> Framing:
    return response_framing(parse_response_head(b"\r\n".join([start, *lines])), method)


@pytest.mark.parametrize("lines,length", [
    ([], 0), ([b"Content-Length: 0"], 0), ([b"Content-Length: 42"], 42), ([b"content-length:42 "], 42),
    ([b"Content-Length: 5", b"Content-Length: 5"], 5), ([b"Content-Length: 5, 5"], 5),
    ([b"Transfer-Encoding: chunked"], CHUNKED), ([b"transfer-encoding:CHUNKED"], CHUNKED),
])
def test_request_length(lines: list[bytes], length: int) -> None:
    assert request(*lines).length == length


REFUSED = {
    "CL and TE": ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], 400),
    "TE and CL": ([b"Transfer-Encoding: chunked", b"Content-Length: 0"], 400),
    "differing CL": ([b"Content-Length: 5", b"Content-Length: 6"], 400),
    "differing CL list": ([b"Content-Length: 5, 6"], 400),
    "negative": ([b"Content-Length: -1"], 400),
    "plus": ([b"Content-Length: +1"], 400),
    "hexadecimal": ([b"Content-Length: 0x10"], 400),
    "empty": ([b"Content-Length:"], 400),
    "empty member": ([b"Content-Length: 5,"], 400),
    "inner space": ([b"Content-Length: 1 2"], 400),
    "underscore": ([b"Content-Length: 1_0"], 400),
    "fraction": ([b"Content-Length: 1.0"], 400),
    "huge": ([b"Content-Length: 9999999999999999999"], 400),
    "chunked twice": ([b"Transfer-Encoding: chunked, chunked"], 400),
    "chunked in two fields": ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], 400),
    "identity": ([b"Transfer-Encoding: identity"], 400),
    "identity and chunked": ([b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"], 501),
    "gzip and chunked": ([b"Transfer-Encoding: gzip, chunked"], 501),
    "chunked not last": ([b"Transfer-Encoding: chunked, gzip"], 400),
    "chunked with parameter": ([b"Transfer-Encoding: chunked;q=1"], 400),
    "xchunked": ([b"Transfer-Encoding: xchunked"], 400),
    "quoted": ([b'Transfer-Encoding: "chunked"'], 400),
    "leading comma": ([b"Transfer-Encoding: ,chunked"], 400),
    "trailing comma": ([b"Transfer-Encoding: chunked,"], 400),
    "empty TE": ([b"Transfer-Encoding:"], 400),
    "second Host": ([b"Host: b"], 400),
    "same Host twice": ([b"Host: a"], 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_request_refused(name: str) -> None:
    lines, status = REFUSED[name]
    with pytest.raises(ProtocolViolation) as caught:
        request(*lines)
    assert caught.value.status == status


def test_repeated_length_is_forwarded_once() -> None:
    head = parse_request_head(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5, 5")
    assert request_framing(head).length == 5
    assert head.values(b"content-length") == [b"5"] and head.edited


def test_chunked_needs_http_11() -> None:
    with pytest.raises(ProtocolViolation):
        request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0")


def test_host() -> None:
    with pytest.raises(ProtocolViolation, match="no Host header"):
        request(host=False)
    assert request(start=b"GET / HTTP/1.0", host=False).length == 0
    assert request(b"Host:", host=False).length == 0
    with pytest.raises(ProtocolViolation, match="several"):
        request(b"Host: b", start=b"GET / HTTP/1.0")
    with pytest.raises(ProtocolViolation, match="invalid Host"):
        request(b"Host: a b", host=False)


@pytest.mark.parametrize("start,host", [
    (b"GET http://a/ HTTP/1.1", b"a"), (b"GET http://A:80/x HTTP/1.1", b"a"), (b"GET http://a HTTP/1.1", b"a:80"),
    (b"GET https://a/ HTTP/1.1", b"a:443"), (b"GET http://a:8080/ HTTP/1.1", b"a:8080"), (b"OPTIONS * HTTP/1.1", b"a"),
    (b"CONNECT a:443 HTTP/1.1", b"a:443"), (b"CONNECT a:443 HTTP/1.1", b"a"), (b"GET http://[::1]/ HTTP/1.1", b"[::1]"),
])
def test_targets(start: bytes, host: bytes) -> None:
    assert request(b"Host: " + host, start=start, host=False).length == 0


@pytest.mark.parametrize("start", [
    b"GET http://b/ HTTP/1.1", b"GET http://a:81/ HTTP/1.1", b"GET * HTTP/1.1", b"GET a HTTP/1.1", b"GET ?x HTTP/1.1",
    b"CONNECT a HTTP/1.1", b"CONNECT / HTTP/1.1", b"CONNECT b:443 HTTP/1.1", b"GET http://user@a/ HTTP/1.1",
    b"GET http:///x HTTP/1.1", b"GET https://a:80/ HTTP/1.1",
])
def test_targets_refused(start: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        request(start=start)


@pytest.mark.parametrize("start,lines,persistent", [
    (b"GET / HTTP/1.1", [], True), (b"GET / HTTP/1.1", [b"Connection: close"], False),
    (b"GET / HTTP/1.1", [b"Connection: keep-alive, Close"], False), (b"GET / HTTP/1.0", [], False),
    (b"GET / HTTP/1.0", [b"Connection: Keep-Alive"], True),
    (b"GET / HTTP/1.0", [b"Connection: keep-alive", b"Connection: close"], False),
])
def test_persistence(start: bytes, lines: list[bytes], persistent: bool) -> None:
    assert request(*lines, start=start).persistent is persistent


def test_other_facts() -> None:
    framing = request(b"Connection: Upgrade", b"Upgrade: websocket", b"Expect: 100-Continue")
    assert framing.upgrade and framing.expects_continue and framing.hop_by_hop
    assert not request(b"Upgrade: websocket").upgrade
    assert not request(b"Connection: upgrade").upgrade
    assert request(b"Keep-Alive: timeout=5").hop_by_hop and not request().hop_by_hop
    assert not request(b"Expect: 100-continue", start=b"POST / HTTP/1.0").expects_continue


@pytest.mark.parametrize("start,lines,method,length", [
    (b"HTTP/1.1 200 OK", [], b"GET", UNTIL_CLOSE), (b"HTTP/1.1 200 OK", [b"Content-Length: 3"], b"GET", 3),
    (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], b"GET", CHUNKED),
    (b"HTTP/1.1 200 OK", [b"Content-Length: 3"], b"HEAD", 0), (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], b"HEAD", 0),
    (b"HTTP/1.1 304 Not Modified", [b"Content-Length: 3"], b"GET", 0), (b"HTTP/1.1 204 No Content", [], b"GET", 0),
    (b"HTTP/1.1 204 No Content", [b"Content-Length: 0"], b"GET", 0), (b"HTTP/1.1 100 Continue", [], b"POST", 0),
    (b"HTTP/1.1 101 Switching Protocols", [], b"GET", 0),
])
def test_response_length(start: bytes, lines: list[bytes], method: bytes, length: int) -> None:
    framing = response(*lines, start=start, method=method)
    assert framing.length == length
    assert framing.persistent is (length != UNTIL_CLOSE)


@pytest.mark.parametrize("lines", [
    [b"Content-Length: 5", b"Transfer-Encoding: chunked"], [b"Content-Length: 5", b"Content-Length: 6"], [b"Content-Length: x"],
    [b"Transfer-Encoding: gzip, chunked"], [b"Transfer-Encoding: chunked, chunked"],
])
def test_response_refused(lines: list[bytes]) -> None:
    for method in (b"GET", b"HEAD"):
        with pytest.raises(ProtocolViolation) as caught:
            response(*lines, method=method)
        assert caught.value.status == 502


def test_transfer_encoding_where_no_body_can_be() -> None:
    for start in (b"HTTP/1.1 204 No Content", b"HTTP/1.1 101 Switching Protocols"):
        with pytest.raises(ProtocolViolation):
            response(b"Transfer-Encoding: chunked", start=start)
