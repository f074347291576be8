"""`show version`, `show env` and other questions about the process itself (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin.commands.info import VERSION
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level


def show_version(_: Sequence[str], context: Context) -> str:
    return VERSION


def show_env(words: Sequence[str], context: Context) -> str:
    environment = context.environment
    if not words:
        return "\n".join([f"{name}={value}" for name, value in environment.items()])
    if words[0] not in environment:
        raise CommandError("Variable not found")
    return f"{words[0]}={environment[words[0]]}"


COMMANDS = (
    Command("show version", ": show version of the current process", Level.USER, show_version),
    Command("show env", "[<name>] : dump environment variables known to the process", Level.OPERATOR, show_env),
)
