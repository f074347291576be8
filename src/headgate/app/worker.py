"""A worker's side of its link: changes put into effect, counters published, questions and ring lines for the controller."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headgate.app.api import PATIENCE
from headgate.app.siblings import Sibling
from headgate.balance.backend import BackendState
from headgate.balance.server import ServerState
from headgate.runtime.logs.rings import LogRing
from headgate.runtime.workers.links import Link, LinkLost, watch_supervision
from headgate.runtime.workers.messages import Kind, Message

if TYPE_CHECKING:
    from headgate.app.process import App

#: How long a new worker waits for the controller before it serves, seconds: with its greeting comes what was changed meanwhile.
GREETING = 1.0
#: Bytes of ring lines that may wait for the controller.
_MOST_LINES = 1 << 20
#: How often servers in slowstart follow the time, seconds.
_WARM_UP = 0.5
#: Questions that are put at a time, and how many more may wait: rules that change maps ask one each.
_AT_ONCE = 256
_MOST_QUESTIONS = 1 << 14


class Worker(Sibling):
    """See the module. Implements `proxy.services.Asker`."""

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._link: Link | None = None
        self._applied = 0
        self._changes: deque[tuple[Link, Message]] = deque()
        self._changing: asyncio.Task[None] | None = None
        self._greeted = asyncio.Event()
        self._end: Callable[[], None] | None = None
        self._warming: asyncio.TimerHandle | None = None
        self._questions: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._rings = {name: _Forwarded(ring) for name, ring in app.logs.rings.items()}
        app.reactor.turn_ends.append(self._send_lines)

    async def start(self) -> None:
        """Take over what was changed before this process was there; returns when it may serve."""
        self._applied = await self.replay()
        if self.place.supervision is None:
            return
        loop = asyncio.get_running_loop()
        self._end = watch_supervision(loop, self.place.supervision, self._linked, self.launcher_gone)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GREETING):
                await self._greeted.wait()

    @property
    def link(self) -> Link | None:
        """To the controller; None while that is being replaced."""
        return self._link

    def stop(self) -> None:
        """Let go of the controller."""
        self._send_lines()
        if self.board is not None:
            self.board.publish(self.app)
        if self._end is not None:
            self._end()
        if self._warming is not None:
            self._warming.cancel()
        for task in (*self._questions, *([self._changing] if self._changing is not None else [])):
            task.cancel()
        if self._link is not None:
            self._link.close()

    def _linked(self, number: int, sock: socket.socket) -> None:
        if number:
            sock.close()
            return
        if self._link is not None:
            self._link.close()
        handlers = {Kind.CHANGE: self._change, Kind.COMMAND: self._command, Kind.PUBLISH: self._publish}
        link = self._link = Link(asyncio.get_running_loop(), sock, handlers, self._lost)
        greeting = link.ask(Kind.HELLO, self.place.index, os.getpid(), self._applied)
        greeting.add_done_callback(self._greeting)

    def _greeting(self, greeting: asyncio.Future[tuple[object, ...]]) -> None:
        if not greeting.cancelled() and greeting.exception() is None:
            self._greeted.set()

    def _lost(self, link: Link) -> None:
        if self._link is link:
            self._link = None  # the controller will be replaced, and its successor brings a new link

    # --- what the controller wants ---

    def _change(self, link: Link, message: Message) -> None:
        """Changes take effect one after the other, also where one takes its time."""
        self._changes.append((link, message))
        if self._changing is None:
            self._go_on()

    def _go_on(self) -> None:
        while self._changes:
            link, message = self._changes.popleft()
            number, what = message.body
            if number <= self._applied:
                link.answer(message, True, "")
                continue
            self._applied = number
            result = self.apply(what)
            if isinstance(result, tuple):
                link.answer(message, *result)
            else:
                self._changing = asyncio.ensure_future(self._finish(link, message, result))
                return

    async def _finish(self, link: Link, message: Message, coming: Any) -> None:
        try:
            link.answer(message, *await coming)
        finally:
            self._changing = None
        self._go_on()

    def _command(self, link: Link, message: Message) -> None:
        result = self.run(message.body[0])
        if isinstance(result, tuple):
            link.answer(message, *result)
            return

        async def finish() -> None:
            link.answer(message, *await result)

        self._keep(asyncio.ensure_future(finish()))

    def _publish(self, link: Link, message: Message) -> None:
        if self.board is not None:
            self.board.publish(self.app)
        link.answer(message, self.app.logs.dropped)

    def server_followed(self, backend: BackendState, server: ServerState) -> None:
        """A server that came back may warm up: without checks here, a timer lets it."""
        if server.up_since and self._warming is None:
            self._warm_up()

    def _warm_up(self) -> None:
        self._warming = None
        backends = self.app.world.backends.values()
        for backend in backends:
            self.app.live.warm_up(backend)
        if any(server.up_since for backend in backends for server in backend.servers):
            self._warming = asyncio.get_running_loop().call_later(_WARM_UP, self._warm_up)

    # --- what the controller is told and asked ---

    def ask(self, command: str, answered: Callable[[str], None]) -> None:
        """See `proxy.services.Asker`."""
        self._keep(asyncio.ensure_future(self._ask(command, answered)))

    async def _ask(self, command: str, answered: Callable[[str], None]) -> None:
        text = ""
        if len(self._questions) <= _MOST_QUESTIONS:
            with contextlib.suppress(TimeoutError, LinkLost):
                async with asyncio.timeout(PATIENCE), self._turns:
                    link = self._link
                    body = await link.ask(Kind.ASK, command) if link is not None else ()
                    text = body[0] if body and isinstance(body[0], str) else ""
        answered(text)

    def observed(self, backend: BackendState, server: ServerState, what: str) -> None:
        """See `Live.report`."""
        if self._link is not None:
            self._link.tell(Kind.OBSERVED, backend.name, server.name, what)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    def _send_lines(self) -> None:
        """At the end of a turn: what was written to rings goes to the controller, which has the rings that are shown."""
        for name, forwarded in self._rings.items():
            if not forwarded.lines:
                continue
            link = self._link
            if link is not None and link.waiting < _MOST_LINES:
                link.tell(Kind.LINES, name, *forwarded.take())


class _Forwarded:
    """The lines of a ring on their way to the controller, up to a bound; what is above it is counted."""

    __slots__ = ("_size", "lines", "lost")

    def __init__(self, ring: LogRing) -> None:
        self.lines: list[bytes] = []
        self.lost = 0
        self._size = 0
        ring.pass_on = self._pass_on

    def _pass_on(self, line: bytes) -> None:
        if self._size + len(line) > _MOST_LINES:
            self.lost += 1
            return
        self._size += len(line)
        self.lines.append(line)

    def take(self) -> tuple[tuple[bytes, ...], int]:
        """The lines, and how many were lost."""
        taken = tuple(self.lines), self.lost
        self.lines.clear()
        self.lost = self._size = 0
        return taken
