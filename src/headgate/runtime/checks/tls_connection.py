"""The TLS connection of a check. Imported only where there is one: a plain configuration starts without OpenSSL.

A check is over when its result is known, but its connection is not: it stays for a moment, without holding the check up. It
waits for the ticket that a TLS 1.3 server gives behind the handshake, without which the next check could not resume; then it
says close_notify and waits for the server's, since servers that insist on it (Java's do) throw the session away otherwise.

Only where a TLS 1.3 server has asked for a certificate the check itself waits, for a ticket or an alert: what it thinks of ours,
or of our having none, is said behind our handshake.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Hashable
from typing import Final, NoReturn

from headgate.config.tls_options import Protocols
from headgate.observe.full_handshakes import Cause
from headgate.observe.key_exchanges import CheckKeys, KeyExchanges
from headgate.proxy.services import Reminder
from headgate.proxy.tls_connections import TlsConnections
from headgate.runtime.channel import cork, has_unread, uncork
from headgate.runtime.checks.connection import READ_SIZE, TlsLayer, nothing
from headgate.runtime.checks.failures import TlsFailure
from headgate.runtime.reactor import READ, WRITE, Reactor
from headgate.tls.client_context import ServerContext
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.openssl import (
    CLOSED,
    WANT_READ,
    WANT_WRITE,
    ZERO_RETURN,
    SSL_do_handshake,
    SSL_get_error,
    SSL_pending,
    SSL_read,
    SSL_set_shutdown,
    SSL_shutdown,
    SSL_write,
    TlsError,
    clear_errors,
    ffi,
    system_failure,
    take_error,
    unpack,
)

#: How long a connection that was closed waits for the end of its handshake, for a ticket, and then for the server, seconds.
HANDSHAKE: Final = 1.0
TICKET: Final = 1.0
GOODBYE: Final = 1.0
#: What is read away meanwhile at most, bytes.
_MOST: Final = 1 << 18
#: What is looked at of the server's first bytes.
_PEEK: Final = 128
_buffer: Final = ffi.new("char[]", READ_SIZE)


def _untold(record: HandshakeRecord) -> None:
    """Nobody wants to know."""


class TlsDialler:
    """Makes the TLS connections of one server's checks, or those to one name server (`runtime.checks.connection.TlsClient`).

    Args:
        context: of the server.
        exchanges: where handshakes are counted for the server.
        keys: where they are counted for the process.
        connections: among which each connection counts while there is one; no limit concerns it.
        failed: told of each handshake that fails.

    Attributes:
        silent: the server asks for certificates and says nothing of them: no check waits for that, until it does.
    """

    __slots__ = ("_leaving", "connections", "context", "exchanges", "failed", "keys", "silent")

    def __init__(
        self, context: ServerContext, exchanges: KeyExchanges | None = None, keys: CheckKeys | None = None,
        connections: TlsConnections | None = None, failed: Callable[[HandshakeRecord], None] = _untold,
    ) -> None:
        self.context = context
        self.failed = failed
        self.exchanges = exchanges if exchanges is not None else KeyExchanges()
        self.keys = keys if keys is not None else CheckKeys()
        self.connections = connections if connections is not None else TlsConnections()
        self._leaving: set[TlsConnection] = set()
        self.silent = False

    @property
    def policy(self) -> bytes:
        """See `runtime.checks.connection.TlsClient.policy`."""
        return self.context.policy

    def open(
        self, reactor: Reactor, sock: socket.socket, proceed: Callable[[], None], sni: bytes | None, where: Hashable,
        protocols: Protocols | None = None,
    ) -> TlsConnection:
        """See `runtime.checks.connection.TlsClient.open`."""
        return TlsConnection(reactor, sock, proceed, self, sni, where, protocols)

    async def settle(self) -> None:
        """Wait until all connections that were closed are gone; that takes `TICKET` and `GOODBYE` seconds at most."""
        while self._leaving:
            gone = asyncio.get_running_loop().create_future()
            next(iter(self._leaving)).when_gone(gone)
            await gone

    def established(self, cause: Cause | None, now: float) -> None:
        """Count a handshake that is through."""
        self.exchanges.count(cause)
        self.keys.connections += 1
        if cause is not None:
            self.keys.keys.tick(now)

    def leaves(self, connection: TlsConnection) -> None:
        """A connection has been closed, but is not gone."""
        self._leaving.add(connection)

    def left(self, connection: TlsConnection) -> None:
        """It is gone."""
        self._leaving.discard(connection)


class TlsConnection(TlsLayer):
    """A TLS connection over a connected socket.

    Args:
        reactor, sock, proceed: see `runtime.checks.connection.Connection`; the socket is connected to `where`.
        dialler: who makes it.
        sni: the name to ask for.
        where: the address that is connected to.
        protocols: to offer by ALPN, None for those of the dialler's context.

    Attributes:
        deadline, armed: the reactor's: how long a verdict may take, and the end.

    Raises:
        MemoryError: OpenSSL could not make it.
    """

    __slots__ = (
        "_asked", "_broken", "_cause", "_context", "_corked", "_counted", "_dialler", "_early", "_first", "_handle", "_leaving",
        "_left", "_saying_goodbye", "_ssl", "_through", "_told", "armed", "deadline",
    )  # fmt: skip

    def __init__(
        self, reactor: Reactor, sock: socket.socket, proceed: Callable[[], None], dialler: TlsDialler, sni: bytes | None,
        where: Hashable, protocols: Protocols | None = None,
    ) -> None:
        super().__init__(reactor, sock, proceed)
        self._leaving = False
        self._dialler = dialler
        self._context = dialler.context
        self._handle = self._context.dial(sock, sni, where, reactor.now, protocols)
        self._ssl = self._handle.ssl
        self._asked = False
        self._context.heed_request(self._handle)
        self._through = False  # the handshake
        self._cause: Cause | None = None  # why it was a full one
        self._first = b""
        self._early = b""
        self._broken: Cause | None = None
        self._saying_goodbye = False
        self._left = _MOST
        self._corked = False
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self._told: asyncio.Future[None] | None = None
        if has_unread(self._fd):
            self._peek()  # a server that speaks first
        dialler.connections.begin()
        self._counted = True

    # --- the conversation ---

    def handshake(self) -> bool:
        """See `runtime.checks.connection.TlsLayer.handshake`."""
        if self._came:
            self._came = False
            if not self._first:
                self._peek()
            self._cork()
        while True:
            clear_errors()
            result = int(SSL_do_handshake(self._ssl))
            if result > 0:
                self._completed()
                return True
            system_error = ffi.errno
            if not self._again(SSL_get_error(self._ssl, result), system_error):
                return False

    def overdue(self, seconds: float) -> str:
        """See `runtime.checks.connection.TlsLayer.overdue`."""
        self._dialler.exchanges.failed += 1
        record = self._context.explain(self._handle, self._sock, TlsError("timeout"), self._first)
        record.waited(seconds)
        self._dialler.failed(record)
        return record.reason

    def _completed(self) -> None:
        self._through = True
        self._asked = self._context.asked(self._handle)
        now = self._reactor.now
        self._cause = self._context.established(self._handle, now)
        self._dialler.established(self._cause, now)

    def verdict(self, seconds: float) -> bool:
        """See `runtime.checks.connection.TlsLayer.verdict`."""
        if not self._asked or not self._handle.awaits_ticket or self._dialler.silent:
            return True
        if not self._listen_first(ends=True):
            if not self.deadline:
                self._reactor.arm(self, self._reactor.now + seconds)
            self._await(READ)
            return False
        self.deadline = 0.0
        self._asked = False
        return True

    def send(self, data: bytes) -> int:
        """See `runtime.checks.connection.Connection.send`."""
        if self._handle.awaits_ticket:
            self._listen_first()
        while True:
            clear_errors()
            result = int(SSL_write(self._ssl, data, len(data)))
            if result > 0:
                if result < len(data):
                    self._await(WRITE)
                return result
            system_error = ffi.errno
            if not self._again(SSL_get_error(self._ssl, result), system_error):
                return 0

    def _listen_first(self, *, ends: bool = False) -> bool:
        """In TLS 1.3 a server that does not accept us says so behind our handshake, and is gone.

        After a write that fails for that, OpenSSL would not read any more why.

        Args:
            ends: the end of the connection is no failure.

        Returns:
            Whether anything has come.
        """
        clear_errors()
        came = False
        while True:
            result = int(SSL_read(self._ssl, _buffer, READ_SIZE))
            if result > 0:
                self._early += bytes(unpack(_buffer, result))
                return True
            system_error = ffi.errno
            kind = SSL_get_error(self._ssl, result)
            if kind in (WANT_READ, WANT_WRITE, ZERO_RETURN):
                if kind == WANT_READ and self._context.look(self._handle, self._reactor.now):
                    came = True
                    continue
                return came or kind == ZERO_RETURN
            error = take_error(kind, system_error)
            if ends and error.alert is None and self._context.explain(self._handle, self._sock, error, b"").alert is None:
                self._note_end(error)
                return True
            self._fail(error)

    def receive(self, most: int = READ_SIZE) -> bytes | None:
        """See `runtime.checks.connection.Connection.receive`; the conversation knows whether an unclean end matters."""
        if self._early:
            early, self._early = self._early, b""
            return early
        if not self._came and not SSL_pending(self._ssl):
            self._await(READ)
            return None
        self._came = False
        while True:
            clear_errors()
            result = int(SSL_read(self._ssl, _buffer, most))
            if result > 0:
                break
            system_error = ffi.errno
            kind = SSL_get_error(self._ssl, result)
            if kind == ZERO_RETURN:
                return b""
            if not self._again(kind, system_error):
                return None
        data = bytes(unpack(_buffer, result))
        if self._handle.awaits_ticket:
            self._context.look(self._handle, self._reactor.now)
            self._context.settled(self._handle)
        return data

    def _again(self, kind: int, system_error: int) -> bool:
        """What an operation came to that did not succeed: whether it may at once; else it is awaited when it can."""
        if kind == WANT_READ:
            if self._handle.awaits_ticket and self._context.look(self._handle, self._reactor.now):
                return True  # it stopped at a ticket: more may be there already
            self._await(READ)
            return False
        if kind == WANT_WRITE:
            self._await(WRITE)
            return False
        self._fail(take_error(kind, system_error))

    def _peek(self) -> None:
        """What the server says first, in case that it is no TLS."""
        try:
            self._first = self._sock.recv(_PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            pass
        except OSError as broken:  # the system says it once: OpenSSL would take it for an end
            self._fail(system_failure(broken.errno or 0))

    def _note_end(self, error: TlsError) -> None:
        """An error has ended the connection: who did not say close_notify."""
        self._broken = Cause.UNCLEAN_BY_SERVER if error.errno or error.eof else Cause.UNCLEAN_BY_US
        if error.eof and self._through:
            self._context.truncated(self._handle)

    def _fail(self, error: TlsError) -> NoReturn:
        self._note_end(error)
        if error.errno and self._through:
            raise OSError(error.errno, error.text) from None
        if self._through and error.alert is None:
            raise TlsFailure("connection closed by the server" if error.eof else error.text) from None
        if not self._through:
            self._dialler.exchanges.failed += 1
        elif self._handle.awaits_ticket:  # nothing was heard since the handshake
            self._dialler.exchanges.refused(self._cause)
        record = self._context.explain(self._handle, self._sock, error, self._first)
        self._dialler.failed(record)
        raise TlsFailure(record.reason) from None

    # --- few packets ---

    def _cork(self) -> None:
        """What is sent from now on leaves in as few packets as can be, when we wait again: our Finished with the question."""
        if not self._corked:
            self._corked = True
            cork(self._sock)

    def _uncork(self) -> None:
        if self._corked:
            self._corked = False
            uncork(self._sock)

    def _await(self, events: int) -> None:
        self._uncork()
        super()._await(events)

    # --- between two exchanges ---

    def rest(self, gone: Callable[[], None]) -> None:
        """See `runtime.checks.connection.Connection.rest`."""
        self._uncork()
        super().rest(gone)

    def _stir(self, gone: Callable[[], None]) -> None:
        """Something came while nobody asked: it may be a ticket, and then all is well."""
        while True:
            clear_errors()
            result = int(SSL_read(self._ssl, _buffer, READ_SIZE))
            system_error = ffi.errno
            kind = SSL_get_error(self._ssl, result)
            if result <= 0 and kind == WANT_READ:
                if self._handle.awaits_ticket and self._context.look(self._handle, self._reactor.now):
                    continue
                return
            if result <= 0 and kind != ZERO_RETURN:
                self._note_end(take_error(kind, system_error))
            gone()
            return

    # --- its end ---

    def close(self) -> None:
        """Leave the server as cleanly as it lets us, behind the caller's back. Must be called on the running loop."""
        if self._broken is not None:
            self._release()
            return
        self._dialler.leaves(self)
        self.proceed = nothing
        self._leaving = True
        self._watch(READ)
        if not self._through:
            # To break a handshake off would cost the session that it resumes, with Java's servers at least.
            self._reactor.arm(self, self._reactor.now + HANDSHAKE)
        else:
            self._leave()

    def _leave(self) -> None:
        if self._handle.awaits_ticket:
            self._uncork()
            self._reactor.arm(self, self._reactor.now + TICKET)  # it takes a moment: looked for when something comes
        else:
            self._say_goodbye()

    def _happened(self, events: int) -> None:
        """The reactor's call."""
        if not self._leaving:
            super()._happened(events)
        elif self._saying_goodbye:
            self._drain()
        elif self._through:
            self._look_for_tickets()
        else:
            self._end_handshake()

    def _end_handshake(self) -> None:
        """The handshake of a check that was given up goes on."""
        clear_errors()
        result = int(SSL_do_handshake(self._ssl))
        if result != 1:
            kind = SSL_get_error(self._ssl, result)
            if kind != WANT_READ:
                clear_errors()
                self._broken = Cause.UNCLEAN_BY_SERVER
                self._release()
            return
        self._completed()
        self._leave()

    def _look_for_tickets(self) -> None:
        clear_errors()
        while True:
            result = SSL_read(self._ssl, _buffer, READ_SIZE)
            if result > 0:
                self._left -= result
                if self._left > 0:
                    continue
            system_error = ffi.errno
            kind = SSL_get_error(self._ssl, result)
            came = self._context.look(self._handle, self._reactor.now)
            if kind == WANT_READ and not came:
                return
            if kind not in (WANT_READ, ZERO_RETURN):
                error = take_error(kind, system_error)
                if error.errno or error.eof:
                    self._note_end(error)
                if error.alert is not None:
                    self._dialler.silent = False  # it does say it, only late
            break
        # Here is a ticket (others are on their way together with it, but one is enough), or nothing more will come.
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        self._saying_goodbye = True
        self._cork()  # FIN goes with it
        clear_errors()
        # A fresh socket's send buffer has room for an alert.
        if SSL_shutdown(self._ssl) < 0:
            clear_errors()
            self._broken = self._broken or Cause.UNCLEAN_BY_US
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken = self._broken or Cause.UNCLEAN_BY_SERVER
            self._release()
            return
        self._reactor.arm(self, self._reactor.now + GOODBYE)

    def timed_out(self) -> None:
        """The reactor's call: no verdict came, the handshake was not over in time, no ticket, or the server did not let go."""
        if not self._leaving:
            self._dialler.silent = True
            self.proceed()
        elif self._through and not self._saying_goodbye:
            self._say_goodbye()
        else:
            self._release()

    def when_gone(self, told: asyncio.Future[None]) -> None:
        """Set the result of `told` when it is gone."""
        self._told = told

    def _drain(self) -> None:
        count = 1
        while count and self._left > 0:
            try:
                count = len(self._sock.recv(READ_SIZE))
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if not count and self._left == _MOST:
                self._broken = Cause.UNCLEAN_BY_SERVER  # not even a close_notify has come
            self._left -= count
        self._release()

    def _release(self) -> None:
        if self.armed is not None:
            self._reactor.retire(self)
        if self._through:
            # Without this OpenSSL would mark the session of a connection whose close_notify did not come back as unusable.
            SSL_set_shutdown(self._ssl, CLOSED)
            self._context.ended(self._handle, self._broken, self._reactor.now)
        self._close_socket()
        if self._counted:
            self._counted = False
            self._dialler.connections.end()
        self._dialler.left(self)
        if self._told is not None and not self._told.done():
            self._told.set_result(None)
