"""Commands about the connection that they come on: prompt, level, modes, timeout (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin.registry import Command, CommandError, Level, Mode
from headgate.admin.session import CliSession
from headgate.base.units import UnitError, parse_time


def show_help(words: Sequence[str], session: CliSession) -> str:
    usage = session.usage(words) or session.usage(())
    return f"The following commands are valid at this level:\n{usage}"


def prompt(words: Sequence[str], session: CliSession) -> str:
    if not words:
        # manual: without any option this cycles between prompt mode and non-interactive mode
        session.prompting = session.interactive = not session.prompting
    for word in words:
        if word == "help":
            return "Usage: prompt [help | n | i | p | timed]*\n  n: non-interactive, i: interactive, p: with prompt"
        if word == "timed":
            session.timed = not session.timed
            session.prompting = session.interactive = True
        elif word in ("n", "i", "p"):
            session.interactive = word != "n"
            session.prompting = word == "p"
        else:
            raise CommandError(f"'prompt' knows no '{word}': one of help, n, i, p, timed.")
    return ""


def leave(_: Sequence[str], session: CliSession) -> str:
    session.closing = True
    return ""


def _lower(session: CliSession, level: Level) -> str:
    if session.level < level:
        raise CommandError("Permission denied")
    session.level = level
    session.modes.clear()
    return ""


def operator(_: Sequence[str], session: CliSession) -> str:
    return _lower(session, Level.OPERATOR)


def user(_: Sequence[str], session: CliSession) -> str:
    return _lower(session, Level.USER)


def echo(words: Sequence[str], _: CliSession) -> str:
    return " ".join(words)


def show_cli_level(_: Sequence[str], session: CliSession) -> str:
    return session.level.name.lower()


def set_timeout_cli(words: Sequence[str], session: CliSession) -> str:
    try:
        seconds = parse_time(words[0], "s") if words else 0.0
    except UnitError as error:
        raise CommandError(str(error)) from None
    if seconds <= 0.0:
        raise CommandError("'set timeout cli' expects a delay in seconds, above zero.")
    session.timeout = seconds
    return ""


def set_severity_output(words: Sequence[str], session: CliSession) -> str:
    if not words or words[0] not in ("none", "number", "string"):
        raise CommandError("one of 'none', 'number', 'string' is a required argument")
    session.severity_output = words[0]
    return ""


def _switch(words: Sequence[str], session: CliSession, mode: Mode) -> str:
    if not words:
        return f"{mode.value}-mode is {'ON' if mode in session.modes else 'OFF'}"
    if words[0] == "on":
        session.modes.add(mode)
    elif words[0] == "off":
        session.modes.discard(mode)
    else:
        raise CommandError(f"'{mode.value}-mode' knows no '{words[0]}': on or off.")
    return ""


def expert_mode(words: Sequence[str], session: CliSession) -> str:
    return _switch(words, session, Mode.EXPERT)


def experimental_mode(words: Sequence[str], session: CliSession) -> str:
    return _switch(words, session, Mode.EXPERIMENTAL)


COMMANDS = (
    Command("echo", "<text> : print some text", Level.USER, None, own=echo),
    Command("help", "[<command>] : full or matching commands list", Level.USER, None, own=show_help),
    Command("operator", ": lower the level of the current session to operator", Level.USER, None, own=operator),
    Command(
        "prompt", "[help | n | i | p | timed]* : toggle interactive mode with prompt", Level.USER, None, own=prompt
    ),
    Command("quit", ": disconnect", Level.USER, None, own=leave),
    Command(
        "set timeout cli", "<delay> : change the timeout of this connection, in seconds", Level.USER, None, own=set_timeout_cli
    ),
    Command(
        "set severity-output",
        "[none|number|string] : set presence of severity level in feedback information",
        Level.USER,
        None,
        own=set_severity_output,
    ),
    Command("show cli level", ": display the level of this connection", Level.USER, None, own=show_cli_level),
    Command("user", ": lower the level of the current session to user", Level.USER, None, own=user),
    Command("expert-mode", "[on|off] : activate commands that are dangerous", Level.ADMIN, None, own=expert_mode, listed=False),
    Command(
        "experimental-mode", "[on|off] : activate commands that are not finished", Level.ADMIN, None, own=experimental_mode
    ),
)
