"""Which sockets of checks can be read: one epoll instance for all of them, which the loop watches as if it were one socket.

A check reads once or twice from a socket that is a few milliseconds old. The loop's own reader costs a handle and a look through
its queue for each of them; here it is one call to begin and one to end. Called by `connection` and `tls_connection`.
"""

from __future__ import annotations

import asyncio
import select
import weakref
from collections.abc import Callable

#: Descriptors that are told of in one turn of the loop; the others have the next one.
_AT_ONCE = 64


class Watch:
    """The sockets of one loop. `watch_of` makes it."""

    __slots__ = ("__weakref__", "_callbacks", "_epoll")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}

    def fileno(self) -> int:
        """The descriptor that is readable when any of the sockets is."""
        return self._epoll.fileno()

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back as long as there is something to read, or an end. `fd` must not be watched yet."""
        self._epoll.register(fd, select.EPOLLIN)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Cease to watch a descriptor, which is still open."""
        del self._callbacks[fd]
        self._epoll.unregister(fd)

    def dispatch(self) -> None:
        """The loop's call."""
        for fd, _ in self._epoll.poll(0, _AT_ONCE):
            callback = self._callbacks.get(fd)  # one of those before may have removed it
            if callback is not None:
                callback()


_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = weakref.WeakKeyDictionary()


def watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """The watch of a loop; made at first use."""
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = Watch()
        loop.add_reader(watch.fileno(), watch.dispatch)
    return watch
