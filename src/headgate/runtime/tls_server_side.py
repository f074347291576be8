"""What a TLS connection to a server has on top of one from a client: sessions that may come, and a place where failures are told.

A part of `tls_channel.TlsChannel`, not a subclass of it: the interpreter is quick with attributes of objects of one class only,
and a proxy that encrypts again has as many connections of one kind as of the other.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from headgate.observe.counters import ServerCounters
from headgate.observe.full_handshakes import Cause
from headgate.observe.key_exchanges import count_traffic, refuse_traffic
from headgate.proxy.tls_connections import TlsConnections
from headgate.runtime.tls_tuning import RECORD
from headgate.tls.client_context import ServerContext
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.openssl import WANT_READ, SSL_get_error, SSL_read, TlsError, clear_errors, ffi
from headgate.tls.session_store import Dialled

#: What is looked at of a server's first bytes.
_PEEK: Final = 128
#: How many tickets are looked for when a connection that has read nothing closes.
_TICKETS_MOST: Final = 4

_unwanted: Final = ffi.new("char[]", RECORD)


class ServerSide:
    """One connection to a server.

    Args:
        context: of the server's line.
        handle: what the context made for the connection.
        counters: of the server: the handshake is counted there.
        failed: told of a handshake that fails.
        connections: among which it has a place, which is given back when it is over.
    """

    __slots__ = ("_cause", "_connections", "_context", "_counters", "_failed", "_handle")

    def __init__(
        self,
        context: ServerContext,
        handle: Dialled,
        counters: ServerCounters | None = None,
        failed: Callable[[HandshakeRecord], None] | None = None,
        connections: TlsConnections | None = None,
    ) -> None:
        self._cause: Cause | None = None  # why the handshake was a full one
        self._connections = connections
        self._context = context
        self._handle = handle
        self._counters = counters
        self._failed = failed

    # --- the handshake ---

    def greeting(self, sock: socket.socket) -> bytes:
        """What the server says first, in case that it is no TLS; b"" for nothing yet.

        Raises:
            OSError: the connection is broken. The system says so once, so OpenSSL would take it for one that was closed.
        """
        try:
            return sock.recv(_PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            return b""

    def established(self, now: float) -> bool:
        """The handshake is through: whether a session may come behind it, so that reads have to `read_on`."""
        cause = self._cause = self._context.established(self._handle, now)
        if self._counters is not None:
            count_traffic(self._counters, cause)
        return self._handle.awaits_ticket

    def explain(self, sock: socket.socket, error: TlsError, first_bytes: bytes) -> HandshakeRecord:
        """See `tls.client_context.ServerContext.explain`."""
        return self._context.explain(self._handle, sock, error, first_bytes)

    def given_up(self) -> None:
        """The handshake is over, and was not through."""
        self._context.given_up(self._handle)

    def tell(self, record: HandshakeRecord) -> None:
        """The handshake has failed."""
        if self._failed is not None:
            self._failed(record)

    def refused(self, record: HandshakeRecord) -> None:
        """The handshake was through for us, and has failed for the server."""
        if self._counters is not None:
            refuse_traffic(self._counters, self._cause)
        self.tell(record)

    # --- what comes behind the handshake ---

    @property
    def awaits_ticket(self) -> bool:
        """Whether a session may still come, so that reads have to `read_on`."""
        return self._handle.awaits_ticket

    def read_on(self, buffer: Any, count: int, now: float) -> int:
        """The first reads of a TLS 1.3 connection stop at each ticket, so that none is missed: keep them, and read on.

        Args:
            buffer: of RECORD bytes.
            count: what the read into it answered.
            now: seconds on the monotonic clock.

        Returns:
            What the last read answered. Above 0 there is data, and as a rule no ticket is to be expected any more.
        """
        context, handle = self._context, self._handle
        given = False
        while count <= 0 and SSL_get_error(handle.ssl, count) == WANT_READ and context.look(handle, now):
            given = True
            count = SSL_read(handle.ssl, buffer, RECORD)
        if count > 0:
            given = context.look(handle, now) or given
        if self._is_settled(given=given, answered=count > 0):
            context.settled(handle)
        return count

    def _is_settled(self, *, given: bool, answered: bool) -> bool:
        """Whether what the server has not given so far it does not give: it has said something.

        Args:
            given: a session has come with what was read now.
            answered: data has come.
        """
        return answered

    def look_for_tickets(self, now: float) -> None:
        """Nothing was read so far: what the server gave behind the handshake may be there. Behind close_notify it is lost."""
        clear_errors()
        for _ in range(_TICKETS_MOST):
            if self.read_on(_unwanted, SSL_read(self._handle.ssl, _unwanted, RECORD), now) <= 0:
                break
        clear_errors()

    # --- the end ---

    def truncated(self) -> None:
        """The server has ended the connection without close_notify."""
        self._context.truncated(self._handle)

    def ended(self, *, gone: bool, said: bool, now: float) -> None:
        """The connection is over, whose handshake was through.

        Args:
            gone: the server broke it.
            said: our close_notify is with the kernel.
            now: seconds on the monotonic clock.
        """
        unclean = Cause.UNCLEAN_BY_SERVER if gone else None if said else Cause.UNCLEAN_BY_US
        self._context.ended(self._handle, unclean, now)

    def over(self) -> None:
        """All is said, or the connection is gone: its place is free. May be called again."""
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.end()
