"""Who makes TLS channels: `Answerer` for the connections of a bind line, `Dialler` for those to a server.

They are what `runtime.listener` and `runtime.connector` know of TLS; a connection itself is in `tls_channel`. `Answerer` writes
the records of its handshakes, also of those that never began.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Hashable
from typing import Final

from headgate.observe.counters import ServerCounters
from headgate.proxy.services import Reminder
from headgate.proxy.tls_connections import TlsConnections
from headgate.runtime.connector import HandshakeOwner, TlsServerChannel
from headgate.runtime.reactor import Reactor
from headgate.runtime.tls_channel import TlsChannel
from headgate.runtime.tls_server_side import ServerSide
from headgate.runtime.tls_tuning import UNTUNED, TlsTuning
from headgate.tls.client_context import ServerContext
from headgate.tls.first_contact import FirstContact
from headgate.tls.handshake_facts import note_bytes, note_success
from headgate.tls.handshake_record import Ended, HandshakeRecord, Step
from headgate.tls.openssl import TlsError
from headgate.tls.server_context import BindContext
from headgate.tls.session_store import Dialled

#: How long those who wait for another connection's session wait on when it is through, seconds: a server that keeps sessions in
#: memory has it behind its last word.
BREATH: Final = 0.01


class Waiting:
    """Connections that wait for the first contact with their server (`tls.first_contact.Queue`).

    Attributes:
        deadline, armed: the reactor's.
    """

    __slots__ = ("_first", "_go_on", "_reactor", "armed", "deadline")

    def __init__(self, reactor: Reactor, first: FirstContact) -> None:
        self._reactor = reactor
        self._first = first
        self._go_on: list[Callable[[], None]] = []
        self.deadline = 0.0
        self.armed: Reminder | None = None
        reactor.arm(self, first.until)

    def add(self, go_on: Callable[[], None]) -> None:
        """See `tls.first_contact.Queue`."""
        self._go_on.append(go_on)

    def first_is_over(self) -> None:
        """See `tls.first_contact.Queue`."""
        self._reactor.arm(self, self._reactor.now + BREATH)

    def timed_out(self) -> None:
        """The reactor's call: the first one has its session, and so has the server, or it has taken too long."""
        self._first.over = True
        waiting, self._go_on = self._go_on, []
        for go_on in waiting:
            self._reactor.later(go_on)


class Dialler:
    """Makes the TLS layer of one server's connections (`runtime.connector.TlsOpener`).

    Args:
        context: of the server's line.
        counters: of the server: handshakes are counted there, with the reason why they were full ones.
        failed: told of each handshake that fails.
        tuning: limits of records and key updates.
        connections: all TLS connections, among which each one needs a place; None where nobody counts them.
        refused: told of each one that is not made because there is no place.
    """

    __slots__ = ("connections", "context", "counters", "failed", "refused", "tuning")

    def __init__(
        self,
        context: ServerContext,
        counters: ServerCounters | None = None,
        failed: Callable[[HandshakeRecord], None] | None = None,
        tuning: TlsTuning = UNTUNED,
        connections: TlsConnections | None = None,
        refused: Callable[[], None] | None = None,
    ) -> None:
        self.connections = connections
        self.refused = refused
        self.context = context
        self.counters = counters
        self.failed = failed
        self.tuning = tuning

    def reserve(self) -> bool:
        """See `runtime.connector.TlsOpener`."""
        if self.connections is None or self.connections.reserve():
            return True
        if self.refused is not None:
            self.refused()
        return False

    def give_back(self) -> None:
        """See `runtime.connector.TlsOpener`."""
        if self.connections is not None:
            self.connections.end()

    def open(
        self,
        reactor: Reactor,
        sock: socket.socket,
        sni: bytes | None,
        where: Hashable,
        owner: HandshakeOwner,
        go_on: Callable[[], None] | None = None,
    ) -> TlsChannel | None:
        """See `runtime.connector.TlsOpener`."""
        handle = self.context.dial(sock, sni, where, reactor.now)
        first = handle.behind
        if first is not None and go_on is not None:
            self._wait(reactor, first, go_on)
            return None
        return self._channel(reactor, sock, handle, owner)

    def _wait(self, reactor: Reactor, first: FirstContact, go_on: Callable[[], None]) -> None:
        if first.queue is None:
            first.queue = Waiting(reactor, first)
        first.queue.add(go_on)

    def _channel(self, reactor: Reactor, sock: socket.socket, handle: Dialled, owner: HandshakeOwner) -> TlsChannel:
        server = ServerSide(self.context, handle, self.counters, self.failed, self.connections)
        return TlsChannel(reactor, sock, handle, self.context, owner, tuning=self.tuning, server=server)

    def given_up(self, channel: TlsServerChannel, timeout: float) -> None:
        """See `runtime.connector.TlsOpener`."""
        record = _timed_out(channel, timeout)
        if self.failed is not None:
            self.failed(record)


class Answerer:
    """Makes the TLS layer of one bind line's connections (`runtime.listener.TlsAcceptor`)."""

    __slots__ = ("context", "tuning")

    def __init__(self, context: BindContext, tuning: TlsTuning = UNTUNED) -> None:
        self.context = context
        self.tuning = tuning

    def succeeded(self, channel: TlsChannel) -> HandshakeRecord:
        """See `runtime.listener.TlsAcceptor`. How the connection ends is told to the record too, see `record.late`."""
        record = channel.record = HandshakeRecord(outgoing=False)
        record.describe = self.context.describe
        record.first_bytes = channel.hello
        channel.hello = b""
        note_success(record, channel._ssl)
        return record

    def given_up(self, channel: TlsChannel, timeout: float) -> HandshakeRecord:
        """See `runtime.listener.TlsAcceptor`."""
        return _timed_out(channel, timeout)

    def unheard(
        self, sock: socket.socket, seen: bytes, *, header: bool, lost: OSError | None = None, timeout: float = 0.0, why: str = ""
    ) -> HandshakeRecord:
        """See `runtime.listener.TlsAcceptor`."""
        record = HandshakeRecord(outgoing=False)
        record.describe = self.context.describe
        record.first_bytes = seen
        record.bytes_in, record.bytes_out = len(seen), 0
        if seen:
            record.step = Step.PROXY_HEADER if header else Step.CLIENT_HELLO
            if timeout:
                note_bytes(record, sock)
        record.header = why
        record.timeout = timeout
        if lost is not None:
            record.errno = lost.errno or errno.ECONNRESET
            record.error = lost.strerror or ""
        record.closed = lost is None and not timeout and not why
        record.ended = Ended.TIMEOUT if timeout else Ended.PROXY if why else Ended.PEER
        return record

    def accept(self, reactor: Reactor, sock: socket.socket, hello: bytes, owner: HandshakeOwner) -> TlsChannel:
        """A channel on a socket whose first bytes, `hello`, are known to be there; the reactor watches it already."""
        context = self.context
        channel = TlsChannel(
            reactor, sock, context.connection(sock, hello), context, owner, tuning=self.tuning, registered=True
        )
        channel.hello = hello
        return channel


def _timed_out(channel: TlsServerChannel, timeout: float) -> HandshakeRecord:
    record = channel.explain(TlsError("timeout"))
    record.waited(timeout)
    return record
