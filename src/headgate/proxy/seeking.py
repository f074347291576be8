"""What an HTTP exchange and a TCP relay have in common: how they come to a server. Choice, queue, retries, the slot."""

from __future__ import annotations

from typing import Final, cast

from headgate.balance.backend import QUEUED
from headgate.balance.server import ServerState
from headgate.base.compiled import traceable
from headgate.base.termination import Outcome
from headgate.plan.facts import Stream
from headgate.proxy.port import Lost
from headgate.proxy.services import Cancellable, Scheduler, Timed, Waiter
from headgate.proxy.sides import TURN_AROUND as TURN_AROUND_SECONDS
from headgate.proxy.sides import Backend

# Phases that both have; the others, of `exchange` and of `relay`, are numbered around these.
PREPARE: Final = 0
AWAIT_SLOT: Final = 3  # in the queue
CONNECT: Final = 4
TURN_AROUND: Final = 5  # between two attempts on one server

#: What it comes to when the last attempt has failed, where that is not CONNECT_FAILED.
_LAST_FAILURES: Final = {Lost.TIMEOUT: Outcome.CONNECT_TIMEOUT, Lost.TOO_MANY: Outcome.NO_RESOURCE}


def last_failure(reason: Lost) -> Outcome:
    """How a stream ends whose last attempt to connect has failed for this reason."""
    return _LAST_FAILURES.get(reason, Outcome.CONNECT_FAILED)


def observe_failure(server: ServerState, reason: Lost) -> None:
    """An attempt has failed: `observe` is told, unless no server could have helped it."""
    if server.observer is not None and reason is not Lost.TOO_MANY:
        server.observer.connected(False)


class Seeking(Stream):
    """A stream that wants a server. Its fields are set by those who extend it: a request does not pay for one more constructor.

    Attributes:
        timed: the client session, as what has a deadline; those who extend this keep it by its own type, too.
        scheduler: its clock, here because each step needs it.
        link: the live backend.
        target_server: the server that a slot is held on.
        attempt: the connection attempt under way; attempt_at: when it began, on the scheduler's clock.
        connected_at: when the server's connection was there; queued_at: when a server was first asked for.
        retries_left: connection retries that remain.
        phase: where it stands.
    """

    __slots__ = (
        "attempt", "attempt_at", "connected_at", "link", "phase", "queued_at", "retries_left", "scheduler", "target_server",
        "timed",
    )

    timed: Timed
    scheduler: Scheduler
    link: Backend | None
    target_server: ServerState | None
    attempt: Cancellable | None
    attempt_at: float
    connected_at: float
    queued_at: float
    retries_left: int
    phase: int

    # --- what those who extend it do their own way ---

    def fail(self, outcome: Outcome) -> None:
        """End with an error."""
        raise NotImplementedError

    def _use(self, server: ServerState) -> None:
        """There is a server, and a slot on it: take a connection to it."""
        raise NotImplementedError

    def _connect(self, server: ServerState) -> None:
        """Have a connection opened."""
        raise NotImplementedError

    # --- times ---

    def wait(self, seconds: float) -> None:
        """Let the session's deadline be `seconds` from now; 0.0 means no limit."""
        owner = self.timed
        if seconds:
            scheduler = self.scheduler
            deadline = scheduler.now + seconds
            reminder = owner.armed
            if reminder is not None and reminder.at <= deadline:
                owner.deadline = deadline
            else:
                scheduler.arm(owner, deadline)
        else:
            owner.deadline = 0.0

    # --- a server ---

    def assign(self, avoid: ServerState | None) -> None:
        """Ask the backend for a server."""
        link = self.link
        if link is None:
            return
        found = link.state.assign(self, self.scheduler.wall, avoid)
        if found is None:
            self.fail(Outcome.NO_SERVER)
        elif found is QUEUED:
            self.phase = AWAIT_SLOT
            link.stream_queued(self.server)
            self.wait(link.t_queue)
        else:
            self._use(found)

    def slot_granted(self) -> None:
        """A server has a slot for us; `server` is set."""
        server = self.server
        if not isinstance(server, ServerState):
            return
        if self.phase == AWAIT_SLOT:
            self.phase = PREPARE
            self._use(server)
        else:
            # We gave up in the same turn, after the slot was taken for us: it goes to the next one.
            self.target_server = server
            self.release_slot()

    @traceable
    def _chosen(self, server: ServerState) -> None:
        """It is this server: how long it took is known now."""
        self.server = server
        self.target_server = server
        if self.t_queue < 0:
            self.t_queue = int((self.scheduler.now - self.queued_at) * 1000.0)

    def queue_flushed(self) -> None:
        """The server that we were queued on went down: choose anew."""
        if self.phase == AWAIT_SLOT:
            self.phase = PREPARE
            self.redispatched = True
            self.assign(None)

    def _try_again(self, server: ServerState, *, immediately: bool) -> None:
        """One more attempt, here or elsewhere."""
        link = self.link
        if link is None:
            return
        if self._count_retry(link, server):
            self._try_elsewhere(server)
        elif immediately:
            self._connect(server)
        else:
            self.phase = TURN_AROUND
            self.wait(min(TURN_AROUND_SECONDS, link.t_connect or TURN_AROUND_SECONDS))

    def _count_retry(self, link: Backend, server: ServerState) -> bool:
        """Note one more attempt: whether it is to be elsewhere."""
        self.retries += 1
        elsewhere = link.count_retry(server, self.retries_left)
        self.retries_left -= 1
        if elsewhere:
            self.redispatched = True
        return elsewhere

    def _after_turn_around(self) -> None:
        server = self.target_server
        if server is None:
            return
        if server.usable():
            self._connect(server)
        else:
            self._try_elsewhere(server)

    def _try_elsewhere(self, server: ServerState) -> None:
        self.release_slot()
        self.phase = PREPARE
        self.assign(server)

    def release_slot(self) -> None:
        """Give the server's slot back, and let the next one in the queue have it."""
        server = self.target_server
        link = self.link
        if server is None or link is None:
            return
        self.target_server = None
        waiting = link.state.release(server)
        if waiting is not None:
            # Never from inside our own transition: the other stream may act on a connection of this batch.
            self.scheduler.later(cast(Waiter, waiting).slot_granted)
