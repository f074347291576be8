"""The last minutes of each proxy, looked at once a second where there is a statistics page to show them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from headgate.observe.history import History

#: Seconds between two samples.
_SECOND = 1.0


class Sampler:
    """Follows all proxies, once a second, in the process that answers for all.

    Args:
        answer: runs a command and answers its text.
    """

    def __init__(self, answer: Callable[[str], Awaitable[str]]) -> None:
        self.history = History()
        self._answer = answer
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        last = time.monotonic()
        while True:
            answer = await self._answer("show stat -1 3 -1")
            now = time.monotonic()
            self.history.sample(answer, now - last)
            last = now
            await asyncio.sleep(_SECOND)

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
