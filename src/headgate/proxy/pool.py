"""Idle connections to one server, waiting to be used again (manual, "http-reuse", "pool-max-conn", "pool-purge-delay").

Connections are grouped by what must be equal for a request to use one: the server name sent in TLS, the PROXY header. The most
recently used one is taken first, so that the others grow old and are purged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.balance.server import ServerState

if TYPE_CHECKING:
    from headgate.proxy.server_connection import ServerConnection
    from headgate.proxy.services import Scheduler


class Pool:
    """The idle connections of one server.

    Attributes:
        idle: how many there are.
        keyed: requests differ in what their connection must be like; otherwise the key is always None.
    """

    __slots__ = ("_groups", "_limit", "_purge_delay", "_scheduler", "armed", "deadline", "idle", "keyed", "server")

    def __init__(self, server: ServerState, scheduler: Scheduler) -> None:
        self.server = server
        self.idle = 0
        self.deadline = 0.0
        self.armed = 0.0
        self._scheduler = scheduler
        self._limit = server.spec.pool_max_conn
        self._purge_delay = server.spec.pool_purge_delay
        self.keyed = server.plan.sni is not None or server.spec.send_proxy is not None
        self._groups: dict[bytes | None, dict[ServerConnection, None]] = {}

    def take(self, key: bytes | None, *, proven: bool = False) -> ServerConnection | None:
        """Take an idle connection for `key`; with `proven` only one that has been reused before (http-reuse aggressive)."""
        group = self._groups.get(key)
        if not group:
            return None
        if proven and not next(reversed(group)).reuses:
            return None
        connection = group.popitem()[0]
        self._left(connection)
        return connection

    def put(self, connection: ServerConnection) -> bool:
        """Keep an idle connection; False when the pool is full or switched off, and the caller closes it."""
        if self._limit == 0 or self.idle >= self._limit > 0:
            return False
        group = self._groups.get(connection.key)
        if group is None:
            group = self._groups[connection.key] = {}
        group[connection] = None
        self.idle += 1
        counters = self.server.counters
        if connection.reuses:
            counters.idle_safe += 1
        else:
            counters.idle_unsafe += 1
        connection.idle_since = self._scheduler.now
        if not self.armed and self._purge_delay:
            self._scheduler.arm(self, self._scheduler.now + self._purge_delay)
        return True

    def _left(self, connection: ServerConnection) -> None:
        self.idle -= 1
        counters = self.server.counters
        if connection.reuses:
            counters.idle_safe -= 1
        else:
            counters.idle_unsafe -= 1

    def remove(self, connection: ServerConnection) -> None:
        """Forget a connection that closed while it was idle."""
        group = self._groups.get(connection.key)
        if group is not None and connection in group:
            del group[connection]
            self._left(connection)
            if not group:
                del self._groups[connection.key]

    def timed_out(self) -> None:
        """Purge what has been idle for the whole purge delay."""
        oldest = self._scheduler.now - self._purge_delay
        for key in list(self._groups):
            group = self._groups[key]
            # Oldest first: a group is in the order in which its connections became idle.
            for connection in list(group):
                if connection.idle_since > oldest:
                    break
                del group[connection]
                self._left(connection)
                connection.close()
            if not group:
                del self._groups[key]
        if self.idle:
            self._scheduler.arm(self, self._scheduler.now + self._purge_delay)

    def clear(self) -> None:
        """Close all: the server went away, or we stop."""
        for group in list(self._groups.values()):
            for connection in list(group):
                connection.close()
        self._groups.clear()
        self.idle = 0
        self.server.counters.idle_safe = self.server.counters.idle_unsafe = 0
