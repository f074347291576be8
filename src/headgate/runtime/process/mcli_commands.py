"""The commands of the master itself (management manual 9.4.1)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from headgate.admin.registry import Level
from headgate.base.records import dataclass
from headgate.runtime.process.generation import uptime_text

if TYPE_CHECKING:
    from headgate.runtime.process.master_cli import Connection

#: The answer of a command; None when it comes later.
Reply = str | None


@dataclass(frozen=True, slots=True)
class MasterCommand:
    """One command.

    Attributes:
        name: its words.
        usage: one line of `help`.
        level: who may use it.
        run: (connection, words behind the name).
        is_of_connection: it is about the connection, also while commands go to a generation.
    """

    name: str
    usage: str
    level: Level
    run: Callable[[Connection, list[str]], Reply]
    is_of_connection: bool = False


def wanted(command: str, *, own_only: bool = False) -> MasterCommand | None:
    """The command that a line begins with."""
    words = command.split()
    for row in COMMANDS:
        name = row.name.split()
        if words[: len(name)] == name and (row.is_of_connection or not own_only):
            return row
    return None


def _help(connection: Connection, words: list[str]) -> Reply:
    lines = ["The following commands are valid at this level:"]
    lines.extend(f"  {row.name:<24} {row.usage}" for row in COMMANDS if connection.level >= row.level)
    lines.append(f"  {'@<relative pid>':<24} : send a command to the worker that serves (@1 <command>)")
    lines.append(f"  {'@!<pid>':<24} : send a command to a worker (@!1234 <command>)")
    lines.append(f"  {'@':<24} : send further commands to the master")
    lines.append(f"  {'@@<[!]pid> [<line>]':<24} : hand over a whole line, or the conversation, to a worker")
    return "\n".join(lines)


def _show_proc(connection: Connection, words: list[str]) -> Reply:
    master, version = connection.master, connection.cli.version
    row = "{:<15} {:<15} {:<15} {:<15} {}".format
    uptime = uptime_text(int(time.monotonic() - master.started))
    lines = [
        row("#<PID>", "<type>", "<reloads>", "<uptime>", "<version>").rstrip(),
        row(os.getpid(), "master", f"{master.reloads} [failed: {master.failed}]", uptime, version),
        "# workers",
    ]
    old = [record for record in master.records if record.is_leaving]
    for records, title in (([one for one in master.records if not one.is_leaving], None), (old, "# old workers")):
        if title is not None and records:
            lines.append(title)
        for record in records:
            lines.append(row(record.pid, "worker", record.reloads, record.uptime(), version))
            if words[:1] == ["debug"]:
                lines.append(f"  processes: {' '.join(map(str, record.alive()))}; link: fd {record.link.fileno()}")
    return "\n".join(lines)


def _reload(hard: bool) -> Callable[[Connection, list[str]], Reply]:
    def run(connection: Connection, words: list[str]) -> Reply:
        def told(success: bool, text: str) -> None:
            connection.finish(f"Success={int(success)}\n--\n{text}")

        connection.busy = True
        connection.master.reload(hard=hard, outcome=told)
        return None

    return run


def _show_startup_logs(connection: Connection, words: list[str]) -> Reply:
    return connection.master.startup_logs


def _show_version(connection: Connection, words: list[str]) -> Reply:
    return connection.cli.version


def _prompt(connection: Connection, words: list[str]) -> Reply:
    if words[:1] in (["n"], ["i"], ["p"]):
        connection.prompting = words[0] != "n"
    else:
        connection.prompting = not connection.prompting
    return ""


def _quit(connection: Connection, words: list[str]) -> Reply:
    connection.closing = True
    return None


def _mode(flag: str, name: str) -> Callable[[Connection, list[str]], Reply]:
    def run(connection: Connection, words: list[str]) -> Reply:
        if not words:
            return f"{name} is {'ON' if flag in connection.modes else 'OFF'}"
        if words[0] not in ("on", "off"):
            return f"'{name}' knows no '{words[0]}': on or off."
        (connection.modes.add if words[0] == "on" else connection.modes.discard)(flag)
        return ""

    return run


def _mcli_debug_mode(connection: Connection, words: list[str]) -> Reply:
    if words == ["off"] or not words:
        return "mcli-debug-mode is OFF" if not words else ""
    return "'mcli-debug-mode' is not supported: the master runs no worker's commands; '@1 <command>' asks the worker."


def _lower(level: Level) -> Callable[[Connection, list[str]], Reply]:
    def run(connection: Connection, words: list[str]) -> Reply:
        if connection.level < level:
            return "Permission denied"
        connection.level = level
        return ""

    return run


def _show_level(connection: Connection, words: list[str]) -> Reply:
    return connection.level.name.lower()


COMMANDS = (
    MasterCommand("help", ": full list of the master's commands", Level.USER, _help),
    MasterCommand("prompt", ": toggle interactive mode with prompt", Level.USER, _prompt, is_of_connection=True),
    MasterCommand("quit", ": disconnect", Level.USER, _quit, is_of_connection=True),
    MasterCommand("show proc", "[debug] : show processes status", Level.USER, _show_proc),
    MasterCommand("show startup-logs", ": messages of the latest start or reload", Level.USER, _show_startup_logs),
    MasterCommand("show version", ": version of the master", Level.USER, _show_version),
    MasterCommand("show cli level", ": level of this connection", Level.USER, _show_level, is_of_connection=True),
    MasterCommand("reload", ": load the configuration anew", Level.OPERATOR, _reload(hard=False)),
    MasterCommand("hard-reload", ": the same, and end the old workers at once", Level.OPERATOR, _reload(hard=True)),
    MasterCommand("user", ": lower the level to user", Level.USER, _lower(Level.USER), is_of_connection=True),
    MasterCommand("operator", ": lower the level to operator", Level.USER, _lower(Level.OPERATOR), is_of_connection=True),
    MasterCommand("expert-mode", "[on|off] : expert commands of workers", Level.ADMIN, _mode("e", "expert-mode"), True),
    MasterCommand("experimental-mode", "[on|off] : experimental commands of workers", Level.ADMIN,
                  _mode("x", "experimental-mode"), True),
    MasterCommand("mcli-debug-mode", "[on|off] : not supported, the master has nothing to debug", Level.ADMIN, _mcli_debug_mode),
)  # fmt: skip
