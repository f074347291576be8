"""A backend's availability as a whole: when its last server left and for how long (management manual 9.1, BACKEND lines).

Pure. `runtime.checks` and `admin` call `survey` after every change of a server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from headgate.health.events import Farm


class Member(Protocol):
    """What is asked of a server; `balance.server.ServerState` has it."""

    @property
    def backup(self) -> bool: ...

    @property
    def eligible(self) -> bool: ...


def count(servers: Iterable[Member], *, sessions: int = 0, requeued: int = 0, queued: int = 0) -> Farm:
    """Count the servers that load balancing may use."""
    active = backup = 0
    for server in servers:
        if server.eligible:
            if server.backup:
                backup += 1
            else:
                active += 1
    return Farm(active, backup, sessions, requeued, queued)


class Availability:
    """Whether a backend has any server, and its history.

    Attributes:
        available: at least one server can be used.
        falls: how often the last one left (`chkdown` of the BACKEND line).
        changed_at: time of the last change.
    """

    __slots__ = ("_down_before", "available", "changed_at", "falls")

    def __init__(self, now: float, *, available: bool = True) -> None:
        self.available = available
        self.falls = 0
        self.changed_at = now
        self._down_before = 0.0

    def survey(self, farm: Farm, now: float) -> bool:
        """Take the present number of servers; whether the last one has just left."""
        available = farm.active + farm.backup > 0
        if available is self.available:
            return False
        if available:
            self._down_before += now - self.changed_at
        else:
            self.falls += 1
        self.available = available
        self.changed_at = now
        return not available

    def downtime(self, now: float) -> float:
        """Seconds without any server in all."""
        return self._down_before + (0.0 if self.available else now - self.changed_at)
