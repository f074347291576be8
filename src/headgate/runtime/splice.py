"""Relaying in the kernel: `splice(2)` from one plain socket to another, through a pipe.

When a relay turns out to be bulk, each channel gets a `Spout`: what it reads then goes straight to the other channel and not
through our memory. Everything else (back-pressure, half-close, resets, deadlines) stays as it is with copied bytes: a pipe
that the target did not take in one go waits in the target's channel, as bytes would. A pipe is held only while it has
something inside, so that thousands of relays share a few; when there is none, bytes are copied for the moment.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final

from headgate.proxy.relay import RelayStream
from headgate.proxy.sides import Splicer
from headgate.runtime.channel import PlainChannel
from headgate.runtime.reactor import Reactor

#: Bytes that a pipe may hold where the system allows (fs.pipe-max-size), and the most that one call moves.
PIPE_SIZE: Final = 1 << 20
#: A smaller pipe costs more than it saves; the system hands them out to users who have many (fs.pipe-user-pages-soft).
_PIPE_LEAST: Final = 65536
#: Empty pipes that are kept.
_SPARE: Final = 32
#: How long not to ask for pipes after the system refused one, seconds.
_REFUSAL: Final = 1.0
#: Rounds of one event: others must have their turn.
_ROUNDS: Final = 4
_MOVE_NONBLOCK: Final = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK

#: What `Spout.pour` answers when it moved nothing: end of the stream; nothing there; read it in the ordinary way.
END: Final = 0
NOTHING: Final = -1
COPY: Final = -2


class Pipe:
    """A pipe on loan from its pool.

    Attributes:
        inside: bytes that it holds.
    """

    __slots__ = ("_pool", "inside", "reader", "writer")

    def __init__(self, pool: PipePool) -> None:
        self._pool = pool
        self.inside = 0
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def drain(self, fd: int) -> bool:
        """Move into a socket; whether the pipe is empty now.

        Raises:
            OSError: the socket takes nothing any more.
        """
        inside = self.inside
        try:
            left = self.inside = inside - os.splice(self.reader, fd, inside, flags=_MOVE_NONBLOCK)
        except BlockingIOError:
            return False
        # Fewer than asked for: the socket is full, and another call would only hear EAGAIN.
        return not left

    def release(self) -> None:
        """Give it back. What is still inside is dropped."""
        self._pool.give_back(self)

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


class PipePool:
    """The pipes of all relays.

    Args:
        reactor: for the time.
        most: pipes at a time; None for no limit of our own.
    """

    __slots__ = ("_most", "_reactor", "_refused_at", "_spare", "lent")

    def __init__(self, reactor: Reactor, most: int | None = None) -> None:
        self._reactor = reactor
        self._most = most
        self._spare: list[Pipe] = []
        self._refused_at = -_REFUSAL
        self.lent = 0

    @property
    def spare(self) -> int:
        """How many pipes wait to be used."""
        return len(self._spare)

    def take(self) -> Pipe | None:
        """An empty pipe, or None when there can't be another one now."""
        if self._spare:
            self.lent += 1
            return self._spare.pop()
        if self.lent == self._most or self._reactor.now - self._refused_at < _REFUSAL:
            return None
        pipe = self._open()
        if pipe is None:
            self._refused_at = self._reactor.now
        else:
            self.lent += 1
        return pipe

    def _open(self) -> Pipe | None:
        try:
            pipe = Pipe(self)
        except OSError:  # no descriptors left
            return None
        try:
            fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # over the user's quota
            if fcntl.fcntl(pipe.writer, fcntl.F_GETPIPE_SZ) < _PIPE_LEAST:
                pipe.close()
                return None
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """See `Pipe.release`."""
        self.lent -= 1
        if pipe.inside or len(self._spare) >= _SPARE:
            pipe.close()
        else:
            self._spare.append(pipe)

    def close(self) -> None:
        """Close the pipes that are not on loan."""
        while self._spare:
            self._spare.pop().close()


class Spout:
    """Where a channel's input goes when the kernel relays it.

    Args:
        pool: lends pipes.
        target: the channel that the bytes go to.
        passed: told how many bytes went from the source to the target, or into the pipe that now waits there.
    """

    __slots__ = ("_passed", "_pool", "_target")

    def __init__(self, pool: PipePool, target: PlainChannel, passed: Callable[[int], None]) -> None:
        self._pool = pool
        self._target = target
        self._passed = passed

    def pour(self, fd: int) -> int:
        """Move what the socket `fd` has received.

        Returns:
            bytes moved, or END, NOTHING or COPY.

        Raises:
            OSError: `fd` failed. What goes wrong at the target is the target's to tell.
        """
        target = self._target
        if target.blocked:
            return COPY
        pipe = self._pool.take()
        if pipe is None:
            return COPY
        total = 0
        moved = NOTHING
        try:
            for _ in range(_ROUNDS):
                moved = os.splice(fd, pipe.writer, PIPE_SIZE, flags=_MOVE_NONBLOCK)
                if not moved:
                    break
                pipe.inside = moved
                total += moved
                if not target.send_pipe(pipe):
                    pipe = None
                    break
        except BlockingIOError:
            moved = NOTHING
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            moved = COPY  # no kind of socket that can be spliced
        finally:
            if pipe is not None:
                pipe.release()
            if total:
                self._passed(total)
        return total or moved


class KernelSplicer(Splicer):
    """Starts spliced relays."""

    __slots__ = ("pool",)

    def __init__(self, reactor: Reactor, most: int | None = None) -> None:
        """See `PipePool` for the arguments."""
        self.pool = PipePool(reactor, most)

    def start(self, client: object, server: object, relay: object) -> bool:
        """See `proxy.sides.Splicer.start`."""
        if not isinstance(client, PlainChannel) or not isinstance(server, PlainChannel) or not isinstance(relay, RelayStream):
            return False
        client.spout = Spout(self.pool, server, relay.client_passed)
        server.spout = Spout(self.pool, client, relay.server_passed)
        return True
