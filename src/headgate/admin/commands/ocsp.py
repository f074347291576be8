"""OCSP responses: shown, set, updated now (management manual 9.3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from headgate.admin.context import Context, Ocsp
from headgate.admin.registry import Command, CommandError, Level
from headgate.admin.responses import dump

if TYPE_CHECKING:  # what reads certificates is loaded only where there are some
    from headgate.tls.ocsp.ledger import Entry

_FORMATS = ("text", "base64")
_HEAD = "OCSP Certid | Path | Next Update | Last Update | Successes | Failures | Last Update Status | Last Update Status (str)"


def _ocsp(context: Context) -> Ocsp:
    ocsp = context.ocsp
    if ocsp is None:
        raise CommandError("No bind line has certificates.")
    return ocsp


def _find(word: str, ocsp: Ocsp) -> Entry:
    """By id or by path."""
    entry = ocsp.ledger.of_key(word.lower()) or ocsp.ledger.of_path(word)
    if entry is None:
        raise CommandError("Certificate ID does not match any certificate.")
    return entry


def show_response(words: Sequence[str], context: Context) -> str:
    """`show ssl ocsp-response [[text|base64] <id|path>]`"""
    form = words[0] if words and words[0] in _FORMATS else None
    rest = words if form is None else words[1:]
    if not rest:
        if form is not None:
            raise CommandError("'show ssl ocsp-response text|base64' expects the ID or the file of a certificate.")
        return _list(context)
    if len(rest) > 1:
        raise CommandError(f"'show ssl ocsp-response' takes no '{rest[1]}'.")
    return dump(_find(rest[0], _ocsp(context)), context.wall(), form or "text")


def _list(context: Context) -> str:
    from headgate.tls.ocsp.dump import id_lines

    lines = ["# Certificate IDs"]
    for entry in context.ocsp.ledger if context.ocsp is not None else ():
        if entry.subject is not None:
            lines += [f"  Certificate ID key : {entry.key}", f"  Certificate path : {entry.path}"]
            lines += [f"    {line}" for line in id_lines(entry.subject.id)]
    return "\n".join(lines)


def _date(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")


def show_updates(words: Sequence[str], context: Context) -> str:
    """`show ssl ocsp-updates`: by the time of the next one."""
    if words:
        raise CommandError(f"'show ssl ocsp-updates' takes no '{words[0]}'.")
    now = context.wall()
    entries = [one for one in context.ocsp.ledger if one.updates] if context.ocsp is not None else []
    entries.sort(key=lambda one: one.next_at or 0.0)
    return "\n".join([_HEAD, *(" | ".join(_cells(one, now)) for one in entries)])


def _cells(entry: Entry, now: float) -> list[str]:
    return [
        entry.key or "-", entry.path, _date(entry.next_at), _date(entry.updated_at), str(entry.successes), str(entry.failures),
        str(int(entry.code)), entry.status_text(now).replace("|", "/"),
    ]  # fmt: skip


async def _updated(words: Sequence[str], context: Context) -> AsyncIterator[str]:
    ocsp = _ocsp(context)
    if len(words) != 1:
        raise CommandError("'update ssl ocsp-response' expects a filename.")
    entry = ocsp.ledger.of_path(words[0]) or ocsp.admit_path(words[0])
    if entry is None:
        raise CommandError(f"'{words[0]}' is not the file of a certificate that clients are shown.")
    if ocsp.updates is None:
        raise CommandError("Responses are fetched by another process.")
    before = entry.failures
    await ocsp.updates.update(entry)
    if entry.failures > before:
        raise CommandError(f"{entry.status_text(context.wall())}.")
    yield dump(entry, context.wall())


def update_response(words: Sequence[str], context: Context) -> AsyncIterator[str]:
    """`update ssl ocsp-response <certfile>`: all its responders are asked now, if need be."""
    return _updated(words, context)


async def _inserted(words: Sequence[str], context: Context) -> AsyncIterator[str]:
    ocsp = _ocsp(context)
    text = "".join("".join(words).split())
    if not text:
        raise CommandError("'set ssl ocsp-response' expects response in base64 encoding.")
    try:
        der = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise CommandError("'set ssl ocsp-response' received invalid base64 encoded response.") from None
    if ocsp.updates is None:
        raise CommandError("Responses are set in another process.")
    from headgate.tls.ocsp.failures import Failure

    try:
        await ocsp.updates.insert(der)
    except Failure as failure:
        raise CommandError(f"{failure.text[:1].upper()}{failure.text[1:]}.") from None
    yield "OCSP Response updated!"


def set_response(words: Sequence[str], context: Context) -> AsyncIterator[str]:
    """`set ssl ocsp-response <response|payload>`: DER in base64; the same controls as for a fetched one."""
    return _inserted(words, context)


COMMANDS = (
    Command(
        "show ssl ocsp-response",
        "[[text|base64] id|path] : display the IDs of the OCSP responses used in the process, or a response",
        Level.USER, show_response,
    ),
    Command("show ssl ocsp-updates", ": display information about the next OCSP updates", Level.USER, show_updates),
    Command(
        "update ssl ocsp-response", "<certfile> : send ocsp request and update stored ocsp response", Level.ADMIN, update_response
    ),
    Command(
        "set ssl ocsp-response",
        "<resp|payload> : update a certificate's OCSP response from a base64-encoded DER", Level.ADMIN, set_response,
    ),
)  # fmt: skip
