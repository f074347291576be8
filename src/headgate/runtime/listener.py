"""Listening sockets: accepts connections, honours maxconn and rate limits, starts sessions."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from headgate.base.addresses import WILDCARDS, Family
from headgate.config.model import Bind, Mode
from headgate.observe.counters import ListenerCounters
from headgate.plan.facts import TlsFacts
from headgate.proxy.client_session import ClientSession
from headgate.proxy.http_session import HttpSession
from headgate.proxy.port import Channel
from headgate.proxy.relay import RelaySession
from headgate.proxy.services import Reminder
from headgate.proxy.sides import Frontend
from headgate.runtime.arrival import Arrival, refuses
from headgate.runtime.channel import NOBODY, PlainChannel, Socket
from headgate.runtime.connector import HandshakeOwner
from headgate.runtime.reactor import READ, Reactor
from headgate.runtime.sockets import file_identity

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord

#: Connections that one event may accept: others must have their turn (as tune.maxaccept).
_ACCEPT_MOST: Final = 64
#: When an event follows the last one sooner than this, seconds, connections come in a rush: then it pays to accept more than one.
_RUSH: Final = 0.001
#: How long to wait before accepting again when the process ran out of descriptors, seconds.
_OUT_OF_DESCRIPTORS: Final = 0.1

#: Errors of `accept` that belong to the one connection, which is gone by then; try the next one (accept(2), "Error handling").
_OF_ONE_CONNECTION: Final = frozenset({
    errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT,
})


class TlsClientChannel(Channel, Protocol):
    """A client's TLS channel.

    Attributes:
        record: of the handshake that failed.
    """

    record: HandshakeRecord | None

    def begin(self) -> None:
        """Begin the handshake. The owner may be told the outcome before this returns."""

    def so_far(self) -> TlsFacts:
        """What is known of the connection, whether its handshake is done, under way or failed."""

    @property
    def failure(self) -> str:
        """Why the handshake failed, in a sentence for the log."""


#: SO_LINGER on, for no time: a close resets the connection and leaves no TIME_WAIT behind (manual, "option nolinger").
NO_LINGER: Final = struct.pack("ii", 1, 0)


class TlsAcceptor(Protocol):
    """Makes the TLS layer of client connections; `runtime.tls_openers.Answerer`."""

    def accept(self, reactor: Reactor, sock: socket.socket, hello: bytes, owner: HandshakeOwner) -> TlsClientChannel:
        """A channel on a socket whose first bytes, `hello`, were seen but not taken; its owner lets it begin."""

    def succeeded(self, channel: Any) -> HandshakeRecord:
        """The record of a handshake that is through, of a channel that this object made."""

    def given_up(self, channel: Any, timeout: float) -> HandshakeRecord:
        """The record of a handshake that has taken too long, of a channel that this object made."""

    def unheard(
        self, sock: socket.socket, seen: bytes, *, header: bool, lost: OSError | None = None, timeout: float = 0.0, why: str = ""
    ) -> HandshakeRecord:
        """The record of a connection that ended before there was a TLS object.

        Args:
            sock: still open.
            seen: what was received.
            header: it would have been a PROXY header.
            lost: how the connection broke; None when the client closed it, or nothing came in time.
            timeout: how long nothing came, seconds; 0.0 when that was not the reason.
            why: what is wrong with the header; "" when that was not the reason.
        """


class Listener:
    """One listening socket of a frontend.

    Attributes:
        side: the live frontend.
        tls: makes the TLS layer of an `ssl` bind line's connections, or None.
        name: `name` of the bind line, "" without one.
        number: `id` of the bind line, or its position among the sockets of the frontend.
        paused: not accepting: a limit is reached.
        counters: of this socket, with `option socket-stats` or a limit of its own.
    """

    __slots__ = (
        "_file", "_fixed", "_http", "_inet", "_kind", "_last", "_limited", "_passed", "_six", "accept_proxy", "armed", "bind",
        "counters", "deadline", "limit", "name", "number", "open", "paused", "reactor", "side", "sock", "tls",
    )

    def __init__(
        self, reactor: Reactor, side: Frontend, bind: Bind, sock: socket.socket, tls: TlsAcceptor | None, number: int
    ) -> None:
        self.reactor = reactor
        self.side = side
        self.bind = bind
        self.sock = sock
        self.tls = tls
        self.number = number
        counted = side.sockets.get(number)
        self.counters = counted.counters if counted is not None else None
        self.name = bind.name or ""
        self.accept_proxy = bind.accept_proxy
        self.limit = bind.maxconn or 0
        if self.limit and self.counters is None:
            self.counters = self._make_counters()
        self._limited = bool(self.limit or (tls is not None and side.shared.tls.limit))
        self._file = file_identity(bind.address.host) if bind.address.family is Family.UNIX else None
        self.paused = False
        self.open = False
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self._http = side.spec.mode is Mode.HTTP
        self._inet = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._six = sock.family == socket.AF_INET6
        self._passed = bind.address.family is Family.SOCKPAIR
        # With a fixed address the destination is known without asking the kernel for each connection.
        self._fixed: tuple[bytes, int] | None = None
        # Asking the socket object for these costs three enumerations for each connection.
        self._kind = (int(sock.family), int(sock.type), sock.proto)
        self._last = 0.0
        if self._inet:
            # Linux hands these on to the sockets that are accepted.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if side.spec.options.clitcpka:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if side.spec.options.nolinger:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            name = sock.getsockname()
            if name[0] not in WILDCARDS:
                self._fixed = (name[0].encode(), name[1])

    def start(self) -> None:
        """Accept from now on."""
        self.open = True
        self.reactor.watch(self.sock.fileno(), READ, self._passed_on if self._passed else self._accept)

    def stop(self) -> None:
        """Accept no more, and give the socket back."""
        if self.open:
            self.open = False
            self.reactor.retire(self)
            self.reactor.unwatch(self.sock.fileno())
        self.sock.close()

    def remove_file(self) -> None:
        """Remove the file of a unix socket, unless a newer process has put its own in that place already (`-st`)."""
        if self._file is not None and file_identity(self.bind.address.host) == self._file:
            with contextlib.suppress(OSError):
                os.unlink(self.bind.address.host)

    def pause(self) -> None:
        """Leave connections in the backlog."""
        if self.open and not self.paused:
            self.paused = True
            self.reactor.change(self.sock.fileno(), 0)

    def resume(self) -> None:
        """Accept again."""
        if self.open and self.paused:
            self.paused = False
            self.reactor.change(self.sock.fileno(), READ)

    def _make_counters(self) -> ListenerCounters:
        return ListenerCounters()

    def has_room(self) -> bool:
        """Whether `maxconn` of the bind line, and on an `ssl` one maxsslconn, allow another session."""
        if self.limit and self.counters is not None and self.counters.sessions >= self.limit:
            return False
        return self.tls is None or self.side.shared.tls.has_room()

    def _take(self) -> tuple[int, object] | None:
        """Accept a connection if all limits allow another session; None, and a pause, when one doesn't. Raises OSError."""
        if not self.side.may_accept() or (self._limited and not self.has_room()):
            # Resumed by `Shared.session_ended`, or by `TlsConnections.freed`.
            self.pause()
            self._make_room()
            return None
        return self._accepted() if self._passes_gates() else None

    def _accepted(self) -> tuple[int, object]:
        """Accept a connection that passed all limits."""
        try:
            descriptor, address = self.sock._accept()  # type: ignore[attr-defined]  # what accept() itself calls
        except OSError:
            for gate in self.side.gates(tls=self.tls is not None):
                gate.meter.untick()
            raise
        if self.tls is not None:
            self.side.shared.tls.begin()
        return descriptor, address

    def _make_room(self) -> None:
        """Behind a pause: if it is for want of a place for a TLS connection, one that serves nobody has to go."""
        if self.tls is not None and not self.side.shared.tls.has_room():
            self.side.shared.tls.make_room()

    def _passes_gates(self) -> bool:
        """Whether limits on connections in a second allow another one, which is counted; pauses for a while when one doesn't."""
        side = self.side
        shared = side.shared.gates
        if not (side.gate.limit or shared.connections.limit or shared.sessions.limit or shared.tls.limit):
            return True
        now = self.reactor.now
        gates = side.gates(tls=self.tls is not None)
        wait = max([gate.wait(now) for gate in gates], default=0.0)
        if wait:
            self.pause()
            self.reactor.arm(self, now + wait)
            return False
        for gate in gates:
            gate.meter.tick(now)
        return True

    def _place_anyway(self) -> None:
        """A connection was handed to us: there are no limits to ask."""
        if self.tls is not None:
            self.side.shared.tls.begin()

    def timed_out(self) -> None:
        """A pause for a rate limit or for lack of descriptors is over."""
        if not self.side.accept_paused:
            self.resume()

    def _accept(self, events: int) -> None:
        side = self.side
        now = self.reactor.now
        most = _ACCEPT_MOST if now - self._last < _RUSH else 1
        self._last = now
        family, kind, protocol = self._kind
        for _ in range(most):
            try:
                taken = self._take()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OF_ONE_CONNECTION:
                    continue
                # Out of descriptors or memory; or another process that has the socket shut it, which would make us spin.
                side.shared.counters.accept_failures += 1
                self.pause()
                self.reactor.arm(self, self.reactor.now + _OUT_OF_DESCRIPTORS)
                return
            if taken is None:
                return
            descriptor, address = taken
            self.welcome(Socket(family, kind, protocol, descriptor), address)

    def _passed_on(self, events: int) -> None:
        """`sockpair@`: connections arrive as descriptors over the socket (2.9.1)."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.sock, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            self.stop()
            return
        if not data and not descriptors:
            self.stop()
            return
        for descriptor in descriptors:
            sock = socket.socket(fileno=descriptor)
            self.reactor.shared.add(descriptor)
            try:
                address = sock.getpeername()
            except OSError:
                sock.close()
                continue
            self._place_anyway()
            self.welcome(sock, address)

    def welcome(self, sock: socket.socket, address: object) -> None:
        """A new client connection."""
        side = self.side
        reactor = self.reactor
        sock.setblocking(False)
        session: ClientSession = HttpSession(side) if self._http else RelaySession(side)
        session.counted = self.counters
        session.counted_tls = self.tls is not None
        session.accepted_at = reactor.wall
        session.listener_name = self.name
        session.listener_id = self.number
        if self._inet and isinstance(address, tuple):
            session.source = (_plain(address[0]) if self._six else address[0]).encode()
            session.source_port = address[1]
            fixed = self._fixed
            if fixed is None:
                name = sock.getsockname()
                fixed = (_plain(name[0]).encode(), name[1])
            session.destination, session.destination_port = fixed
        side.session_started(session, reactor.now)
        rules = side.plan.tcp_request_connection
        if rules is not None and refuses(rules, session):
            side.counters.denied_connections += 1
            if session.counted is not None:
                session.counted.denied_connections += 1
            side.not_a_session()
            sock.close()
            side.session_over(session)
            return
        if self.tls is not None or self.accept_proxy:
            Arrival(self, sock, session).begin()
            return
        rules = side.plan.tcp_request_session
        if rules is not None and refuses(rules, session):
            side.session_denied(session)
            sock.close()
            side.session_over(session)
            return
        side.session_accepted(reactor.now)
        channel = PlainChannel(reactor, sock, NOBODY)
        session.start(channel, 0)
        channel.begin()


def _plain(host: str) -> str:
    """An IPv4 client of an IPv6 socket in its own form, without a zone."""
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    return host.partition("%")[0] if "%" in host else host


def resume_all(listeners: Sequence[Listener]) -> None:
    """A session ended: whoever waits for a slot may accept again."""
    for listener in listeners:
        side = listener.side
        if listener.paused and not listener.deadline and not side.accept_paused and side.may_accept() and listener.has_room():
            listener.resume()
