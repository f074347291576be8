"""Opens connections to servers: socket, source address, connect, SOCKS4, PROXY header, TLS handshake.

What can be prepared is prepared once in an `Endpoint` per server: the resolved address, the TLS context, the socket options.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from headgate.balance.server import ServerState
from headgate.base.addresses import WILDCARDS, Address, Family
from headgate.base.connection_errors import ConnectionFailure, by_errno
from headgate.config.model import ProxyProtocolSend, SourceAddress
from headgate.plan.facts import Session, Stream, TlsFacts, destination_of
from headgate.proxy.port import Channel, Lost, Owner
from headgate.proxy.services import Attempt
from headgate.runtime.channel import NOBODY, PlainChannel, lost_reason, stream_socket
from headgate.runtime.proxy_header import encode_header
from headgate.runtime.reactor import BROKEN, READ, WRITE, Reactor
from headgate.wire import socks4

if TYPE_CHECKING:  # a configuration without TLS does not load it
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.openssl import TlsError

#: setsockopt numbers that Python's socket module lacks.
IP_TRANSPARENT: Final = 19
IPV6_TRANSPARENT: Final = 75
TCP_USER_TIMEOUT: Final = 18


class HandshakeOwner(Owner, Protocol):
    """Who is told how a TLS handshake ends."""

    def handshake_completed(self) -> None:
        """Data may flow; `channel.tls` has the facts."""


class TlsServerChannel(Channel, Protocol):
    """A TLS channel to a server."""

    def begin(self) -> None:
        """Begin the handshake. The owner may be told the outcome before this returns."""

    def so_far(self) -> TlsFacts:
        """What is known of the connection, whether its handshake is done, under way or failed."""

    def explain(self, error: TlsError) -> HandshakeRecord:
        """The record of the handshake, which an error of ours ends."""


class TlsOpener(Protocol):
    """Makes the TLS layer towards a server; `runtime.tls_openers.Dialler`."""

    def reserve(self) -> bool:
        """Take the place that one connection needs among all TLS connections (maxsslconn), which the next `open` uses.

        Returns:
            False when there is none.
        """

    def give_back(self) -> None:
        """Give up a place that was reserved and that no `open` has used."""

    def open(
        self,
        reactor: Reactor,
        sock: socket.socket,
        sni: bytes | None,
        where: Hashable,
        owner: HandshakeOwner,
        go_on: Callable[[], None] | None = None,
    ) -> TlsServerChannel | None:
        """A channel on a connected socket.

        Args:
            reactor: drives it.
            sock: that the reactor does not watch; a place is reserved for it, which the channel gives back.
            sni: the name to ask for.
            where: what it is connected to.
            owner: lets the channel begin.
            go_on: called when another connection, which is about to get the first session with this server, has it or will get
                none: then it is time to open this one. None: it can't wait.

        Returns:
            None when `go_on` will be called, in some tenths of a second at most.
        """

    def given_up(self, channel: TlsServerChannel, timeout: float) -> None:
        """Tell of a handshake that was not done in time.

        Args:
            channel: that `open` gave, before it is aborted.
            timeout: how long was waited, seconds.
        """


class Endpoint:
    """Where and how to connect to one server.

    Attributes:
        family: socket family.
        host: numeric address, path or abstract name; None while the name is not resolved.
        socks4: the SOCKS4 proxy that connections go through, None for none (5.2 socks4).
        port: 0 and `port_is_offset` as in `base.addresses.Address`.
        tls: makes the TLS layer, None for plain.
    """

    __slots__ = ("family", "host", "options", "port", "port_is_offset", "send_proxy", "socks4", "source", "tls")

    def __init__(
        self,
        family: int,
        host: str | None,
        address: Address,
        *,
        tls: TlsOpener | None = None,
        send_proxy: ProxyProtocolSend | None = None,
        source: SourceAddress | None = None,
        options: tuple[tuple[int, int, int | bytes], ...] = (),
        socks4: Address | None = None,
    ) -> None:
        self.socks4 = socks4
        self.family = family
        self.host = host
        self.port = address.port
        self.port_is_offset = address.port_is_offset
        self.tls = tls
        self.send_proxy = send_proxy
        self.source = source
        self.options = options

    def target(self, stream: Stream) -> tuple[str, int] | str | bytes:
        """The address to connect to; a server without an address or port of its own has those that the client used (5.2 server).

        Raises:
            OSError: there is no such port, or the client used no address.
        """
        host = self.host or ""
        if self.family == socket.AF_UNIX:
            return host
        address, client_port = destination_of(stream)
        if host in WILDCARDS:
            if not address:
                raise OSError(errno.EADDRNOTAVAIL, "the client came over a unix socket: the server would have no address")
            host = address.decode()
        port = client_port + self.port if self.port_is_offset else self.port or client_port
        if not 0 < port < 65536:
            raise OSError(errno.EADDRNOTAVAIL, f"the server would have port {port}")
        return (host, port)


def unix_name(address: Address) -> str:
    """The name that the kernel wants for a unix or abstract address."""
    if address.family is Family.ABNS:
        # HAProxy pads abstract names with NULs to the full length; both ends must agree (2.9.1).
        return ("\0" + address.host).ljust(108, "\0")
    if address.family is Family.ABNSZ:
        return "\0" + address.host
    return address.host


class ServerConnector:
    """Implements `proxy.services.Connector`."""

    __slots__ = ("endpoints", "never_send_local", "reactor")

    def __init__(self, reactor: Reactor, endpoints: Mapping[ServerState, Endpoint]) -> None:
        self.reactor = reactor
        self.endpoints = endpoints

    def connect(self, server: ServerState, stream: Stream, attempt: Attempt) -> PendingConnection:
        """See `proxy.services.Connector.connect`."""
        return PendingConnection(self.reactor, self.endpoints[server], server, stream, attempt)


class PendingConnection:
    """One attempt under way; also the owner of the TLS channel until its handshake is done."""

    __slots__ = (
        "_attempt", "_begun", "_endpoint", "_failure", "_reserved", "_server", "_sock", "_socks_reply", "_stream", "_target",
        "_tls", "reactor",
    )

    def __init__(self, reactor: Reactor, endpoint: Endpoint, server: ServerState, stream: Stream, attempt: Attempt) -> None:
        self.reactor = reactor
        self._endpoint = endpoint
        self._server = server
        self._stream = stream
        self._attempt: Attempt | None = attempt
        self._sock: socket.socket | None = None
        self._tls: TlsServerChannel | None = None
        self._socks_reply = b""
        self._target: object = None
        self._failure = Lost.ERROR
        self._begun = reactor.now
        self._reserved = endpoint.tls is not None and endpoint.tls.reserve()
        if endpoint.tls is not None and not self._reserved:
            self._failure = Lost.TOO_MANY
            stream.server_error = ConnectionFailure.SSL_TOO_MANY.number
            reactor.later(self._report_failure)
            return
        try:
            self._begin()
        except OSError as error:
            self._failed(error)
            reactor.later(self._report_failure)

    @property
    def server(self) -> ServerState:
        """That it connects to."""
        return self._server

    def _drop_socket(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self.reactor.unwatch(sock.fileno())
            sock.close()
        if self._reserved and self._endpoint.tls is not None:
            self._reserved = False
            self._endpoint.tls.give_back()

    def _begin(self) -> None:
        endpoint = self._endpoint
        if endpoint.host is None:
            raise OSError(errno.EHOSTUNREACH, "the server's name is not resolved")
        target = self._target = endpoint.target(self._stream)
        family = endpoint.family if endpoint.socks4 is None else _family_of(endpoint.socks4)
        if endpoint.socks4 is None and isinstance(target, tuple):
            family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET  # a server with any address has one of either family
        sock = stream_socket(family)
        self._sock = sock
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for level, option, value in endpoint.options:
            sock.setsockopt(level, option, value)
        if endpoint.source is not None:
            bind_source(sock, endpoint.source, self._stream.session)
        if isinstance(target, tuple):
            self._stream.server_address, self._stream.server_port = target[0].encode(), target[1]
        if endpoint.socks4 is not None:
            target = (endpoint.socks4.host, endpoint.socks4.port)
        result = sock.connect_ex(target)
        # EAGAIN is a failure too: no free local port, or a unix socket whose backlog is full.
        if result not in (0, errno.EINPROGRESS):
            raise OSError(result, "connect")
        self.reactor.watch(sock.fileno(), WRITE, self._ready)

    def _failed(self, error: OSError) -> None:
        self._failure = lost_reason(error)
        self._stream.server_error = by_errno(error.errno or 0).number
        self._drop_socket()

    def _report_failure(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.connect_failed(self._failure)

    def _ready(self, events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        # A HUP alone is no failure: a unix server may have answered and closed already.
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if events & BROKEN else 0
        if error:
            self._broke(OSError(error, ""))
        elif self._endpoint.socks4 is not None:
            self._ask_socks(sock)
        else:
            self._established(sock)

    def _ask_socks(self, sock: socket.socket) -> None:
        """Have the SOCKS4 proxy connect us to the server."""
        try:
            target = self._endpoint.target(self._stream)
            if not isinstance(target, tuple) or ":" in target[0]:
                raise OSError(errno.EAFNOSUPPORT, "SOCKS4 knows IPv4 addresses only")
            sock.send(socks4.connect_request(*target))
        except OSError as broken:
            self._broke(broken)
            return
        self.reactor.unwatch(sock.fileno())
        self.reactor.watch(sock.fileno(), READ, self._socks_answered)

    def _socks_answered(self, events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            data = sock.recv(socks4.REPLY_SIZE - len(self._socks_reply))
            self._socks_reply += data
            if not data or (len(self._socks_reply) == socks4.REPLY_SIZE and socks4.refusal(self._socks_reply)):
                raise ConnectionRefusedError(errno.ECONNREFUSED, "refused by the SOCKS4 proxy")
        except BlockingIOError:
            return
        except OSError as broken:
            self._broke(broken)
            return
        if len(self._socks_reply) == socks4.REPLY_SIZE:
            self.reactor.unwatch(sock.fileno())
            self.reactor.watch(sock.fileno(), WRITE, self._ready)
            self._established(sock)

    def _broke(self, error: OSError) -> None:
        self._failed(error)
        self._report_failure()

    def _established(self, sock: socket.socket) -> None:
        """The server itself is at the other end."""
        endpoint = self._endpoint
        stream = self._stream
        if endpoint.family != socket.AF_UNIX:
            stream.source_address, stream.source_port = _local_name(sock)
        if endpoint.send_proxy is not None:
            header = encode_header(endpoint.send_proxy, stream)
            try:
                # A fresh socket's send buffer holds far more than a PROXY header.
                sock.send(header)
            except OSError as broken:
                self._broke(broken)
                return
        attempt = self._attempt
        if endpoint.tls is not None:
            self.reactor.unwatch(sock.fileno())
            self._secure(sock, endpoint.tls, self._go_on)
        elif attempt is not None:
            self._sock = None
            self._attempt = None
            # The attempt's object is the first owner; it names its own before it returns.
            attempt.connected(PlainChannel(self.reactor, sock, NOBODY, registered=True))

    def _secure(self, sock: socket.socket, opener: TlsOpener, go_on: Callable[[], None] | None) -> None:
        sni = self._server.plan.sni
        name = sni(self._stream) if sni is not None else None
        self._tls = opener.open(self.reactor, sock, name, self._target, self, go_on)
        if self._tls is not None:
            self._sock = None
            self._reserved = False
            self._tls.begin()

    def _go_on(self) -> None:
        """The wait for somebody else's session is over."""
        sock, opener = self._sock, self._endpoint.tls
        if sock is not None and opener is not None:
            self._secure(sock, opener, None)

    # --- owner of the TLS channel during its handshake ---

    def handshake_completed(self) -> None:
        """See `runtime.connector.HandshakeOwner`."""
        attempt = self._attempt
        self._attempt = None
        channel = self._tls
        if attempt is not None and channel is not None:
            self._tls = None
            attempt.connected(channel)

    def early_data(self, most: int) -> bytes:
        """See `runtime.early_server_channel.EarlyRequester`."""
        return self._attempt.early_request(most) if self._attempt is not None else b""

    def connection_lost(self, reason: Lost) -> None:
        """The handshake failed."""
        self._server.counters.tls_failed += 1
        self._failure = reason
        if self._tls is not None:
            self._stream.server_tls = facts = self._tls.so_far()
            self._stream.server_error = facts.failure.number
        self._tls = None
        self._report_failure()

    def data_received(self, data: bytes) -> None:
        """Not before the handshake is done, and then the channel has another owner."""

    def eof_received(self) -> None:
        """See `data_received`."""

    def drained(self) -> None:
        """See `data_received`."""

    def cancel(self) -> None:
        """Give the attempt up."""
        self._attempt = None
        if self._tls is not None:
            self._tls.abort()
            self._tls = None
        else:
            self._drop_socket()

    def timed_out(self) -> None:
        """See `proxy.services.Cancellable`."""
        channel = self._tls
        if channel is not None:
            self._server.counters.tls_failed += 1
            self._stream.server_tls = channel.so_far()
            self._stream.server_error = ConnectionFailure.SSL_TIMEOUT.number
            if self._endpoint.tls is not None:
                self._endpoint.tls.given_up(channel, self.reactor.now - self._begun)
        self.cancel()


def _family_of(address: Address) -> int:
    return socket.AF_INET6 if address.family is Family.INET6 else socket.AF_INET


def bind_source(sock: socket.socket, source: SourceAddress, session: Session | None) -> None:
    """`source` of a server or backend: the address to connect from (4.2 source).

    Args:
        sock: not connected yet.
        source: as configured.
        session: the client's, for `usesrc client` and `clientip`; None for health checks.
    """
    if source.interface is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, source.interface.encode() + b"\0")
    host, ports = source.address.host, source.address.ports
    if source.usesrc is not None and session is not None:
        six = sock.family == socket.AF_INET6
        sock.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, IPV6_TRANSPARENT if six else IP_TRANSPARENT, 1)
        if source.usesrc in ("client", "clientip"):
            host = session.source.decode()
            ports = range(session.source_port, session.source_port + 1) if source.usesrc == "client" else range(1)
        else:
            host = source.usesrc
    if not host or (host in ("*", "0.0.0.0", "::") and not ports[0]):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    last: OSError | None = None
    for port in ports:
        try:
            sock.bind((host, port))
        except OSError as error:
            last = error
        else:
            return
    if last is not None:
        raise last


def _local_name(sock: socket.socket) -> tuple[bytes, int]:
    name = sock.getsockname()
    return name[0].encode(), name[1]


def is_numeric(host: str) -> bool:
    """Whether a host is an IP literal."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

