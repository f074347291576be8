"""Happy eyeballs (RFC 8305): connects over IPv6 and IPv4, a little apart, and keeps the connection that is there first.

So a path that is dead costs a quarter of a second and not the update. The preferred family goes first; it never is the only one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Collection

from headgate.base.records import dataclass, field
from headgate.runtime.ocsp.names import RESOLUTION_DELAY, Lookup, Names, Place
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.attempts import Attempt

#: The next address is tried when one has not answered for this long, seconds (RFC 8305 section 5).
ATTEMPT_DELAY = 0.25


@dataclass(slots=True)
class Connected:
    """What came of it.

    Attributes:
        sock: connected and non-blocking, None when no address could be reached; `place` is where to.
        attempts: what failed before.
    """

    sock: socket.socket | None = None
    place: Place | None = None
    attempts: list[Attempt] = field(default_factory=list)


def in_turn(places: Collection[Place], preferred: int, last: Collection[Place]) -> list[Place]:
    """The order in which addresses are tried: families alternate, the preferred one first (RFC 8305 section 4).

    Args:
        places: all of them.
        preferred: a family.
        last: those that are known to be of no use; they are tried behind all others.
    """
    ordered: list[Place] = []
    for group in ([one for one in places if one not in last], [one for one in places if one in last]):
        first = [one for one in group if one.family == preferred]
        other = [one for one in group if one.family != preferred]
        for number in range(max(len(first), len(other))):
            ordered += first[number : number + 1] + other[number : number + 1]
    return ordered


class Dialler:
    """Connects to names.

    Args:
        names: looks them up.
        preferred: the family that goes first.
        timeout: seconds for each address (`httpclient.timeout.connect`).
    """

    def __init__(self, names: Names, preferred: int, timeout: float) -> None:
        self._names = names
        self._preferred = preferred
        self._timeout = timeout

    async def connect(self, host: str, port: int, last: Collection[Place] = ()) -> Connected:
        """Connect to a host.

        Args:
            host: a name or an address.
            port: of it.
            last: see `in_turn`.
        """
        lookup, lookups = self._names.begin(host)
        race = _Race(lookup, host, port, self._preferred, self._timeout, last)
        try:
            return await race.run()
        finally:
            for task in lookups:
                task.cancel()
            race.stop()


class _Race:
    def __init__(
        self, lookup: Lookup, host: str, port: int, preferred: int, timeout: float, last: Collection[Place]
    ) -> None:
        self._lookup = lookup
        self._host = host
        self._port = port
        self._preferred = preferred
        self._timeout = timeout
        self._last = last
        self._tried: list[Place] = []
        self._running: dict[asyncio.Task[socket.socket], Place] = {}
        self._result = Connected()

    async def run(self) -> Connected:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        first_seen: float | None = None
        while True:
            now = loop.time()
            place = self._next()
            if place is not None and first_seen is None:
                first_seen = now
            held = self._held(first_seen, now)
            if place is not None and held <= 0 and (now >= next_at or not self._running):
                self._tried.append(place)
                self._running[asyncio.ensure_future(_connect(place, self._port, self._timeout))] = place
                next_at = now + ATTEMPT_DELAY
                continue
            if place is None and self._lookup.complete and not self._running:
                return self._lost()
            wait = None if place is None else max(held, 0.0) if not self._running or held > 0 else next_at - now
            if await self._one_is_there(wait):
                return self._result

    def _next(self) -> Place | None:
        untried = [one for one in self._lookup.places if one not in self._tried]
        if not untried:
            return None
        ordered = in_turn(untried, self._preferred, self._last)
        # Families alternate over all that were tried, not only among those that are left.
        if self._tried and self._tried[-1].family == ordered[0].family:
            is_last = ordered[0] in self._last
            other = [one for one in ordered if one.family != ordered[0].family and (one in self._last) == is_last]
            return other[0] if other else ordered[0]
        return ordered[0]

    def _held(self, first_seen: float | None, now: float) -> float:
        """How long to wait for addresses of the preferred family, seconds."""
        if first_seen is None or self._tried or self._lookup.complete or self._lookup.has(self._preferred):
            return 0.0
        return first_seen + RESOLUTION_DELAY - now

    async def _one_is_there(self, wait: float | None) -> bool:
        """Wait for a connection, a failure, an address or the time; True with a connection."""
        changed = asyncio.ensure_future(self._lookup.changed.wait()) if not self._lookup.complete else None
        waiting: set[asyncio.Task[object]] = {*self._running, *([changed] if changed is not None else [])}
        try:
            done, _ = await asyncio.wait(waiting, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if changed is not None:
                changed.cancel()
        self._lookup.changed.clear()
        for task in [one for one in self._running if one in done]:
            place = self._running.pop(task)
            error = task.exception()
            if error is None:
                if self._result.sock is not None:
                    task.result().close()
                    continue
                self._result.sock, self._result.place = task.result(), place
            elif isinstance(error, TimeoutError):
                text = f"no connection within {self._timeout:g} s"
                self._result.attempts.append(Attempt(self._host, place.way, failures.TIMEOUT, text))
            else:
                self._result.attempts.append(Attempt(self._host, place.way, failures.CONNECT, _reason(error)))
        return self._result.sock is not None

    def _lost(self) -> Connected:
        if not self._tried:
            self._result.attempts.append(Attempt(self._host, "", failures.DNS, self._lookup.problem))
        return self._result

    def stop(self) -> None:
        """End the attempts that nobody waits for any more."""
        for task in self._running:
            task.add_done_callback(_close_late)
            task.cancel()
        self._running.clear()


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else str(error)[:100] or type(error).__name__


async def _connect(place: Place, port: int, limit: float) -> socket.socket:
    sock = socket.socket(place.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(limit):
            await asyncio.get_running_loop().sock_connect(sock, (place.host, port))
    except BaseException:
        sock.close()
        raise
    return sock
