"""Who runs a command: here, or here and in every worker. `app` has the one for several workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Protocol

from headgate.admin.context import Context
from headgate.admin.registry import Command
from headgate.base.diagnostics import Bug

#: The whole answer, one that comes later, or one that comes piece by piece.
Answer = str | Awaitable[str] | AsyncIterator[str]


class Executor(Protocol):
    """Runs commands where they belong (`admin.registry.Scope`)."""

    def execute(self, command: Command, arguments: Sequence[str], context: Context) -> Answer:
        """Run a command that has a handler.

        Args:
            command: it.
            arguments: the words behind its name.
            context: of this process.

        Raises:
            CommandError: it can't be carried out. A later answer raises the same when it is awaited.
        """


class LocalExecutor:
    """Runs every command here: there is one process only."""

    def execute(self, command: Command, arguments: Sequence[str], context: Context) -> Answer:
        """See `Executor.execute`."""
        if command.handler is None:
            raise Bug(f"'{command.name}' has no handler")
        return command.handler(arguments, context)
