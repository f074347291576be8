"""The answer to an HTTP check as it arrives: head, then body, never more than a bound. Pure; used by `machine`.

Lines may end with LF alone (RFC 9112 2.2 allows it): what answers may be a simple script (4.2 option httpchk), and nothing is
forwarded, so nobody can be made to read the message in another way. Traffic is read strictly, by `wire.http1`.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.framing import CHUNKED, UNTIL_CLOSE, response_framing
from headgate.wire.http1.heads import ResponseHead, parse_response_head

_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_LINE_END: Final = re.compile(rb"\r?\n")


class HttpAnswer:
    """See the module.

    Args:
        method: of the request.
        limit: bytes that are looked at.

    Attributes:
        head: once it is complete; of the final response, interim ones are passed over (RFC 9110 15.2).
        started: something has arrived.
    """

    __slots__ = ("_data", "_length", "_limit", "_method", "_persistent", "_start", "head", "started")

    def __init__(self, method: bytes, limit: int) -> None:
        self._method = method
        self._limit = limit
        self._data = bytearray()
        self._length = 0
        self._start = 0
        self._persistent = False
        self.head: ResponseHead | None = None
        self.started = False

    @property
    def full(self) -> bool:
        """Nothing more is taken."""
        return len(self._data) >= self._limit

    def feed(self, data: bytes) -> None:
        """Take what arrived.

        Raises:
            ProtocolViolation: it is no HTTP/1 response, or its head is too long.
        """
        self.started = True
        self._data += data[: self._limit - len(self._data)]
        while self.head is None:
            if not b"HTTP/1.".startswith(self._data[:7]):
                raise ProtocolViolation("not an HTTP/1 response")
            end = _HEAD_END.search(self._data)
            if end is None:
                if self.full:
                    raise ProtocolViolation("response head too long")
                return
            head = parse_response_head(_BARE_LF.sub(b"\r\n", bytes(self._data[: end.start()])))
            if head.status >= 200 or head.status == 101:
                framing = response_framing(head, self._method)
                self._length = framing.length
                self._persistent = framing.persistent and head.status != 101
                self._start = end.end()
                self.head = head
            else:
                del self._data[: end.end()]

    def body(self) -> tuple[bytes, bool]:
        """The body's bytes so far, decoded, and whether it is complete."""
        data = bytes(self._data[self._start :])
        if self._length == UNTIL_CLOSE:
            return data, False
        if self._length != CHUNKED:
            return data[: self._length], len(data) >= self._length
        parts, last = _chunks(data)
        return b"".join(parts), last >= 0

    def reusable(self) -> bool | None:
        """Whether the connection may carry another exchange behind this one; None: not before more has come."""
        if self.full or (self.head is not None and not self._persistent):
            return False
        end = self._end() if self.head is not None else None
        return None if end is None or len(self._data) < end else len(self._data) == end

    def _end(self) -> int | None:
        """Where the message ends; None where that is not known yet."""
        if self._length != CHUNKED:
            return self._start + self._length
        data = bytes(self._data[self._start :])
        _, last = _chunks(data)
        if last < 0:
            return None
        # Trailer lines may come, then an empty one.
        end = _LINE_END.match(data, last) or _HEAD_END.search(data, last)
        return self._start + end.end() if end is not None else None


def _chunks(data: bytes) -> tuple[list[bytes], int]:
    """What the chunks hold, and where the line of the last one ends; -1: it has not come."""
    parts: list[bytes] = []
    position = 0
    while (match := _CHUNK_SIZE.match(data, position)) is not None:
        size = int(match[1], 16)
        if size == 0:
            return parts, match.end()
        parts.append(data[match.end() : match.end() + size])
        end = _LINE_END.match(data, match.end() + size)
        if end is None:
            break
        position = end.end()
    return parts, -1
