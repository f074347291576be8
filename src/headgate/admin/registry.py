"""The commands of the runtime API as rows: name words, level, usage, handler. Found by their longest matching words.

`commands` fills the registry, `session` looks commands up.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from headgate.admin.context import Context
from headgate.base.records import dataclass


class Level(enum.IntEnum):
    """Privileges of a connection (manual 5.1 "level")."""

    USER = 0
    OPERATOR = 1
    ADMIN = 2


class CommandError(Exception):
    """The command can't be carried out; the text is the answer."""


class Scope(enum.Enum):
    """Where a command runs when several workers serve."""

    #: By the process that has the stats socket: its objects show the sums over all workers.
    HERE = "here"
    #: A change: by the process that has the stats socket, and when that succeeded by every worker, in one order everywhere.
    EVERYWHERE = "everywhere"
    #: By every worker; `Command.merge` makes one answer of theirs.
    WORKERS = "workers"


#: Gets the words behind the command's name; answers text without a final line feed, "" for "done". A command that goes on, as
#: `show events -w` does, answers piece by piece.
Handler = Callable[[Sequence[str], Context], "str | AsyncIterator[str]"]
#: Makes one answer of those of all workers.
Merge = Callable[[Sequence[str]], str]


def one_after_the_other(answers: Sequence[str]) -> str:
    """Put answers of several workers together: those that say something, each once where they are equal."""
    return "\n".join(dict.fromkeys(answer for answer in answers if answer))


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: its words, as in "show servers state".
        usage: what follows the name and what the command does, for `help`.
        level: the least level that may use it.
        handler: None for commands that are known from HAProxy and not supported.
        scope: where it runs when there are several workers.
        merge: makes one answer of the workers' (`Scope.WORKERS`).
    """

    name: str
    usage: str
    level: Level
    handler: Handler | None
    scope: Scope = Scope.HERE
    merge: Merge = one_after_the_other


class Registry:
    """All commands."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands = {tuple(command.name.split()): command for command in commands}

    def find(self, words: Sequence[str]) -> tuple[Command, Sequence[str]] | None:
        """The command that `words` begin with, and its arguments."""
        for length in range(min(4, len(words)), 0, -1):
            command = self._commands.get(tuple(words[:length]))
            if command is not None:
                return command, words[length:]
        return None

    def matching(self, words: Sequence[str], level: Level) -> list[Command]:
        """Supported commands that this level may use and whose name begins with `words`, by name."""
        prefix = tuple(words)
        return [
            command
            for name, command in sorted(self._commands.items())
            if command.handler is not None and command.level <= level and name[: len(prefix)] == prefix
        ]

    def usage(self, words: Sequence[str], level: Level) -> str:
        """The lines of `help` for all commands that begin with `words`."""
        return "\n".join([f"  {command.name} {command.usage}" for command in self.matching(words, level)])
