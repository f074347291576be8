"""A TLS connection to a server with `allow-0rtt`: a request that goes with the ClientHello (RFC 8446 2.3; manual 5.2).

How much may go is the session's to say (`tls.server_early_data`), what goes the owner's, who is asked before the handshake
begins. It hears of the connection when the handshake is over, as always; `channel.tls.early_received` says whether the server has
the early data then, or has thrown it away. In either case the owner sends all of it: what the server has is left out here.

A handshake that fails behind early data may have failed behind the request, too: what may be done then is the owner's business.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from headgate.base.diagnostics import Bug
from headgate.observe.counters import ServerCounters
from headgate.proxy.tls_connections import TlsConnections
from headgate.runtime.connector import HandshakeOwner
from headgate.runtime.reactor import READ, WRITE, Reactor
from headgate.runtime.tls_channel import TlsChannel
from headgate.runtime.tls_openers import Dialler
from headgate.runtime.tls_server_side import ServerSide
from headgate.tls.client_context import ServerContext
from headgate.tls.facts import ConnectionFacts
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.openssl import (
    WANT_READ,
    WANT_WRITE,
    SSL_get_error,
    SSL_write_early_data,
    TlsError,
    clear_errors,
    ffi,
    take_error,
)
from headgate.tls.session_store import Dialled

#: What part of the socket's send buffer early data may fill, so that it goes at once. OpenSSL counts it anew each time that it is
#: written, and gives the handshake up when that is more than the session allows in all.
_SHARE: Final = 4

_count: Final = ffi.new("size_t *")


class EarlyRequester(HandshakeOwner, Protocol):
    """An owner that may have something to send before the handshake is over."""

    def early_data(self, most: int) -> bytes:
        """The beginning of what will be sent, `most` bytes of it at most; b"" for nothing. Asked once."""


class EarlyServerSide(ServerSide):
    """Of a connection with early data: a server may answer that before it gives a session, for which it needs our Finished.

    Attributes:
        taken: the server has the early data.
    """

    __slots__ = ("_given", "taken")

    def __init__(
        self, context: ServerContext, handle: Dialled, counters: ServerCounters | None,
        failed: Callable[[HandshakeRecord], None] | None, connections: TlsConnections | None,
    ) -> None:
        super().__init__(context, handle, counters, failed, connections)
        self.taken = False
        self._given = False  # a session has come

    def _is_settled(self, *, given: bool, answered: bool) -> bool:
        """See `ServerSide._is_settled`; the answer to early data comes before a ticket can, which is still expected then."""
        self._given = self._given or given
        return answered and (self._given or not self.taken)


class EarlyDialler(Dialler):
    """Makes the TLS layer where early data is allowed: an `EarlyServerChannel` where there is some to send."""

    __slots__ = ()

    def _channel(self, reactor: Reactor, sock: socket.socket, handle: Dialled, owner: HandshakeOwner) -> TlsChannel:
        context = self.context
        most = context.early_most(handle, reactor.now, reactor.wall)
        if most:
            most = min(most, sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // _SHARE)
        data = cast(EarlyRequester, owner).early_data(most) if most else b""
        if not data:
            return super()._channel(reactor, sock, handle, owner)
        side = EarlyServerSide(context, handle, self.counters, self.failed, self.connections)
        channel = EarlyServerChannel(reactor, sock, handle, context, owner, tuning=self.tuning, server=side)
        channel.carry(data, context, handle, side)
        return channel


class EarlyServerChannel(TlsChannel):
    """See the module."""

    __slots__ = ("_dialled", "_early", "_line", "_side", "_written")

    _early: bytes  # what the owner has yet to send again, of which the server has it or gets it
    _written: bool  # the early data is with the kernel
    _line: ServerContext
    _dialled: Dialled
    _side: EarlyServerSide

    def carry(self, data: bytes, context: ServerContext, handle: Dialled, side: EarlyServerSide) -> None:
        """Before the handshake begins: what is to go with it.

        Args:
            data: no more than `ServerContext.early_most` allows, and not empty.
            context, handle, side: of this connection.
        """
        self._early = data
        self._written = False
        self._line = context
        self._dialled = handle
        self._side = side

    # --- handshake ---

    def _advance(self) -> None:
        """Send ClientHello and early data, then go on with the handshake as far as it goes."""
        if not self._written:
            early = self._early
            clear_errors()
            result = SSL_write_early_data(self._ssl, early, len(early), _count)
            if result != 1:
                self._not_written(result)
                return
            self._written = True
        super()._advance()

    def _not_written(self, result: int) -> None:
        system_error = ffi.errno
        kind = SSL_get_error(self._ssl, result)
        if kind in (WANT_READ, WANT_WRITE):
            self._watch(READ if kind == WANT_READ else WRITE)
        else:
            self._handshake_failed(take_error(kind, system_error))

    def _learned(self, *, established: bool, error: int = 0, broken: bool = False) -> ConnectionFacts:
        facts = super()._learned(established=established, error=error, broken=broken)
        early_data = self._line.early_data
        if established and early_data is not None:
            self._side.taken = facts.early_received = early_data.accepted(self._ssl)
            if not facts.early_received:
                self._early = b""
                self._line.early_data_refused(self._dialled, self.reactor.now)
        return facts

    def explain(self, error: TlsError) -> HandshakeRecord:
        """See `TlsChannel.explain`."""
        if not self._established:
            self._line.early_data_refused(self._dialled, self.reactor.now)
        return super().explain(error)

    # --- effects ---

    def send(self, data: bytes) -> None:
        """See `proxy.port.Channel.send`."""
        early = self._early
        if early:
            self._early = b""
            if not data.startswith(early):
                raise Bug("what is sent does not begin with what the server has of it as early data")
            data = data[len(early) :]
        super().send(data)
