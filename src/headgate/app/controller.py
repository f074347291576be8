"""The controller's side of the links: workers come and go, changes reach all of them, counters are collected."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from headgate.app.siblings import NOTICE, WARNING, Result, Sibling
from headgate.balance.backend import BackendState
from headgate.balance.resolution import Change
from headgate.balance.server import ServerState
from headgate.base.records import dataclass
from headgate.health.state import ServerStatus
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.workers.journal import Key
from headgate.runtime.workers.links import Handler, Link, LinkLost, watch_supervision
from headgate.runtime.workers.messages import RESOLVED_ENTRY, SERVER_ENTRY, Kind, Message

if TYPE_CHECKING:
    from headgate.app.process import App

#: How long workers may take to answer, seconds.
PATIENCE = 2.0


@dataclass(slots=True)
class Member:
    """A worker that has introduced itself.

    Attributes:
        number, pid: which.
        link: to it.
        dropped_logs: lines that its logs have lost.
        silent: it did not answer the last time it was asked; said once.
    """

    number: int
    pid: int
    link: Link
    dropped_logs: int = 0
    silent: bool = False

    @property
    def name(self) -> str:
        """As answers call it."""
        return f"worker {self.number} (pid {self.pid})"


class Controller(Sibling):
    """See the module.

    Attributes:
        members: the workers that have introduced themselves, by number.
    """

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self.members: dict[int, Member] = {}
        self._links: dict[int, Link] = {}
        self._collecting: asyncio.Future[None] | None = None
        self._end: Callable[[], None] | None = None

    async def start(self) -> None:
        """Take over what was changed before this process was there, then wait for workers."""
        live = self.app.live
        live.quiet = True  # all of it was said when it happened
        try:
            await self.replay()
        finally:
            live.quiet = False
        if self.place.supervision is not None:
            loop = asyncio.get_running_loop()
            self._end = watch_supervision(loop, self.place.supervision, self._linked, self.launcher_gone)

    def stop(self) -> None:
        """Let go of all workers."""
        if self._end is not None:
            self._end()
        for link in self._links.values():
            link.close()
        self._links.clear()
        self.members.clear()

    @property
    def workers(self) -> Mapping[int, int]:
        """The pids of the workers by their numbers."""
        return {number: member.pid for number, member in sorted(self.members.items())}

    @property
    def dropped_logs(self) -> int:
        """Lines that the workers' logs have lost, as they said when they were last collected."""
        return sum(member.dropped_logs for member in self.members.values())

    @property
    def stray(self) -> int:
        """Messages that meant nothing here."""
        return sum(link.stray for link in self._links.values())

    # --- workers come and go ---

    def _linked(self, number: int, sock: socket.socket) -> None:
        before = self._links.pop(number, None)
        if before is not None:
            before.close()
        self.members.pop(number, None)
        handlers: dict[Kind, Handler] = {Kind.HELLO: partial(self._hello, number), Kind.ASK: self._asked, Kind.LINES: self._lines}
        handlers |= {Kind.OBSERVED: self._observed, Kind.RESOLVE: self._resolve}
        self._links[number] = Link(asyncio.get_running_loop(), sock, handlers, partial(self._lost, number))

    def _lost(self, number: int, link: Link) -> None:
        if self._links.get(number) is link:
            del self._links[number]
            self.members.pop(number, None)

    def _hello(self, number: int, link: Link, message: Message) -> None:
        _, pid, replayed = message.body
        for entry in self.journal.entries():
            if entry.number > replayed:
                link.tell(Kind.CHANGE, entry.number, entry.what)
        self.members[number] = Member(number, pid, link)
        link.answer(message)

    # --- what workers want ---

    def _asked(self, link: Link, message: Message) -> None:
        assert self.app.api is not None
        self.app.api.ask(message.body[0], partial(link.answer, message))

    def _resolve(self, link: Link, message: Message) -> None:
        """A rule wants the address of a name."""
        lookups = self.app.lookups
        if lookups is None or message.body[0] not in self.app.config.resolvers:
            link.answer(message, "", 0.0)
            return
        from headgate.app.lookups import Asked  # is loaded where there are lookups

        Asked(lookups, link, message).answer()

    def _lines(self, link: Link, message: Message) -> None:
        name, lines, dropped = message.body
        ring = self.app.logs.rings.get(name)
        if ring is None:
            return
        ring.dropped += dropped
        now = time.time()
        for line in lines:
            ring.write(line, now)

    def _observed(self, link: Link, message: Message) -> None:
        """A worker saw too many errors of a server in a row (5.2 observe)."""
        backend_name, name, what = message.body
        backend = self.app.world.backends.get(backend_name)
        server = backend.server(name) if backend is not None else None
        if server is not None:
            self.app.checker().observed(server, what)

    # --- changes ---

    def spread(
        self, key: Key, what: tuple[object, ...], *, kept: bool = True
    ) -> list[tuple[Member, asyncio.Future[tuple[object, ...]]]]:
        """Keep a change, and send it to all workers: at once, so that changes have one order everywhere."""
        lost = self.journal.lost
        number = self.journal.append(key, what, kept=kept)
        if self.journal.lost > lost == 0:
            text = "the journal of changes is full: a process that is replaced from now on will not know all of them"
            log_event(self.app.logs.process, WARNING, text)
        return [(member, member.link.ask(Kind.CHANGE, number, what)) for member in self.members.values()]

    def server_told(self, backend: BackendState, server: ServerState) -> None:
        """Checks or the administrator changed what a server may do: workers follow."""
        what = (SERVER_ENTRY, backend.name, server.name, server.up, server.stopping)
        for _, answer in self.spread((SERVER_ENTRY, backend.name, server.name), what):
            answer.add_done_callback(_forget)

    def server_resolved(self, backend: str, change: Change) -> None:
        """The name of a server has another address, or none: workers follow."""
        what = (RESOLVED_ENTRY, backend, change.server, change.address, change.port, change.weight, change.reason)
        for _, answer in self.spread((RESOLVED_ENTRY, backend, change.server), what):
            answer.add_done_callback(_forget)

    def server_followed(self, backend: BackendState, server: ServerState) -> None:
        """Replayed: the checks go on from there."""
        checked = self.app.checker().checked.get(server)
        if checked is not None:
            status = ServerStatus.NOLB if server.stopping else ServerStatus.UP if server.up else ServerStatus.DOWN
            checked.health.force(status, self.app.reactor.now)

    # --- questions ---

    async def ask_all(self, kind: Kind, *body: object) -> list[tuple[Member, Result | None]]:
        """Ask every worker; None for one that did not answer in time."""
        return await self.answers([(member, member.link.ask(kind, *body)) for member in self.members.values()])

    async def answers(
        self, asked: Sequence[tuple[Member, asyncio.Future[tuple[object, ...]]]]
    ) -> list[tuple[Member, Result | None]]:
        """The answers of several workers; None for one that did not answer in time."""
        if asked:
            await asyncio.wait([answer for _, answer in asked], timeout=PATIENCE)
        return [(member, self._answer_of(member, answer)) for member, answer in asked]

    def _answer_of(self, member: Member, answer: asyncio.Future[tuple[object, ...]]) -> Result | None:
        if not answer.done():
            answer.cancel()
            if not member.silent:
                member.silent = True
                log_event(self.app.logs.process, WARNING, f"{member.name} has not answered within {PATIENCE:g} s")
            return None
        try:
            body = answer.result()
        except LinkLost:
            return None
        if member.silent:
            member.silent = False
            log_event(self.app.logs.process, NOTICE, f"{member.name} answers again")
        match body:
            case (bool(done), str(text)):
                return done, text
            case (int(dropped),):
                member.dropped_logs = dropped
        return True, ""

    def _heard(self, member: Member, answer: asyncio.Future[tuple[object, ...]]) -> None:
        """A worker that was silent may have answered."""
        if not answer.cancelled():
            self._answer_of(member, answer)

    async def collect(self) -> None:
        """Add up what all workers have counted; askers at the same time share one collection."""
        if self._collecting is None:
            self._collecting = asyncio.ensure_future(self._collect())
        collecting = self._collecting
        await asyncio.shield(collecting)

    async def _collect(self) -> None:
        try:
            asked = []
            for member in self.members.values():
                answer = member.link.ask(Kind.PUBLISH)
                if member.silent:
                    # One that hangs must not make everybody wait each time: what it has published before counts.
                    answer.add_done_callback(partial(self._heard, member))
                else:
                    asked.append((member, answer))
            await self.answers(asked)
            if self.board is not None:
                self.board.collect(self.app)
        finally:
            self._collecting = None


def _forget(answer: asyncio.Future[tuple[object, ...]]) -> None:
    """Nobody waits for it."""
    if not answer.cancelled():
        answer.exception()
