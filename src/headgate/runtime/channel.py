"""A plain connection as the machines see it: a non-blocking socket under the reactor. The TLS twin is `tls_channel`.

Writes go to the kernel at once; only what it does not take is kept, and then `blocked` asks the machine to stop. So the memory
of a connection is bounded by what the machine sends in one go. Reads happen when epoll says so, never on speculation.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
import termios
from typing import Final, Protocol, cast

from headgate.plan.facts import TlsFacts
from headgate.proxy.port import Lost, Owner
from headgate.proxy.services import Reminder
from headgate.runtime.reactor import BROKEN, READ, WRITE, Reactor

#: First size of a read; doubled while the peer fills it, up to the second figure.
READ_SIZE: Final = 16384
READ_SIZE_MOST: Final = 131072

#: The system's own socket object. What Python's `socket.socket` adds to it, a count of files that were made of it, nobody needs
#: here, and each connection would pay for it when it begins and when it ends.
Socket = cast(type[socket.socket], socket.SocketType)
_STREAM: Final = int(socket.SOCK_STREAM) | int(socket.SOCK_NONBLOCK)

_TCP: Final = int(socket.IPPROTO_TCP)
_CORK: Final = socket.TCP_CORK
_QUICKACK: Final = socket.TCP_QUICKACK
_ioctl: Final = fcntl.ioctl
_FIONREAD: Final = termios.FIONREAD
_unread: Final = array.array("i", [0])
_LINGER_RESET: Final = struct.pack("ii", 1, 0)

_REASONS: Final = {
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


def stream_socket(family: int) -> socket.socket:
    """A non-blocking socket to connect with. Raises OSError."""
    return Socket(family, _STREAM)


def has_unread(fd: int) -> bool:
    """Whether a socket holds bytes that nobody has read; False when it is closed, too."""
    try:
        _ioctl(fd, _FIONREAD, _unread)
        return _unread[0] != 0
    except OSError:
        return False


def cork(sock: socket.socket) -> None:
    """Have the kernel keep a last packet that is not full until the socket is closed, at most 0.2 s (tcp(7), TCP_CORK)."""
    try:
        sock.setsockopt(_TCP, _CORK, 1)
    except OSError:  # a unix socket
        pass


def uncork(sock: socket.socket) -> None:
    """Send what `cork` held back; harmless when the socket is closed."""
    try:
        sock.setsockopt(_TCP, _CORK, 0)
    except OSError:
        pass


def acknowledge(sock: socket.socket) -> None:
    """Have the kernel acknowledge at once what comes next (tcp(7), TCP_QUICKACK): until then many a client keeps back what it
    has to say behind it (Nagle's algorithm, RFC 9293 section 3.7.4)."""
    try:
        sock.setsockopt(_TCP, _QUICKACK, 1)
    except OSError:  # a unix socket, or a closed one
        pass


#: How long a closed connection may take to accept what is left for it, and how long (and how much) we read and drop after an
#: answer that came before the end of the request, in seconds and bytes.
FLUSH_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1 << 20


class Farewell:
    """Stays with a channel that its owner has left: drops what still comes and closes it for good at a deadline."""

    __slots__ = ("armed", "channel", "deadline", "left")

    def __init__(self, channel: Closable, seconds: float) -> None:
        self.channel = channel
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self.left = LINGER_BYTES
        channel.reactor.arm(self, channel.reactor.now + seconds)

    def data_received(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.timed_out()

    def eof_received(self) -> None:
        self.timed_out()

    def connection_lost(self, reason: Lost) -> None:
        self.over()

    def drained(self) -> None:
        return

    def moved_on(self) -> None:
        """The peer has taken a part of what waits: it gets more time, however slow it is."""
        self.channel.reactor.arm(self, self.channel.reactor.now + FLUSH_SECONDS)

    def over(self) -> None:
        """The channel is closed."""
        if self.deadline:
            self.channel.reactor.retire(self)

    def timed_out(self) -> None:
        """Enough."""
        self.over()
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


NOBODY: Final = Nobody()


class WaitingPipe(Protocol):
    """A pipe with bytes for a socket; see `runtime.splice.Pipe`."""

    def drain(self, fd: int) -> bool:
        """Move into the socket; whether nothing waits any more."""

    def release(self) -> None:
        """Give the pipe back."""


class Spout(Protocol):
    """Takes what a socket has received without passing it through our memory; see `runtime.splice.Spout`."""

    def pour(self, fd: int) -> int:
        """Move it; bytes moved, or 0 at the end of the stream, -1 when nothing is there, -2 when it must be read instead."""


class Closable(Protocol):
    """What a `Farewell` needs of a channel."""

    reactor: Reactor

    def release(self) -> None:
        """Close the socket now, whatever waits; harmless when it is closed."""


class PlainChannel:
    """One connected TCP or unix socket.

    Attributes:
        owner, blocked, tls: see `proxy.port.Channel`.
        fd: the socket's descriptor.
        spout: where the input goes when the kernel relays it, None for `owner.data_received`.
    """

    __slots__ = (
        "_closing", "_eof", "_events", "_failed", "_parked", "_pending", "_pipe", "_read_size", "_refused", "_shut", "blocked",
        "fd", "owner", "reactor", "sock", "spout", "tls",
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
        self._parked = False  # paused and not watched at all
        self._pipe: WaitingPipe | None = None  # goes out before `_pending`
        self.spout: Spout | None = None
        if registered:
            reactor.rebind(self.fd, self.ready)
            reactor.change(self.fd, READ)
        else:
            reactor.watch(self.fd, READ, self.ready)

    # --- events ---

    def begin(self) -> None:
        """Read what has come already, to spare a turn of the reactor. The owner may be told of it before this returns."""
        if self._events & READ and not self._failed and has_unread(self.fd):
            self._read()

    def ready(self, events: int) -> None:
        """The reactor's call."""
        if events & WRITE and not self._flush():
            return
        if events & READ and self._events & READ:
            self._read()
        elif events & BROKEN and not self._closing:
            self._broken()

    def _read(self) -> None:
        if self.spout is not None and self._poured(self.spout):
            return
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
        else:
            self._ended()

    def _poured(self, spout: Spout) -> bool:
        """Let the spout read; False when it can't."""
        try:
            moved = spout.pour(self.fd)
        except OSError as error:
            self._lost(lost_reason(error))
            return True
        if not moved:
            self._ended()
        return moved != -2

    def _ended(self) -> None:
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
        if error or self._refused:
            self._lost(_REASONS.get(error, Lost.RESET))
            return
        if self._events & READ:
            return
        # Both directions are shut. What the peer sent before its FIN may wait until the owner resumes; but a HUP can't be
        # masked and would spin until then.
        self._parked = True
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
        if self._failed or self._shut:
            return
        if self.blocked:
            self._pending += data
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

    def cork(self) -> None:
        """See `proxy.port.Channel.cork`."""
        cork(self.sock)

    def send_pipe(self, pipe: WaitingPipe) -> bool:
        """Send what a pipe holds while nothing else waits; False when the pipe now belongs to the channel."""
        if self._failed or self._shut:
            pipe.release()
            return False
        try:
            if pipe.drain(self.fd):
                return True
        except OSError:
            pipe.release()
            self._stop_sending()
            return False
        self._pipe = pipe
        self.blocked = True
        self._watch(self._events | WRITE)
        return False

    def _flush(self) -> bool:
        """Send what waits; False when the connection is gone."""
        try:
            empty = self._send_waiting()
        except BlockingIOError:
            return True
        except OSError:
            self._stop_sending()
            return not self._failed
        if not empty:
            if isinstance(self.owner, Farewell):
                self.owner.moved_on()
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

    def _send_waiting(self) -> bool:
        pipe = self._pipe
        if pipe is not None:
            if not pipe.drain(self.fd):
                return False
            self._pipe = None
            pipe.release()
        if self._pending:
            del self._pending[:self.sock.send(self._pending)]
        return not self._pending

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
        if not self.blocked:
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
        if self.blocked:
            self._watch(WRITE)
            self.owner = Farewell(self, FLUSH_SECONDS)
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

    # --- internals ---

    def _watch(self, events: int) -> None:
        if events != self._events and not self._failed:
            self._events = events
            if self._parked:
                self._parked = False
                self.reactor.watch(self.fd, events, self.ready)
            else:
                self.reactor.change(self.fd, events)

    def _stop_sending(self) -> None:
        """The peer takes nothing more. What it sent before may still be unread (an early answer), so reading tells the end."""
        self._drop_waiting()
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
        self._drop_waiting()
        self.reactor.forget(self.fd)
        self.sock.close()
        # Owner and channel know each other: without this only the garbage collector would free them.
        owner, self.owner = self.owner, NOBODY
        self.spout = None
        if isinstance(owner, Farewell):
            owner.over()

    def _drop_waiting(self) -> None:
        self._pending.clear()
        if self._pipe is not None:
            self._pipe.release()
            self._pipe = None

    def __repr__(self) -> str:
        state = "closed" if self._failed else "blocked" if self.blocked else "open"
        return f"<PlainChannel fd={self.fd} {state}>"
