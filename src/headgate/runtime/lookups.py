"""The addresses of names that rules ask for (`do-resolve`): what was answered a moment ago, and who waits for which answer.

Streams that want the same name share one query. What is kept and what is under way are bounded, since names come from clients.
Who is asked is not known here: name servers, or the process that asks them (`app.lookups`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from headgate.base.records import dataclass
from headgate.plan.verdicts import Question
from headgate.proxy.services import AddressWaiter, Scheduler

#: Names whose addresses are kept, and names that may be asked for: so many at a time, the others wait for their turn.
MOST_KEPT: Final = 4096
MOST_ASKED: Final = 1024
AT_ONCE: Final = 64

#: What makes questions the same: section, name and preferred family.
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """An answer.

    Attributes:
        address: an `ipaddress` object.
        seconds: how long it may be kept.
    """

    address: object
    seconds: float


#: Finds an address; None when there is none, whatever the reason.
Finder = Callable[[Key], Awaitable[Found | None]]


class Lookups:
    """Implements `proxy.services.Lookups`.

    Args:
        find: asks.
        scheduler: of the streams; its clock is that of what is kept.
        bug: told of errors of ours.
        full: told that a question was not asked, because too many are under way.
    """

    def __init__(
        self, find: Finder, scheduler: Scheduler, bug: Callable[[Exception], None], full: Callable[[], None]
    ) -> None:
        self._find = find
        self._scheduler = scheduler
        self._bug = bug
        self._full = full
        self._kept: dict[Key, tuple[object, float]] = {}
        self._asked: dict[Key, dict[Question, AddressWaiter]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def known(self, question: Question) -> object | None:
        """See `proxy.services.Lookups`."""
        kept = self._kept.get(_key(question))
        return kept[0] if kept is not None and self._scheduler.now < kept[1] else None

    def seconds_left(self, question: Question) -> float:
        """How long the answer may still be kept; 0.0 without one."""
        kept = self._kept.get(_key(question))
        return 0.0 if kept is None else max(kept[1] - self._scheduler.now, 0.0)

    def ask(self, question: Question, waiter: AddressWaiter) -> None:
        """See `proxy.services.Lookups`."""
        key = _key(question)
        waiting = self._asked.get(key)
        if waiting is not None:
            waiting[question] = waiter
        elif len(self._asked) >= MOST_ASKED:
            self._full()
            self._scheduler.later(partial(waiter.resolved, question, None))
        else:
            self._asked[key] = {question: waiter}
            task = asyncio.ensure_future(self._look_up(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def forget(self, question: Question) -> None:
        """See `proxy.services.Lookups`. The query itself goes on: its answer serves the next one who asks."""
        waiting = self._asked.get(_key(question))
        if waiting is not None:
            waiting.pop(question, None)

    async def stop(self) -> None:
        """Ask no more; who waits is told nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_up(self, key: Key) -> None:
        found = None
        try:
            async with self._places:
                found = await self._find(key)
        except Exception as error:
            self._bug(error)
        waiting = self._asked.pop(key)
        if found is not None and found.seconds > 0:
            self._keep(key, found)
        for question, waiter in waiting.items():
            self._scheduler.later(partial(waiter.resolved, question, None if found is None else found.address))

    def _keep(self, key: Key, found: Found) -> None:
        kept, now = self._kept, self._scheduler.now
        kept.pop(key, None)  # what was answered last stands last
        if len(kept) >= MOST_KEPT:
            for old in [one for one, (_, until) in kept.items() if until <= now] or [next(iter(kept))]:
                del kept[old]
        kept[key] = found.address, now + found.seconds


def _key(question: Question) -> Key:
    return question.section, question.name, question.prefer
