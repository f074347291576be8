"""Handshakes of traffic with servers that fail: kept with those of clients, and said in the log, with cause and advice.

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


class ServerHandshakes:
    """Of one server.

    Args:
        live: whose logs and records.
        backend: its name.
        server: the server.
    """

    __slots__ = ("_backend", "_live", "_said", "_server", "_unsaid")

    def __init__(self, live: Live, backend: str, server: ServerState) -> None:
        self._live = live
        self._backend = backend
        self._server = server
        self._said: dict[Cause | None, float] = {}  # None: no handshake was begun
        self._unsaid: dict[Cause | None, int] = {}

    def failed(self, record: HandshakeRecord) -> None:
        """A handshake failed."""
        live, server = self._live, self._server
        wall = live.reactor.wall
        record.at = wall
        record.proxy, record.line_name = self._backend, server.name
        record.address, record.port = server.address.host.encode("utf-8", "replace"), server.address.port
        live.shared.handshakes.failed(record, wall)
        self._say(record.cause, "TLS handshake failed", record.reason)

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
