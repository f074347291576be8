"""Several workers in one process: the same backend, seen from each of them through the same shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from headgate.balance.joint import JointBackend
from headgate.balance.server import ServerState
from headgate.plan.facts import Stream
from headgate.runtime.workers.shared import SharedState
from tests.balance.balance_fixtures import NOW, backend, stream


class Workers:
    """The workers of one generation; number 0 is the controller.

    Attributes:
        granted: streams that were let go on, with their workers, in order.
    """

    def __init__(self, count: int, servers: Sequence[dict[str, Any]], algorithm: str = "roundrobin", **options: Any) -> None:
        self.plan = backend(servers, algorithm, **options).plan
        self.shared = SharedState(50, count, 100)
        self.states = [self.make(number) for number in range(count + 1)]
        self.granted: list[tuple[int, Stream]] = []

    def make(self, number: int) -> JointBackend:
        numbers = cycle((0.3, 0.8))
        return JointBackend(self.plan, lambda: next(numbers), self.shared.enter(number))

    def __getitem__(self, number: int) -> JointBackend:
        return self.states[number]

    def close(self) -> None:
        for state in self.states:
            state._cells = state.board.cells = None  # type: ignore[assignment]
            for server in state.servers:
                server._cells = None  # type: ignore[attr-defined]
            for selector in (state._selector, state._fallback):
                for name in ("_cells", "_shared"):
                    if hasattr(selector, name):
                        setattr(selector, name, None)
            state._section = None  # type: ignore[assignment]
        self.states.clear()

    def take(self, number: int, avoid: str = "") -> str | None:
        """A new stream in a worker: the server's name, "queued" or None."""
        state = self[number]
        found = state.assign(stream(), NOW, state.server(avoid) if avoid else None)
        return found.name if isinstance(found, ServerState) else found.value if found is not None else None

    def wait(self, number: int) -> Stream:
        """A new stream in a worker that has to wait."""
        made = stream()
        assert not isinstance(self[number].assign(made, NOW), ServerState)
        return made

    def release(self, number: int, name: str) -> Stream | None:
        """A stream of a worker is over; what goes on there at once is noted too."""
        server = self[number].server(name)
        assert server is not None
        resumed = self[number].release(server)
        if resumed is not None:
            self.granted.append((number, resumed))
        self.deliver()
        return resumed

    def deliver(self) -> None:
        """All workers read their mail."""
        for number, state in enumerate(self.states):
            self.granted += [(number, one) for one in state.granted()]

    def total(self, name: str) -> tuple[int, int]:
        """Sessions and queue of a server, which all workers must see alike."""
        seen = {(server.sessions, server.queued) for state in self.states if (server := state.server(name)) is not None}
        assert len(seen) == 1
        return seen.pop()
