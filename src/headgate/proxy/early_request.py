"""Requests as early data (RFC 8470): those that come so from clients, and those that go so to servers with `allow-0rtt` (5.2).

A request is sent early on a new connection only, at its first attempt, and for one of two reasons (manual, "allow-0rtt"): it came
as early data itself and its client's handshake is not over yet, or the backend retries what is rejected (`retry-on
0rtt-rejected`). Connections that are idle need none of this, and come first.

What a server rejects it has thrown away (RFC 8446 section 4.2.10), so nothing speaks against sending it once more, behind the
handshake. With `retry-on 0rtt-rejected` that is a retry like others: it is counted, and `option redispatch` may take it to
another server; to the same one it goes on the connection that is there. Without it the request is its client's early data, and
the client is told 425 (RFC 8470 section 5.2), and can ask again behind its own handshake. If that one is over meanwhile nothing
is early any more: the request goes to the server as one would that has waited for both handshakes.

A handshake that fails behind early data is another matter: the server may have had the request. `conn-failure` is about requests
that "could not be sent", so what is not idempotent is retried only where the configuration says so for requests that were sent.
"""

from __future__ import annotations

from typing import Final

from headgate.base.connection_errors import ConnectionFailure
from headgate.base.termination import Outcome
from headgate.proxy.exchange import SENT, TOLD
from headgate.proxy.port import Lost
from headgate.proxy.response import ResponsePath
from headgate.proxy.seeking import PREPARE
from headgate.proxy.server_connection import ServerConnection
from headgate.proxy.sides import TOO_EARLY, Backend
from headgate.wire.http1.heads import RequestHead

#: What may be sent again without harm when nobody knows what became of it (RFC 9110 9.2.2).
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})

_EARLY_DATA: Final = b"early-data"


class EarlyRequestPath(ResponsePath):
    """See the module."""

    __slots__ = ()

    def _tell_early(self, request: RequestHead) -> None:
        """`Early-Data: 1` for what may be a replay (RFC 8470 5.1); sent again behind the handshake, it goes without."""
        if self.owner.early:
            if not request.has(_EARLY_DATA):  # a client's own stays for good: it may be a proxy that was told so
                request.add(b"Early-Data", b"1")
                self.early |= TOLD
        elif self.early & TOLD:
            request.remove(_EARLY_DATA)
            self.early &= ~TOLD

    # --- to a server ---

    def early_request(self, most: int) -> bytes:
        """See `proxy.services.Attempt`.

        A server needs not be told what it sees for itself: that the request comes as early data. What our client has sent so is
        told it all the same, for that may be over with our handshake and not with the client's (RFC 8470 section 5.1).
        """
        request = self.request
        link = self.link
        if request is None or link is None or self.retries or not (self.owner.early or self._retries_rejected(link)):
            return b""
        if self.owner.early or self.early:
            self._tell_early(request)
        data = request.encode() if request.edited else self.raw
        if len(data) < most:
            data += self.held
        self.early |= SENT
        return data[:most]

    def _retries_rejected(self, link: Backend) -> bool:
        return link.retry_early and self.retries_left > 0 and not self.l7_retry_disabled

    def _early_data_answered(self, connection: ServerConnection, request: RequestHead, link: Backend) -> bool:
        """The handshake is over behind which early data was sent: whether the request goes on, on this connection.

        All of it is sent again in that case; what the server has of it, the channel leaves out.
        """
        tls = connection.channel.tls
        if tls is not None and tls.early_received:
            return True
        self.early &= ~SENT
        if self._retries_rejected(link):
            server = connection.server
            if self._count_retry(link, server):
                self._leave(connection)
                self._try_elsewhere(server)
                return False
        elif self.owner.early:
            self._refuse_early(connection, link)
            return False
        if self.early:
            self._tell_early(request)
        return True

    def _refuse_early(self, connection: ServerConnection, link: Backend) -> None:
        """425: our client is to ask again behind its handshake."""
        self._leave(connection)
        self.release_slot()
        self.server_error = ConnectionFailure.SSL_EARLY_FAILED.number
        reply = link.error_replies.get(TOO_EARLY)
        if reply is None:
            self.fail(Outcome.LOCAL_REPLY)
        else:
            self.reply(reply, Outcome.LOCAL_REPLY)

    def _leave(self, connection: ServerConnection) -> None:
        """Nothing is sent on a connection that is fit for use: others may use it."""
        self.connection = None
        self.connected_at = 0.0
        self.phase = PREPARE
        connection.stream = None
        if not self._keep(connection):
            connection.close()

    # --- what can go wrong ---

    def _repeatable_early(self, link: Backend, reason: Lost) -> bool:
        """Whether a request may be sent again of which nobody knows whether the server has had it as early data.

        Args:
            link: the backend.
            reason: why the handshake failed.
        """
        request = self.request
        if link.retry_failure and request is not None and request.method in IDEMPOTENT:
            return True
        event = link.retry_timeout if reason is Lost.TIMEOUT else link.retry_empty
        return event and not self.l7_retry_disabled

    def _early_by_us(self) -> bool:
        """Whether a server that finds the request too early means us: it was no early data before we sent it so.

        All else goes to the client: it has to be told (RFC 8470 section 5.2).
        """
        return self.early == SENT and self.request is not None and not self.request.has(_EARLY_DATA)
