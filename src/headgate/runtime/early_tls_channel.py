"""A client's TLS connection on a bind line with `allow-0rtt`: what the client sends before the handshake is over (RFC 8446 2.3).

Early data can be replayed by whoever recorded it. So it goes to the session at once only where that one can say so to the server,
by `Early-Data: 1` (RFC 8470): in HTTP mode, to a client that chose its protocol by ALPN (manual 5.1 allow-0rtt). Otherwise it is
kept until the handshake is over, which proves that it was no replay. Nothing is sent before that either.
"""

from __future__ import annotations

import socket
from typing import Final, Protocol, cast

from headgate.proxy.port import Lost
from headgate.runtime.connector import HandshakeOwner
from headgate.runtime.reactor import READ, WRITE, Reactor
from headgate.runtime.tls_channel import TlsChannel
from headgate.runtime.tls_ending import FLUSH
from headgate.runtime.tls_openers import Answerer
from headgate.runtime.tls_tuning import RECORD
from headgate.tls.facts import ConnectionFacts
from headgate.tls.openssl import (
    WANT_READ,
    WANT_WRITE,
    SSL_do_handshake,
    SSL_get_error,
    SSL_read_early_data,
    clear_errors,
    ffi,
    take_error,
)

_SUCCESS: Final = 1
_FINISH: Final = 2
_buffer: Final = ffi.new("char[]", RECORD)
_count: Final = ffi.new("size_t *")

#: ALPN names of what can be told of early data.
_HTTP_1: Final = frozenset({b"http/1.1", b"http/1.0"})


class EarlyOwner(HandshakeOwner, Protocol):
    """Who waits for a handshake, and can take early data before it is over."""

    def early_data_begins(self) -> None:
        """Data will flow before the handshake is over; `channel.tls` has the facts."""


class HandshakeWitness(Protocol):
    """An owner that was given early data."""

    def handshake_finished(self) -> None:
        """The handshake is over: what came before was no replay."""


class EarlyAnswerer(Answerer):
    """Makes the TLS layer where early data is allowed: an `EarlyTlsChannel` for those who send some."""

    __slots__ = ()

    def accept(self, reactor: Reactor, sock: socket.socket, hello: bytes, owner: HandshakeOwner) -> TlsChannel:
        """See `Answerer.accept`."""
        context = self.context
        if not context.takes_early_data(hello):
            return super().accept(reactor, sock, hello, owner)
        handle = context.connection(sock, hello)
        channel = EarlyTlsChannel(reactor, sock, handle, context, owner, tuning=self.tuning, registered=True)
        channel.hello = hello
        channel.expect(tells_early=context.http)
        return channel


class EarlyTlsChannel(TlsChannel):
    """See the module. Until the handshake is over, sends wait in the channel (`blocked`), however the session goes on.

    Attributes:
        tells_early: the owner can tell its server about early data, so it may have it at once.
    """

    __slots__ = ("_early", "_handed_over", "_held", "_wants_write", "tells_early")

    tells_early: bool
    _early: bool  # early data may still come
    _handed_over: bool  # the owner has been given early data
    _held: bytes
    _wants_write: bool

    # --- handshake ---

    def expect(self, *, tells_early: bool) -> None:
        """Before the handshake begins; the attribute of that name."""
        self.tells_early = tells_early
        self._early = True
        self._handed_over = False
        self._held = b""
        self._wants_write = False

    def _handshake(self, _events: int) -> None:
        self._advance()

    def _advance(self) -> None:
        """Take the early data that is there, and go on with the handshake when it has ended."""
        while self._early:
            if self._failed:
                return
            clear_errors()
            result = SSL_read_early_data(self._ssl, _buffer, RECORD, _count)
            if result == _SUCCESS:
                self._early_data(ffi.unpack(_buffer, _count[0]))
            elif result == _FINISH:
                self._early = False
            else:
                self._not_yet(result)
                return
        if not self._failed:
            self._after_early_data()

    def _after_early_data(self) -> None:
        clear_errors()
        result = SSL_do_handshake(self._ssl)
        if result == 1:
            self._established_now()
        else:
            self._not_yet(result)

    def _not_yet(self, result: int) -> None:
        system_error = ffi.errno
        kind = SSL_get_error(self._ssl, result)
        if kind in (WANT_READ, WANT_WRITE):
            self._wants_write = kind == WANT_WRITE
            self._interest()
            return
        error = take_error(kind, system_error)
        if not self._handed_over:
            self._handshake_failed(error)
        else:
            self._failure = error.text
            self._met(error)
            self._lost(Lost.HANDSHAKE)

    def _early_data(self, data: bytes) -> None:
        """OpenSSL bounds how much of it may come."""
        self._held += data
        if self.tls is None:
            facts = self._learned(established=False)
            facts.early_received = True
            facts.early = self.tells_early and facts.alpn in _HTTP_1
            self.tls = self._facts = facts
            if facts.early:
                self._handed_over = True
                cast(EarlyOwner, self.owner).early_data_begins()
        if self._handed_over:
            self._deliver()

    def _established_now(self) -> None:
        facts = self.tls
        if not self._handed_over:
            if self._failed or self._closing:
                return
            received = facts is not None
            super()._established_now()
            if isinstance(self.tls, ConnectionFacts):
                self.tls.early_received = received
            self._deliver()
            return
        if self._failed or not isinstance(facts, ConnectionFacts):
            return
        self._established = True
        facts.complete()
        self._note_session()
        if self._tuning.key_updates is not None:
            self._tuning.key_updates.watch(self._ssl)
        if not self._closing:
            self.reactor.retire(self)  # the deadline of the handshake; closing has one of its own
        self.reactor.rebind(self.fd, self.ready)
        self._interest()
        if not self._closing:
            cast(HandshakeWitness, self.owner).handshake_finished()

    # --- early data and the owner ---

    def _deliver(self) -> None:
        if self._held and self._reading and not self._failed and not self._closing:
            data, self._held = self._held, b""
            self.owner.data_received(data)

    def resume(self) -> None:
        """See `TlsChannel.resume`: what was held comes first."""
        super().resume()
        if self._held:
            self.reactor.later(self._deliver)

    def send(self, data: bytes) -> None:
        """See `proxy.port.Channel.send`."""
        if self._established:
            super().send(data)
        elif data and not (self._failed or self._shut or self._closing):
            self._pending += data
            self.blocked = True

    def shutdown_write(self) -> None:
        """See `TlsChannel.shutdown_write`; behind the handshake."""
        if self._established:
            super().shutdown_write()
        elif not self._failed and not self._closing:
            self._shut = True

    def close(self) -> None:
        """See `TlsChannel.close`: an answer is sent when the handshake is over."""
        if self._established or not self._pending or self._failed or self._closing:
            super().close()
        else:
            self._closing = True
            self._reading = False
            self.reactor.arm(self, self.reactor.now + FLUSH)

    def timed_out(self) -> None:
        """The reactor's call: the handshake was not over in time, or see `TlsChannel.timed_out`."""
        if self._established or self._closing or self._failed:
            super().timed_out()
        else:
            self._failure = "the handshake behind early data was not finished in time"
            self._lost(Lost.TIMEOUT)

    def _interest(self) -> None:
        if self._established:
            super()._interest()
        else:
            self._watch(READ | WRITE if self._wants_write else READ)
