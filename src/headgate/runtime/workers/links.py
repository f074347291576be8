"""A link between the controller and one worker: messages and answers over a socket pair, on the asyncio loop.

Frames with their length in front, so that the kind of socket does not matter. What can't be sent at once waits, up to a bound; a
sibling that lets more than that wait hangs, and its link is given up: the launcher will replace it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping

from headgate.runtime.workers.messages import BadMessage, Kind, Message, decode, encode

#: Bytes that may wait for a sibling, and the longest message.
MOST_WAITING = 96 << 20
LONGEST_MESSAGE = 80 << 20
#: Messages that may be unanswered.
_MOST_ASKED = 4096
#: Bytes of one send or receive: packets of a SOCK_SEQPACKET must fit into socket buffers.
_PIECE = 65536
#: Receives in one turn of the loop.
_TURNS = 16
_HEAD = struct.Struct("<I")
_LINK = b"link "

#: Takes a message of its kind: (link, message).
Handler = Callable[["Link", Message], None]


class LinkLost(Exception):
    """The link ended before the answer came."""


class Link:
    """One end of a link.

    Args:
        loop: that it runs on.
        sock: connected; the link closes it.
        handlers: for the kinds of messages that may arrive.
        ended: called once when the other end is gone or the link was given up; not by `close`.

    Attributes:
        stray: messages that nobody here takes, that were malformed, or whose question is not (any more) asked.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        handlers: Mapping[Kind, Handler],
        ended: Callable[[Link], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._handlers = handlers
        self._ended = ended
        self._received = bytearray()
        self._unsent: deque[memoryview] = deque()
        self._waiting = 0
        self._asked: dict[int, asyncio.Future[tuple[object, ...]]] = {}
        self._last = 0
        self._open = True
        self.stray = 0
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._readable)

    @property
    def waiting(self) -> int:
        """Bytes that the other end has not taken yet."""
        return self._waiting

    # --- sending ---

    def tell(self, kind: Kind, *body: object) -> bool:
        """Send a message that wants no answer; False when the link is lost."""
        return self._send(kind, 0, body)

    def ask(self, kind: Kind, *body: object) -> asyncio.Future[tuple[object, ...]]:
        """Send a message; its answer's body comes, or `LinkLost`. The asker limits the time; one who gives up cancels it."""
        answer: asyncio.Future[tuple[object, ...]] = self._loop.create_future()
        self._last += 1
        number = self._last
        if len(self._asked) >= _MOST_ASKED or not self._send(kind, number, body):
            answer.set_exception(LinkLost())
            return answer
        self._asked[number] = answer
        answer.add_done_callback(lambda _: self._asked.pop(number, None))
        return answer

    def answer(self, message: Message, *body: object) -> None:
        """Answer a message, if it wants that."""
        if message.number:
            self._send(Kind.ANSWER, message.number, body)

    def _send(self, kind: Kind, number: int, body: tuple[object, ...]) -> bool:
        if not self._open:
            return False
        data = encode(kind, number, body)
        if len(data) > LONGEST_MESSAGE or self._waiting + len(data) > MOST_WAITING:
            self._give_up()
            return False
        idle = not self._unsent
        self._waiting += _HEAD.size + len(data)
        view = memoryview(_HEAD.pack(len(data)) + data)
        self._unsent.extend(view[at : at + _PIECE] for at in range(0, len(view), _PIECE))
        if idle:
            self._writable()
        return self._open

    def _writable(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                sent = self._sock.send(unsent[0], socket.MSG_NOSIGNAL)
                self._waiting -= sent
                if sent < len(unsent[0]):
                    unsent[0] = unsent[0][sent:]
                else:
                    unsent.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._sock.fileno(), self._writable)
            return
        except OSError:
            self._give_up()
            return
        self._loop.remove_writer(self._sock.fileno())

    # --- receiving ---

    def _readable(self) -> None:
        for _ in range(_TURNS):
            try:
                data = self._sock.recv(_PIECE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._give_up()
                return
            self._received += data
            self._take_frames()
            if not self._open:
                return

    def _take_frames(self) -> None:
        received = self._received
        at = 0
        while self._open and len(received) - at >= _HEAD.size:
            (length,) = _HEAD.unpack_from(received, at)
            if length > LONGEST_MESSAGE:
                self._give_up()
                return
            end = at + _HEAD.size + length
            if len(received) < end:
                break
            frame = bytes(received[at + _HEAD.size : end])
            at = end
            self._take(frame)
        del received[:at]

    def _take(self, frame: bytes) -> None:
        try:
            message = decode(frame)
        except BadMessage:
            self.stray += 1
            return
        if message.kind is Kind.ANSWER:
            answer = self._asked.pop(message.number, None)
            if answer is None or answer.done():
                self.stray += 1
            else:
                answer.set_result(message.body)
            return
        handler = self._handlers.get(message.kind)
        if handler is None:
            self.stray += 1
            self.answer(message, False, f"{message.kind.name} means nothing here")
            return
        try:
            handler(self, message)
        except Exception as error:
            # Ours, and only this message's: the link must not end with it.
            self._loop.call_exception_handler({"message": f"{message.kind.name} of a sibling broke", "exception": error})
            self.answer(message, False, f"internal error: {type(error).__name__}")

    # --- the end ---

    def _give_up(self) -> None:
        if self._open:
            self.close()
            self._ended(self)

    def close(self) -> None:
        """Close this end; whoever waits for an answer is told."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._unsent.clear()
        self._waiting = 0
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(LinkLost())
                answer.exception()  # told: nobody has to listen


def watch_supervision(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    linked: Callable[[int, socket.socket], None],
    ended: Callable[[], None],
) -> Callable[[], None]:
    """Take the links that the launcher hands out (`runtime.process.place.Place.supervision`).

    Args:
        loop: the running one.
        sock: to the launcher.
        linked: given the number of a sibling (0: the controller) and the socket to it.
        ended: called once when the launcher is gone.

    Returns:
        What ends it.
    """
    sock.setblocking(False)
    descriptor = sock.fileno()

    def readable() -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(sock, 64, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            loop.remove_reader(descriptor)
            ended()
            return
        number = data.removeprefix(_LINK)
        for each in descriptors:
            end = socket.socket(fileno=each)
            if data.startswith(_LINK) and number.isdigit():
                linked(int(number), end)
            else:
                end.close()

    loop.add_reader(descriptor, readable)
    return lambda: void(loop.remove_reader(descriptor))


def void(_: object) -> None:
    """Forget a result."""
