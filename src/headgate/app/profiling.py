"""What `set profiling` switches: calls of the event loop measured, allocations traced. Neither costs anything while it is off."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Mapping, Sequence

from headgate.runtime.reactor import Handler, Reactor

#: Functions that are told apart; the others are one.
_MOST_NAMES = 500
_OTHERS = "(others)"


class Profiler:
    """Implements `admin.inspection.Profiler`.

    Args:
        reactor: whose calls are measured.

    Attributes:
        tasks, memory: what is on.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._calls: dict[str, list[float]] = {}
        self.tasks = False

    @property
    def memory(self) -> bool:
        return tracemalloc.is_tracing()

    def switch_tasks(self, on: bool) -> None:
        """See `admin.inspection.Profiler.switch_tasks`."""
        if on:
            self._calls.clear()
        self.tasks = on
        self._reactor.measure(self._run if on else None)

    def switch_memory(self, on: bool) -> None:
        """See `admin.inspection.Profiler.switch_memory`."""
        if on and not tracemalloc.is_tracing():
            tracemalloc.start()
        elif not on:
            tracemalloc.stop()

    def _run(self, handler: Handler, events: int) -> None:
        name = _name(handler)
        begun = time.perf_counter()
        try:
            handler(events)
        finally:
            spent = time.perf_counter() - begun
            row = self._calls.get(name)
            if row is None:
                row = self._calls.setdefault(name if len(self._calls) < _MOST_NAMES else _OTHERS, [0, 0.0])
            row[0] += 1
            row[1] += spent

    def calls(self) -> Mapping[str, tuple[int, float]]:
        """See `admin.inspection.Profiler.calls`."""
        return {name: (int(calls), seconds) for name, (calls, seconds) in self._calls.items()}

    def allocations(self, most: int) -> Sequence[tuple[str, int, int]]:
        """See `admin.inspection.Profiler.allocations`."""
        if not tracemalloc.is_tracing():
            return []
        statistics = tracemalloc.take_snapshot().statistics("lineno")[:most]
        return [(f"{one.traceback[0].filename}:{one.traceback[0].lineno}", one.count, one.size) for one in statistics]


def _name(handler: Handler) -> str:
    """The function, and for a connection whose it is."""
    method = getattr(handler, "__qualname__", type(handler).__name__)
    owner = getattr(getattr(handler, "__self__", None), "owner", None)
    return method if owner is None else f"{method}>{type(owner).__name__}"
