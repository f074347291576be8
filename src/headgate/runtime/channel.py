"""A plain connection as the machines see it: a non-blocking socket under the reactor. The TLS twin is `tls_channel`.

Writes go to the kernel at once; only what it does not take is kept, and then `blocked` asks the machine to stop. So the memory
of a connection is bounded by what the machine sends in one go. Reads happen when epoll says so, never on speculation.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Protocol

from headgate.plan.facts import TlsFacts
from headgate.proxy.port import Lost, Owner
from headgate.runtime.reactor import BROKEN, READ, WRITE, Reactor

#: First size of a read; doubled while the peer fills it, up to the second figure.
READ_SIZE = 16384
READ_SIZE_MOST = 131072

_LINGER_RESET = struct.pack("ii", 1, 0)

_REASONS = {
    errno.ECONNRESET: Lost.RESET,
    errno.EPIPE: Lost.RESET,
    errno.ETIMEDOUT: Lost.TIMEOUT,
    errno.ECONNREFUSED: Lost.REFUSED,
    errno.EHOSTUNREACH: Lost.UNREACHABLE,
    errno.ENETUNREACH: Lost.UNREACHABLE,
}


def lost_reason(error: OSError) -> Lost:
    """Sort a socket error by what the log calls it."""
    return _REASONS.get(error.errno or 0, Lost.ERROR)


#: How long a closed connection may take to accept what is left for it, and how long (and how much) we read and drop after an
#: answer that came before the end of the request, in seconds and bytes.
FLUSH_SECONDS = 10.0
LINGER_SECONDS = 2.0
LINGER_BYTES = 1 << 20


class Farewell:
    """Stays with a channel that its owner has left: drops what still comes and closes it for good at a deadline."""

    __slots__ = ("armed", "channel", "deadline", "left")

    def __init__(self, channel: Closable, seconds: float) -> None:
        self.channel = channel
        self.deadline = 0.0
        self.armed = 0.0
        self.left = LINGER_BYTES
        channel.reactor.arm(self, channel.reactor.now + seconds)

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.timed_out()

    def eof_received(self) -> None:
        self.timed_out()

    def connection_lost(self, reason: Lost) -> None:
        self.channel.reactor.retire(self)

    def drained(self) -> None:
        return

    def timed_out(self) -> None:
        """Enough."""
        self.channel.reactor.retire(self)
        self.channel.release()


class Nobody:
    """The owner of a channel that has none yet, or none any more."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        return

    def eof_received(self) -> None:
        return

    def connection_lost(self, reason: Lost) -> None:
        return

    def drained(self) -> None:
        return


NOBODY = Nobody()


class Taker(Protocol):
    """Who reads and writes the descriptor in the channel's place."""

    def channel_closed(self) -> None:
        """The channel is being closed."""


class Closable(Protocol):
    """What a `Farewell` needs of a channel."""

    reactor: Reactor

    def release(self) -> None:
        """Close the socket now, whatever waits; harmless when it is closed."""


class PlainChannel:
    """One connected TCP or unix socket.

    Attributes: see `proxy.port.Channel`. `sock` and `fd` are for the splicing relay, which takes them over.
    """

    __slots__ = (
        "_closing", "_eof", "_events", "_failed", "_pending", "_read_size", "_refused", "_shut", "_taker", "blocked",
        "fd", "owner", "reactor", "sock", "tls",
    )

    def __init__(self, reactor: Reactor, sock: socket.socket, owner: Owner, *, registered: bool = False) -> None:
        """Take over a connected, non-blocking socket; `registered` when the reactor watches it already."""
        self.reactor = reactor
        self.sock = sock
        self.fd = sock.fileno()
        self.owner = owner
        self.blocked = False
        self.tls: TlsFacts | None = None
        self._pending = bytearray()
        self._events = READ
        self._read_size = READ_SIZE
        self._eof = False
        self._shut = False  # FIN wanted (or sent) in our direction
        self._closing = False
        self._failed = False
        self._refused = False  # a send failed: the peer is gone for good
        self._taker: Taker | None = None
        if registered:
            reactor.rebind(self.fd, self.ready)
            reactor.change(self.fd, READ)
        else:
            reactor.watch(self.fd, READ, self.ready)

    # --- events ---

    def ready(self, events: int) -> None:
        """The reactor's call."""
        if events & WRITE and not self._flush():
            return
        if events & READ and self._events & READ:
            self._read()
        elif events & BROKEN and not self._closing:
            self._broken()

    def _read(self) -> None:
        size = self._read_size
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(lost_reason(error))
            return
        if data:
            if len(data) == size:
                if size < READ_SIZE_MOST:
                    self._read_size = size * 2
            elif size > READ_SIZE and len(data) < READ_SIZE:
                self._read_size = READ_SIZE
            self.owner.data_received(data)
            return
        if self._refused:
            # After a failed send the end of input is no half-close: Linux has given the error to `send` and keeps none for us.
            self._lost(Lost.RESET)
            return
        self._eof = True
        self._watch(self._events & ~READ)
        self.owner.eof_received()

    def _broken(self) -> None:
        """EPOLLERR or EPOLLHUP while we do not read."""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error or not self._eof:
            self._lost(_REASONS.get(error, Lost.RESET))
        elif self._eof:
            # Both directions are shut: nothing more can happen here, and a level-triggered HUP would spin.
            self.reactor.unwatch(self.fd)

    def _lost(self, reason: Lost) -> None:
        if self._failed:
            return
        self._failed = True
        closing = self._closing
        owner = self.owner
        self.release()
        if not closing:
            owner.connection_lost(reason)

    # --- effects ---

    def send(self, data: bytes) -> None:
        """See `proxy.port.Channel.send`."""
        if self._pending:
            self._pending += data
            return
        if self._failed or self._shut:
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._stop_sending()
            return
        if sent != len(data):
            self._pending += memoryview(data)[sent:]
            self.blocked = True
            self._watch(self._events | WRITE)

    def _flush(self) -> bool:
        """Send what waits; False when the connection is gone."""
        if self._pending:
            try:
                sent = self.sock.send(self._pending)
            except BlockingIOError:
                return True
            except OSError:
                self._stop_sending()
                return not self._failed
            del self._pending[:sent]
            if self._pending:
                return True
        self._watch(self._events & ~WRITE)
        if self._closing:
            self.release()
            return False
        if self._shut:
            self._send_fin()
        if self.blocked:
            self.blocked = False
            self.owner.drained()
        return not self._failed

    def pause(self) -> None:
        """Stop reading."""
        if self._events & READ:
            self._watch(self._events & ~READ)

    def resume(self) -> None:
        """Read again."""
        if not self._events & READ and not self._eof and not self._failed:
            self._watch(self._events | READ)

    def shutdown_write(self) -> None:
        """Send FIN behind what is waiting."""
        if self._shut or self._failed:
            return
        self._shut = True
        if not self._pending:
            self._send_fin()

    def _send_fin(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # gone already: reading will tell

    def close(self) -> None:
        """Flush, then close."""
        if self._failed:
            return
        self._closing = True
        if self._pending:
            self._watch(WRITE)
            Farewell(self, FLUSH_SECONDS)
        else:
            self.release()

    def linger(self) -> None:
        """FIN, then read and drop for a moment."""
        if self._failed:
            return
        if self._eof:
            self.close()
            return
        self.shutdown_write()
        self.owner = Farewell(self, LINGER_SECONDS)
        self.resume()

    def abort(self) -> None:
        """Close with a reset."""
        if self._failed:
            return
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        except OSError:  # a unix socket, or gone already
            pass
        self._closing = True
        self.release()

    def hand_over(self, taker: Taker) -> None:
        """Another reader and writer takes the descriptor; it is told when the channel closes. Nothing may be waiting."""
        self._taker = taker

    # --- internals ---

    def _watch(self, events: int) -> None:
        if events != self._events and not self._failed:
            self._events = events
            self.reactor.change(self.fd, events)

    def _stop_sending(self) -> None:
        """The peer takes nothing more. What it sent before may still be unread (an early answer), so reading tells the end."""
        self._pending.clear()
        self._shut = True
        self._refused = True
        self.blocked = False
        if self._closing:
            self.release()
        else:
            # Read on, even if the owner had paused us: it is the only way to hear of the end.
            self._watch((self._events & ~WRITE) | READ)

    def release(self) -> None:
        """Close the socket now."""
        if self.sock.fileno() < 0:
            return
        self._failed = True
        if self._taker is not None:
            self._taker.channel_closed()
        self._pending.clear()
        self.reactor.unwatch(self.fd)
        self.sock.close()
        # Owner and channel know each other: without this only the garbage collector would free them.
        self.owner = NOBODY

    def __repr__(self) -> str:
        state = "closed" if self._failed else "blocked" if self.blocked else "open"
        return f"<PlainChannel fd={self.fd} {state}>"
