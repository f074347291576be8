from __future__ import annotations

import asyncio
import time

from headgate.runtime.ocsp.updater import Updater
from headgate.tls.ocsp.agenda import Agenda


class Times:
    def __init__(self) -> None:
        self.begun: list[str] = []
        self.bugs: list[Exception] = []
        self.event = asyncio.Event()

    async def update(self, key: str) -> None:
        self.begun.append(key)
        self.event.set()
        if key == "bug":
            raise RuntimeError("ours")

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.begun) < count:
                self.event.clear()
                await self.event.wait()


def test_updates_begin_when_they_are_due() -> None:
    async def main() -> None:
        times, now = Times(), time.time()
        updater = Updater(times.update, time.time, times.bugs.append)
        updater.start()
        updater.put("later", now + 0.2, "r")
        updater.put("never", now + 3600, "r")
        updater.put("now", now, "r")
        await times.until(2)
        updater.put("never", time.time(), "r")
        await times.until(3)
        await updater.stop()
        assert times.begun == ["now", "later", "never"] and not times.bugs

    asyncio.run(main())


def test_a_bug_in_one_does_not_stop_the_others() -> None:
    async def main() -> None:
        times = Times()
        updater = Updater(times.update, time.time, times.bugs.append, Agenda(at_once=1))
        updater.start()
        for key in ("bug", "a"):
            updater.put(key, 0.0, "r")
        await times.until(2)
        await updater.stop()
        assert len(times.bugs) == 1

    asyncio.run(main())


def test_a_clock_that_jumps_makes_them_due() -> None:
    """The wall clock counts, not how long the process has slept."""

    async def main() -> None:
        times = Times()
        now = [1000.0]
        updater = Updater(times.update, lambda: now[0], times.bugs.append)
        updater.start()
        updater.put("a", 5000.0, "r")
        await asyncio.sleep(0)
        now[0] = 6000.0
        updater.put("b", 9000.0, "r")  # wakes it, as the longest sleep would
        await times.until(1)
        await updater.stop()
        assert times.begun == ["a"]

    asyncio.run(main())
