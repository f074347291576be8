"""A check's socket and who waits for it: what a plain connection and one of TLS have in common."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from headgate.runtime.loop import reactor_of
from headgate.runtime.reactor import READ


class WatchedSocket:
    """A connected socket that the reactor watches from the first wait on: a check reads a few times.

    Args:
        loop: the running one.
        sock: non-blocking.
    """

    __slots__ = ("_fd", "_loop", "_reactor", "_resting", "_sock", "_waiter", "_watching")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._reactor = reactor_of(loop)
        self._sock = sock
        self._fd = sock.fileno()
        self._waiter: asyncio.Future[None] | None = None
        self._resting: Callable[[], None] | None = None
        self._watching = False

    def rest(self, gone: Callable[[], None]) -> None:
        """See `runtime.checks.connection.Connection.rest`."""
        self._resting = gone
        self._watch()

    def resume(self) -> None:
        """See `runtime.checks.connection.Connection.resume`."""
        self._resting = None

    def unwatch(self) -> None:
        """Nothing is received for now: another layer may watch the socket."""
        if self._watching:
            self._watching = False
            self._reactor.unwatch(self._fd)

    async def _until_readable(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        self._watch()
        await waiter

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._reactor.watch(self._fd, READ, self._readable)

    def _wake(self) -> None:
        """Let who waits look again."""
        if self._waiter is not None:
            settle(self._waiter)

    def _readable(self, _events: int) -> None:
        """The reactor's call."""
        if self._resting is not None:
            self._stir(self._resting)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        else:
            self.unwatch()  # nobody reads now, and it would call again at once

    def _stir(self, gone: Callable[[], None]) -> None:
        """Something came while the connection rests."""
        gone()

    def _close_socket(self) -> None:
        if self._watching:
            self._watching = False
            self._reactor.forget(self._fd)
        self._sock.close()


def settle(future: asyncio.Future[None]) -> None:
    """Set the result of a future, unless it is cancelled, or has one."""
    if not future.done():
        future.set_result(None)


async def until_writable(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Wait until a descriptor can be written to."""
    writable = loop.create_future()
    loop.add_writer(fd, settle, writable)
    try:
        await writable
    finally:
        loop.remove_writer(fd)
