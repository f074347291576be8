"""The TLS connection of a check. Imported only where there is one: a plain configuration starts without OpenSSL."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

from OpenSSL import SSL

from headgate.runtime.checks.connection import READ_SIZE, PlainConnection, TlsFailure

_T = TypeVar("_T")


class TlsConnection:
    """A TLS connection over a connected socket."""

    __slots__ = ("_loop", "_sock", "_tls")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, tls: SSL.Connection) -> None:
        self._loop = loop
        self._sock = sock
        self._tls = tls

    async def handshake(self) -> None:
        """Complete the handshake.

        Raises:
            TlsFailure: it failed, for instance because the certificate was not accepted.
        """
        await self._drive(self._tls.do_handshake)

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        view = data
        while view:
            piece = view
            sent = await self._drive(lambda: self._tls.send(piece))  # noqa: B023 -- called before the next round
            view = view[sent:]

    async def receive(self) -> bytes:
        """What arrived, b"" at the end, be it a clean one or not: the conversation knows whether it was complete."""
        try:
            return await self._drive(lambda: self._tls.recv(READ_SIZE))
        except SSL.ZeroReturnError:
            return b""

    async def _drive(self, operation: Callable[[], _T]) -> _T:
        while True:
            try:
                return operation()
            except SSL.WantReadError:
                await _ready(self._loop.add_reader, self._loop.remove_reader, self._sock)
            except SSL.WantWriteError:
                await _ready(self._loop.add_writer, self._loop.remove_writer, self._sock)
            except SSL.ZeroReturnError:
                raise
            except SSL.SysCallError as error:
                number = error.args[0] if error.args and isinstance(error.args[0], int) else -1
                if number > 0:
                    raise OSError(number, str(error.args[1])) from None
                raise TlsFailure("connection closed by the server") from None
            except SSL.Error as error:
                raise TlsFailure(_reason(error)) from None

    def close(self) -> None:
        """Send close_notify, then close. Servers that insist on it (Java's do) would throw the session away otherwise."""
        try:
            self._tls.shutdown()
        except (SSL.Error, OSError):
            pass  # a handshake that never ended has nothing to close
        PlainConnection(self._loop, self._sock).close()


def _reason(error: SSL.Error) -> str:
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join([entry[2] for entry in queue if entry[2]]) or "TLS failure"


async def _ready(
    add: Callable[..., None], remove: Callable[[socket.socket], bool], sock: socket.socket
) -> None:
    """Wait until `sock` can be read (or written)."""
    future = asyncio.get_running_loop().create_future()

    def ready() -> None:
        if not future.done():
            future.set_result(None)

    add(sock, ready)
    try:
        await future
    finally:
        remove(sock)
