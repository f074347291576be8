"""The commands of the runtime API as rows: name words, level, usage, handler. Found by their longest matching words.

`commands` fills the registry, `session` looks commands up.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence

from headgate.admin.context import Context
from headgate.base.records import dataclass


class Level(enum.IntEnum):
    """Privileges of a connection (manual 5.1 "level")."""

    USER = 0
    OPERATOR = 1
    ADMIN = 2


class CommandError(Exception):
    """The command can't be carried out; the text is the answer."""


#: Gets the words behind the command's name; answers text without a final line feed, "" for "done".
Handler = Callable[[Sequence[str], Context], str]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: its words, as in "show servers state".
        usage: what follows the name and what the command does, for `help`.
        level: the least level that may use it.
        handler: None for commands that are known from HAProxy and not supported.
    """

    name: str
    usage: str
    level: Level
    handler: Handler | None


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
