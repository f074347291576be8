"""Connections to a name server that is asked over a stream: TCP or TLS (5.3.2 nameserver; RFC 7766, RFC 7858).

A few queries share a connection, which stays for a moment when there are none. `resolvers` asks; nothing is known of names here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import dns.exception
import dns.message
import dns.query

from headgate.config.resolvers import NameServer
from headgate.proxy.services import Reminder
from headgate.runtime.checks.connection import Connection, TlsClient, TlsLayer, locate, open_socket
from headgate.runtime.checks.failures import TlsFailure
from headgate.runtime.loop import reactor_of
from headgate.runtime.reactor import Reactor

#: Queries on one connection at a time, and how long one stays without any, seconds (5.3.2).
PIPELINED: Final = 4
IDLE: Final = 5.0
_LENGTH: Final = 2  # bytes of the number in front of each message (RFC 1035 section 4.2.2)
_NUMBERS: Final = 1 << 16


class _Lost(Exception):
    """The connection is over, and the query is not answered; the text says why."""


class _Stream:
    """One connection. Answers may come in another order than queries went (RFC 7766 section 6.2.1.1).

    Attributes:
        answered: it has brought an answer: the server may have closed it since, which says nothing against the server.
        deadline, armed: the reactor's: how long it stays without queries.
    """

    __slots__ = (
        "_connection", "_inbox", "_next", "_now", "_outbox", "_owner", "_reactor", "_tls", "_waiting", "_why", "answered",
        "armed", "deadline",
    )  # fmt: skip

    def __init__(self, owner: NameServerStreams, reactor: Reactor) -> None:
        self.answered = False
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self._owner = owner
        self._reactor = reactor
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._next = 0
        self._outbox = b""
        self._inbox = b""
        self._tls: TlsLayer | None = None
        self._connection: Connection | None = None
        self._now: Callable[[], None] = self._connecting
        self._why = ""  # it is over

    @property
    def has_place(self) -> bool:
        """Whether another query may go over it."""
        return len(self._waiting) < PIPELINED

    def begin(self) -> None:
        """Connect; when that fails, who asks hears of it."""
        self._now = self._connecting
        self._proceed()

    async def ask(self, wire: bytes) -> bytes:
        """Send a query and wait for its answer.

        Raises:
            _Lost: there is none.
        """
        number = self._number()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        # A number of the connection's own: those of two queries may be the same.
        self._outbox += len(wire).to_bytes(_LENGTH, "big") + number.to_bytes(2, "big") + wire[2:]
        if self._now == self._over:
            raise _Lost(self._why)
        if self._now == self._talk:
            self._proceed()
        try:
            return wire[:2] + await answer
        finally:
            if self._waiting.pop(number, None) is not None:
                self._owner.has_room()
            if not self._waiting and self._connection is not None:
                self._reactor.arm(self, self._reactor.now + IDLE)

    def _number(self) -> int:
        while self._next in self._waiting:
            self._next = (self._next + 1) % _NUMBERS
        number = self._next
        self._next = (number + 1) % _NUMBERS
        return number

    # --- its course ---

    def _proceed(self) -> None:
        try:
            self._now()
        except OSError as failure:
            self.end(failure.strerror or str(failure))
        except TlsFailure as failure:
            self.end(str(failure))

    def _connecting(self) -> None:
        server = self._owner.server
        found = locate(server.address)
        assert found is not None  # the address of a name server is a number
        family, target = found
        connection = self._connection = Connection(self._reactor, open_socket(family, server.source), self._proceed)
        self._now = self._connected
        if connection.connect(target):
            self._secure()

    def _connected(self) -> None:
        assert self._connection is not None
        self._connection.connected()
        self._secure()

    def _secure(self) -> None:
        connection, owner = self._connection, self._owner
        assert connection is not None
        if owner.tls is None:
            self._now = self._talk
        else:
            address, sni = owner.server.address, owner.server.sni
            name = sni.encode("utf-8", "surrogateescape") if sni is not None else None
            place = (address.host, address.port)
            self._tls = self._connection = owner.tls.open(self._reactor, connection.hand_over(), self._proceed, name, place)
            self._now = self._shake
        self._now()

    def _shake(self) -> None:
        assert self._tls is not None
        if self._tls.handshake():
            self._now = self._talk
            self._talk()

    def _talk(self) -> None:
        connection = self._connection
        assert connection is not None
        if self._outbox:
            self._outbox = self._outbox[connection.send(self._outbox) :]
            if self._outbox:
                return
        while (data := connection.receive()) is not None:
            if not data:
                self.end("connection closed by the name server")
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        inbox = self._inbox + data
        while len(inbox) > _LENGTH:
            end = _LENGTH + int.from_bytes(inbox[:_LENGTH], "big")
            if len(inbox) < end:
                break
            self._answered(inbox[_LENGTH:end])
            inbox = inbox[end:]
        self._inbox = inbox

    def _answered(self, message: bytes) -> None:
        self.answered = True
        answer = self._waiting.get(int.from_bytes(message[:2], "big"))
        if answer is not None and not answer.done():  # else nobody waits for it any more
            answer.set_result(message[2:])

    def timed_out(self) -> None:
        """The reactor's call: nobody has asked for a while."""
        if not self._waiting:
            self.end("")

    def end(self, why: str) -> None:
        """Close it; who waits hears why."""
        if self._now == self._over:
            return
        self._now, self._why = self._over, why
        self._reactor.retire(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._owner.left(self)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_Lost(why))

    def _over(self) -> None:
        """Nothing is done any more."""


class NameServerStreams:
    """The connections to one name server.

    Args:
        server: the line.
        tls: makes the TLS layer, None for plain TCP.
        tell: told why the server can't be asked, each time that there is another reason.
    """

    def __init__(self, server: NameServer, tls: TlsClient | None, tell: Callable[[str], None]) -> None:
        self.server = server
        self.tls = tls
        self._tell = tell
        self._problem = ""
        self._streams: list[_Stream] = []
        self._queue: deque[asyncio.Future[None]] = deque()

    async def exchange(self, query: dns.message.Message, patience: float) -> dns.message.Message:
        """Ask.

        Args:
            query: the question.
            patience: how long that may take, seconds.

        Raises:
            dns.exception.Timeout: it took longer.
            OSError: the server can't be asked; the text says why.
            dns.exception.DNSException: what came is no answer.
        """
        try:
            async with asyncio.timeout(patience):
                wire = await self._ask(query.to_wire())
        except TimeoutError:
            raise dns.exception.Timeout from None
        except _Lost as failure:
            self._failed(str(failure))
            raise ConnectionError(str(failure)) from None
        self._problem = ""
        message = dns.message.from_wire(wire)
        if not query.is_response(message):
            raise dns.query.BadResponse
        return message

    async def _ask(self, wire: bytes) -> bytes:
        stream = await self._free()
        try:
            return await stream.ask(wire)
        except _Lost:
            if not stream.answered:
                raise
        # It was idle, and the server closed it: RFC 7766 section 6.2.4 wants the query to be sent again.
        return await (await self._free()).ask(wire)

    async def _free(self) -> _Stream:
        """A connection with a place; waits for one where there may be no more of them."""
        while True:
            for stream in self._streams:
                if stream.has_place:
                    return stream
            if not self.server.maxconn or len(self._streams) < self.server.maxconn:
                stream = _Stream(self, reactor_of(asyncio.get_running_loop()))
                self._streams.append(stream)
                stream.begin()
                return stream
            room = asyncio.get_running_loop().create_future()
            self._queue.append(room)
            await room

    def has_room(self) -> None:
        """A query is over: the next one may go."""
        while self._queue:
            waiting = self._queue.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def left(self, stream: _Stream) -> None:
        """A connection is over."""
        if stream in self._streams:
            self._streams.remove(stream)
        self.has_room()

    def _failed(self, why: str) -> None:
        if why != self._problem:
            self._problem = why
            self._tell(why)

    async def close(self) -> None:
        """Close all connections, and wait until they are gone."""
        for stream in list(self._streams):
            stream.end("")
        if self.tls is not None:
            await self.tls.settle()
