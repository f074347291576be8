"""The commands of the runtime API as rows: name words, level, usage, handler. Found by their longest matching words.

`commands` fills the registry, `session` looks commands up.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING

from headgate.admin.context import Context
from headgate.base.records import dataclass

if TYPE_CHECKING:
    from headgate.admin.session import CliSession


class Level(enum.IntEnum):
    """Privileges of a connection (manual 5.1 "level")."""

    USER = 0
    OPERATOR = 1
    ADMIN = 2


class Mode(enum.Enum):
    """What a connection must have switched on before it may use the most dangerous commands (management manual 9.3)."""

    EXPERT = "expert"
    EXPERIMENTAL = "experimental"


class CommandError(Exception):
    """The command can't be carried out; the text is the answer.

    Args:
        text: the answer.
        severity: of the message, as in syslog (`set severity-output`); 3 is an error, 6 an information.
    """

    def __init__(self, text: str, severity: int = 3) -> None:
        super().__init__(text)
        self.severity = severity


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
#: The same for a command about the connection that it came on.
OwnHandler = Callable[[Sequence[str], "CliSession"], str]
#: Makes one answer of those of all workers.
Merge = Callable[[Sequence[str]], str]


class Escaped(str):
    """A word of a command line whose first character stands behind a backslash: it is no sign there."""

    __slots__ = ()


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
        part: of such a command, what the process that has the stats socket has itself: it makes the health checks.
        requires: the connection must be in this mode.
        own: instead of `handler`: it is about the connection itself.
        watches: it ends as soon as the client sends something or closes its side, as `show events -w` does.
        key: of its arguments, for changes (`Scope.EVERYWHERE`): what they are about. A change takes the place of earlier ones
            whose key begins with its own in what a new worker is told: ("map", "x") of `clear map x` that of
            ("map", "x", "set", "key"). Without one, the whole line is the key; None as the key: it counts for ever, in its order.
        tells: for changes: the words that the other processes are told in the place of these, from the arguments and the process
            as it is before the change.
        looks: a change that depends on what there is now: the workers are asked for it first.
        listed: `help` shows it.
        kept: processes that come later are told of this change; False for what is done once and over, as closing connections.
    """

    name: str
    usage: str
    level: Level
    handler: Handler | None
    scope: Scope = Scope.HERE
    merge: Merge = one_after_the_other
    requires: Mode | None = None
    own: OwnHandler | None = None
    watches: bool = False
    key: Callable[[Sequence[str]], tuple[str, ...] | None] | None = None
    kept: bool = True
    listed: bool = True
    looks: bool = False
    part: Handler | None = None
    tells: Callable[[Sequence[str], Context], Sequence[str]] | None = None

    @property
    def supported(self) -> bool:
        """Whether it does something here."""
        return self.handler is not None or self.own is not None


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

    def matching(self, words: Sequence[str], level: Level, modes: Container[Mode] = ()) -> list[Command]:
        """Supported commands that this level may use in these modes and whose name begins with `words`, by name."""
        prefix = tuple(words)
        return [
            command
            for name, command in sorted(self._commands.items())
            if command.supported
            and command.listed
            and command.level <= level
            and (command.requires is None or command.requires in modes)
            and name[: len(prefix)] == prefix
        ]

    def usage(self, words: Sequence[str], level: Level, modes: Container[Mode] = ()) -> str:
        """The lines of `help` for all commands that begin with `words`."""
        return "\n".join([_help_line(command) for command in self.matching(words, level, modes)])


def _help_line(command: Command) -> str:
    """As HAProxy writes it: arguments, then what it does, in columns."""
    arguments, _, meaning = command.usage.rpartition(": ")
    return f"  {f'{command.name} {arguments}'.rstrip():<40}: {meaning}"
