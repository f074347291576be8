"""Handshakes with servers that fail, of traffic and of checks: kept with those of clients, with cause and advice, and counted.

A server that refuses everybody fails with every request: one line for each cause in ten seconds, with the number of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headgate.balance.server import ServerState
from headgate.base.handshake_causes import Cause
from headgate.runtime.logs.emitters import log_event

if TYPE_CHECKING:
    from headgate.app.live import Live
    from headgate.tls.handshake_record import HandshakeRecord

_WARNING: Final = 4
#: How long a cause is not said again for the same server, seconds.
_QUIET: Final = 10.0
#: How long a cause of checks is only counted, seconds: a server that is down would fill the ring, and clients' failures go.
_KEPT: Final = 60.0


class ServerHandshakes:
    """Of one server.

    Args:
        live: whose logs and records.
        backend: its name.
        server: the server.
    """

    __slots__ = ("_backend", "_kept", "_live", "_said", "_server", "_unsaid")

    def __init__(self, live: Live, backend: str, server: ServerState) -> None:
        self._live = live
        self._backend = backend
        self._server = server
        self._kept: dict[Cause, float] = {}  # when one of a check was kept last
        self._said: dict[Cause | None, float] = {}  # None: no handshake was begun
        self._unsaid: dict[Cause | None, int] = {}

    def failed(self, record: HandshakeRecord) -> None:
        """A handshake of traffic failed."""
        self._describe(record)
        self._live.shared.handshakes.failed(record, record.at)
        self._say(record.cause, "TLS handshake failed", record.reason)

    def check_failed(self, record: HandshakeRecord) -> None:
        """A handshake of a check failed. The log says that when the server's state changes; now and then one is kept."""
        self._describe(record)
        now = self._live.reactor.now
        if now - self._kept.get(record.cause, float("-inf")) < _KEPT:
            self._live.shared.handshakes.probed(record, record.at)
        else:
            self._kept[record.cause] = now
            self._live.shared.handshakes.failed(record, record.at)

    def _describe(self, record: HandshakeRecord) -> None:
        server = self._server
        record.at = self._live.reactor.wall
        record.proxy, record.line_name = self._backend, server.name
        record.address, record.port = server.address.host.encode("utf-8", "replace"), server.address.port

    def refused(self) -> None:
        """A connection was not made because there are too many TLS connections."""
        self._live.counters.tls_server_refused += 1
        self._say(None, "no connection", f"there are {self._live.shared.tls.limit} TLS connections already (maxsslconn)")

    def _say(self, cause: Cause | None, what: str, reason: str) -> None:
        live, server = self._live, self._server
        now = live.reactor.now
        if now - self._said.get(cause, float("-inf")) < _QUIET:
            self._unsaid[cause] = self._unsaid.get(cause, 0) + 1
            return
        self._said[cause] = now
        more = self._unsaid.pop(cause, 0)
        others = f" ({more} more since the last such line)" if more else ""
        emitter = live.emitters.get(self._backend)
        text = f"Server {self._backend}/{server.name}: {what}{others}: {reason}"
        log_event(live.logs.process if emitter is None or emitter.silent else emitter, _WARNING, text)
