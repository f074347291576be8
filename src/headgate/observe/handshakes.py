"""The handshakes of one process: the last ones in two bounded rings, and how often each cause was met, where, and by whom.

Whatever clients send, memory is bounded: rings by number and bytes, tallies by the causes (a closed list) times the lines of the
configuration, addresses by number. Log lines are bounded by `Folding`. Time is the caller's; `proxy.handshakes` writes, the
runtime API reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

from headgate.base.handshake_causes import ADDRESSES_KEPT

if TYPE_CHECKING:
    from headgate.base.handshake_causes import Cause

#: The last failures and probes, and the last successes, that are kept; and how much memory they may hold, bytes.
FAILURES_KEPT: Final = 1024
SUCCESSES_KEPT: Final = 256
BYTES_KEPT: Final = 2 << 20
#: Log lines for one cause on one line in one period, seconds; what is beyond is counted, and said in one line at its end.
LINES_MOST: Final = 20
FOLDING_PERIOD: Final = 10.0
_MINUTES: Final = 60


class Kept(Protocol):
    """A record, as far as it matters here; `tls.handshake_record.HandshakeRecord`.

    Attributes:
        number: given here, in the order in which they ended.
        client: the address, as logs show it.
    """

    number: int
    client: bytes
    proxy: str
    line_name: str
    similar: int
    sources: int

    @property
    def cause(self) -> Cause: ...

    @property
    def size(self) -> int: ...


class Summary(Protocol):
    """What is to be logged of failures that were folded together."""

    def write(self) -> None:
        """Log it now."""


class Ring:
    """The last records, bounded by number and by bytes."""

    __slots__ = ("_bytes", "_kept", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: deque[Kept] = deque()
        self._bytes = 0

    def add(self, record: Kept) -> None:
        """Keep one more; the oldest go."""
        kept = self._kept
        kept.append(record)
        self._bytes += record.size
        while len(kept) > self._most or (self._bytes > BYTES_KEPT and len(kept) > 1):
            self._bytes -= kept.popleft().size

    def discard(self, record: Kept) -> None:
        """Keep one no longer: it turned out to be something else."""
        if record in self._kept:
            self._kept.remove(record)
            self._bytes -= record.size

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


class Tally:
    """One cause on one line.

    Attributes:
        total: since the start.
        last: when it was met last, seconds since the epoch.
    """

    __slots__ = ("_addresses", "_counts", "_forgotten", "_minute", "last", "total")

    def __init__(self) -> None:
        self.total = 0
        self.last = 0.0
        self._minute = 0
        self._counts = [0] * _MINUTES
        self._forgotten = -_MINUTES  # in which minute the address was met last that was forgotten last
        self._addresses: dict[bytes, int] = {}

    def add(self, client: bytes, wall: float) -> None:
        """Count one; `client` is b"" where nobody came: at a unix socket, and where we went to a server."""
        self.total += 1
        self.last = wall
        minute = int(wall) // 60
        self._roll(minute)
        self._counts[minute % _MINUTES] += 1
        if not client:
            return
        addresses = self._addresses
        if client in addresses:
            del addresses[client]  # the latest are the last
        elif len(addresses) >= ADDRESSES_KEPT:
            self._forgotten = addresses.pop(next(iter(addresses)))
        addresses[client] = minute

    def _roll(self, minute: int) -> None:
        gone = minute - self._minute
        if gone > 0:
            for step in range(1, min(gone, _MINUTES) + 1):
                self._counts[(self._minute + step) % _MINUTES] = 0
            self._minute = minute

    def hour(self, wall: float) -> tuple[int, tuple[bytes, ...]]:
        """How many in the last hour, and the addresses that they came from: at most `ADDRESSES_KEPT`, the latest."""
        minute = int(wall) // 60
        self._roll(minute)
        return sum(self._counts), tuple(one for one, seen in self._addresses.items() if seen > minute - _MINUTES)

    def overflows(self, wall: float) -> bool:
        """Whether the failures of the last hour came from more addresses than are kept."""
        return self._forgotten > int(wall) // 60 - _MINUTES

    def similar(self, wall: float) -> tuple[int, int]:
        """How many in the last hour, and from how many addresses; one more than are kept when there were more."""
        count, addresses = self.hour(wall)
        return count, len(addresses) + self.overflows(wall)


class Folding:
    """Decides which failures get a log line of their own."""

    __slots__ = ("_addresses", "_begun", "_lines", "folded")

    def __init__(self) -> None:
        self._begun = float("-inf")
        self._lines = 0
        self._addresses: dict[bytes, None] = {}
        self.folded = 0

    def admits(self, client: bytes, now: float) -> bool:
        """Whether this one is logged; otherwise it is counted in `folded`."""
        if now >= self._begun + FOLDING_PERIOD and not self.folded:
            self._begun = now
            self._lines = 0
        if self._lines < LINES_MOST:
            self._lines += 1
            return True
        self.folded += 1
        if client and len(self._addresses) <= ADDRESSES_KEPT:
            self._addresses[client] = None
        return False

    def take(self, now: float) -> tuple[int, int]:
        """How many were folded together since the last time, and from how many addresses; then a new period begins.

        There is one address more than are kept when there were more.
        """
        taken = self.folded, len(self._addresses)
        self.folded = 0
        self._addresses = {}
        self._begun = now
        self._lines = 0
        return taken


class HandshakeLog:
    """See the module.

    Attributes:
        failures: failed ones and probes; successes: the others.
        tallies: by proxy, line and cause. Every probe is counted here too.
        due: log lines that wait for the end of their period.
        number: of the last record.
    """

    __slots__ = ("_foldings", "due", "failures", "number", "successes", "tallies")

    def __init__(self) -> None:
        self.failures = Ring(FAILURES_KEPT)
        self.successes = Ring(SUCCESSES_KEPT)
        self.tallies: dict[tuple[str, str, Cause], Tally] = {}
        self.due: dict[Summary, None] = {}
        self.number = 0
        self._foldings: dict[tuple[str, str, Cause], Folding] = {}

    def succeeded(self, record: Kept) -> None:
        """Keep a success."""
        self.number += 1
        record.number = self.number
        self.successes.add(record)

    def failed(self, record: Kept, wall: float) -> None:
        """Keep and count a failure or a probe; tells the record how many there were like it."""
        self.number += 1
        record.number = self.number
        tally = self.probed(record, wall)
        if not record.cause.probe:
            record.similar, record.sources = tally.similar(wall)
        self.failures.add(record)

    def probed(self, record: Kept, wall: float) -> Tally:
        """Only count; `failed` has more to do."""
        key = (record.proxy, record.line_name, record.cause)
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally()
        tally.add(record.client, wall)
        return tally

    def similar(self, record: Kept, wall: float) -> tuple[int, int]:
        """How many like this one there were in the last hour, this one included, and from how many addresses."""
        tally = self.tallies.get((record.proxy, record.line_name, record.cause))
        return tally.similar(wall) if tally is not None else (0, 0)

    def folding(self, record: Kept) -> Folding:
        """Who decides about the log lines of failures like this one."""
        key = (record.proxy, record.line_name, record.cause)
        found = self._foldings.get(key)
        if found is None:
            found = self._foldings[key] = Folding()
        return found

    def clear(self) -> None:
        """`clear counters all`."""
        self.tallies.clear()
