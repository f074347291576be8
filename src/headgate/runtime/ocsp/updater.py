"""Keeps responses fresh: starts updates when they are due, a bounded number at a time, and hands on what they bring.

Runs in the process that serves alone, or in the controller. What an update is, is `Update`'s business; what follows from its
result, the owner's (`app.ocsp`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from headgate.tls.ocsp.agenda import Agenda

#: The wall clock may jump: due times are compared with it at least this often, seconds.
_LONGEST_SLEEP = 30.0


class Updater:
    """The loop.

    Args:
        update: updates one certificate, by its key; must not raise.
        clock: seconds since the epoch.
        on_bug: told when `update` raises all the same.
        agenda: what is due when.
    """

    def __init__(
        self,
        update: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
        on_bug: Callable[[Exception], None],
        agenda: Agenda | None = None,
    ) -> None:
        self._update = update
        self._clock = clock
        self._on_bug = on_bug
        self._agenda = agenda or Agenda()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def put(self, key: str, at: float, responder: str) -> None:
        """Update a certificate at a time, instead of when it was to be; see `Agenda.put`."""
        self._agenda.put(key, at, responder)
        self._changed.set()

    def drop(self, key: str) -> None:
        """Don't update a certificate any more."""
        self._agenda.drop(key)

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """End, and all that is under way."""
        tasks = [*self._running, *([self._task] if self._task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            now = self._clock()
            for key in self._agenda.start(now):
                task = asyncio.ensure_future(self._one(key))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            at = self._agenda.next_at()
            wait = _LONGEST_SLEEP if at is None else min(max(at - now, 0.0), _LONGEST_SLEEP)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _one(self, key: str) -> None:
        try:
            await self._update(key)
        except Exception as error:
            self._on_bug(error)
        finally:
            self._agenda.done(key)
            self._changed.set()
