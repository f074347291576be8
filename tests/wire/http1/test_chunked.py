"""Chunked bodies: the end is found at the same place however they arrive, and nothing ambiguous passes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.chunked import LONGEST_SIZE_LINE, MOST_EXTENSION_BYTES, MOST_TRAILERS, ChunkedBody

EXTENSIONS = st.sampled_from([b"", b";a", b' ; a="b c"', b";x=1;y"])
CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=40), EXTENSIONS), max_size=6)
TRAILERS = st.lists(st.sampled_from([b"X-Sum: 1", b"Etag:", b"X-Long: " + b"v" * 50]), max_size=4)


def encode(chunks: list[tuple[bytes, bytes]], trailers: list[bytes]) -> bytes:
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(payload), extension, payload) for payload, extension in chunks)
    return body + b"0\r\n" + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


@given(CHUNKS, TRAILERS, st.binary(max_size=10), st.lists(st.integers(0, 400), max_size=6))
def test_whole_is_piecewise_is_trailing(
    chunks: list[tuple[bytes, bytes]], trailers: list[bytes], trailing: bytes, cuts: list[int]
) -> None:
    body = encode(chunks, trailers)
    payload = sum(len(part) for part, _ in chunks)
    whole = ChunkedBody()
    assert whole.feed(b"??" + body + trailing, 2) == 2 + len(body)
    assert whole.done and whole.payload == payload and len(whole.trailers) == len(trailers)
    assert body[whole.trailers_at - 2 :] == b"".join(line + b"\r\n" for line in trailers) + b"\r\n"
    single = ChunkedBody()
    for place in range(len(body)):
        assert not single.done
        assert single.feed(body[place : place + 1]) == 1
    assert single.done and single.payload == payload
    pieces = ChunkedBody()
    bounds = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    dropped = b""
    for first, last in itertools.pairwise(bounds):
        piece = body[first:last] + (trailing if last == len(body) else b"")
        end = pieces.feed(piece)
        assert end == last - first
        dropped += piece[pieces.trailers_at : end]
    assert pieces.done and pieces.payload == payload
    assert dropped == body[whole.trailers_at - 2 :]


BROKEN = {
    "no size": b"\r\n", "LF after size": b"5\nhello\r\n0\r\n\r\n", "CR after size": b"5\rhello", "not hexadecimal": b"g\r\n",
    "0x": b"0x5\r\nhello\r\n", "minus": b"-5\r\n", "plus": b"+5\r\nhello\r\n", "leading space": b" 5\r\nhello\r\n",
    "trailing space": b"5 \r\nhello\r\n",
    "underscore": b"1_0\r\n", "too many digits": b"00000000000000005\r\nhello\r\n",
    "too large": b"ffffffffffffffff\r\n", "NUL in extension": b"5;\x00\r\nhello\r\n",
    "LF in extension": b"5;a\nb\r\nhello\r\n",
    "CR in extension": b"5;a\rb\r\nhello\r\n", "long extension": b"5;" + b"a" * LONGEST_SIZE_LINE + b"\r\nhello\r\n",
    "chunk too long": b"5\r\nhello!\r\n0\r\n\r\n",
    "chunk too short": b"5\r\nhell\r\n0\r\n\r\n",
    "LF after chunk": b"5\r\nhello\n0\r\n\r\n",
    "CR without LF after chunk": b"5\r\nhello\rx",
    "two zeros with LF": b"0\n\nGET / HTTP/1.1\r\n",
    "trailer Content-Length": b"0\r\nContent-Length: 5\r\n\r\n", "trailer TE": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer Host": b"0\r\nhost: a\r\n\r\n", "trailer Connection": b"0\r\nConnection: close\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n", "trailer without colon": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "space before colon": b"0\r\nA : b\r\n\r\n", "LF in trailer": b"0\r\nA: b\n\r\n\r\n",
    "NUL in trailer": b"0\r\nA: \x00\r\n\r\n",
    "many trailers": b"0\r\n" + b"A: b\r\n" * (MOST_TRAILERS + 1) + b"\r\n",
    "long trailer": b"0\r\nA: " + b"b" * 9000 + b"\r\n\r\n",
    "much extension": b"1;" + b"a" * 500 + b"\r\nx\r\n",
}
BROKEN["much extension"] *= MOST_EXTENSION_BYTES // 500 + 1


@pytest.mark.parametrize("name", BROKEN)
def test_refused(name: str) -> None:
    for status in (400, 502):
        with pytest.raises(ProtocolViolation) as caught:
            ChunkedBody(status).feed(BROKEN[name])
        assert caught.value.status == status
    single = ChunkedBody()
    with pytest.raises(ProtocolViolation):
        for byte in BROKEN[name]:
            single.feed(bytes((byte,)))
    assert not single.done


def test_a_bare_line_feed_is_refused_before_it_could_be_forwarded() -> None:
    """A reader that takes LF for a line end would see a complete body where we still wait for CRLF."""
    with pytest.raises(ProtocolViolation):
        ChunkedBody().feed(b"0\n\n")
    body = ChunkedBody()
    body.feed(b"0\r\nX: y")
    with pytest.raises(ProtocolViolation):
        body.feed(b"\n\n")


def test_after_the_end_nothing_is_taken() -> None:
    body = ChunkedBody()
    assert body.feed(b"0\r\n\r\nGET") == 5
    assert body.feed(b"GET") == 0


@given(st.binary(max_size=60))
def test_arbitrary_bytes_whole_and_single_agree(data: bytes) -> None:
    def outcome(pieces: list[bytes]) -> object:
        body = ChunkedBody()
        taken = 0
        try:
            for piece in pieces:
                taken += body.feed(piece)
        except ProtocolViolation:
            return "refused"
        return taken, body.done, body.payload

    assert outcome([data]) == outcome([data[place : place + 1] for place in range(len(data))])
