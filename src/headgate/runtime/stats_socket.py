"""The stats sockets: `stats socket` lines of the global section, served as asyncio streams (management manual 9.3).

Only reading and writing: what a line means is `admin.session`'s affair. Called by `app`, once for each line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable, Mapping

from headgate.admin.context import Context
from headgate.admin.executor import Executor
from headgate.admin.registry import Level, Registry
from headgate.admin.session import LONGEST_PAYLOAD, CliSession
from headgate.base.addresses import Family
from headgate.base.diagnostics import Location
from headgate.config.model import Bind, StatsSocket
from headgate.runtime.process.successor import COMMAND, send_listeners
from headgate.runtime.sockets import file_identity, open_listeners

#: Manual 3.1, "stats maxconn": connections served at a time, the others wait.
MOST_CONNECTIONS = 10

_BACKLOG = 64
#: How often a command that takes long looks whether its client is still there, seconds.
_LOOK_FOR_CLIENT = 0.5
TAKE_OVER = COMMAND.encode()
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
        executor: runs commands where they belong; here unless given.
        listeners: what `expose-fd listeners` gives out, by key.
        longest_payload: tune.cli.max-payload-size, in bytes.
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
        executor: Executor | None = None,
        listeners: Mapping[str, socket.socket] | None = None,
        longest_payload: int = LONGEST_PAYLOAD,
    ) -> None:
        self._spec = spec
        self._listeners = listeners or {}
        level = _LEVELS[spec.level]
        self._new_session: Callable[[], CliSession] = lambda: CliSession(
            registry, context, level, timeout, executor, longest_payload
        )
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

    def leave(self) -> None:
        """Take no more connections; those that are there go on."""
        for server in self._servers:
            server.close()
        self._servers.clear()

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
        session.on_bug = _say_bug
        lines = _Lines(reader, self._longest_line)
        while not session.closing:
            try:
                async with asyncio.timeout(session.timeout):
                    line = await lines.next()
            except asyncio.LimitOverrunError:
                writer.write(f"The line is longer than {self._longest_line} bytes.\n\n".encode())
                break
            except TimeoutError:
                return
            if line is None:
                return
            if line.strip() == TAKE_OVER:
                await self._give_listeners(writer)
                break
            if not await self._answer(session, line.decode("utf-8", "surrogateescape"), lines, writer):
                return
        await self._flush(writer)

    async def _give_listeners(self, writer: asyncio.StreamWriter) -> None:
        """Our successor (`-x`) wants the listening sockets. Streams can't carry descriptors: past this one, over its socket."""
        sock = writer.get_extra_info("socket")
        if not self._spec.expose_listeners or sock.family != socket.AF_UNIX:
            writer.write(b"Permission denied\n\n")
            return
        await writer.drain()
        with socket.socket(fileno=os.dup(sock.fileno())) as direct:
            direct.setblocking(False)  # as it is: the flag belongs to both
            await asyncio.get_running_loop().run_in_executor(None, send_listeners, direct, self._listeners)

    async def _answer(self, session: CliSession, line: str, lines: _Lines, writer: asyncio.StreamWriter) -> bool:
        """Send the answer to one line; False when the client left before its end."""
        answering = asyncio.ensure_future(self._send(session, line, writer))
        watching: asyncio.Future[None] | None = None
        try:
            await asyncio.wait((answering,), timeout=_LOOK_FOR_CLIENT)  # most answers are there at once
            while not answering.done():
                if session.watching and watching is None:
                    watching = asyncio.ensure_future(lines.more())
                waits = (answering,) if watching is None else (answering, watching)
                await asyncio.wait(waits, timeout=_LOOK_FOR_CLIENT, return_when=asyncio.FIRST_COMPLETED)
                if answering.done():
                    break
                if watching is not None and watching.done() and session.watching:
                    # what is to be watched until the client says something: the end of its answer, and on with the next line
                    await _cancelled(answering)
                    session.closing = session.closing or not session.interactive or lines.ended
                    writer.write(b"\n" + session.prompt().encode())
                    return True
                if _hung_up(writer):
                    return False
            answering.result()
            return True
        finally:
            await _cancelled(answering)
            if watching is not None:
                await _cancelled(watching)

    async def _send(self, session: CliSession, line: str, writer: asyncio.StreamWriter) -> None:
        pieces = session.line(line)
        try:
            async for piece in pieces:
                if piece:
                    writer.write(piece.encode("utf-8", "surrogateescape"))
                    async with asyncio.timeout(self._timeout):
                        await writer.drain()
        finally:
            await pieces.aclose()

    async def _flush(self, writer: asyncio.StreamWriter) -> None:
        """Let the client take the whole answer before the connection is closed."""
        writer.transport.set_write_buffer_limits(0)
        async with asyncio.timeout(self._timeout):
            await writer.drain()


class _Lines:
    """The lines of one connection; what comes while a command runs is kept, up to the length of a line."""

    def __init__(self, reader: asyncio.StreamReader, longest: int) -> None:
        self._reader = reader
        self._longest = longest
        self._buffer = bytearray()
        self.ended = False

    async def next(self) -> bytes | None:
        """The next line without its line feed, None behind the last; the last line may come without one.

        Raises:
            asyncio.LimitOverrunError: it is too long.
        """
        while True:
            end = self._buffer.find(b"\n")
            if end > self._longest or (end < 0 and len(self._buffer) > self._longest):
                raise asyncio.LimitOverrunError("line", len(self._buffer))
            if end >= 0 or self.ended:
                break
            await self._read()
        if not self._buffer:
            return None
        line = bytes(self._buffer if end < 0 else self._buffer[:end])
        del self._buffer[: len(self._buffer) if end < 0 else end + 1]
        return line.rstrip(b"\r")

    async def more(self) -> None:
        """Return when there is something behind the current line, be it the end."""
        if not self._buffer and not self.ended:
            await self._read()

    async def _read(self) -> None:
        data = await self._reader.read(self._longest)
        self.ended = not data
        self._buffer += data


def _say_bug(error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": "a command of the runtime API broke", "exception": error})


def _hung_up(writer: asyncio.StreamWriter) -> bool:
    """Whether the client has closed its connection, and not only its sending side."""
    if writer.transport.is_closing():
        return True
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


async def _cancelled(task: asyncio.Future[None]) -> None:
    """Cancel a task and wait until it is over."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()  # taken: the caller raises what it wants to
