"""The payload of a chunked body, for HTTP/1.0 clients, which do not know chunks (RFC 9112 7.1.3).

Only for bytes that `ChunkedBody` has found valid: nothing is checked again here.
"""

from __future__ import annotations


class Dechunker:
    """Takes chunk headers and trailers away.

    Attributes: none of interest; feed it the body in pieces of any size.
    """

    __slots__ = ("_left", "_line", "_over")

    def __init__(self) -> None:
        self._left = 0  # payload bytes of the chunk that is running
        self._line = b""  # beginning of a size line that is not complete, with the CRLF of the chunk before
        self._over = False

    def feed(self, data: bytes) -> bytes:
        """The payload among the next bytes of the body."""
        if self._line:
            data = self._line + data
            self._line = b""
        payload = []
        position = 0
        while position < len(data) and not self._over:
            if self._left:
                piece = data[position : position + self._left]
                payload.append(piece)
                position += len(piece)
                self._left -= len(piece)
                continue
            start = position + 2 if data.startswith(b"\r\n", position) else position
            end = data.find(b"\r\n", start)
            if end < 0:
                self._line = data[position:]
                break
            self._left = int(data[start:end].partition(b";")[0], 16)
            self._over = self._left == 0
            position = end + 2
        return b"".join(payload)
