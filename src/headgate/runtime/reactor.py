"""The data plane's event loop: one epoll set, nested in the asyncio loop that everything else runs on.

The asyncio loop (uvloop) watches the epoll descriptor, which is readable when any of its members is. Under load one turn
of the outer loop serves a whole batch of connections at the price of a dictionary look-up each, while checks, resolvers
and the stats socket stay ordinary coroutines. Sockets are registered level-triggered and stay registered: in steady state
no system call changes a registration.
"""

from __future__ import annotations

import asyncio
import heapq
import select
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Protocol

READ = select.EPOLLIN | select.EPOLLRDHUP
WRITE = select.EPOLLOUT
BROKEN = select.EPOLLERR | select.EPOLLHUP

#: Called with the epoll events of its descriptor.
Handler = Callable[[int], None]

_BATCH = 256
#: Retired deadlines that the heap may hold before it is cleaned.
_COMPACT = 512


def _print_bug(error: Exception) -> None:
    traceback.print_exception(error, file=sys.stderr)


class Timed(Protocol):
    """Something with at most one deadline.

    Attributes:
        deadline: seconds on the monotonic clock, 0.0 for none. Plain assignment moves it later or removes it.
        armed: the earliest entry that the heap holds for it, 0.0 for none. Owned by the reactor.
    """

    deadline: float
    armed: float

    def timed_out(self) -> None:
        """The deadline has passed."""


class Reactor:
    """Events of descriptors, deadlines and the clock.

    Attributes:
        now: monotonic seconds, read once a batch.
        wall: seconds since the epoch that belong to `now`.
    """

    __slots__ = (
        "_dead", "_epoll", "_handlers", "_heap", "_later", "_loop", "_order", "_run", "_timer", "_timer_at", "_turning", "now",
        "on_bug", "shared", "turn_ends", "wall",
    )

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = 0
        self._dead = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._later: list[Callable[[], None]] = []
        self._turning = False  # a turn is under way, which runs them at its end
        self._run: Callable[[Handler, int], None] | None = None
        #: descriptors of connections that another process holds too: closing ours does not take them out of the epoll set
        self.shared: set[int] = set()
        #: told of an exception that nobody expected
        self.on_bug: Callable[[Exception], None] = _print_bug
        #: called after each batch: log sinks flush here
        self.turn_ends: list[Callable[[], None]] = []
        self.now = time.monotonic()
        self.wall = time.time()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `loop` drive this reactor."""
        self._loop = loop
        loop.add_reader(self._epoll.fileno(), self._turn if self._run is None else self._measured_turn)
        self._schedule_timer()

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            if self._timer is not None:
                self._timer.cancel()
        self._epoll.close()
        self._handlers.clear()
        self._heap.clear()

    # --- descriptors ---

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler` whenever one of `events` holds for `fd`."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Watch for other events from now on."""
        self._epoll.modify(fd, events)

    def rebind(self, fd: int, handler: Handler) -> None:
        """Hand the events of `fd` to another handler."""
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Forget `fd`. Must come before it is closed, or its number could be reused under the old handler."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def forget(self, fd: int) -> None:
        """As `unwatch`, for a descriptor that is closed right behind this: that takes it out of the epoll set (epoll(7))."""
        if fd in self.shared:
            self.shared.discard(fd)
            self.unwatch(fd)
        else:
            self._handlers.pop(fd, None)

    def _turn(self) -> None:
        self._turning = True
        self.now = time.monotonic()
        self.wall = time.time()
        handlers = self._handlers
        for fd, events in self._epoll.poll(0, _BATCH):
            # A handler may close another connection of the same batch: then its entry is gone.
            handler = handlers.get(fd)
            if handler is not None:
                try:
                    handler(events)
                except Exception as error:
                    # Ours, and only this connection's: it must neither spin nor take the rest of the batch with it.
                    self.unwatch(fd)
                    self.on_bug(error)
        self._end_turn()

    def _end_turn(self) -> None:
        if self._later:
            self._run_later()
        self._turning = False
        for end in self.turn_ends:
            end()

    # --- for those who look at it from outside ---

    def measure(self, run: Callable[[Handler, int], None] | None) -> None:
        """Let `run` call the handlers from now on, as profiling does; None: they are called as always, which costs nothing."""
        self._run = run
        if self._loop is not None:
            self._loop.add_reader(self._epoll.fileno(), self._turn if run is None else self._measured_turn)

    def _measured_turn(self) -> None:
        """`_turn`, with `_run` between us and the handlers."""
        self._turning = True
        self.now = time.monotonic()
        self.wall = time.time()
        handlers, run = self._handlers, self._run
        for fd, events in self._epoll.poll(0, _BATCH):
            handler = handlers.get(fd)
            if handler is not None:
                try:
                    if run is None:
                        handler(events)
                    else:
                        run(handler, events)
                except Exception as error:
                    self.unwatch(fd)
                    self.on_bug(error)
        self._end_turn()

    @property
    def handlers(self) -> Mapping[int, Handler]:
        """Who is called for which descriptor."""
        return self._handlers

    def waiting(self) -> list[Timed]:
        """Those who have a deadline."""
        return [timed for at, _, timed in self._heap if timed.armed == at and timed.deadline]

    # --- work for the end of the turn ---

    def later(self, call: Callable[[], None]) -> None:
        """Run `call` when the current batch is through: for what must not happen inside an event."""
        self._later.append(call)
        if len(self._later) == 1 and not self._turning and self._loop is not None:
            self._loop.call_soon(self._run_later)

    def _run_later(self) -> None:
        while self._later:
            calls, self._later = self._later, []
            for call in calls:
                try:
                    call()
                except Exception as error:
                    self.on_bug(error)

    # --- deadlines ---

    def arm(self, timed: Timed, deadline: float) -> None:
        """Set a deadline. Only an assignment when the heap holds an earlier entry: it is armed again when that one fires."""
        timed.deadline = deadline
        armed = timed.armed
        if armed and armed <= deadline:
            return
        timed.armed = deadline
        self._order += 1
        heapq.heappush(self._heap, (deadline, self._order, timed))
        if not self._timer_at or deadline < self._timer_at:
            self._schedule_timer()

    def retire(self, timed: Timed) -> None:
        """Forget a deadline for good: its owner is closing.

        The heap lets go of it when half of what it holds is retired, so that a long timeout does not keep dead connections.
        """
        timed.deadline = 0.0
        if not timed.armed:
            return
        self._dead += 1
        if self._dead > _COMPACT and self._dead * 2 > len(self._heap):
            kept = []
            for entry in self._heap:
                if entry[2].armed == entry[0]:
                    if entry[2].deadline:
                        kept.append(entry)
                    else:
                        entry[2].armed = 0.0
            self._heap[:] = kept  # in place: `_fire` may be going through it
            heapq.heapify(self._heap)
            self._dead = 0

    def _schedule_timer(self) -> None:
        if self._loop is None or not self._heap:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._heap[0][0]
        # A tenth of a second of slack would be enough for timeouts; a millisecond keeps `timeout connect 50ms` honest.
        delay = max(0.0, self._timer_at - time.monotonic()) + 0.001
        self._timer = self._loop.call_later(delay, self._fire)

    def _fire(self) -> None:
        self._turning = True
        now = self.now = time.monotonic()
        self.wall = time.time()
        heap = self._heap
        self._timer = None
        self._timer_at = 0.0
        while heap and heap[0][0] <= now:
            at, _, timed = heapq.heappop(heap)
            if timed.armed != at:
                continue  # an earlier entry took over
            timed.armed = 0.0
            deadline = timed.deadline
            if not deadline:
                self._dead = max(0, self._dead - 1)
                continue
            if deadline > now:
                timed.armed = deadline
                self._order += 1
                heapq.heappush(heap, (deadline, self._order, timed))
            else:
                timed.deadline = 0.0
                try:
                    timed.timed_out()
                except Exception as error:
                    self.on_bug(error)
        self._schedule_timer()
        self._end_turn()
