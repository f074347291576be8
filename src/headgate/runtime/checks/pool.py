"""The idle connection that the HTTP checks of one server come back to (manual 5.2 check-reuse-pool).

It is the checks' own. The idle connections of the traffic belong to the workers, each to the one that opened it, and another
process makes the checks; so what is kept here is what a check has opened, for the next check of the same server. Checks of a
server follow each other, so one is enough. `exchange` takes it and gives it back.
"""

from __future__ import annotations

import asyncio
from typing import Final

from headgate.health.http_answer import HttpAnswer
from headgate.runtime.checks.connection import Connection
from headgate.runtime.checks.failures import TlsFailure
from headgate.wire.errors import ProtocolViolation

#: How long the rest of an answer may take that was judged by its beginning, seconds.
REST: Final = 5.0


class CheckPool:
    """See the module.

    Args:
        name: `check-pool-conn-name`, None where the name of TLS is that of the connection too.
        longest: how long a connection may be idle, seconds: no check has come that would take it.
    """

    __slots__ = ("_finishing", "_idle", "_key", "_timer", "longest", "name")

    def __init__(self, name: bytes | None, longest: float) -> None:
        self.name = name
        self.longest = longest
        self._idle: Connection | None = None
        self._key: object = None
        self._timer: asyncio.TimerHandle | None = None
        self._finishing: asyncio.Task[None] | None = None

    def take(self, key: object) -> Connection | None:
        """The idle connection for `key`; one for another key is of no use any more, and closed."""
        connection = self._leave()
        if connection is None or self._key == key:
            return connection
        connection.close()
        return None

    def put(self, key: object, connection: Connection, answer: HttpAnswer) -> None:
        """Keep a connection after an exchange, as soon as the answer is complete; one that can't be kept is closed.

        Args:
            key: of whom it serves.
            connection: open.
            answer: that came over it, its head complete.
        """
        reusable = answer.reusable()
        if reusable:
            self._rest(key, connection)
        elif reusable is None and self._finishing is None:
            self._finishing = asyncio.get_running_loop().create_task(self._finish(key, connection, answer))
        else:
            connection.close()

    def close(self) -> None:
        """Keep nothing: the server is not checked any more, at least for a while."""
        if self._finishing is not None:
            self._finishing.cancel()
        connection = self._leave()
        if connection is not None:
            connection.close()

    def _rest(self, key: object, connection: Connection) -> None:
        before = self._leave()
        if before is not None:
            before.close()
        self._idle, self._key = connection, key
        connection.rest(self.close)
        self._timer = asyncio.get_running_loop().call_later(self.longest, self.close)

    def _leave(self) -> Connection | None:
        connection, self._idle = self._idle, None
        if connection is not None:
            connection.resume()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return connection

    async def _finish(self, key: object, connection: Connection, answer: HttpAnswer) -> None:
        try:
            async with asyncio.timeout(REST):
                while (reusable := answer.reusable()) is None:
                    data = await connection.receive()
                    if not data:
                        break
                    answer.feed(data)
        except (OSError, TlsFailure, ProtocolViolation):
            reusable = False
        except asyncio.CancelledError:
            connection.close()
            raise
        finally:
            self._finishing = None
        if reusable:
            self._rest(key, connection)
        else:
            connection.close()
