"""A client connection between accept and its session: connection rules, PROXY header, a look at the ClientHello, TLS handshake.

The plain case without `accept-proxy` does not pass through here at all: the listener starts its session at once.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, cast

from headgate.base.connection_errors import ConnectionFailure
from headgate.plan.facts import Stream
from headgate.proxy.accounts import count_handshake
from headgate.proxy.http_session import HttpSession
from headgate.proxy.port import Channel, Lost
from headgate.proxy.relay import RelaySession
from headgate.runtime.channel import NOBODY, PlainChannel
from headgate.runtime.reactor import READ, Reactor, Timed
from headgate.wire.client_hello import parse_client_hello
from headgate.wire.errors import ProtocolViolation
from headgate.wire.proxy_protocol import Command, Family, parse

if TYPE_CHECKING:
    from headgate.runtime.listener import Listener, TlsClientChannel

AWAIT_PROXY_HEADER: Final = 0
AWAIT_CLIENT_HELLO: Final = 1
HANDSHAKE: Final = 2
OVER: Final = 3

#: What is looked at without taking it from the socket: a PROXY header, or a ClientHello.
_PEEK = 16384

#: Failures that are counted as those of a handshake.
_OF_TLS: Final = frozenset({
    ConnectionFailure.SSL_ABORT, ConnectionFailure.SSL_EMPTY, ConnectionFailure.SSL_HANDSHAKE, ConnectionFailure.SSL_TIMEOUT,
})

_INTERNET_SOCKETS = (socket.AF_INET, socket.AF_INET6)
_INTERNET = (Family.INET, Family.INET6)

ClientSession = HttpSession | RelaySession


class Arrival:
    """One connection on its way to a session. Owner of the TLS channel until the handshake is done.

    Attributes:
        hello: the ClientHello as received, kept until the handshake is over, for explaining a failure.
    """

    __slots__ = (
        "_part", "_wanted", "armed", "channel", "deadline", "hello", "listener", "reactor", "session", "sock", "stage", "started",
    )

    def __init__(self, listener: Listener, sock: socket.socket, session: ClientSession) -> None:
        self.listener = listener
        self.reactor: Reactor = listener.reactor
        self.sock = sock
        self.session = session
        self.deadline = 0.0
        self.armed = 0.0
        self.started = self.reactor.now
        self.hello = b""
        self._part = b""
        self._wanted = 0
        self.channel: TlsClientChannel | None = None
        self.stage = AWAIT_PROXY_HEADER if listener.accept_proxy else AWAIT_CLIENT_HELLO
        patience = listener.side.t_client_hs
        if patience:
            self.reactor.arm(self, self.started + patience)
        self.reactor.watch(sock.fileno(), READ, self._readable)

    def _readable(self, events: int) -> None:
        try:
            data = self.sock.recv(_PEEK, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            header = self.stage == AWAIT_PROXY_HEADER
            self._fail(ConnectionFailure.PRX_ABORT if header else ConnectionFailure.SSL_ABORT, quiet=True)
            return
        if not data:
            header = self.stage == AWAIT_PROXY_HEADER
            self._fail(ConnectionFailure.PRX_EMPTY if header else ConnectionFailure.SSL_EMPTY, quiet=True)
        elif self.stage == AWAIT_PROXY_HEADER:
            self._proxy_header(data)
        else:
            self._client_hello(data)

    def _proxy_header(self, data: bytes) -> None:
        taken = self._part
        whole = taken + data
        try:
            header = parse(whole)
        except ProtocolViolation as violation:
            self._fail(ConnectionFailure.PRX_NOT_HDR, violation.reason)
            return
        if header is None:
            if len(whole) >= _PEEK:
                self._fail(ConnectionFailure.PRX_TRUNCATED, "longer than what is looked at")
                return
            # All of it belongs to the header. Left in the socket, it would be readable for ever and wake us each turn.
            self._part = whole
            self.sock.recv(len(data))
            return
        self._part = b""
        self.sock.recv(header.length - len(taken))
        session = self.session
        # Other families say nothing that logs and rules could use: the connection's own addresses stay.
        if header.command is Command.PROXY and header.family in _INTERNET:
            session.source, session.source_port = header.source, header.source_port
            session.destination, session.destination_port = header.destination, header.destination_port
        if self.listener.tls is not None:
            self.stage = AWAIT_CLIENT_HELLO
            rest = whole[header.length :]
            if rest:
                self._client_hello(rest)
            return
        self._established(PlainChannel(self.reactor, self.sock, NOBODY, registered=True))

    def _client_hello(self, data: bytes) -> None:
        """The first bytes of TLS are there: keep them for explanations, let OpenSSL read them from the socket."""
        context = self.listener.tls
        if context is None:
            return
        wanted = context.wanted(data)
        if len(data) < wanted <= _PEEK and wanted != self._wanted and self.sock.family in _INTERNET_SOCKETS:
            # Unread bytes keep the socket readable: the kernel shall wake us when there are more, or at the end.
            self._wanted = wanted
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
            return
        if self._wanted:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.stage = HANDSHAKE
        self.hello = data
        counters = self.listener.side.shared.counters
        counters.tls_connections += 1
        counters.tls_rate.tick(self.reactor.now)
        self.channel = context.accept(self.reactor, self.sock, data, self)

    # --- owner of the TLS channel ---

    def handshake_completed(self) -> None:
        """See `runtime.tls_channel.HandshakeOwner`."""
        channel = self.channel
        if channel is not None and self.stage == HANDSHAKE:
            self.hello = b""
            self._established(channel)

    def early_data_begins(self) -> None:
        """See `runtime.early_tls_channel.EarlyOwner`: the session begins; the channel keeps the deadline of the handshake."""
        deadline, channel = self.deadline, self.channel
        self.handshake_completed()
        if deadline and channel is not None:
            self.reactor.arm(cast(Timed, channel), deadline)

    def connection_lost(self, reason: Lost) -> None:
        """The handshake failed."""
        channel = self.channel
        self.channel = None
        why = channel.failure if channel is not None else ""
        self.listener.side.shared.counters.tls_failures += 1
        try:
            hello = parse_client_hello(self.hello) if self.hello else None
        except ProtocolViolation:
            hello = None
        self.session.hello = hello
        self._fail(ConnectionFailure.SSL_HANDSHAKE, why)

    def data_received(self, data: bytes) -> None:
        """Not before the handshake is done, and then the channel has another owner."""

    def eof_received(self) -> None:
        """See `data_received`."""

    def drained(self) -> None:
        """See `data_received`."""

    # --- the end ---

    def _established(self, channel: Channel) -> None:
        self.stage = OVER
        self.reactor.retire(self)
        session = self.session
        session.tls = channel.tls
        side = self.listener.side
        if channel.tls is not None:
            side.shared.client_handshake(channel.tls)
            count_handshake(channel.tls, side.counters, session.counted)
        rules = side.plan.tcp_request_session
        if rules is not None and rules(Stream(session)) is not None:
            side.session_denied(session)
            channel.abort()
            side.session_over(session)
            return
        side.session_accepted(self.reactor.now)
        session.start(channel, int((self.reactor.now - self.started) * 1000.0))

    def timed_out(self) -> None:
        """`timeout client-hs`."""
        header = self.stage == AWAIT_PROXY_HEADER
        self._fail(ConnectionFailure.PRX_TIMEOUT if header else ConnectionFailure.SSL_TIMEOUT)

    def _fail(self, failure: ConnectionFailure, why: str = "", *, quiet: bool = False) -> None:
        """Log and close.

        Args:
            failure: what happened, in HAProxy's words.
            why: what more is known.
            quiet: nothing was received: `option dontlognull` leaves it out.
        """
        if self.stage == OVER:
            return
        stage = self.stage
        self.stage = OVER
        self.reactor.retire(self)
        if self.channel is not None:
            self.channel.abort()
        elif stage != HANDSHAKE:
            self.reactor.unwatch(self.sock.fileno())
            self.sock.close()
        side = self.listener.side
        if failure in _OF_TLS:
            side.counters.tls_failed += 1
            if self.session.counted is not None:
                self.session.counted.tls_failed += 1
        if not (quiet and side.dont_log_null):
            session = self.session
            session.error_code = failure.number
            session.error_text = f"{failure.message} ({why})" if why else failure.message
            side.write_failure(session)
        side.session_over(self.session)
