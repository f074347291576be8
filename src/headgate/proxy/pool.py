"""Idle connections to one server, waiting to be used again (manual, "http-reuse", "pool-max-conn", "pool-purge-delay").

Connections are grouped by what must be equal for a request to use one (`Identity`): the name, the PROXY header, the client's
address where the connection comes from there, address and port of the server where they are those that the client connected to.
The most recently used one is taken first, so that the others grow old and are purged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headgate.balance.server import ServerState
from headgate.base.addresses import WILDCARDS, Family
from headgate.config.model import SourceAddress
from headgate.plan.facts import Session, Stream, destination_of

if TYPE_CHECKING:
    from headgate.proxy.server_connection import ServerConnection
    from headgate.proxy.services import Reminder, Scheduler

_WITH_PORTS: Final = (Family.INET, Family.INET6, Family.NAME)


class Identity:
    """What must be equal for a connection to one server to serve another request (manual, "http-reuse").

    Args:
        server: the server.
        source: where connections come from.

    Attributes:
        matters: requests can differ in it; otherwise `of` always answers None.
    """

    __slots__ = ("_address", "_name", "_port", "_proxy_header", "_source", "_source_port", "_unique", "matters")

    def __init__(self, server: ServerState, source: SourceAddress | None) -> None:
        spec, plan = server.spec, server.plan
        address = server.address
        spoofed = None if source is None else source.usesrc
        self._name = plan.connection_name or plan.sni
        self._proxy_header = spec.send_proxy is not None
        self._unique = spec.send_proxy is not None and "unique-id" in spec.send_proxy.options
        self._source = spoofed is not None
        self._source_port = spoofed == "client"
        self._port = address.family in _WITH_PORTS and (not address.port or address.port_is_offset)
        self._address = address.family in _WITH_PORTS and address.host in WILDCARDS
        self.matters = self._name is not None or self._proxy_header or self._source or self._port or self._address

    def of(self, stream: Stream, session: Session) -> bytes | None:
        """The identity of the connection that a request needs."""
        name = None if self._name is None else self._name(stream)
        if not (self._proxy_header or self._source or self._port or self._address):
            return name
        parts = [name or b""]
        address, port = destination_of(stream)
        if self._proxy_header:
            parts.append(b"%b:%d %b:%d" % (session.source, session.source_port, address, port))
        if self._unique:
            parts.append(stream.unique_id or b"")
        if self._source:
            parts.append(b"%b:%d" % (session.source, session.source_port if self._source_port else 0))
        if self._port:
            parts.append(b"%d" % port)
        if self._address:
            parts.append(address)
        return b" ".join(parts)


class Pool:
    """The idle connections of one server.

    Attributes:
        idle: how many there are.
        identity: what connections are grouped by.
    """

    __slots__ = ("_groups", "_limit", "_purge_delay", "_scheduler", "_source", "armed", "deadline", "identity", "idle", "server")

    def __init__(self, server: ServerState, scheduler: Scheduler, source: SourceAddress | None = None) -> None:
        self.server = server
        self.idle = 0
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self._scheduler = scheduler
        self._limit = server.spec.pool_max_conn
        self._purge_delay = server.spec.pool_purge_delay
        self._source = server.spec.source or source
        self.identity = Identity(server, self._source)
        self._groups: dict[bytes | None, dict[ServerConnection, None]] = {}

    def take(self, key: bytes | None, *, proven: bool = False) -> ServerConnection | None:
        """Take an idle connection for `key`; with `proven` only one that has been reused before (http-reuse aggressive)."""
        group = self._groups.get(key)
        if not group:
            return None
        if proven:
            found = next((one for one in reversed(group) if one.reuses), None)
            if found is None:
                return None
            connection = found
            del group[connection]
        else:
            connection = group.popitem()[0]
        if not group and key is not None:
            del self._groups[key]  # a client's own, for instance, which may never come again
        self._left(connection)
        return connection

    def put(self, connection: ServerConnection) -> bool:
        """Keep an idle connection; False when the pool is full or switched off, and the caller closes it."""
        if self._limit == 0 or self.idle >= self._limit > 0 or not self._purge_delay:
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
        if self.armed is None:
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
        """Close half of the idle connections, the oldest first; those that became idle within the last delay stay."""
        oldest = self._scheduler.now - self._purge_delay
        due = [connection for group in self._groups.values() for connection in group if connection.idle_since <= oldest]
        due.sort(key=lambda connection: connection.idle_since)
        for connection in due[: (self.idle + 1) // 2]:
            self.remove(connection)
            connection.close()
        if self.idle:
            self._scheduler.arm(self, self._scheduler.now + self._purge_delay)

    def readdress(self) -> None:
        """The server has another address: what is idle goes, and requests may have to differ in other things than before."""
        self.clear()
        self.identity = Identity(self.server, self._source)

    def close_oldest_tls(self) -> bool:
        """Close the TLS connection that has been idle for longest; False when there is none."""
        if not self.idle:
            return False
        idle = [one for group in self._groups.values() for one in group if one.channel.tls is not None]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection.idle_since)
        self.remove(oldest)
        oldest.close()
        return True

    def clear(self) -> None:
        """Close all: the server went away, or we stop."""
        for group in list(self._groups.values()):
            for connection in list(group):
                connection.close()
        self._groups.clear()
        self.idle = 0
        self.server.counters.idle_safe = self.server.counters.idle_unsafe = 0
