"""A client connection between accept and its session: connection rules, PROXY header, a look at the ClientHello, TLS handshake.

The plain case without `accept-proxy` does not pass through here at all: the listener starts its session at once.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final, cast

from headgate.base.compiled import traceable
from headgate.base.connection_errors import ConnectionFailure
from headgate.plan.facts import Stream, TlsFacts
from headgate.plan.verdicts import Kind
from headgate.proxy.accounts import count_handshake, count_lookup
from headgate.proxy.client_session import ClientSession
from headgate.proxy.handshakes import handshake_completed, handshake_failed
from headgate.proxy.port import Channel, Lost
from headgate.proxy.services import Reminder, Timed
from headgate.runtime.channel import NOBODY, PlainChannel, has_unread
from headgate.runtime.reactor import READ, Reactor
from headgate.wire.hello_length import bytes_wanted, in_one_record
from headgate.wire.proxy_protocol import Command, Family, HeaderViolation, parse

if TYPE_CHECKING:
    from headgate.plan.frontends import Rules
    from headgate.runtime.listener import Listener, TlsClientChannel
    from headgate.tls.handshake_record import HandshakeRecord

AWAIT_PROXY_HEADER: Final = 0
AWAIT_CLIENT_HELLO: Final = 1
HANDSHAKE: Final = 2
OVER: Final = 3

#: What is looked at without taking it from the socket: a PROXY header, or a ClientHello.
_PEEK: Final = 16384
_MSG_PEEK: Final = socket.MSG_PEEK
#: Where that goes first. `recv` makes room for all that may come, and the little that did, which is kept, stays at its beginning.
_peeked: Final = memoryview(bytearray(_PEEK))

#: Where the kernel can wait for a number of bytes.
_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_INTERNET: Final = (Family.INET, Family.INET6)


def refuses(rules: Rules, session: ClientSession) -> bool:
    """Whether `tcp-request connection` or `session` rules refuse a connection: anything but `accept`, or no rule at all."""
    verdict = rules(Stream(session))
    return verdict is not None and verdict.kind is not Kind.ACCEPT


class Arrival:
    """One connection on its way to a session. Owner of the TLS channel until the handshake is done.

    Attributes:
        started: when the client was accepted, monotonic seconds.
    """

    __slots__ = (
        "_part", "_seen", "armed", "channel", "deadline", "listener", "reactor", "session", "sock", "stage", "started",
    )

    def __init__(self, listener: Listener, sock: socket.socket, session: ClientSession) -> None:
        """Begin to wait for the client.

        Args:
            listener: where it came from.
            sock: connected and non-blocking.
            session: that will be.
        """
        self.listener = listener
        self.reactor: Reactor = listener.reactor
        self.sock = sock
        self.session = session
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self.started = self.reactor.now
        self._part = b""
        self._seen = b""
        self.channel: TlsClientChannel | None = None
        self.stage = AWAIT_PROXY_HEADER if listener.accept_proxy else AWAIT_CLIENT_HELLO
        patience = listener.side.t_client_hs
        if patience:
            self.reactor.arm(self, self.started + patience)
        self.reactor.watch(sock.fileno(), READ, self._readable)

    def begin(self) -> None:
        """Look at what has come already: a client says hello right behind its connect, and that spares a turn of the reactor."""
        if has_unread(self.sock.fileno()):
            self._readable(READ)

    def _peek(self) -> bytes:
        """What has come, which stays in the socket. Raises OSError."""
        size = self.sock.recv_into(_peeked, _PEEK, _MSG_PEEK)
        return bytes(_peeked[:size])

    def _readable(self, events: int) -> None:
        try:
            data = self._peek()
        except BlockingIOError:
            return
        except OSError as error:
            failure = self._failure(ConnectionFailure.PRX_ABORT, ConnectionFailure.SSL_ABORT)
            self._fail(failure, self._unheard(lost=error), quiet=not self._part)
            return
        if not data:
            failure = self._failure(ConnectionFailure.PRX_EMPTY, ConnectionFailure.SSL_EMPTY)
            self._fail(failure, self._unheard(), quiet=not self._part)
        elif self.stage == AWAIT_PROXY_HEADER:
            self._proxy_header(data)
        else:
            self._client_hello(data)

    def _failure(self, header: ConnectionFailure, hello: ConnectionFailure) -> ConnectionFailure:
        """What it is called when a client waited for goes: by what it was to send; a header that has begun is truncated."""
        if self._part:
            return ConnectionFailure.PRX_TRUNCATED
        return header if self.stage == AWAIT_PROXY_HEADER else hello

    def _proxy_header(self, data: bytes) -> None:
        taken = self._part
        whole = taken + data
        try:
            header = parse(whole)
        except HeaderViolation as violation:
            record = self._unheard(whole, why=violation.reason)
            self._fail(violation.failure, record, violation.reason)
            return
        if header is None:
            if len(whole) >= _PEEK:
                why = "longer than what is looked at"
                self._fail(ConnectionFailure.PRX_TRUNCATED, self._unheard(whole, why=why), why)
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
        """The first bytes of TLS are there: the channel keeps them for explanations, OpenSSL reads them from the socket."""
        context = self.listener.tls
        if context is None or self._waits_for_more(data):
            return
        self.stage = HANDSHAKE
        counters = self.listener.side.shared.counters
        counters.tls_connections += 1
        counters.tls_rate.tick(self.reactor.now)
        channel = self.channel = context.accept(self.reactor, self.sock, data, self)
        channel.begin()

    def _waits_for_more(self, data: bytes) -> bool:
        """A hello that comes in pieces is looked at when it is whole, since what OpenSSL takes can't be seen any more.

        The kernel wakes us when enough is there, or when nothing more will come: then OpenSSL may have what there is.
        """
        if in_one_record(data) and not self._seen:
            return False
        wanted = bytes_wanted(data)
        waits = len(self._seen) < len(data) < wanted <= _PEEK and self.sock.family in _TCP
        if waits or self._seen:
            self._seen = data
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted if waits else 1)
        return waits

    # --- owner of the TLS channel ---

    def handshake_completed(self) -> None:
        """See `runtime.connector.HandshakeOwner`."""
        channel = self.channel
        tls = self.listener.tls
        if channel is None or tls is None or self.stage != HANDSHAKE:
            return
        record = tls.succeeded(channel)
        self._note(record)
        self.session.handshake = record
        handshake_completed(self.listener.side, record)
        count_lookup(self.listener.side.shared.counters, record)
        self._established(channel)

    def early_data_begins(self) -> None:
        """See `runtime.early_tls_channel.EarlyOwner`: the session begins; the channel keeps the deadline of the handshake."""
        deadline, channel = self.deadline, self.channel
        self.handshake_completed()
        if deadline and channel is not None:
            self.reactor.arm(cast(Timed, channel), deadline)

    @traceable
    def connection_lost(self, reason: Lost) -> None:
        """The handshake failed."""
        channel = self.channel
        self.channel = None
        failure = ConnectionFailure.SSL_HANDSHAKE
        if channel is not None:
            self.session.unfinished = channel.so_far()
            failure = self.session.unfinished.failure
        self._fail(failure, channel.record if channel is not None else None)

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
        tls = session.tls = channel.tls
        side = self.listener.side
        if tls is not None:
            side.shared.client_handshake(tls)
            count_handshake(tls, side.counters, session.counted)
        rules = side.plan.tcp_request_session
        if rules is not None and refuses(rules, session):
            side.session_denied(session)
            channel.abort()
            side.session_over(session)
            return
        side.session_accepted(self.reactor.now)
        session.start(channel, int((self.reactor.now - self.started) * 1000.0))

    def timed_out(self) -> None:
        """`timeout client-hs`."""
        failure = self._failure(ConnectionFailure.PRX_TIMEOUT, ConnectionFailure.SSL_TIMEOUT)
        tls, channel, patience = self.listener.tls, self.channel, self.listener.side.t_client_hs
        if self._seen and channel is None:
            with contextlib.suppress(OSError):
                self._seen = self._peek()  # what has come since, too little to wake us
        record = self._unheard(timeout=patience) if channel is None or tls is None else tls.given_up(channel, patience)
        self._fail(failure, record)

    def _unheard(
        self, seen: bytes = b"", *, lost: OSError | None = None, timeout: float = 0.0, why: str = ""
    ) -> HandshakeRecord | None:
        """See `runtime.listener.TlsAcceptor`; None on bind lines without `ssl`."""
        tls = self.listener.tls
        if tls is None:
            return None
        header = self.stage == AWAIT_PROXY_HEADER
        return tls.unheard(self.sock, seen or self._part or self._seen, header=header, lost=lost, timeout=timeout, why=why)

    def _note(self, record: HandshakeRecord) -> None:
        """Say in a record whose handshake it is."""
        session = self.session
        side = self.listener.side
        record.at = session.accepted_at
        record.milliseconds = int((self.reactor.now - self.started) * 1000.0)
        record.client, record.client_port = session.source, session.source_port
        record.address, record.port = session.destination, session.destination_port
        record.proxy = side.name
        record.line_name = session.listener_name or str(session.listener_id)
        record.takes_header = self.listener.accept_proxy

    def _fail(self, failure: ConnectionFailure, record: HandshakeRecord | None, why: str = "", *, quiet: bool = False) -> None:
        """Log and close.

        Args:
            failure: what happened, in HAProxy's words.
            record: of the TLS handshake that it was, or would have been.
            why: what more is known where there is no record.
            quiet: nothing was received: `option dontlognull` leaves it out.
        """
        if self.stage == OVER:
            return
        stage = self.stage
        self.stage = OVER
        self.reactor.retire(self)
        if record is not None:
            self._note(record)
        if self.channel is not None:
            self.channel.abort()
        elif stage != HANDSHAKE:
            self.reactor.unwatch(self.sock.fileno())
            self.sock.close()
        side = self.listener.side
        session = self.session
        if record is not None:
            if session.unfinished is None:
                session.unfinished = _unbegun() if self.channel is None else self.channel.so_far()
            session.handshake = record
            session.hello = record.hello
            # Before the PROXY header is read, the address is that of the proxy in front.
            track = stage != AWAIT_PROXY_HEADER
            handshake_failed(side, session, record, failure, session.counted, track=track)
        elif not (quiet and side.dont_log_null):
            session.error_code = failure.number
            session.error_text = f"{failure.message} ({why})" if why else failure.message
            side.write_failure(session)
        side.session_over(session)


def _unbegun() -> TlsFacts:
    """Facts of a connection that ended before TLS began. Loaded when there is one: a plain configuration has none."""
    from headgate.tls.unbegun import UNBEGUN

    return UNBEGUN
