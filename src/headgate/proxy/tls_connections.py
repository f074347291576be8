"""TLS connections that there are now, with clients and to servers, and how many there may be (manual 3.2, maxsslconn).

One that is deciphered and ciphered again counts twice. A client's counts from its accept on, before its handshake, to the end of
its session; one to a server from before it is opened until all is said on it, idle ones too. Where there is no limit, it costs an
addition and a subtraction.
"""

from __future__ import annotations

from collections.abc import Callable


class TlsConnections:
    """Those of one process; `proxy.joint.JointTlsConnections` has those of all workers.

    Attributes:
        limit: maxsslconn, 0 for none. Set once, before there are any.
        close_idle: closes an idle TLS connection to a server, if there is one; answers whether.
        freed: told when there is a place again behind the limit.
    """

    __slots__ = ("_count", "_wanted", "close_idle", "freed", "limit")

    def __init__(self) -> None:
        self.limit = 0
        self.close_idle: Callable[[], bool] = _none_idle
        self.freed: Callable[[], None] = _nobody_waits
        self._count = 0
        self._wanted = False

    def count(self) -> int:
        """How many there are now."""
        return self._count

    def has_room(self) -> bool:
        """Whether the limit allows one more."""
        return not self.limit or self.count() < self.limit

    def wanted(self) -> bool:
        """Whether somebody has found no place since the last one was taken: no connection to a server should be kept idle."""
        return self._wanted

    def begin(self) -> None:
        """One more: of a client, for which the limit was asked, or of a health check, which no limit is to make fail."""
        self._count += 1
        self._wanted = False

    def end(self) -> None:
        """One less."""
        was_full = self._count >= self.limit > 0
        self._count -= 1
        if was_full:
            self.freed()

    def reserve(self) -> bool:
        """Take the place of a connection to a server, in whose favour an idle one is closed; False when there is none."""
        return self._take() or (self.make_room() and self._take())

    def make_room(self) -> bool:
        """Close an idle connection for somebody who finds no place. False when there is none: then the next one isn't kept."""
        if self.close_idle():
            return True
        self._want()
        return False

    def _take(self) -> bool:
        """Take a place, if there is one."""
        if not self.has_room():
            return False
        self.begin()
        return True

    def _want(self) -> None:
        """Let others know that a place is wanted."""
        self._wanted = True

    def look(self) -> None:
        """This process was woken: make room, if that is what another one wants."""


def _none_idle() -> bool:
    return False


def _nobody_waits() -> None:
    return None
