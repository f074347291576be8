"""Runs the commands of the runtime API where they belong when several workers serve (`admin.registry.Scope`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from headgate.admin.context import Context
from headgate.admin.executor import Answer, LocalExecutor
from headgate.admin.registry import Command, CommandError, Scope
from headgate.app.api import whole
from headgate.app.controller import PATIENCE, Controller
from headgate.runtime.workers.messages import COMMAND_ENTRY, Kind


class ClusterExecutor:
    """The controller's executor.

    Args:
        controller: knows the workers.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._local = LocalExecutor()

    def execute(self, command: Command, arguments: Sequence[str], context: Context) -> Answer:
        """See `admin.executor.Executor.execute`."""
        if command.scope is Scope.EVERYWHERE:
            return self._everywhere(command, arguments, context)
        if command.scope is Scope.WORKERS:
            return self._of_workers(command, arguments, context)
        return self._here(command, arguments, context)

    async def _here(self, command: Command, arguments: Sequence[str], context: Context) -> AsyncIterator[str]:
        await self._controller.collect()
        answer = self._local.execute(command, arguments, context)
        if isinstance(answer, AsyncIterator):
            try:
                async for piece in answer:
                    yield piece
            finally:
                close = getattr(answer, "aclose", None)
                if close is not None:
                    await close()
        else:
            yield await whole(answer)

    async def _everywhere(self, command: Command, arguments: Sequence[str], context: Context) -> str:
        """Here first. Nothing comes between its success here and its way to the others."""
        if command.looks:
            await self._controller.collect()
        words = [*command.name.split(), *arguments] if command.tells is None else command.tells(arguments, context)
        answer = self._local.execute(command, arguments, context)
        text = answer if isinstance(answer, str) else await whole(answer)
        key = tuple(words) if command.key is None else command.key(arguments)
        lost = self._controller.journal.lost
        asked = self._controller.spread(key, (COMMAND_ENTRY, *words), kept=command.kept)
        remarks = [text] if text else []
        if self._controller.journal.lost > lost:
            remarks.append("The journal of changes is full: a process that is replaced will not know this one.")
        for member, result in await self._controller.answers(asked):
            if result is None:
                remarks.append(f"{member.name} has not answered within {PATIENCE:g} s: it follows when it can.")
            elif not result[0]:
                remarks.append(f"{member.name}: {result[1]}")
        return "\n".join(remarks)

    async def _of_workers(self, command: Command, arguments: Sequence[str], context: Context) -> str:
        words = (*command.name.split(), *arguments)
        results = await self._controller.ask_all(Kind.COMMAND, words)
        if not results:
            raise CommandError("No worker is there to answer; one is being started.")
        said = [result for _, result in results if result is not None]
        silent = [f"{member.name} has not answered within {PATIENCE:g} s." for member, result in results if result is None]
        succeeded = [text for done, text in said if done]
        if said and not succeeded:
            # What one worker knows the others don't: only when it is nowhere it is an error.
            raise CommandError("\n".join([said[0][1], *silent]))
        if command.part is not None:
            succeeded.append(await whole(command.part(arguments, context)))
        return "\n".join([text for text in (command.merge(succeeded), *silent) if text])
