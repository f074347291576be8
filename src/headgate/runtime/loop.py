"""The asyncio loop of a process, on the reactor's epoll set: each wait is a turn of the reactor.

Events of connections are served inside that wait and never pass through asyncio's queue; it returns to asyncio when one of its
own descriptors, timers or callbacks is due. So a connection pays for one wait a turn and nothing more, and everything else in the
process may be a coroutine. Called by `app.process`; checks ask `reactor_of`.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import weakref
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from headgate.runtime.reactor import Reactor

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class _ReactorSelector(selectors.BaseSelector):
    """asyncio's descriptors, in the set of a reactor."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _number(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is already registered")
        self._reactor.include(fd, _to_epoll(events))
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(_number(fileobj))
        self._reactor.exclude(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        old = self._keys[_number(fileobj)]
        if events != old.events:
            self._reactor.change(old.fd, _to_epoll(events))
        key = self._keys[old.fd] = selectors.SelectorKey(fileobj, old.fd, events, data)
        return key

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[_number(fileobj)]

    def close(self) -> None:
        self._keys.clear()
        self._reactor.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Turn the reactor until asyncio has something to do, or for `timeout` seconds."""
        return self._ready(self._reactor.turns(-1.0 if timeout is None else max(timeout, 0.0)))

    def _ready(self, others: list[tuple[int, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        ready = []
        for fd, events in others:
            key = self._keys.get(fd)
            if key is not None:
                # An error or a hang-up is told to whoever waits: the next call on the descriptor meets it.
                happened = (_READ if events & ~select.EPOLLOUT else 0) | (_WRITE if events & ~select.EPOLLIN else 0)
                if happened & key.events:
                    ready.append((key, happened & key.events))
        return ready


def _number(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _to_epoll(events: int) -> int:
    return (select.EPOLLIN if events & _READ else 0) | (select.EPOLLOUT if events & _WRITE else 0)


class Loop(asyncio.SelectorEventLoop):
    """The loop of one reactor; closing the one closes the other.

    Attributes:
        reactor: that it turns.
    """

    def __init__(self, reactor: Reactor | None = None) -> None:
        self.reactor = reactor if reactor is not None else Reactor()
        self._servers: weakref.WeakSet[asyncio.Server] = weakref.WeakSet()
        super().__init__(_ReactorSelector(self.reactor))

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """See `asyncio.loop.create_server`."""
        server = await super().create_server(*args, **options)
        self._servers.add(server)
        return server

    async def create_unix_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """See `asyncio.loop.create_unix_server`."""
        server = await super().create_unix_server(*args, **options)
        self._servers.add(server)
        return server

    def call_soon(
        self, callback: Callable[[*_Arguments], object], *args: *_Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio.loop.call_soon`; handlers of the reactor call it in the middle of a wait."""
        self.reactor.woken = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Arguments], object], *args: *_Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.loop.call_at`."""
        self.reactor.woken = True
        return super().call_at(when, callback, *args, context=context)

    async def wind_up(self) -> None:
        """End all other tasks, and close what streams and their servers have left open."""
        for _ in range(2):
            # A task that has not begun would be cancelled without knowing, and lose the connection that it was made for: one
            # that was accepted just now, or in the turn that this here takes.
            await asyncio.sleep(0)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for server in list(self._servers):
            server.close()
        for transport in list(self._transports.values()):  # type: ignore[attr-defined]  # asyncio's own list of them
            transport.abort()
        await asyncio.sleep(0)  # closing takes another turn


def run(main: Coroutine[Any, Any, _T], reactor: Reactor | None = None) -> _T:
    """As `asyncio.run`, on a loop of ours; what is still open at the end is closed."""
    loop = Loop(reactor)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            return runner.run(main)
        finally:
            runner.run(loop.wind_up())


def reactor_of(loop: asyncio.AbstractEventLoop) -> Reactor:
    """The reactor that a loop turns.

    Raises:
        TypeError: it is none of ours.
    """
    if not isinstance(loop, Loop):
        raise TypeError(f"{loop!r} turns no reactor")
    return loop.reactor
