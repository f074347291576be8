"""`show tls-keys`, `set ssl tls-key`: keys of session tickets that come from files (manual 5.1 tls-ticket-keys)."""

from __future__ import annotations

import binascii
from collections.abc import Sequence

from headgate.admin.context import Context, TlsSide
from headgate.admin.registry import CommandError
from headgate.admin.tls.files import FROM_FILE
from headgate.tls.storage import Entry
from headgate.tls.ticket_keys import TicketKeys, decoded, followed_by


def _found(name: str, command: str, side: TlsSide) -> tuple[int, Entry[TicketKeys]]:
    """Those that `#<id>` or a file name means."""
    for number, entry in enumerate(side.storage.ticket_keys.values()):
        if name in (entry.name, f"#{number}"):
            return number, entry
    raise CommandError(f"'{command}' unable to locate referenced filename")


def _show(words: Sequence[str], side: TlsSide, _: Context) -> str:
    entries = list(enumerate(side.storage.ticket_keys.values()))
    if not words or not words[0]:
        return "\n".join(["# id (file)", *(f"{number} ({entry.name})" for number, entry in entries)])
    if words[0] != "*":
        entries = [_found(words[0], "show tls-keys", side)]
    lines = ["# id secret"]
    for number, entry in entries:
        lines.append(f"# {number} ({entry.name})")
        lines += [f"{number}.{place} {_encoded(key)}" for place, key in enumerate(entry.contents)]
    return "\n".join(lines)


def _encoded(key: bytes) -> str:
    return binascii.b2a_base64(key, newline=False).decode()


def _next(words: Sequence[str], side: TlsSide) -> tuple[Entry[TicketKeys], TicketKeys]:
    """The keys that a `set ssl tls-key` is about, and what they become."""
    if len(words) < 2 or not words[0] or not words[1]:
        raise CommandError("'set ssl tls-key' expects a filename and the new TLS key in base64 encoding.")
    _, entry = _found(words[0], "set ssl tls-key", side)
    try:
        key = decoded(words[1])
    except ValueError:
        raise CommandError("'set ssl tls-key' received invalid base64 encoded TLS key.") from None
    if len(key) != len(entry.contents[0]):
        raise CommandError("'set ssl tls-key' received a key of wrong size.")
    return entry, followed_by(entry.contents, key)


def _set(words: Sequence[str], side: TlsSide, _: Context) -> str:
    entry, keys = _next(words, side)
    _put(entry, keys, side)
    return "TLS ticket key updated!"


def _put(entry: Entry[TicketKeys], keys: TicketKeys, side: TlsSide, *, from_file: bool = False) -> None:
    side.storage.replace(entry, keys)
    (side.followed if from_file else side.text_installed)("tls-keys", entry.name)


def _told(words: Sequence[str], side: TlsSide) -> Sequence[str]:
    """What the others are told: all keys, so that one who comes later need not know those before."""
    entry, keys = _next(words, side)
    return installing(entry.name, keys)


def installing(name: str, keys: TicketKeys) -> Sequence[str]:
    """The command that puts keys in the place of those of a file, in all processes."""
    return ("install", "ssl", "tls-keys", name, *map(_encoded, keys))


def _install(words: Sequence[str], side: TlsSide, context: Context) -> str:
    """`install ssl tls-keys <file> <key>... [from-file]`: what a `set ssl tls-key`, or a changed file, becomes everywhere."""
    name, *keys = words
    entry = _found(name, "install ssl tls-keys", side)[1]
    from_file = FROM_FILE in keys
    _put(entry, tuple(decoded(key) for key in keys if key != FROM_FILE), side, from_file=from_file)
    return ""


HANDLERS = {"show tls-keys": _show, "set ssl tls-key": _set, "install ssl tls-keys": _install}
TELLERS = {"set ssl tls-key": _told}
