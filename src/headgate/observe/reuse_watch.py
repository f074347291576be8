"""Watches how many sessions servers let us resume, and says once when one makes us do without.

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
    """

    backend: str
    server: str
    resumed: int
    causes: Sequence[int]


@dataclass(frozen=True, slots=True)
class ReuseWarning:
    """What is to be said, and with whose loggers."""

    backend: str
    text: str


class _Since:
    """The numbers that a server is compared with, and from when they are."""

    __slots__ = ("at", "causes", "resumed")

    def __init__(self, at: float, seen: Handshakes) -> None:
        self.at = at
        self.resumed = seen.resumed
        self.causes = list(seen.causes)


class ReuseWatch:
    """See the module."""

    __slots__ = ("_said", "_since")

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], _Since] = {}
        self._said: dict[tuple[str, str, Cause], float] = {}

    def look(self, now: float, servers: Iterable[Handshakes]) -> list[ReuseWarning]:
        """What has become of each server's handshakes since the last look that saw enough of them.

        Args:
            now: monotonic seconds.
            servers: those that are connected to over TLS; who is not among them any more is forgotten.
        """
        warnings: list[ReuseWarning] = []
        before, self._since = self._since, {}
        for seen in servers:
            name = (seen.backend, seen.server)
            since = before.get(name)
            if since is None:
                # All zeros, not what is there now: the first seconds of a server count too.
                since = _Since(now, Handshakes(*name, 0, [0] * len(Cause)))
            if len(warnings) < AT_A_TIME:  # those behind keep their numbers, and have their turn with the next look
                warning = self._judge(now, seen, since)
                if warning is not None:
                    warnings.append(warning)
                if warning is not None or self._is_old(now, seen, since):
                    since = _Since(now, seen)
            self._since[name] = since
        self._said = {key: at for key, at in self._said.items() if now - at < QUIET}
        return warnings

    @staticmethod
    def _is_old(now: float, seen: Handshakes, since: _Since) -> bool:
        cleared = seen.resumed < since.resumed or sum(seen.causes) < sum(since.causes)
        count = seen.resumed - since.resumed + sum(seen.causes) - sum(since.causes)
        return cleared or count >= FEWEST or now - since.at > LONGEST

    def _judge(self, now: float, seen: Handshakes, since: _Since) -> ReuseWarning | None:
        full = [new - old for new, old in zip(seen.causes, since.causes, strict=True)]
        count = seen.resumed - since.resumed + sum(full)
        avoidable = {cause: full[cause] for cause in REMEDIES}
        if count < FEWEST or min(full) < 0 or sum(avoidable.values()) < SHARE * count:
            return None
        cause = max(avoidable, key=lambda one: avoidable[one])
        key = (seen.backend, seen.server, cause)
        if now - self._said.get(key, float("-inf")) < QUIET:
            return None
        self._said[key] = now
        return ReuseWarning(
            seen.backend,
            f"Server {seen.backend}/{seen.server}: {sum(avoidable.values())} of the last {count} TLS handshakes were full ones"
            f" although sessions are reused: {TEXTS[cause]} ({full[cause]}). Each costs a key exchange on both sides:"
            f" {REMEDIES[cause]}. See 'show ssl reuse'.",
        )
