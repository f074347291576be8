"""Limits on how many connections are accepted in a second (manual: rate-limit sessions, maxconnrate, maxsessrate, maxsslrate)."""

from __future__ import annotations

from typing import Protocol

from headgate.observe.counters import RateMeter


class Meter(Protocol):
    """Counts events of the running second; `observe.counters.RateMeter` or one that all workers share."""

    def tick(self, now: float) -> None:
        """One event more."""

    def untick(self) -> None:
        """The last one did not count after all."""

    def rate(self, now: float) -> int:
        """Events in the second that ends at `now`."""


class Gate:
    """One limit.

    Attributes:
        limit: events in a second; 0 for any number.
        meter: how many there were.
    """

    __slots__ = ("limit", "meter")

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.meter: Meter = AcceptMeter()

    def wait(self, now: float) -> float:
        """Seconds until it is worth trying again; 0.0 when one more may pass."""
        return 1.0 / self.limit if self.limit and self.meter.rate(now) >= self.limit else 0.0


class AcceptMeter(RateMeter):
    """A rate from which a connection can be taken back that was not there, or not let in."""

    __slots__ = ()

    def untick(self) -> None:
        """See `Meter`."""
        if self._current:
            self._current -= 1


class Gates:
    """The limits that concern all frontends; 0 for none, and may be set at any time.

    Attributes:
        connections, sessions, tls: maxconnrate, maxsessrate, maxsslrate. A TLS session counts before its handshake.
    """

    __slots__ = ("connections", "sessions", "tls")

    def __init__(self, connections: int = 0, sessions: int = 0, tls: int = 0) -> None:
        self.connections = Gate(connections)
        self.sessions = Gate(sessions)
        self.tls = Gate(tls)
