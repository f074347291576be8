"""The stats sockets: `stats socket` lines of the global section, served as asyncio streams (management manual 9.3).

Only reading and writing: what a line means is `admin.session`'s affair. Called by `app`, once for each line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from headgate.admin.context import Context
from headgate.admin.registry import Level, Registry
from headgate.admin.session import CliSession
from headgate.base.addresses import Family
from headgate.base.diagnostics import Location
from headgate.config.model import Bind, StatsSocket
from headgate.runtime.sockets import file_identity, open_listeners

#: Manual 3.1, "stats maxconn": connections served at a time, the others wait.
MOST_CONNECTIONS = 10

_BACKLOG = 64
_LEVELS = {"user": Level.USER, "operator": Level.OPERATOR, "admin": Level.ADMIN}


class StatsListener:
    """One listening stats socket.

    Args:
        spec: its line.
        registry: the commands.
        context: what they act on.
        timeout: `stats timeout`, seconds of silence (or of an answer not taken) that end a connection.
        longest_line: tune.bufsize, in bytes.
        most_connections: `stats maxconn`.
    """

    def __init__(
        self,
        spec: StatsSocket,
        registry: Registry,
        context: Context,
        *,
        timeout: float = 10.0,
        longest_line: int = 16384,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._spec = spec
        self._new_session: Callable[[], CliSession] = lambda: CliSession(registry, context, _LEVELS[spec.level], timeout)
        self._timeout = timeout
        self._longest_line = longest_line
        self._slots = asyncio.Semaphore(most_connections)
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._file: tuple[int, int] | None = None

    @property
    def _path(self) -> str | None:
        return self._spec.address.host if self._spec.address.family is Family.UNIX else None

    def open(self) -> list[socket.socket]:
        """Bind and listen; may be called before privileges are given up, and before there is a loop.

        A stale socket file is replaced at once, with its permissions set already.

        Raises:
            ConfigError: the address can't be used.
        """
        location = self._spec.location or Location("stats socket", 1)
        sockets = open_listeners(Bind(self._spec.address, location, permissions=self._spec.permissions), _BACKLOG)
        if self._path is not None:
            self._file = file_identity(self._path)
        return sockets

    async def start(self, sockets: list[socket.socket]) -> None:
        """Serve what `open` has opened, on the running loop."""
        for sock in sockets:
            start = asyncio.start_unix_server if sock.family == socket.AF_UNIX else asyncio.start_server
            self._servers.append(await start(self._accepted, sock=sock, limit=self._longest_line))

    async def stop(self, *, unlink: bool = True) -> None:
        """Stop serving. The socket's file goes too, unless a newer process has put its own in that place already.

        Args:
            unlink: False when a successor has inherited the listening socket.
        """
        for server in self._servers:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        path = self._path
        if unlink and path is not None and self._file is not None and file_identity(path) == self._file:
            with contextlib.suppress(OSError):
                os.unlink(path)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            async with self._slots:
                await self._converse(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()  # gone, or it does not take its answer
        except asyncio.CancelledError:
            pass  # we are stopping; nobody awaits this task but `stop`
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self._new_session()
        while not session.closing:
            try:
                async with asyncio.timeout(session.timeout):
                    line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                if not end.partial:
                    return
                line = end.partial  # the last line may come without its line feed
            except asyncio.LimitOverrunError:
                writer.write(f"The line is longer than {self._longest_line} bytes.\n\n".encode())
                break
            except TimeoutError:
                return
            answer = session.line(line.rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
            writer.write(answer.encode("utf-8", "surrogateescape"))
            async with asyncio.timeout(self._timeout):
                await writer.drain()
        await self._flush(writer)

    async def _flush(self, writer: asyncio.StreamWriter) -> None:
        """Let the client take the whole answer before the connection is closed."""
        writer.transport.set_write_buffer_limits(0)
        async with asyncio.timeout(self._timeout):
            await writer.drain()
