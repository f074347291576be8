"""The end of a chunked body (RFC 9112, 7.1), found without decoding it.

Bodies are forwarded as they come, chunk headers included, so this scanner only walks from chunk to chunk and refuses all that two
readers could understand differently. Nothing that is not yet known to be valid is passed: the beginning of an incomplete line
is checked as soon as it is there, since the caller forwards it. Called by the exchange machines for requests and responses.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.heads import Field, parse_field

#: Longest line of a chunk size and its extensions, without CRLF, in bytes.
LONGEST_SIZE_LINE: Final = 512
#: All extensions of one body together: they are overhead that no one needs, and a way to keep a proxy busy for nothing.
MOST_EXTENSION_BYTES: Final = 16384
#: Largest size of one chunk: what a signed 64-bit reader can hold.
LARGEST_CHUNK: Final = 0x7FFFFFFFFFFFFFFF
MOST_TRAILERS: Final = 101
MOST_TRAILER_BYTES: Final = 8192

#: Fields that say how a message is framed, routed or authenticated never come as trailers (RFC 9110 6.5.1).
FORBIDDEN_TRAILERS: Final = frozenset({
    b"authorization", b"cache-control", b"connection", b"content-encoding", b"content-length", b"content-range",
    b"content-type", b"cookie", b"expect", b"host", b"keep-alive", b"max-forwards", b"proxy-authenticate",
    b"proxy-authorization", b"proxy-connection", b"range", b"set-cookie", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"www-authenticate",
})

_EXTENSION: Final = rb"[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*"
_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(" + _EXTENSION + rb")?")
_SIZE_BEGINNING: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,16}(?:[ \t]*|" + _EXTENSION + rb"|(?:" + _EXTENSION + rb")?\r))?")
_TRAILER_BEGINNING: Final = re.compile(rb"\r?|[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::(?:[^\x00-\x08\x0a-\x1f\x7f]*\r?))?")

_SIZE: Final = 0
_PAYLOAD: Final = 1
_TRAILERS: Final = 2
_OVER: Final = 3
#: Instead of the place of a CRLF: its CR was the last byte of what was kept.
_SPLIT_CRLF: Final = -2


class ChunkedBody:
    """Walks over one chunked body.

    Attributes:
        done: the last CRLF was seen.
        payload: bytes of payload passed so far, without chunk headers and trailers.
        trailers: the trailer fields seen so far.
        trailers_at: where in the data of the last `feed` the trailer section begins or goes on; equal to what `feed` returned
            when nothing of it was there. Who drops trailers forwards up to here, and an empty line when done.
    """

    __slots__ = (
        "_extensions", "_left", "_line", "_state", "_status", "_trailer_bytes", "done", "payload", "trailers", "trailers_at",
    )

    def __init__(self, status: int = 400) -> None:
        """`status` is what a violation tells the client: 400 for a request's body, 502 for a response's."""
        self.done = False
        self.payload = 0
        self.trailers: list[Field] = []
        self.trailers_at = 0
        self._status = status
        self._state = _SIZE
        self._line = b""  # beginning of a line that is not complete
        self._left = 0  # bytes of the chunk still to come, its CRLF included
        self._extensions = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes, start: int = 0) -> int:
        """Walk over the next bytes.

        Args:
            data: what has arrived.
            start: offset of the first byte that was not fed before.

        Returns:
            The offset just behind what belongs to the body: `len(data)` while it is not over.

        Raises:
            ProtocolViolation: the body is not valid; nothing of `data` may be forwarded.
        """
        position = start
        size = len(data)
        self.trailers_at = start if self._state == _TRAILERS else -1
        while position < size and self._state != _OVER:
            if self._state == _PAYLOAD:
                position = self._pass_payload(data, position, size)
                continue
            end = data.find(b"\r\n", position)
            if self._line:
                if self._line[-1] == 13 and data[position] == 10:
                    end = _SPLIT_CRLF
                line, position = self._joined(data, position, end)
            elif end >= 0:
                line = data[position:end]
                position = end + 2
            else:
                self._line = data[position:]
                line, position = None, size
            if line is None:
                self._check_beginning()
            elif self._state == _SIZE:
                self._begin_chunk(line, position)
            else:
                self._trailer(line)
        if self.trailers_at < 0:
            self.trailers_at = position
        return position

    def _joined(self, data: bytes, position: int, end: int) -> tuple[bytes | None, int]:
        """Complete the kept beginning of a line; `end` is where its CRLF was found, -1 when nowhere."""
        if end == _SPLIT_CRLF:
            line = self._line[:-1]
            position += 1
        elif end >= 0:
            line = self._line + data[position:end]
            position = end + 2
        else:
            self._line += data[position:]
            return None, len(data)
        self._line = b""
        return line, position

    def _pass_payload(self, data: bytes, position: int, size: int) -> int:
        """Skip the chunk's bytes by arithmetic and check the CRLF behind them."""
        left = self._left
        if left > 2:
            step = min(left - 2, size - position)
            self.payload += step
            position += step
            left -= step
        if left == 2 and position < size:
            if data[position] != 13:
                raise ProtocolViolation("chunk longer than its size", self._status, position)
            position += 1
            left = 1
        if left == 1 and position < size:
            if data[position] != 10:
                raise ProtocolViolation("chunk longer than its size", self._status, position)
            position += 1
            left = 0
            self._state = _SIZE
        self._left = left
        return position

    def _begin_chunk(self, line: bytes, position: int) -> None:
        match = _SIZE_LINE.fullmatch(line) if len(line) <= LONGEST_SIZE_LINE else None
        if match is None:
            raise ProtocolViolation("invalid chunk size", self._status)
        if match[2] is not None:
            self._extensions += len(match[2])
            if self._extensions > MOST_EXTENSION_BYTES:
                raise ProtocolViolation("too many chunk extensions", self._status)
        size = int(match[1], 16)
        if size > LARGEST_CHUNK:
            raise ProtocolViolation("invalid chunk size", self._status)
        if size:
            self._left = size + 2
            self._state = _PAYLOAD
        else:
            self.trailers_at = position
            self._state = _TRAILERS

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._state = _OVER
            self.done = True
            return
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > MOST_TRAILER_BYTES or len(self.trailers) >= MOST_TRAILERS:
            raise ProtocolViolation("too many trailers", self._status)
        try:
            field = parse_field(line)
        except ProtocolViolation as fault:
            raise ProtocolViolation(fault.reason, self._status) from None
        if field.name in FORBIDDEN_TRAILERS:
            raise ProtocolViolation("forbidden trailer", self._status)
        self.trailers.append(field)

    def _check_beginning(self) -> None:
        """Refuse an incomplete line that can't become a valid one: its bytes are about to be forwarded."""
        line = self._line
        if self._state == _SIZE:
            if len(line) > LONGEST_SIZE_LINE + 1 or _SIZE_BEGINNING.fullmatch(line) is None:
                raise ProtocolViolation("invalid chunk size", self._status)
        elif self._trailer_bytes + len(line) > MOST_TRAILER_BYTES or _TRAILER_BEGINNING.fullmatch(line) is None:
            raise ProtocolViolation("invalid trailer", self._status)
