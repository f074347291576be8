"""Which certificates are to be updated now: due times, and a bound on how many are asked about at a time, of one responder too.

A responder that hangs holds its own share of the places and no more.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque

#: Updates at a time: altogether, and with one responder.
AT_ONCE, AT_ONE_RESPONDER = 16, 6


class Agenda:
    """Keys with their due times. An entry that is put again takes its new time; one that is running can't be started again.

    Args:
        at_once, at_one_responder: bounds.
    """

    def __init__(self, at_once: int = AT_ONCE, at_one_responder: int = AT_ONE_RESPONDER) -> None:
        self._at_once = at_once
        self._at_one = at_one_responder
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, tuple[float, str]] = {}  # key -> when, responder
        self._ready: dict[str, deque[str]] = {}  # responder -> keys that are due
        self._running: dict[str, str] = {}  # key -> responder
        self._busy: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._due)

    @property
    def running(self) -> int:
        """How many are under way."""
        return len(self._running)

    def put(self, key: str, at: float, responder: str) -> None:
        """Update a certificate at a time.

        Args:
            key: of the certificate.
            at: when, on the clock of `start`.
            responder: who will be asked.
        """
        self._due[key] = (at, responder)
        heapq.heappush(self._heap, (at, key))

    def drop(self, key: str) -> None:
        """Don't update a certificate any more."""
        self._due.pop(key, None)

    def next_at(self) -> float | None:
        """When the next one is due; what only waits for a place does not count."""
        while self._heap and self._due.get(self._heap[0][1], (None,))[0] != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def start(self, now: float) -> list[str]:
        """The keys whose updates begin now; `done` is to be called for each."""
        while (at := self.next_at()) is not None and at <= now:
            _, key = heapq.heappop(self._heap)
            queue = self._ready.setdefault(self._due[key][1], deque())
            queue.append(key)
            self._due[key] = (float("-inf"), self._due[key][1])
        started: list[str] = []
        for responder in list(self._ready):
            self._start_of(responder, started)
        return started

    def _start_of(self, responder: str, started: list[str]) -> None:
        queue = self._ready[responder]
        for _ in range(len(queue)):
            if len(self._running) >= self._at_once or self._busy[responder] >= self._at_one:
                break
            key = queue.popleft()
            if self._due.get(key) != (float("-inf"), responder):
                continue  # dropped, or put again, meanwhile
            if key in self._running:
                queue.append(key)
                continue
            del self._due[key]
            self._running[key] = responder
            self._busy[responder] += 1
            started.append(key)
        if queue:
            # Behind the others: responders take turns.
            self._ready[responder] = self._ready.pop(responder)
        else:
            del self._ready[responder]

    def done(self, key: str) -> None:
        """An update is over."""
        responder = self._running.pop(key)
        self._busy[responder] -= 1
        if not self._busy[responder]:
            del self._busy[responder]
