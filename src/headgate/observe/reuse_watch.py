"""Watches how many sessions servers let us resume, and says once when one makes us do without.

Two rules find that: a share of enough handshakes, and, where there are few, a row of them in which nothing was resumed. A server
that restarts refuses a session or two of each process that has some, and then gives new ones, which it takes: no such row.

Pure: who calls it (`app.reuse`) brings the time and the numbers. One warning for a server and a reason, at most once an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from headgate.base.records import dataclass
from headgate.observe.full_handshakes import REMEDIES, TEXTS, Cause

#: Handshakes that are looked at together at least, and for how long they may come in, seconds.
FEWEST: Final = 10
LONGEST: Final = 600.0
#: Share of handshakes that are full ones for a reason of `REMEDIES` from which on it is said.
SHARE: Final = 0.25
#: Looks that must have seen some of them: what began side by side when a server restarted is refused at a time.
LOOKS: Final = 3
#: So many more than there are processes, each with sessions of its own, are enough when nothing was resumed between them.
IN_A_ROW: Final = 3
#: How long a warning is not repeated, seconds, and how many there are at a time.
QUIET: Final = 3600.0
AT_A_TIME: Final = 5


@dataclass(frozen=True, slots=True)
class Handshakes:
    """What was counted of one server so far, traffic and checks together.

    Attributes:
        backend, server: names.
        resumed: abbreviated handshakes.
        causes: full ones, by `Cause`.
        processes: how many may have made them, each with sessions of its own.
    """

    backend: str
    server: str
    resumed: int
    causes: Sequence[int]
    processes: int = 1


@dataclass(frozen=True, slots=True)
class ReuseWarning:
    """What is to be said, and with whose loggers."""

    backend: str
    text: str


class _Since:
    """The numbers that a server is compared with, from when they are, and what has come since.

    Attributes:
        avoidable: full handshakes that need not have been.
        looks: how many looks have seen some.
    """

    __slots__ = ("at", "avoidable", "causes", "looks", "resumed")

    def __init__(self, at: float, seen: Handshakes) -> None:
        self.at = at
        self.resumed = seen.resumed
        self.causes = list(seen.causes)
        self.avoidable = 0
        self.looks = 0

    def full(self, seen: Handshakes) -> list[int]:
        """Full handshakes since then, by cause."""
        return [new - old for new, old in zip(seen.causes, self.causes, strict=True)]

    def take(self, seen: Handshakes) -> bool:
        """Take in another look; False when the counters began anew meanwhile."""
        full = self.full(seen)
        avoidable = sum(full[cause] for cause in REMEDIES)
        self.looks += avoidable > self.avoidable
        self.avoidable = avoidable
        return seen.resumed >= self.resumed and min(full) >= 0

    def count(self, seen: Handshakes) -> int:
        """All handshakes since then."""
        return seen.resumed - self.resumed + sum(self.full(seen))

    def is_share(self, seen: Handshakes) -> bool:
        """Whether those that need not have been are worth a word."""
        return self.avoidable >= SHARE * self.count(seen)


class _Watched:
    """What is kept of one server: since when a share is looked at, and since when nothing was resumed."""

    __slots__ = ("row", "since")

    def __init__(self, now: float, seen: Handshakes) -> None:
        self.since = _Since(now, seen)
        self.row = _Since(now, seen)

    def take(self, now: float, seen: Handshakes) -> None:
        """Take in another look."""
        if not self.since.take(seen) or now - self.since.at > LONGEST:
            self.since = _Since(now, seen)
        if not self.row.take(seen) or now - self.row.at > LONGEST or seen.resumed != self.row.resumed:
            self.row = _Since(now, seen)

    def found(self, now: float, seen: Handshakes) -> _Since | None:
        """Since when a server makes us do without; what was enough to judge is not looked at again."""
        row, since = self.row, self.since
        fewest = IN_A_ROW + seen.processes
        if row.looks >= LOOKS and row.avoidable >= fewest and row.is_share(seen):
            self.row = self.since = _Since(now, seen)
            return row
        if since.count(seen) < max(FEWEST, fewest) or (since.is_share(seen) and since.looks < LOOKS):
            return None
        self.since = _Since(now, seen)
        return since if since.is_share(seen) else None


class ReuseWatch:
    """See the module."""

    __slots__ = ("_said", "_watched")

    def __init__(self) -> None:
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._said: dict[tuple[str, str, Cause], float] = {}

    def look(self, now: float, servers: Iterable[Handshakes]) -> list[ReuseWarning]:
        """What has become of each server's handshakes since the last look that saw enough of them.

        Args:
            now: monotonic seconds.
            servers: those that are connected to over TLS; who is not among them any more is forgotten.
        """
        warnings: list[ReuseWarning] = []
        before, self._watched = self._watched, {}
        for seen in servers:
            name = (seen.backend, seen.server)
            watched = before.get(name)
            if watched is None:
                # All zeros, not what is there now: the first seconds of a server count too.
                watched = _Watched(now, Handshakes(*name, 0, [0] * len(Cause)))
            self._watched[name] = watched
            watched.take(now, seen)
            if len(warnings) < AT_A_TIME:  # those behind keep their numbers, and have their turn with the next look
                since = watched.found(now, seen)
                warning = self._say(now, seen, since) if since is not None else None
                if warning is not None:
                    warnings.append(warning)
        self._said = {key: at for key, at in self._said.items() if now - at < QUIET}
        return warnings

    def _say(self, now: float, seen: Handshakes, since: _Since) -> ReuseWarning | None:
        full, count = since.full(seen), since.count(seen)
        cause = max(REMEDIES, key=lambda one: full[one])
        key = (seen.backend, seen.server, cause)
        if now - self._said.get(key, float("-inf")) < QUIET:
            return None
        self._said[key] = now
        return ReuseWarning(
            seen.backend,
            f"Server {seen.backend}/{seen.server}: {since.avoidable} of the last {count} TLS handshakes were full ones"
            f" although sessions are reused: {TEXTS[cause]} ({full[cause]}). Each costs a key exchange on both sides:"
            f" {REMEDIES[cause]}. See 'show ssl reuse'.",
        )
