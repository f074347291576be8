"""Relaying in the kernel: `splice(2)` between two plain sockets, through a pipe for each direction.

Takes over the descriptors of two channels when a relay turns out to be bulk. Back-pressure is the pipe: while it holds bytes
that the far end does not take, the near end is not read.
"""

from __future__ import annotations

import fcntl
import os

from headgate.proxy.port import Lost
from headgate.proxy.relay import RelayStream
from headgate.proxy.sides import Splicer
from headgate.runtime.channel import PlainChannel, lost_reason
from headgate.runtime.reactor import BROKEN, READ, WRITE, Reactor

#: Bytes a pipe holds, where the system allows (fs.pipe-max-size); and the most that one call moves.
PIPE_SIZE = 1 << 20
_MOVE_NONBLOCK = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK
#: Moves of one direction per event: others must have their turn.
_TURNS = 4


class KernelSplicer(Splicer):
    """Starts pumps."""

    __slots__ = ("reactor",)

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor

    def start(self, client: object, server: object, relay: object) -> object | None:
        """See `proxy.sides.Splicer.start`."""
        if not isinstance(client, PlainChannel) or not isinstance(server, PlainChannel) or not isinstance(relay, RelayStream):
            return None
        if client.blocked or server.blocked:
            return None
        try:
            return Pump(self.reactor, client, server, relay)
        except OSError:  # no descriptors left: the relay goes on with buffers
            return None


class Direction:
    """One way: source -> pipe -> target."""

    __slots__ = ("end", "inside", "reader", "source", "target", "writer")

    def __init__(self, source: PlainChannel, target: PlainChannel) -> None:
        self.source = source
        self.target = target
        self.inside = 0
        self.end = False
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # over the user's quota: the default of 64 KB works too
            pass

    def fill(self) -> int:
        """Move from the socket into the pipe; bytes moved, 0 at the end of the stream, -1 when nothing is there."""
        try:
            moved = os.splice(self.source.fd, self.writer, PIPE_SIZE, flags=_MOVE_NONBLOCK)
        except BlockingIOError:
            return -1
        self.inside += moved
        return moved

    def drain(self) -> bool:
        """Move from the pipe into the target; whether the pipe is empty now."""
        while self.inside:
            try:
                moved = os.splice(self.reader, self.target.fd, self.inside, flags=_MOVE_NONBLOCK)
            except BlockingIOError:
                return False
            self.inside -= moved
        return True

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


class Pump:
    """Both directions of one relay."""

    __slots__ = ("_events", "_ways", "closed", "reactor", "relay")

    def __init__(self, reactor: Reactor, client: PlainChannel, server: PlainChannel, relay: RelayStream) -> None:
        self.reactor = reactor
        self.relay = relay
        self.closed = False
        up = Direction(client, server)
        try:
            down = Direction(server, client)
        except OSError:
            up.close()
            raise
        self._ways = (up, down)
        self._events = {client.fd: 0, server.fd: 0}
        for channel in (client, server):
            channel.hand_over(self)
        reactor.rebind(client.fd, self._client_ready)
        reactor.rebind(server.fd, self._server_ready)
        self._update()

    def _client_ready(self, events: int) -> None:
        self._ready(0, events)

    def _server_ready(self, events: int) -> None:
        self._ready(1, events)

    def _ready(self, side: int, events: int) -> None:
        relay = self.relay
        incoming, outgoing = self._ways[side], self._ways[1 - side]
        try:
            if events & WRITE and outgoing.inside:
                self._pass_on(outgoing)
            if events & (READ | BROKEN) and not incoming.inside and not incoming.end and not self.closed:
                self._pull(side, incoming)
        except OSError as error:
            self._lost(side, lost_reason(error))
            return
        if self.closed:
            return
        if events & BROKEN and incoming.end:
            self._lost(side, Lost.RESET)
            return
        relay.spliced(0, 0)
        self._update()

    def _pull(self, side: int, way: Direction) -> None:
        total = 0
        for _ in range(_TURNS):
            moved = way.fill()
            if moved == 0:
                way.end = True
                break
            if moved < 0:
                break
            total += moved
            if not way.drain() or moved < 65536:
                break
        if side == 0:
            self.relay.spliced(total, 0)
        else:
            self.relay.spliced(0, total)
        if way.end and not way.inside:
            self._announce_end(way)

    def _pass_on(self, way: Direction) -> None:
        if way.drain() and way.end:
            self._announce_end(way)

    def _announce_end(self, way: Direction) -> None:
        if way is self._ways[0]:
            self.relay.client_eof()
        else:
            self.relay.server_eof()

    def _update(self) -> None:
        """Register for what each end can do now."""
        if self.closed:
            return
        for side in (0, 1):
            incoming, outgoing = self._ways[side], self._ways[1 - side]
            events = 0
            if not incoming.end and not incoming.inside:
                events |= READ
            if outgoing.inside:
                events |= WRITE
            fd = incoming.source.fd
            if self._events[fd] != events:
                self._events[fd] = events
                self.reactor.change(fd, events)

    def _lost(self, side: int, reason: Lost) -> None:
        """A system call failed. In `splice` both ends can be meant: the one that the kernel reports an error for is to blame."""
        if side == 0:
            self.relay.client_lost()
        else:
            self.relay.server_lost()

    def channel_closed(self) -> None:
        """One of the channels is being closed: give the pipes back."""
        if not self.closed:
            self.closed = True
            for way in self._ways:
                way.close()
