"""The last invalid messages of each proxy, for `show errors` (management manual 9.3): what came, and where it is wrong.

Filled on the error path only; bounded by one request and one response for each proxy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from headgate.base.records import dataclass
from headgate.plan.facts import Stream

if TYPE_CHECKING:
    from headgate.proxy.sides import Backend, Frontend

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_METHOD_LINE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/[0-9]\.[0-9]")
_STATUS_LINE: Final = re.compile(rb"HTTP/[0-9]\.[0-9] [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class InvalidMessage:
    """One captured message.

    Attributes:
        number: of the event, from 0, over all proxies of the process.
        at: wall clock, seconds.
        response: it is a response.
        reason: what was wrong.
        proxy, other: name and id of the proxy that found it, and of the one at the stream's other side.
        server: name and id.
        source: the client's address and port.
        data: the message as far as it was there.
        position: of the first invalid byte in `data`.
        session: number of the request that it belongs to (%rt).
    """

    number: int
    at: float
    response: bool
    reason: str
    proxy: tuple[str, int]
    other: tuple[str, int]
    server: tuple[str, int]
    source: str
    data: bytes
    position: int
    session: int


#: What stands for a proxy or server that there is not.
NONE: Final = ("<NONE>", -1)


class InvalidMessages:
    """The last ones, by proxy and direction.

    Attributes:
        events: how many were found ever.
    """

    __slots__ = ("_kept", "_most", "events")

    def __init__(self, most: int) -> None:
        """Args: `most`: bytes that are kept of each (tune.bufsize)."""
        self.events = 0
        self._most = most
        self._kept: dict[tuple[int, bool], InvalidMessage] = {}

    def request(self, stream: Stream, side: Frontend, link: Backend | None, data: bytes, reason: str, offset: int = -1) -> None:
        """Keep a client's invalid request.

        Args:
            stream: whose it is.
            side: its frontend.
            link: its backend, where one was chosen.
            data: the bytes that were looked at.
            reason: what was wrong.
            offset: of the first invalid byte; found out when negative.
        """
        other = NONE if link is None else (link.name, link.spec.id)
        self._keep(stream, side.shared.scheduler.wall, False, (side.name, side.spec.id), other, data, reason, offset)

    def response(self, stream: Stream, side: Frontend, link: Backend, data: bytes, reason: str, offset: int = -1) -> None:
        """Keep a server's invalid response; arguments as for `request`."""
        other = (side.name, side.spec.id)
        self._keep(stream, side.shared.scheduler.wall, True, (link.name, link.spec.id), other, data, reason, offset)

    def _keep(
        self,
        stream: Stream,
        at: float,
        response: bool,
        proxy: tuple[str, int],
        other: tuple[str, int],
        data: bytes,
        reason: str,
        offset: int,
    ) -> None:
        session = stream.session
        server = stream.server
        position = offset if offset >= 0 else fault_position(data, response)
        self._kept[proxy[1], response] = InvalidMessage(
            self.events,
            at,
            response,
            reason,
            proxy,
            other,
            NONE if server is None else (server.name, getattr(server, "id", -1)),
            f"{session.source.decode()}:{session.source_port}" if session.source else f"unix:{session.listener_id}",
            data[: self._most],
            min(position, self._most),
            stream.number,
        )
        self.events += 1

    def all(self) -> list[InvalidMessage]:
        """Those that are kept, the latest of each."""
        return list(self._kept.values())


def fault_position(data: bytes, response: bool) -> int:
    """Where a message head is wrong: its first invalid byte; its end when each line on its own is fine."""
    at = 0
    while data[at : at + 2] == b"\r\n":
        at += 2
    first = True
    while at < len(data):
        end = data.find(b"\n", at)
        bare = end < 0
        end = len(data) if bare else end
        text_end = end - 1 if data[end - 1 : end] == b"\r" and end > at else end
        if text_end == at:
            return at if first else (at if data[at:end] != b"\r" else min(end + 1, len(data)))
        fault = _line_fault(data, at, text_end, first, response)
        if fault >= 0:
            return fault
        if not bare and text_end == end:
            return end  # a line feed on its own
        at = end + 1
        first = False
    return len(data)


def _line_fault(data: bytes, at: int, end: int, first: bool, response: bool) -> int:
    """The first invalid byte of one line, or -1."""
    if first:
        line = _STATUS_LINE if response else _METHOD_LINE
        if line.fullmatch(data, at, end) is not None:
            return -1
        return _first_line_fault(data, at, end, response)
    name = _TOKEN.match(data, at, end)
    if name is None:
        return at
    if data[name.end() : name.end() + 1] != b":":
        return name.end()
    value = _VALUE.match(data, name.end() + 1, end)
    stop = value.end() if value is not None else end
    return stop if stop < end else -1


def _first_line_fault(data: bytes, at: int, end: int, response: bool) -> int:
    """Where a start line ceases to be one."""
    parts = (
        (rb"HTTP/", rb"[0-9]", rb"\.", rb"[0-9]", rb" ", rb"[0-9]", rb"[0-9]", rb"[0-9]", rb"[ ]", rb"[\t\x20-\x7e\x80-\xff]*")
        if response
        else (rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", rb" ", rb"[\x21-\x7e]+", rb" ", rb"HTTP/", rb"[0-9]", rb"\.", rb"[0-9]")
    )
    for part in parts:
        found = re.compile(part).match(data, at, end)
        if found is None:
            return at
        at = found.end()
    return at
