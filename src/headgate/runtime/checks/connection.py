"""One connection of a check, on the reactor. Nothing here judges: see `exchange`.

Not the data plane's channel: a check is short, says little and is always read to its end, so it needs no queues. What can't be
done at once is left undone; who wanted it is called when it may be tried again.
"""

from __future__ import annotations

import abc
import asyncio
import errno
import os
import socket
from collections.abc import Callable, Hashable
from typing import Final, Protocol

from headgate.base.addresses import Address, Family
from headgate.config.model import SourceAddress
from headgate.config.tls_options import Protocols
from headgate.runtime.channel import has_unread, stream_socket
from headgate.runtime.checks.failures import LocalError
from headgate.runtime.connector import unix_name
from headgate.runtime.reactor import READ, WRITE, Reactor

READ_SIZE: Final = 16384
#: At the end: a server that sends faster than it is read away gets a reset.
_LAST_READS: Final = 16
_INTERFACES: Final = (Family.INET, Family.INET6, Family.NAME)
_LOCAL: Final = (Family.UNIX, Family.ABNS, Family.ABNSZ)
_FAMILIES: Final = {Family.INET: socket.AF_INET, Family.INET6: socket.AF_INET6}

#: A socket family and an address as the socket module takes it.
Located = tuple[int, tuple[object, ...] | str]


def nothing() -> None:
    """What is called when nobody waits."""


class Connection:
    """A connection of a check.

    Args:
        reactor: watches the socket, from the first wait on: a check reads a few times.
        sock: non-blocking.
        proceed: called when what could not be done may be tried again.

    Attributes:
        reuses: how often it was taken up again after a rest.
    """

    __slots__ = ("_came", "_events", "_fd", "_gone", "_reactor", "_sock", "_waits", "proceed", "reuses")

    def __init__(self, reactor: Reactor, sock: socket.socket, proceed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._sock = sock
        self._fd: int = sock.fileno()
        self._events = 0  # that the reactor watches for
        self._waits = False
        self._came = False  # something happened that nobody has looked at
        self.reuses = 0
        self._gone: Callable[[], None] | None = None
        self.proceed = proceed

    # --- its beginning ---

    def connect(self, target: tuple[object, ...] | str) -> bool:
        """Begin to connect; whether that is done already. If not, `connected` says what came of it.

        Raises:
            OSError: it failed.
        """
        number = self._sock.connect_ex(target)
        if number == errno.EINPROGRESS:
            # On this machine, or a near one, it is there already: asking (connect(2) says it, once) is cheaper than to watch.
            number = self._sock.connect_ex(target)
            if number == errno.EALREADY:
                self._await(WRITE)
                return False
        if number:
            raise OSError(number, os.strerror(number))
        return True

    def connected(self) -> None:
        """What came of connecting.

        Raises:
            OSError: it failed.
        """
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))

    def hand_over(self) -> socket.socket:
        """Let another layer have the socket; this one is over."""
        self._unwatch()
        self.proceed = nothing
        return self._sock

    # --- the conversation ---

    def send(self, data: bytes) -> int:
        """Send what can be sent now; if that is not all of it, `proceed` is called when there is room for more.

        Raises:
            OSError, TlsFailure: the connection is broken.
        """
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._await(WRITE)
        return sent

    def receive(self, most: int = READ_SIZE) -> bytes | None:
        """What has arrived, at most `most` bytes; b"" at the end; None: nothing yet, and `proceed` is called when it may have.

        Raises:
            OSError, TlsFailure: the connection is broken.
        """
        if self._came:  # else it would be in vain: it is asked behind a question, and the answer takes a moment
            self._came = False
            try:
                return self._sock.recv(most)
            except BlockingIOError:
                pass
        self._await(READ)
        return None

    # --- between two exchanges ---

    def rest(self, gone: Callable[[], None]) -> None:
        """Nothing is said until `resume`; `gone` is called when the server says something, or ends the connection."""
        self._gone = gone
        self.proceed = nothing
        self._watch(READ)

    def resume(self, proceed: Callable[[], None]) -> None:
        """Go on; `proceed` is the one to call from now on."""
        self.reuses += 1
        self._gone = None
        self.proceed = proceed

    def _stir(self, gone: Callable[[], None]) -> None:
        """Something came while the connection rests."""
        gone()

    # --- events ---

    def _await(self, events: int) -> None:
        self._waits = True
        self._watch(events)

    def _watch(self, events: int) -> None:
        if self._events == events:
            return
        if self._events:
            self._reactor.change(self._fd, events)
        else:
            self._reactor.watch(self._fd, events, self._happened)
        self._events = events

    def _happened(self, _events: int) -> None:
        """The reactor's call."""
        self._came = True
        if self._gone is not None:
            self._stir(self._gone)
        elif self._waits:
            self._waits = False
            self.proceed()
        else:  # nobody reads now, and it would call again at once
            self._unwatch()

    def _unwatch(self) -> None:
        if self._events:
            self._events = 0
            self._reactor.unwatch(self._fd)

    # --- its end ---

    def close(self) -> None:
        """Close in order: read what is there already, since closing over unread bytes would send a reset and no FIN."""
        if has_unread(self._fd):
            try:
                for _ in range(_LAST_READS):
                    if not self._sock.recv(READ_SIZE):
                        break
            except OSError:
                pass  # no more is there, or the peer is gone
        self._close_socket()

    def _close_socket(self) -> None:
        if self._events:
            self._events = 0
            self._reactor.forget(self._fd)
        self.proceed = nothing
        self._sock.close()


class TlsLayer(Connection, abc.ABC):
    """A connection with TLS; `runtime.checks.tls_connection` has it, and is imported only where there is one.

    Closing it takes a while, behind the caller's back.
    """

    __slots__ = ()

    @abc.abstractmethod
    def handshake(self) -> bool:
        """Go on with the handshake; whether it is through.

        Raises:
            TlsFailure: it failed.
        """

    @abc.abstractmethod
    def verdict(self, seconds: float) -> bool:
        """Whether the server has said what it thinks of our certificate, or of our having none; True where it need not.

        Args:
            seconds: how long it may take from the first question on; then the answer is True.

        Raises:
            TlsFailure: it does not take us.
        """

    @abc.abstractmethod
    def overdue(self, seconds: float) -> str:
        """The handshake was not done in that time: count it as failed, and say what it waited for."""


class TlsClient(Protocol):
    """What makes the TLS connections of one server's checks; `runtime.checks.tls_connection.TlsDialler`."""

    @property
    def policy(self) -> bytes:
        """A digest of what decides whether the server is taken for who it should be."""

    def open(
        self, reactor: Reactor, sock: socket.socket, proceed: Callable[[], None], sni: bytes | None, where: Hashable,
        protocols: Protocols | None = None,
    ) -> TlsLayer:
        """The TLS layer over a non-blocking socket that is connected to `where`, before its handshake.

        Args:
            proceed: see `Connection`.
            protocols: to offer by ALPN, None for those of the server line.
        """

    async def settle(self) -> None:
        """Wait until all connections that were closed are gone."""


def open_socket(family: int, source: SourceAddress | None) -> socket.socket:
    """A socket to connect with.

    Args:
        source: the address to connect from (manual, "source"); its `usesrc` means nothing to checks.

    Raises:
        LocalError: there is none, or the source can't be bound.
    """
    try:
        sock = stream_socket(family)
    except OSError as error:
        raise LocalError(error.errno, error.strerror) from None
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            try:
                _bind_source(sock, source)
            except OSError as error:
                sock.close()
                raise LocalError(error.errno, error.strerror) from None
    return sock


def _bind_source(sock: socket.socket, source: SourceAddress) -> None:
    if source.interface is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, source.interface.encode() + b"\0")
    if source.address.host and source.address.family in _INTERFACES:
        if not source.address.port:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source.address.host, source.address.port))


def locate(address: Address) -> Located | None:
    """Where an address is; None for a name, which `look_up` knows.

    Raises:
        LocalError: it is nothing that can be connected to.
    """
    family = address.family
    if family in _FAMILIES:
        return _FAMILIES[family], (address.host, address.port)
    if family is Family.NAME:
        return None
    if family in _LOCAL:
        return socket.AF_UNIX, unix_name(address)
    raise LocalError(0, f"{address} can't be connected to")


async def look_up(address: Address) -> Located:
    """Where a name is, by the system's resolver.

    Raises:
        LocalError: nobody knows.
    """
    preferred = _FAMILIES[address.prefer] if address.prefer is not None else socket.AF_UNSPEC
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, family=preferred, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise LocalError(error.errno, f"{address.host}: {error.strerror}") from None
    return found[0][0], found[0][4]
