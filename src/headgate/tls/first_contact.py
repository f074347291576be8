"""The first session with a server is on its way: who brings it, and who waits for it.

Without this all connections that begin before there is a session make a full handshake each, and a server that comes back is met
by as many as there are clients at that moment. So one of them goes ahead; the others begin when its session is there, or when it
becomes clear that none will be. `session_store` says when; time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.observe.full_handshakes import Cause

#: For how long others wait at most, seconds: a full handshake and a ticket are two round trips.
PATIENCE: Final = 0.2
#: Reasons for which there is no session yet, and one is to be expected.
EXPECTED: Final = frozenset({
    Cause.FIRST_CONTACT, Cause.EXPIRED, Cause.EVICTED, Cause.OTHER_NAME, Cause.OTHER_ALPN, Cause.OTHER_POLICY,
    Cause.OTHER_ADDRESS,
})  # fmt: skip


class FirstContact:
    """See the module.

    Args:
        now: when the connection begins that goes ahead, monotonic seconds.

    Attributes:
        until: when nobody waits any more, monotonic seconds.
        over: there is a session, or there will be none.
    """

    __slots__ = ("_waiting", "over", "until")

    def __init__(self, now: float) -> None:
        self.until = now + PATIENCE
        self.over = False
        self._waiting: list[Callable[[], None]] = []

    def wait(self, go_on: Callable[[], None]) -> bool:
        """Have `go_on` called when it is over, which it is not yet; whether this is the first who waits."""
        self._waiting.append(go_on)
        return len(self._waiting) == 1

    def end(self) -> None:
        """It is over. May be said again."""
        self.over = True
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()
