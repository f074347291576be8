"""Key exchanges with servers: how many handshakes resumed a session, and why each of the others could not.

A full handshake costs both sides a key exchange, so each of them has one cause (`full_handshakes`). Traffic and health checks
are counted apart: traffic with the server's other counters, checks by the process that makes them. `show ssl reuse`, the
statistics and the metrics show both.
"""

from __future__ import annotations

from headgate.observe.counters import RateMeter, ServerCounters
from headgate.observe.full_handshakes import Cause


class KeyExchanges:
    """Handshakes of one kind with one server, here those of health checks.

    Attributes:
        resumed: abbreviated ones.
        failed: those that came to nothing.
        causes: the full ones, by `Cause`.
    """

    __slots__ = ("causes", "failed", "resumed")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """`clear counters all`."""
        self.resumed = 0
        self.failed = 0
        self.causes = [0] * len(Cause)

    @property
    def full(self) -> int:
        """All full ones."""
        return sum(self.causes)

    def count(self, cause: Cause | None) -> None:
        """Count a finished handshake: None for one that resumed a session."""
        if cause is None:
            self.resumed += 1
        else:
            self.causes[cause] += 1

    def refused(self, cause: Cause | None) -> None:
        """A handshake that was counted with this cause has failed after all: in TLS 1.3 a server says so behind it."""
        if cause is None:
            self.resumed -= 1
        else:
            self.causes[cause] -= 1
        self.failed += 1


def count_traffic(counters: ServerCounters, cause: Cause | None) -> None:
    """Count a finished handshake of traffic: None for one that resumed a session."""
    if cause is None:
        counters.tls_reused += 1
    else:
        counters.tls_full += 1
        counters.tls_causes[cause] += 1


def refuse_traffic(counters: ServerCounters, cause: Cause | None) -> None:
    """As `KeyExchanges.refused`, for a handshake of traffic."""
    if cause is None:
        counters.tls_reused -= 1
    else:
        counters.tls_full -= 1
        counters.tls_causes[cause] -= 1
    counters.tls_failed += 1


class CheckKeys:
    """What the process that checks adds to the process counters: health checks make key exchanges too.

    Attributes:
        connections: handshakes that were finished.
        keys: full ones, by the second.
    """

    __slots__ = ("connections", "keys")

    def __init__(self) -> None:
        self.connections = 0
        self.keys = RateMeter()
