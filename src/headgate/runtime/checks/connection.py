"""One connection of a check, plain or TLS, as coroutines on the running loop. Nothing here judges: see `exchange`.

Not the data plane's channel: a check is rare, short and always read to its end, so plain awaits are clearer than a machine.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Hashable
from typing import Protocol

from headgate.base.addresses import Address, Family
from headgate.config.model import SourceAddress
from headgate.config.tls_options import Protocols
from headgate.runtime.channel import has_unread
from headgate.runtime.checks.failures import LocalError, SocksFailure
from headgate.runtime.checks.watched import WatchedSocket, until_writable
from headgate.wire import socks4

READ_SIZE = 16384
#: At the end: a server that sends faster than it is read away gets a reset.
_LAST_READS = 16
_STREAM = int(socket.SOCK_STREAM) | int(socket.SOCK_NONBLOCK)
_INTERFACES = (Family.INET, Family.INET6, Family.NAME)


class Connection(Protocol):
    """A connection of a check."""

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""

    async def receive(self) -> bytes:
        """What arrived, b"" at the end."""

    def rest(self, gone: Callable[[], None]) -> None:
        """Nothing is said until `resume`; `gone` is called when the server says something, or ends the connection."""

    def resume(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Close in order; what is left to be done for that happens behind the caller's back."""


class TlsLayer(Connection, Protocol):
    """A TLS connection of a check."""

    async def handshake(self) -> None:
        """Complete the handshake. Raises TlsFailure."""

    async def verdict(self, seconds: float) -> None:
        """Wait so long at most for what a server thinks of our certificate, or of our having none, where it has not said so.

        Raises:
            TlsFailure: it does not take us.
        """

    def overdue(self, seconds: float) -> str:
        """The handshake was not done in that time: count it as failed, and say what it waited for."""


class TlsClient(Protocol):
    """What makes the TLS connections of one server's checks; `runtime.checks.tls_connection.CheckDialler`."""

    @property
    def policy(self) -> bytes:
        """A digest of what decides whether the server is taken for who it should be."""

    def open(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, sni: bytes | None, where: Hashable,
        protocols: Protocols | None = None,
    ) -> TlsLayer:
        """The TLS layer over a non-blocking socket that is connected to `where`, before its handshake.

        Args:
            protocols: to offer by ALPN, None for those of the server line.
        """

    async def settle(self) -> None:
        """Wait until all connections that were closed are gone."""


class PlainConnection(WatchedSocket):
    """A connected socket."""

    __slots__ = ()

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            sent = self._sock.send(data)  # into an empty buffer, most of the time: there is nothing to wait for
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._loop.sock_sendall(self._sock, data[sent:])

    async def receive(self, most: int = READ_SIZE) -> bytes:
        """What arrived, at most `most` bytes, b"" at the end."""
        while True:
            await self._until_readable()
            try:
                return self._sock.recv(most)
            except BlockingIOError:
                pass  # what was told is that of another socket, which had the number before

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


async def through_socks4(loop: asyncio.AbstractEventLoop, connection: PlainConnection, target: Address) -> None:
    """Have a SOCKS4 proxy connect us to `target` (5.2 socks4).

    Raises:
        SocksFailure: it refuses, or speaks something else.
        LocalError: the target is not an IPv4 address.
    """
    family, found = await _resolve(loop, target)
    if family != socket.AF_INET or not isinstance(found, tuple):
        raise LocalError(0, "SOCKS4 knows IPv4 addresses only")
    host, port = found
    assert isinstance(host, str) and isinstance(port, int)
    await connection.send(socks4.connect_request(host, port))
    reply = b""
    while len(reply) < socks4.REPLY_SIZE:
        data = await connection.receive(socks4.REPLY_SIZE - len(reply))
        if not data:
            raise SocksFailure(0, "SOCKS4 proxy closed the connection")
        reply += data
    if why := socks4.refusal(reply):
        raise SocksFailure(0, why)
    connection.unwatch()


async def open_socket(
    loop: asyncio.AbstractEventLoop, address: Address, source: SourceAddress | None = None
) -> socket.socket:
    """Connect to `address`.

    Args:
        loop: the running loop.
        address: where; a name is resolved now.
        source: the address to connect from (manual, "source"); its `usesrc` means nothing to checks.

    Raises:
        LocalError: no socket, or the source can't be bound.
        OSError: the connection failed.
    """
    family, target = await _resolve(loop, address)
    try:
        sock = socket.socket(family, _STREAM)
    except OSError as error:
        raise LocalError(error.errno, error.strerror) from None
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source is not None:
                _bind_source(sock, source)
        await _connect(loop, sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, target: tuple[object, ...] | str | bytes) -> None:
    number = sock.connect_ex(target)
    if number == errno.EINPROGRESS:
        # On this machine, or a near one, it is there already: asking (connect(2) says it, once) is cheaper than to watch for it.
        number = sock.connect_ex(target)
        if number == errno.EALREADY:
            await until_writable(loop, sock.fileno())
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def _bind_source(sock: socket.socket, source: SourceAddress) -> None:
    try:
        if source.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, source.interface.encode() + b"\0")
        if source.address.host and source.address.family in _INTERFACES:
            if not source.address.port:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source.address.host, source.address.port))
    except OSError as error:
        raise LocalError(error.errno, error.strerror) from None


_FAMILIES = {Family.INET: socket.AF_INET, Family.INET6: socket.AF_INET6}


async def _resolve(loop: asyncio.AbstractEventLoop, address: Address) -> tuple[int, tuple[object, ...] | str | bytes]:
    """The socket family and the address as the socket module takes it."""
    if address.family is Family.UNIX:
        return socket.AF_UNIX, address.host
    if address.family is Family.ABNSZ:
        return socket.AF_UNIX, b"\0" + address.host.encode()
    if address.family is Family.ABNS:
        # manual 2.9: abstract names of `abns@` fill sun_path, padded with zeros
        return socket.AF_UNIX, (b"\0" + address.host.encode()).ljust(108, b"\0")
    if address.family in _FAMILIES:
        return _FAMILIES[address.family], (address.host, address.port)
    if address.family is not Family.NAME:
        raise LocalError(0, f"{address} can't be connected to")
    preferred = _FAMILIES[address.prefer] if address.prefer is not None else socket.AF_UNSPEC
    try:
        found = await loop.getaddrinfo(address.host, address.port, family=preferred, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise LocalError(error.errno, f"{address.host}: {error.strerror}") from None
    return found[0][0], found[0][4]
