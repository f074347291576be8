"""The data plane's events: one epoll set, its handlers, deadlines, and the clock. `loop` runs coroutines on the same set.

Sockets are registered level-triggered and stay registered: in steady state no system call changes a registration. An event is a
dictionary look-up and a call. A turn serves a batch of them, then the deadlines that have passed, then what was put off, and
tells those who gather output. Resolvers and the stats socket are ordinary coroutines: their descriptors are in the set too, and a
turn hands their events back to the loop.
"""

from __future__ import annotations

import contextlib
import heapq
import select
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from headgate.proxy.services import Reminder, Scheduler, Timed

READ: Final = select.EPOLLIN | select.EPOLLRDHUP
WRITE: Final = select.EPOLLOUT
BROKEN: Final = select.EPOLLERR | select.EPOLLHUP

#: Called with the epoll events of its descriptor.
Handler = Callable[[int], None]

_monotonic: Final = time.monotonic
_wall: Final = time.time
_push: Final = heapq.heappush

#: Events of a turn. Python has room for them made each time, which for more than these (12 bytes each) comes from malloc.
_BATCH: Final = 42
#: How long what is due waits while more events are ready than a turn serves, seconds: what it waited for may be among them.
_DUE_WAITS: Final = 0.05
#: Reminders of nobody that the heap may hold before it is cleaned: few, so that new ones find the memory of old ones warm.
_COMPACT: Final = 64


def _print_bug(error: Exception) -> None:
    traceback.print_exception(error, file=sys.stderr)


class Reactor(Scheduler):
    """Events of descriptors, deadlines and the clock.

    Attributes:
        now, wall: see `proxy.services.Scheduler`; read once a turn.
        woken: the loop's, set when it has something to do that came in the middle of a turn.
    """

    __slots__ = (
        "_dead", "_epoll", "_handlers", "_heap", "_later", "_order", "_run", "on_bug", "shared", "turn_ends", "woken",
    )  # fmt: skip

    def __init__(self) -> None:
        Scheduler.__init__(self, _monotonic(), _wall())
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._heap: list[tuple[float, int, Reminder]] = []
        self._order = 0
        self._dead = 0
        self._later: list[Callable[[], None]] = []
        self._run: Callable[[Handler, int], None] | None = None
        #: descriptors of connections that another process holds too: closing ours does not take them out of the epoll set
        self.shared: set[int] = set()
        #: told of an exception that nobody expected
        self.on_bug: Callable[[Exception], None] = _print_bug
        #: called after each turn: log sinks flush here
        self.turn_ends: list[Callable[[], None]] = []
        self.woken = False

    def clear(self) -> None:
        """Forget all handlers and deadlines; descriptors that are not ours stay."""
        for fd in list(self._handlers):
            with contextlib.suppress(OSError):  # closed already
                self.unwatch(fd)
        self._heap.clear()
        self._dead = 0

    def close(self) -> None:
        """Nothing is watched any more."""
        self._handlers.clear()
        self._heap.clear()
        self._epoll.close()

    # --- turns ---

    def turns(self, patience: float) -> list[tuple[int, int]]:
        """Take turns until the loop has something to do, or for so many seconds; arguments and answer as of `turn`."""
        now = _monotonic()
        end = now + patience
        self.woken = False
        while True:
            others = self._turn(patience, now)
            if others or self.woken:
                return others
            now = _monotonic()
            if patience >= 0.0:
                patience = end - now
                if patience <= 0.0:
                    return others

    def turn(self, patience: float) -> list[tuple[int, int]]:
        """Wait for events, and serve them and whatever is due.

        Args:
            patience: how long to wait at most, seconds; below 0: until something happens.

        Returns:
            Descriptors that have no handler (see `include`), and their events.
        """
        return self._turn(patience, _monotonic())

    def _turn(self, patience: float, now: float) -> list[tuple[int, int]]:
        if self._later:
            self._run_later()
            patience = 0.0  # they may have given the loop something to do
        heap = self._heap
        if heap and patience != 0.0:
            due = heap[0][0] - now
            if patience < 0.0 or due < patience:
                patience = due if due > 0.0 else 0.0
        found = self._epoll.poll(patience, _BATCH)
        now = self.now = _monotonic()
        self.wall = _wall()
        handlers, run = self._handlers, self._run
        others = []
        for fd, events in found:
            # A handler may close another connection of the same batch: then its entry is gone.
            handler = handlers.get(fd)
            if handler is None:
                others.append((fd, events))
                continue
            try:
                if run is None:
                    handler(events)
                else:
                    run(handler, events)
            except Exception as error:
                # Ours, and only this connection's: it must neither spin nor take the rest of the batch with it.
                self.unwatch(fd)
                self.on_bug(error)
        if heap and heap[0][0] <= now and (len(found) < _BATCH or heap[0][0] <= now - _DUE_WAITS):
            self._fire(now)
        if self._later:
            self._run_later()
        for end in self.turn_ends:
            end()
        return others

    # --- descriptors ---

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler` whenever one of `events` holds for `fd`."""
        self._handlers[fd] = handler
        self._epoll.register(fd, events)

    def include(self, fd: int, events: int) -> None:
        """Have `turn` answer with the events of `fd`, which has no handler; `exclude` ends it."""
        self._epoll.register(fd, events)

    def exclude(self, fd: int) -> None:
        """The opposite of `include`; harmless when `fd` is closed already."""
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(fd)

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

    # --- for those who look at it from outside ---

    def measure(self, run: Callable[[Handler, int], None] | None) -> None:
        """Let `run` call the handlers from the next turn on, as profiling does; None: they are called as always."""
        self._run = run

    @property
    def handlers(self) -> Mapping[int, Handler]:
        """Who is called for which descriptor."""
        return self._handlers

    def waiting(self) -> list[Timed]:
        """Those who have a deadline."""
        kept = [reminder.timed for _, _, reminder in self._heap]
        return [timed for timed in kept if timed is not None and timed.deadline]

    # --- work for the end of the turn ---

    def later(self, call: Callable[[], None]) -> None:
        """Run `call` when the current batch is through, or before the next: for what must not happen inside an event."""
        self._later.append(call)

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
        """Set a deadline. Only an assignment when there is an earlier reminder: it is set anew when its time has come."""
        timed.deadline = deadline
        reminder = timed.armed
        if reminder is not None:
            if reminder.at <= deadline:
                return
            self._drop(reminder)
        reminder = timed.armed = Reminder(deadline, timed)
        self._order += 1
        _push(self._heap, (deadline, self._order, reminder))

    def retire(self, timed: Timed) -> None:
        """Forget a deadline for good: its owner is closing."""
        timed.deadline = 0.0
        reminder = timed.armed
        if reminder is not None:
            timed.armed = None
            self._drop(reminder)

    def _drop(self, reminder: Reminder) -> None:
        """Nobody waits for it any more. The heap lets go of such when they are half of what it holds."""
        reminder.timed = None
        self._dead += 1
        if self._dead > _COMPACT and self._dead * 2 > len(self._heap):
            # in place: `_fire` may be going through it
            self._heap[:] = [entry for entry in self._heap if entry[2].timed is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def _fire(self, now: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            reminder = heapq.heappop(heap)[2]
            timed = reminder.timed
            if timed is None:
                self._dead -= 1
                continue
            deadline = timed.deadline
            if deadline > now:
                reminder.at = deadline
                self._order += 1
                _push(heap, (deadline, self._order, reminder))
                continue
            timed.armed = None
            if deadline:
                timed.deadline = 0.0
                try:
                    timed.timed_out()
                except Exception as error:
                    self.on_bug(error)
