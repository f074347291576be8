"""`set anon` and `show anon` (management manual 9.3): the anonymised mode of a connection."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Scope
from headgate.admin.session import CliSession


def _key(text: str) -> int:
    if not (text.isdecimal() and len(text) <= 10 and int(text) < 1 << 32):
        raise CommandError("The key is a number from 0 to 4294967295.")
    return int(text)


def set_anon_on(words: Sequence[str], session: CliSession) -> str:
    inspection = session.context.inspection
    key = _key(words[0]) if words else 0
    session.anonymous_key = key or inspection.anonymous_key or inspection.random_key()
    return ""


def set_anon_off(words: Sequence[str], session: CliSession) -> str:
    if words:
        raise CommandError("Key can't be added while disabling anonymized mode")
    session.anonymous_key = 0
    return ""


def set_global_key(words: Sequence[str], context: Context) -> str:
    if len(words) != 1:
        raise CommandError("'set anon global-key' expects a key: a number from 0 (none) to 4294967295.")
    context.inspection.anonymous_key = _key(words[0])
    return ""


def show_anon(_: Sequence[str], session: CliSession) -> str:
    if not session.anonymous_key:
        return "Anonymized mode disabled"
    return f"Anonymized mode enabled\nKey : {session.anonymous_key}"


COMMANDS: tuple[Command, ...] = (
    Command("set anon on", "[value] : activate the anonymized mode", Level.USER, None, own=set_anon_on),
    Command("set anon off", ": deactivate the anonymized mode", Level.USER, None, own=set_anon_off),
    Command(
        "set anon global-key",
        "<value> : change the global anonymizing key",
        Level.ADMIN,
        set_global_key,
        Scope.EVERYWHERE,
        key=lambda words: ("anon",),
    ),
    Command("show anon", ": display the current state of anonymized mode", Level.USER, None, own=show_anon),
)
