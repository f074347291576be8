"""How checks wait: for their turn, and for a server, by deadlines of the reactor.

A timer of asyncio's is an object and a place in a heap, for each wait and each time that it is moved; a check has four such. Here
it is mostly an assignment. Called by `runner` and `exchange`.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from headgate.runtime.loop import reactor_of
from headgate.runtime.reactor import Reactor


class Wake:
    """What one task waits for, for a time at most: one future, and no exception when the time is over.

    Attributes:
        deadline, armed: the reactor's.
    """

    __slots__ = ("_set", "_waiter", "armed", "deadline")

    def __init__(self) -> None:
        self._set = False
        self._waiter: asyncio.Future[None] | None = None
        self.deadline = 0.0
        self.armed = 0.0

    def set(self) -> None:
        """End the wait, also the next one if there is none now."""
        self._set = True
        self.timed_out()

    def clear(self) -> None:
        """The next wait is one."""
        self._set = False

    def timed_out(self) -> None:
        """The reactor's call."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until it is set, or the time is over."""
        if self._set or (seconds is not None and seconds <= 0.0):
            return
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        if seconds is not None:
            reactor_of(loop).arm(self, loop.time() + seconds)
        try:
            await waiter
        finally:
            self._waiter = None
            self.deadline = 0.0


class TimeLimit:
    """As `asyncio.timeout`: what runs inside of it is cancelled when its time is over, which then is a TimeoutError.

    Args:
        reactor: of the running loop.
        end: monotonic seconds.

    Attributes:
        deadline: when its time is over; 0.0 when it is.
        armed: the reactor's.
    """

    __slots__ = ("_cancelling", "_passed", "_reactor", "_task", "armed", "deadline")

    def __init__(self, reactor: Reactor, end: float) -> None:
        self._reactor = reactor
        self._passed = False
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.deadline = end
        self.armed = 0.0

    def __enter__(self) -> TimeLimit:
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit outside of a task")
        self._cancelling = task.cancelling()
        self._reactor.arm(self, self.deadline)
        return self

    def move(self, end: float) -> None:
        """It ends then; not any more when it has."""
        if not self._passed:
            self._reactor.arm(self, end)

    def timed_out(self) -> None:
        """The reactor's call."""
        self._passed = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reactor.retire(self)
        task, self._task = self._task, None
        # Who cancelled the task for another reason must hear of it all the same.
        if self._passed and task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
