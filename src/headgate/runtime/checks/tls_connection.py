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

from headgate.config.tls_options import Protocols
from headgate.observe.full_handshakes import Cause
from headgate.observe.key_exchanges import CheckKeys, KeyExchanges
from headgate.runtime.channel import has_unread
from headgate.runtime.checks.connection import READ_SIZE
from headgate.runtime.checks.failures import TlsFailure
from headgate.runtime.checks.watched import WatchedSocket, until_writable
from headgate.tls.client_context import ServerContext
from headgate.tls.openssl import WANT_READ, WANT_WRITE, ZERO_RETURN, TlsError, ffi, lib, system_failure, take_error

#: How long a connection that was closed waits for the end of its handshake, for a ticket, and then for the server, seconds.
HANDSHAKE, TICKET, GOODBYE = 1.0, 1.0, 1.0
#: What is read away meanwhile at most, bytes.
_MOST = 1 << 18
#: What is looked at of the server's first bytes.
_PEEK = 128
_CLOSED = lib.SSL_SENT_SHUTDOWN | lib.SSL_RECEIVED_SHUTDOWN
_buffer = ffi.new("char[]", READ_SIZE)


class CheckDialler:
    """Makes the TLS connections of one server's checks (`runtime.checks.connection.TlsClient`).

    Args:
        context: of the server's checks.
        exchanges: where handshakes are counted for the server.
        keys: where they are counted for the process.

    Attributes:
        silent: the server asks for certificates and says nothing of them: no check waits for that, until it does.
    """

    __slots__ = ("_leaving", "context", "exchanges", "keys", "silent")

    def __init__(
        self, context: ServerContext, exchanges: KeyExchanges | None = None, keys: CheckKeys | None = None
    ) -> None:
        self.context = context
        self.exchanges = exchanges if exchanges is not None else KeyExchanges()
        self.keys = keys if keys is not None else CheckKeys()
        self._leaving: set[TlsConnection] = set()
        self.silent = False

    @property
    def policy(self) -> bytes:
        """See `runtime.checks.connection.TlsClient.policy`."""
        return self.context.policy

    def open(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, sni: bytes | None, where: Hashable,
        protocols: Protocols | None = None,
    ) -> TlsConnection:
        """See `runtime.checks.connection.TlsClient.open`."""
        return TlsConnection(loop, sock, self, sni, where, protocols)

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


class TlsConnection(WatchedSocket):
    """A TLS connection over a connected socket.

    Args:
        loop: the running one.
        sock: connected to `where`, non-blocking.
        dialler: who makes it.
        sni: the name to ask for.
        where: the address that is connected to.
        protocols: to offer by ALPN, None for those of the dialler's context.

    Attributes:
        deadline, armed: the reactor's, for the end.

    Raises:
        MemoryError: OpenSSL could not make it.
    """

    __slots__ = (
        "_asked", "_broken", "_context", "_dialler", "_early", "_first", "_gone", "_handle", "_leaving", "_left",
        "_saying_goodbye", "_ssl", "_through", "armed", "deadline",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, dialler: CheckDialler, sni: bytes | None, where: Hashable,
        protocols: Protocols | None = None,
    ) -> None:
        super().__init__(loop, sock)
        self._leaving = False
        self._dialler = dialler
        self._context = dialler.context
        self._handle = self._context.dial(sock, sni, where, loop.time(), protocols)
        self._ssl = self._handle.ssl
        self._asked = False
        self._context.heed_request(self._handle)
        self._through = False  # the handshake
        self._first = b""
        self._early = b""
        self._broken: Cause | None = None
        self._saying_goodbye = False
        self._left = _MOST
        self.deadline = 0.0
        self.armed = 0.0
        self._gone: asyncio.Future[None] | None = None

    # --- the conversation ---

    async def handshake(self) -> None:
        """Complete the handshake.

        Raises:
            TlsFailure: it failed, for instance because the certificate was not accepted.
        """
        if has_unread(self._fd):
            self._peek()  # a server that speaks first
        await self._drive(lambda: int(lib.SSL_do_handshake(self._ssl)))
        self._completed()

    def overdue(self, seconds: float) -> str:
        """See `runtime.checks.connection.TlsLayer.overdue`."""
        self._dialler.exchanges.failed += 1
        record = self._context.explain(self._handle, self._sock, TlsError("timeout"), self._first)
        record.waited(seconds)
        return record.reason

    def _completed(self) -> None:
        self._through = True
        self._asked = self._context.asked(self._handle)
        now = self._loop.time()
        self._dialler.established(self._context.established(self._handle, now), now)

    async def verdict(self, seconds: float) -> None:
        """See `runtime.checks.connection.TlsLayer.verdict`."""
        if not self._asked or not self._handle.awaits_ticket or self._dialler.silent:
            return
        end = self._loop.time() + seconds
        while not self._listen_first(ends=True):
            left = end - self._loop.time()
            if left <= 0.0:
                self._dialler.silent = True
                return
            timer = self._loop.call_later(left, self._wake)
            try:
                await self._until_readable()
            finally:
                timer.cancel()
        self._asked = False

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        if self._handle.awaits_ticket:
            self._listen_first()
        at = 0
        while at < len(data):
            rest = data[at:]
            at += await self._drive(lambda: int(lib.SSL_write(self._ssl, rest, len(rest))))  # noqa: B023 -- before the next round

    def _listen_first(self, *, ends: bool = False) -> bool:
        """In TLS 1.3 a server that does not accept us says so behind our handshake, and is gone.

        After a write that fails for that, OpenSSL would not read any more why.

        Args:
            ends: the end of the connection is no failure.

        Returns:
            Whether anything has come.
        """
        lib.ERR_clear_error()
        came = False
        while True:
            result = int(lib.SSL_read(self._ssl, _buffer, READ_SIZE))
            if result > 0:
                self._early = bytes(ffi.unpack(_buffer, result))
                return True
            system_error = ffi.errno
            kind = lib.SSL_get_error(self._ssl, result)
            if kind in (WANT_READ, WANT_WRITE, ZERO_RETURN):
                if kind == WANT_READ and self._context.look(self._handle, self._loop.time()):
                    came = True
                    continue
                return came or kind == ZERO_RETURN
            error = take_error(kind, system_error)
            if ends and error.alert is None and self._context.explain(self._handle, self._sock, error, b"").alert is None:
                self._broken = Cause.UNCLEAN_BY_SERVER
                return True
            self._fail(error)

    async def receive(self) -> bytes:
        """What arrived, b"" at the end, be it a clean one or not: the conversation knows whether it was complete."""
        if self._early:
            early, self._early = self._early, b""
            return early
        count = await self._drive(lambda: int(lib.SSL_read(self._ssl, _buffer, READ_SIZE)))
        data = bytes(ffi.unpack(_buffer, count)) if count > 0 else b""
        if data and self._handle.awaits_ticket:
            now = self._loop.time()
            self._context.look(self._handle, now)
            self._context.settled(self._handle)
        return data

    async def _drive(self, operation: Callable[[], int]) -> int:
        """Repeat an operation until it is through; 0 when the server has ended the connection with close_notify."""
        while True:
            lib.ERR_clear_error()
            result = operation()
            if result > 0:
                return result
            system_error = ffi.errno
            kind = lib.SSL_get_error(self._ssl, result)
            if kind == WANT_READ:
                if self._handle.awaits_ticket and self._context.look(self._handle, self._loop.time()):
                    continue  # it stopped at a ticket: more may be there already
                await self._until_readable()
                if not self._through and not self._first:
                    self._peek()
            elif kind == WANT_WRITE:
                await until_writable(self._loop, self._fd)
            elif kind == ZERO_RETURN:
                return 0
            else:
                self._fail(take_error(kind, system_error))

    def _peek(self) -> None:
        """What the server says first, in case that it is no TLS."""
        try:
            self._first = self._sock.recv(_PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            pass
        except OSError as broken:  # the system says it once: OpenSSL would take it for an end
            self._fail(system_failure(broken.errno or 0))

    def _fail(self, error: TlsError) -> None:
        self._broken = Cause.UNCLEAN_BY_SERVER if error.errno or error.eof else Cause.UNCLEAN_BY_US
        if not self._through:
            self._dialler.exchanges.failed += 1
        if error.errno and self._through:
            raise OSError(error.errno, error.text) from None
        if self._through and error.alert is None:
            raise TlsFailure("connection closed by the server" if error.eof else error.text) from None
        raise TlsFailure(self._context.explain(self._handle, self._sock, error, self._first).reason) from None

    # --- between two exchanges ---

    def _stir(self, gone: Callable[[], None]) -> None:
        """Something came while nobody asked: it may be a ticket, and then all is well."""
        while True:
            lib.ERR_clear_error()
            result = int(lib.SSL_read(self._ssl, _buffer, READ_SIZE))
            system_error = ffi.errno
            kind = lib.SSL_get_error(self._ssl, result)
            if result <= 0 and kind == WANT_READ:
                if self._handle.awaits_ticket and self._context.look(self._handle, self._loop.time()):
                    continue
                return
            if result <= 0 and kind != ZERO_RETURN:
                error = take_error(kind, system_error)
                self._broken = Cause.UNCLEAN_BY_SERVER if error.errno or error.eof else Cause.UNCLEAN_BY_US
            gone()
            return

    # --- its end ---

    def close(self) -> None:
        """Leave the server as cleanly as it lets us, behind the caller's back. Must be called on the running loop."""
        if self._broken is not None:
            self._release()
            return
        self._dialler.leaves(self)
        self._waiter = None
        self._leaving = True
        self._watch()
        if not self._through:
            # To break a handshake off would cost the session that it resumes, with Java's servers at least.
            self._reactor.arm(self, self._loop.time() + HANDSHAKE)
        else:
            self._leave()

    def _leave(self) -> None:
        if self._handle.awaits_ticket:
            self._reactor.arm(self, self._loop.time() + TICKET)
            self._look_for_tickets()
        else:
            self._say_goodbye()

    def _readable(self, events: int) -> None:
        """The reactor's call."""
        if self._saying_goodbye:
            self._drain()
        elif self._leaving and not self._through:
            self._end_handshake()
        elif self._leaving:
            self._look_for_tickets()
        else:
            super()._readable(events)

    def _end_handshake(self) -> None:
        """The handshake of a check that was given up goes on."""
        lib.ERR_clear_error()
        result = int(lib.SSL_do_handshake(self._ssl))
        if result != 1:
            kind = lib.SSL_get_error(self._ssl, result)
            if kind != WANT_READ:
                lib.ERR_clear_error()
                self._broken = Cause.UNCLEAN_BY_SERVER
                self._release()
            return
        self._completed()
        self._leave()

    def _look_for_tickets(self) -> None:
        lib.ERR_clear_error()
        while True:
            result = lib.SSL_read(self._ssl, _buffer, READ_SIZE)
            if result > 0:
                self._left -= result
                if self._left > 0:
                    continue
            system_error = ffi.errno
            kind = lib.SSL_get_error(self._ssl, result)
            came = self._context.look(self._handle, self._loop.time())
            if kind == WANT_READ and not came:
                return
            if kind not in (WANT_READ, ZERO_RETURN):
                error = take_error(kind, system_error)
                if error.errno or error.eof:
                    self._broken = Cause.UNCLEAN_BY_SERVER
                if error.alert is not None:
                    self._dialler.silent = False  # it does say it, only late
            break
        # Here is a ticket (others are on their way together with it, but one is enough), or nothing more will come.
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        self._saying_goodbye = True
        lib.ERR_clear_error()
        # A fresh socket's send buffer has room for an alert.
        if lib.SSL_shutdown(self._ssl) < 0:
            lib.ERR_clear_error()
            self._broken = self._broken or Cause.UNCLEAN_BY_US
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken = self._broken or Cause.UNCLEAN_BY_SERVER
            self._release()
            return
        self._reactor.arm(self, self._loop.time() + GOODBYE)

    def timed_out(self) -> None:
        """The reactor's call: the handshake was not over in time, no ticket came, or the server did not let go."""
        if self._through and not self._saying_goodbye:
            self._say_goodbye()
        else:
            self._release()

    def when_gone(self, told: asyncio.Future[None]) -> None:
        """Set the result of `told` when it is gone."""
        self._gone = told

    def _drain(self) -> None:
        try:
            while True:
                count = len(self._sock.recv(READ_SIZE))
                self._left -= count
                if not count or self._left <= 0:
                    break
        except BlockingIOError:
            return
        except OSError:
            pass
        self._release()

    def _release(self) -> None:
        if self.deadline or self.armed:
            self._reactor.retire(self)
        if self._through:
            # Without this OpenSSL would mark the session of a connection whose close_notify did not come back as unusable.
            lib.SSL_set_shutdown(self._ssl, _CLOSED)
            self._context.ended(self._handle, self._broken, self._loop.time())
        self._close_socket()
        self._dialler.left(self)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
