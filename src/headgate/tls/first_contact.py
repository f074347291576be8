"""The first session with a server is on its way: who brings it, and who waits for it.

Without this all connections that begin before there is a session make a full handshake each, and a server that comes back is met
by as many as there are clients at that moment. So one of them goes ahead; the others begin when its session is there, or when it
becomes clear that none will be. `session_store` says when; time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from headgate.observe.full_handshakes import Cause

#: For how long others wait at most, seconds: a full handshake and a ticket are two round trips.
PATIENCE: Final = 0.2
#: Reasons for which there is no session yet, and one is to be expected.
EXPECTED: Final = frozenset({
    Cause.FIRST_CONTACT, Cause.EXPIRED, Cause.EVICTED, Cause.OTHER_NAME, Cause.OTHER_ALPN, Cause.OTHER_POLICY,
    Cause.OTHER_ADDRESS,
})  # fmt: skip


class Queue(Protocol):
    """Those who wait; `runtime.tls_openers.Waiting`."""

    def add(self, go_on: Callable[[], None]) -> None:
        """One more; `go_on` is called when it shall begin."""

    def first_is_over(self) -> None:
        """There is a session, or there will be none."""


class FirstContact:
    """See the module.

    Args:
        now: when the connection begins that goes ahead, monotonic seconds.

    Attributes:
        until: when nobody waits any more, monotonic seconds.
        over: there is a session, or there will be none.
        queue: those who wait, None while nobody does.
    """

    __slots__ = ("over", "queue", "until")

    def __init__(self, now: float) -> None:
        self.until = now + PATIENCE
        self.over = False
        self.queue: Queue | None = None

    def end(self) -> None:
        """It is over."""
        self.over = True
        if self.queue is not None:
            self.queue.first_is_over()
