"""The runtime API of a process: its commands, its sockets, and the questions of the data plane."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING

from headgate.admin.executor import Answer, Executor
from headgate.admin.registry import CommandError, Registry
from headgate.admin.session import LONGEST_PAYLOAD, split_line
from headgate.app.control import Control
from headgate.app.web import has_pages
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError, Diagnostic
from headgate.config.model import StatsSocket

if TYPE_CHECKING:
    import socket

    from headgate.app.process import App
    from headgate.app.sampling import Sampler
    from headgate.runtime.stats_socket import StatsListener

#: How long the data plane waits for an answer, seconds, and how long an answer may be, characters.
PATIENCE = 5.0
LONGEST_ANSWER = 64 << 20
#: Questions that may be open at a time.
_MOST_QUESTIONS = 1 << 14


class RuntimeApi:
    """The runtime API of the process that answers for all: the single one or the controller. Implements `proxy.services.Asker`.

    Args:
        app: the process.
        executor: runs commands where they belong.
    """

    def __init__(self, app: App, executor: Executor) -> None:
        self._app = app
        self.executor = executor
        self._sockets: list[tuple[StatsListener, list[socket.socket]]] = []
        self._questions: set[asyncio.Task[None]] = set()
        self.sampler: Sampler | None = None

    @cached_property
    def control(self) -> Control:
        """What commands may see and do."""
        return self._app.control

    @cached_property
    def registry(self) -> Registry:
        """All commands. Without a stats socket nobody needs them: a twentieth of a small configuration's start."""
        from headgate.admin.commands import all_commands

        return all_commands()

    # --- sockets ---

    def open(self) -> list[Diagnostic]:
        """Open all stats sockets; says why, for each that can't be opened."""
        problems = []
        heritage = self._app.place.heritage
        for line in self._app.config.global_.stats_sockets:
            stats = self._listener(line)
            try:
                self._sockets.append((stats, heritage.sockets_of(line) or stats.open()))
            except ConfigError as error:
                problems.append(error.diagnostic)
        if heritage.cli is not None:
            master = StatsSocket(Address(Family.UNIX, ""), level="admin", expose_listeners=True)
            self._sockets.append((self._listener(master), [heritage.cli]))
        return problems

    def _listener(self, line: StatsSocket) -> StatsListener:
        from headgate.runtime.stats_socket import StatsListener

        settings = self._app.config.global_
        return StatsListener(
            line,
            self.registry,
            self.control,
            timeout=settings.stats_timeout,
            longest_line=settings.bufsize,
            most_connections=settings.stats_maxconn,
            executor=self.executor,
            longest_payload=settings.tune.get("tune.cli.max-payload-size", LONGEST_PAYLOAD),
            listeners=self._app.place.heritage.listeners,
        )

    @property
    def is_open(self) -> bool:
        """Whether there is a stats socket."""
        return bool(self._sockets)

    async def start(self) -> None:
        """Serve all stats sockets."""
        if has_pages(self._app.config):
            from headgate.app.sampling import Sampler

            self.sampler = Sampler(self.answer)
            self.sampler.start()
        for stats, sockets in self._sockets:
            await stats.start(sockets)

    def soft_stop(self) -> None:
        """Take no more connections but the master's: the stats sockets belong to our successor."""
        for stats, sockets in self._sockets:
            if self._app.place.heritage.cli not in sockets:
                stats.leave()
                for sock in sockets:
                    sock.close()

    async def stop(self, *, unlink: bool) -> None:
        """Close them, and their connections.

        Args:
            unlink: see `StatsListener.stop`.
        """
        for stats, _ in self._sockets:
            await stats.stop(unlink=unlink)
        if self.sampler is not None:
            self.sampler.stop()
        for question in list(self._questions):
            question.cancel()

    # --- questions of the data plane ---

    def ask(self, command: str, answered: Callable[[str], None]) -> None:
        """See `proxy.services.Asker`."""
        task = asyncio.ensure_future(self._tell(command, answered))
        self._questions.add(task)
        task.add_done_callback(self._questions.discard)

    async def _tell(self, command: str, answered: Callable[[str], None]) -> None:
        answered(await self.answer(command) if len(self._questions) <= _MOST_QUESTIONS else "")

    async def answer(self, line: str) -> str:
        """Run one command at level admin.

        Returns:
            Its answer without the line feeds at its end, or the error in words; "" when it is not there in time.
        """
        words = next(iter(split_line(line)), [])
        found = self.registry.find(words)
        if found is None or found[0].handler is None:
            return f"Unknown command: '{line}'."
        command, arguments = found
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                try:
                    return (await whole(self.executor.execute(command, arguments, self.control))).rstrip("\n")
                except CommandError as error:
                    return str(error)
        return ""


async def whole(answer: Answer, longest: int = LONGEST_ANSWER) -> str:
    """All of an answer that may come later or piece by piece.

    Raises:
        CommandError: the command failed on its way, or says more than `longest` characters.
    """
    if isinstance(answer, str):
        return answer
    if isinstance(answer, Awaitable):
        return await answer
    return await _gathered(answer, longest)


async def _gathered(pieces: AsyncIterator[str], longest: int) -> str:
    gathered: list[str] = []
    size = 0
    try:
        async for piece in pieces:
            gathered.append(piece)
            size += len(piece)
            if size > longest:
                raise CommandError(f"The answer is longer than {longest} characters.")
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
    return "".join(gathered)
