"""Certificates at run time: `show|new|set|commit|abort|del|dump ssl cert` (management manual 9.3).

A transaction is put together in the process that has the stats socket. A commit is judged there; what it installs is told to the
others as one change, under the certificate's name, so that a worker that comes later gets what is in use now and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin import responses
from headgate.admin.context import Context, TlsSide
from headgate.admin.registry import CommandError
from headgate.admin.tls.files import (
    FROM_FILE,
    asked_for,
    committed,
    committing,
    is_forced,
    is_used,
    listing,
    not_committed,
    one_name,
    told_of_removal,
)
from headgate.admin.tls.texts import certificate_lines
from headgate.tls.certified_key import CertifiedKey
from headgate.tls.transactions import CertificateText, Refused, certified, decoded
from headgate.tls.unfinished import Unfinished


def _show(words: Sequence[str], side: TlsSide, context: Context) -> str:
    transactions, storage = side.transactions, side.storage
    if not words:
        return listing(list(transactions.certificates), sorted([*storage.certificates, *transactions.empty]))
    name, pending = asked_for(words[0])
    if name.endswith(responses.SUFFIX) and name not in storage.certificates:
        return _show_response(name.removesuffix(responses.SUFFIX), pending, side, context)
    if pending:
        return _show_transaction(name, side)
    if name in transactions.empty:
        return f"Filename: {name}\nStatus: Empty\nOCSP Response Key: "
    entry = storage.certificates.get(name)
    if entry is None:
        raise CommandError("Can't display the certificate: Not found or the certificate is a bundle!")
    status = "Used" if is_used(entry, side) else "Unused"
    return "\n".join([f"Filename: {name}", f"Status: {status}", *_details(entry.contents, responses.key_of(name, context))])


def _show_transaction(name: str, side: TlsSide) -> str:
    """`show ssl cert *<file>`: what is there so far; its key may be missing yet."""
    text = side.transactions.certificates.get(name)
    if text is None:
        raise CommandError("Can't display the certificate: Not found or the certificate is a bundle!")
    one = side.transactions.unfinished(name)
    if one is None:
        return f"Filename: *{name}\nStatus: Empty\nOCSP Response Key: "
    return "\n".join([f"Filename: *{name}", "Status: Unused", *_details(one, one.response_key if text.ocsp else "")])


def _details(one: CertifiedKey | Unfinished, key: str) -> list[str]:
    return [*certificate_lines(one.certificate, one.chain), f"OCSP Response Key: {key}"]


def _show_response(name: str, pending: bool, side: TlsSide, context: Context) -> str:
    """`show ssl cert <file>.ocsp`"""
    if not pending:
        return responses.of_certificate(name, context)
    text = side.transactions.certificates.get(name)
    return responses.of_transaction(name, decoded(text.ocsp, name) if text is not None else None)


def _new(words: Sequence[str], side: TlsSide, _: Context) -> str:
    name = one_name(words, "new ssl cert")
    side.transactions.create(name)
    return f"New empty certificate store '{name}'!"


def _set(words: Sequence[str], side: TlsSide, context: Context) -> str:
    if len(words) < 2 or not words[0] or not words[1]:
        raise CommandError("'set ssl cert' expects a filename and a certificate as a payload")
    try:
        name, begun = side.transactions.set_certificate(words[0], words[1], context.wall())
    except Refused as refusal:
        raise CommandError(f"{refusal}\nCan't update {words[0]}!") from None
    return f"Transaction {'created' if begun else 'updated'} for certificate {name}!"


def _commit(words: Sequence[str], side: TlsSide, context: Context) -> str:
    name = one_name(words, "commit ssl cert")
    text = _committed(words, side, context)
    said, unkept = _put(name, text, side)
    return committed(said, [unkept] if unkept is not None else [])


def _committed(words: Sequence[str], side: TlsSide, context: Context) -> CertificateText:
    name = words[0]
    try:
        return side.transactions.committable(name, context.wall(), forced=is_forced(words))
    except Refused as refusal:
        raise not_committed(refusal, name) from None


def _put(name: str, text: CertificateText, side: TlsSide, *, from_file: bool = False) -> tuple[str, str | None]:
    """Install it. Returns what is said of that, and why a reload would take it back though it should not."""
    entry = side.transactions.install_certificate(name, text)
    unkept = None
    if from_file:
        side.followed("cert", name)
    else:
        unkept = side.installed(name, text)
    return committing(name, entry, side), unkept


def _told(words: Sequence[str], side: TlsSide) -> Sequence[str]:
    """What the others are told of a commit, before it ends the transaction: the whole certificate."""
    text = side.transactions.certificates.get(words[0]) if words else None
    if text is None:
        return ("install", "ssl", "cert", *words[:1])
    return ("install", "ssl", "cert", words[0], text.pem, text.issuer, text.ocsp, text.sctl)


def _install(words: Sequence[str], side: TlsSide, _: Context) -> str:
    """`install ssl cert <name> <texts> [from-file]`: what a commit, or a changed file, becomes everywhere."""
    if len(words) not in (5, 6):
        raise CommandError("'install ssl cert' expects a filename and four texts")
    _put(words[0], CertificateText(*words[1:5]), side, from_file=FROM_FILE in words[5:])
    return ""


def _abort(words: Sequence[str], side: TlsSide, _: Context) -> str:
    name = one_name(words, "abort ssl cert")
    if side.transactions.certificates.pop(name, None) is None:
        raise CommandError("No ongoing transaction!")
    return f"Transaction aborted for certificate '{name}'!"


def _delete(words: Sequence[str], side: TlsSide, context: Context) -> str:
    name = one_name(words, "del ssl cert")
    entry = side.storage.certificates.get(name)
    if entry is None and name not in side.transactions.empty:
        raise CommandError(f"Can't remove the certificate: certificate '{name}' doesn't exist!")
    if entry is not None and is_used(entry, side):
        raise CommandError(f"Can't remove the certificate: certificate '{name}' in use, can't be deleted!")
    side.transactions.empty.discard(name)
    side.transactions.certificates.pop(name, None)
    _remove(words, side, context)
    return f"Certificate '{name}' deleted!"


def _remove(words: Sequence[str], side: TlsSide, _: Context) -> str:
    """`remove ssl cert <name>`: what `del ssl cert` becomes everywhere; of an empty one only one process knows."""
    name = one_name(words, "remove ssl cert")
    side.storage.certificates.pop(name, None)
    side.deleted("cert", name)
    return ""


def _dump(words: Sequence[str], side: TlsSide, _: Context) -> str:
    """Private key, certificate, chain: the one command that shows a key, for level admin only."""
    name, pending = asked_for(one_name(words, "dump ssl cert"))
    if pending:
        text = side.transactions.certificates.get(name)
        found = certified(name, text) if text is not None else None
    else:
        entry = side.storage.certificates.get(name)
        found = entry.contents if entry is not None else None
    if found is None:
        raise CommandError("Can't dump the certificate: Not found or the certificate is a bundle!")
    return found.pem.decode("ascii").rstrip("\n")


HANDLERS = {
    "show ssl cert": _show,
    "new ssl cert": _new,
    "set ssl cert": _set,
    "commit ssl cert": _commit,
    "install ssl cert": _install,
    "abort ssl cert": _abort,
    "del ssl cert": _delete,
    "remove ssl cert": _remove,
    "dump ssl cert": _dump,
}
TELLERS = {"commit ssl cert": _told, "del ssl cert": lambda words, _: told_of_removal("cert", words)}
