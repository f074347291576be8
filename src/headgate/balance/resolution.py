"""Which of a backend's servers gets which address that a name has (5.3): decisions only, called with what name servers said.

A *group* is all servers of a backend that share one name and one `resolvers` section: what one of them has, the others don't
get. An answer is a list of *candidates*: each address of the name is one, or, for a name that begins with an underscore, each SRV
record (RFC 2782). Nothing here asks name servers; `runtime.resolvers` does, and `app.resolving` puts changes into effect.
"""

from __future__ import annotations

import enum
import ipaddress
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from headgate.base.records import dataclass
from headgate.config.resolvers import HoldTimes, Resolution

#: Weights of SRV records go to 65535, those of servers to 256.
_SRV_WEIGHTS: Final = 256


class Status(enum.Enum):
    """How a resolution ended (5.3.2 hold)."""

    VALID = "valid"
    NX = "nx"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    OTHER = "other"


#: Why a server is out of service, in the words of the server's log line.
REASONS: Final = {
    Status.VALID: "No IP for server",
    Status.NX: "DNS NX status",
    Status.REFUSED: "DNS refused status",
    Status.TIMEOUT: "DNS timeout status",
    Status.OTHER: "unspecified DNS error",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that a server can be.

    Attributes:
        key: what makes it the same in the next answer: the address itself, or host and port of an SRV record.
        addresses: IP literals, in the order of the answer; a server takes one.
        port, weight: what an SRV record says, None without one. The weight is a server's: 0 to 256.
        status: how the search for the addresses of an SRV record's host ended.
    """

    key: str
    addresses: tuple[str, ...]
    port: int | None = None
    weight: int | None = None
    status: Status = Status.VALID


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a server: `address` None takes it out of service, for `reason`."""

    server: str
    address: str | None
    port: int | None = None
    weight: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Demand:
    """What of an answer is of use to a group.

    Attributes:
        keys: the candidates that servers have.
        most: how many candidates, these among them.
    """

    keys: frozenset[str]
    most: int


#: Of those who take what comes.
EVERYTHING: Final = Demand(frozenset(), sys.maxsize)


def candidates_of(addresses: Iterable[str]) -> tuple[Candidate, ...]:
    """The candidates of a name with A and AAAA records."""
    return tuple(Candidate(address, (address,)) for address in dict.fromkeys(addresses))


def server_weight(srv_weight: int) -> int:
    """The weight of a server by that of its SRV record, 0 to 65535.

    Only 0 is 0: then the server gets no new sessions.

    >>> server_weight(0), server_weight(1), server_weight(32768), server_weight(65535)
    (0, 1, 128, 256)
    """
    return -(-srv_weight // _SRV_WEIGHTS)


@dataclass(frozen=True, slots=True)
class _Known:
    """A candidate with addresses, when it was in an answer last, and when these addresses were found."""

    candidate: Candidate
    listed: float
    found: float


@dataclass(slots=True)
class _Seat:
    """A server of the group: what it has now. `address` None: it is out of service."""

    name: str
    how: Resolution
    address: str | None
    key: str | None = None
    given: Change | None = None


class Group:
    """The servers of a backend that share a name.

    Args:
        hold: of the resolvers section.
        servers: name, options and address at the start (None without one) of each, in their order.
    """

    __slots__ = ("_hold", "_known", "_seats", "_valid_at")

    def __init__(self, hold: HoldTimes, servers: Sequence[tuple[str, Resolution, str | None]]) -> None:
        self._hold = hold
        # What is known of an address at the start came from the same name: it is the key of an A or AAAA candidate.
        self._seats = [_Seat(name, how, address, address) for name, how, address in servers]
        self._known: dict[str, _Known] = {}
        self._valid_at: float | None = None

    def demand(self) -> Demand:
        """What is of use of the next answer: a candidate for each server, or all where `resolve-net` makes a choice of them."""
        if any(seat.how.networks for seat in self._seats):
            return EVERYTHING
        return Demand(frozenset(seat.key for seat in self._seats if seat.key is not None), len(self._seats))

    def failed(self, status: Status, now: float) -> list[Change]:
        """No answer is valid: servers stay as they are for as long as `hold` says, counted from the last valid one."""
        if self._valid_at is None:
            # Counted from the first failure: what the system's resolver found at the start was valid too.
            self._valid_at = now
        if self._held(status, self._valid_at, now):
            return []
        return self._told([self._vacated(seat, REASONS[status]) for seat in self._seats])

    def answered(self, candidates: Sequence[Candidate], now: float) -> list[Change]:
        """A valid answer: each server keeps what it has while it is there, others get what is free.

        Only for an address in its `resolve-net` that is free a server leaves one that is not (5.2).

        Args:
            candidates: what the answer lists.
            now: seconds, any clock that does not go back.
        """
        self._valid_at = now
        self._learn(candidates, now)
        taken: dict[str, int] = {}
        for seat in self._seats:
            if seat.key is not None and seat.key in self._known and (seat.how.allow_duplicates or seat.key not in taken):
                taken[seat.key] = taken.get(seat.key, 0) + 1
            else:
                seat.key = None
        for seat in self._seats:
            self._move_inside(seat, taken)
        return self._told([self._seated(seat, taken) for seat in self._seats])

    def _move_inside(self, seat: _Seat, taken: dict[str, int]) -> None:
        """Leave what is outside of its networks when there is something inside that nobody has.

        Servers don't take turns by this: who is inside stays there.
        """
        if seat.key is None or not seat.how.networks or _is_inside(self._known[seat.key].candidate, seat.how):
            return
        for key, one in self._known.items():
            if key not in taken and _is_inside(one.candidate, seat.how):
                taken[seat.key] -= 1
                if not taken[seat.key]:
                    del taken[seat.key]
                taken[key] = 1
                seat.key = key
                return

    def _learn(self, candidates: Sequence[Candidate], now: float) -> None:
        """What there is to have, by this answer and those before it."""
        for candidate in candidates:
            before = self._known.get(candidate.key)
            if candidate.addresses:
                self._known[candidate.key] = _Known(candidate, now, now)
            elif before is not None and self._held(candidate.status, before.found, now):
                # The record is there, its host can't be found: one lost packet is no reason to leave it.
                self._known[candidate.key] = _Known(replace(candidate, addresses=before.candidate.addresses), now, before.found)
            elif before is not None:
                del self._known[candidate.key]
        keep = self._hold.obsolete
        for key in [key for key, one in self._known.items() if one.listed != now and now - one.listed >= keep]:
            del self._known[key]

    def _held(self, status: Status, since: float, now: float) -> bool:
        """Whether what was valid then outlives a failure of that status (5.3.2 hold)."""
        period: float = getattr(self._hold, status.value)
        return now - since < period

    def _seated(self, seat: _Seat, taken: dict[str, int]) -> Change:
        if seat.key is None:
            seat.key = self._choose(seat.how, taken)
            if seat.key is None:
                return self._vacated(seat, REASONS[Status.VALID])
            taken[seat.key] = taken.get(seat.key, 0) + 1
        candidate = self._known[seat.key].candidate
        best = min(candidate.addresses, key=lambda address: _rank(address, seat.how))
        if seat.address not in candidate.addresses or (_is_outside(seat.address, seat.how) and not _is_outside(best, seat.how)):
            seat.address = best
        weight = None if seat.how.ignore_weight else candidate.weight
        return Change(seat.name, seat.address, candidate.port, weight)

    def _choose(self, how: Resolution, taken: dict[str, int]) -> str | None:
        """A free candidate, by `resolve-net` and `resolve-prefer`; with allow-dup-ip else one that few others have."""
        free = [
            (taken.get(key, 0), min(_rank(address, how) for address in one.candidate.addresses), position, key)
            for position, (key, one) in enumerate(self._known.items())
            if how.allow_duplicates or key not in taken
        ]
        return min(free)[3] if free else None

    def _vacated(self, seat: _Seat, reason: str) -> Change:
        seat.key = None
        seat.address = None
        return Change(seat.name, None, reason=reason)

    def _told(self, changes: list[Change]) -> list[Change]:
        """Those that say anything new. A reason alone is nothing new."""
        new = []
        for seat, change in zip(self._seats, changes, strict=True):
            before = seat.given
            if before is None or (before.address, before.port, before.weight) != (change.address, change.port, change.weight):
                seat.given = change
                new.append(change)
        return new


def _rank(address: str, how: Resolution) -> tuple[bool, bool]:
    return _is_outside(address, how), ipaddress.ip_address(address).version != how.prefer


def _is_outside(address: str, how: Resolution) -> bool:
    """There are networks for it to be in, and it is in none of them."""
    ip = ipaddress.ip_address(address)
    return bool(how.networks) and not any(ip in network for network in how.networks if network.version == ip.version)


def _is_inside(candidate: Candidate, how: Resolution) -> bool:
    return not all(_is_outside(address, how) for address in candidate.addresses)
