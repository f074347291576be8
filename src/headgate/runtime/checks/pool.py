"""The idle connection that the HTTP checks of one server come back to (manual 5.2 check-reuse-pool).

It is the checks' own. The idle connections of the traffic belong to the workers, each to the one that opened it, and another
process makes the checks; so what is kept here is what a check has opened, for the next check of the same server. Checks of a
server follow each other, so one is enough. `exchange` takes it and gives it back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.health.http_answer import HttpAnswer
from headgate.proxy.services import Reminder
from headgate.runtime.checks.connection import Connection
from headgate.runtime.checks.failures import TlsFailure
from headgate.runtime.reactor import Reactor
from headgate.wire.errors import ProtocolViolation

#: How long the rest of an answer may take that was judged by its beginning, seconds.
REST: Final = 5.0


class CheckPool:
    """See the module.

    Args:
        name: `check-pool-conn-name`, None where the name of TLS is that of the connection too.
        longest: how long a connection may be idle, seconds: no check has come that would take it.
        reuses: how often a connection may be used again, -1 for no limit (5.2 max-reuse).

    Attributes:
        deadline, armed: the reactor's: how long the connection may rest.
    """

    __slots__ = ("_finishing", "_idle", "_key", "_reactor", "armed", "deadline", "longest", "name", "reuses")

    def __init__(self, name: bytes | None, longest: float, reuses: int = -1) -> None:
        self.name = name
        self.longest = longest
        self.reuses = reuses
        self._idle: Connection | None = None
        self._key: object = None
        self._reactor: Reactor | None = None
        self._finishing: _Finishing | None = None
        self.deadline = 0.0
        self.armed: Reminder | None = None

    def take(self, key: object, proceed: Callable[[], None]) -> Connection | None:
        """The idle connection for `key`, which calls `proceed` from now on; one for another key is closed: nobody wants it."""
        connection = self._leave()
        if connection is None:
            return None
        connection.resume(proceed)
        if self._key == key:
            return connection
        connection.close()
        return None

    def put(self, key: object, connection: Connection, answer: HttpAnswer, reactor: Reactor) -> None:
        """Keep a connection after an exchange, as soon as the answer is complete; one that can't be kept is closed.

        Args:
            key: of whom it serves.
            connection: open.
            answer: that came over it, its head complete.
            reactor: that watches it.
        """
        self._reactor = reactor
        reusable = answer.reusable() if self.reuses < 0 or connection.reuses < self.reuses else False
        if reusable is None and self._finishing is None:
            self._finishing = _Finishing(self, key, connection, answer, reactor)
            self._finishing.go_on()
        else:
            self._settle(key, connection, reusable=reusable is True)

    def finished(self, key: object, connection: Connection, *, reusable: bool) -> None:
        """The rest of an answer has come, or will not."""
        self._finishing = None
        self._settle(key, connection, reusable=reusable)

    def _settle(self, key: object, connection: Connection, *, reusable: bool) -> None:
        if reusable:
            self._rest(key, connection)
        else:
            connection.close()

    def timed_out(self) -> None:
        """The reactor's call: no check has come for it."""
        self.close()

    def close(self) -> None:
        """Keep nothing: the server is not checked any more, at least for a while."""
        if self._finishing is not None:
            self._finishing.timed_out()
        connection = self._leave()
        if connection is not None:
            connection.close()

    def _rest(self, key: object, connection: Connection) -> None:
        before = self._leave()
        if before is not None:
            before.close()
        self._idle, self._key = connection, key
        connection.rest(self.close)
        assert self._reactor is not None
        self._reactor.arm(self, self._reactor.now + self.longest)

    def _leave(self) -> Connection | None:
        connection, self._idle = self._idle, None
        self.deadline = 0.0
        return connection


class _Finishing:
    """A connection whose answer was judged by its beginning, until the rest of it is there."""

    __slots__ = ("_answer", "_connection", "_key", "_pool", "_reactor", "armed", "deadline")

    def __init__(
        self, pool: CheckPool, key: object, connection: Connection, answer: HttpAnswer, reactor: Reactor
    ) -> None:
        self._pool = pool
        self._key = key
        self._connection = connection
        self._answer = answer
        self._reactor = reactor
        self.deadline = 0.0
        self.armed: Reminder | None = None
        connection.proceed = self.go_on
        reactor.arm(self, reactor.now + REST)

    def go_on(self) -> None:
        """Read what is there of the rest."""
        connection, answer = self._connection, self._answer
        reusable: bool | None = None
        try:
            while (reusable := answer.reusable()) is None:
                data = connection.receive()
                if data is None:
                    return
                if not data:
                    break
                answer.feed(data)
        except (OSError, TlsFailure, ProtocolViolation):
            reusable = False
        self._end(reusable=reusable is True)

    def timed_out(self) -> None:
        """The reactor's call; also that of a pool that does not want it any more."""
        self._end(reusable=False)

    def _end(self, *, reusable: bool) -> None:
        self._reactor.retire(self)
        self._pool.finished(self._key, self._connection, reusable=reusable)
