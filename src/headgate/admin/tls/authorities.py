"""CA files and CRL files at run time: `show|new|set|add|commit|abort|del ssl ca-file|crl-file` (management manual 9.3).

The same commands for both kinds; a `_Kind` has what differs. As with certificates, a transaction is put together in one process
and told to the others when it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headgate.admin.context import Context, TlsSide
from headgate.admin.registry import CommandError
from headgate.admin.tls.files import (
    FROM_FILE,
    asked_for,
    committed,
    committing,
    is_forced,
    is_used,
    not_committed,
    one_name,
    told_of_removal,
    with_index,
)
from headgate.admin.tls.texts import certificate_lines, revocation_lines
from headgate.base.records import dataclass
from headgate.tls.transactions import Refused, parsed


@dataclass(frozen=True, slots=True)
class _Kind:
    """CA files or CRL files.

    Attributes:
        word: as in the commands.
        called: in messages, at the beginning of a sentence.
        short: in the message of a transaction.
        heading: of one thing in such a file.
        lines: what is said of one of them.
        counted: the list says how many there are.
    """

    word: str
    called: str
    short: str
    heading: str
    lines: Callable[..., list[str]]
    counted: bool


_CA = _Kind("ca-file", "CA file", "CA", "Certificate", certificate_lines, True)
_CRL = _Kind("crl-file", "CRL file", "CRL", "Certificate Revocation List", revocation_lines, False)


_Handler = Callable[[Sequence[str], TlsSide, Context], str]
_Teller = Callable[[Sequence[str], TlsSide], Sequence[str]]


class _Commands:
    """The commands of one kind of file."""

    def __init__(self, kind: _Kind) -> None:
        self._kind = kind
        word = kind.word
        self.handlers: dict[str, _Handler] = {
            f"show ssl {word}": self._show,
            f"new ssl {word}": self._new,
            f"set ssl {word}": lambda words, side, _: self._put(words, side, add=False),
            f"add ssl {word}": lambda words, side, _: self._put(words, side, add=True),
            f"commit ssl {word}": self._commit,
            f"install ssl {word}": self._installed,
            f"abort ssl {word}": self._abort,
            f"del ssl {word}": self._delete,
            f"remove ssl {word}": self._remove,
        }
        self.tellers: dict[str, _Teller] = {
            f"commit ssl {word}": self._told,
            f"del ssl {word}": lambda words, _: told_of_removal(word, words),
        }

    def _show(self, words: Sequence[str], side: TlsSide, _: Context) -> str:
        kind = self._kind
        pending = side.transactions.texts(kind.word)
        entries = side.storage.of(kind.word)
        empty = side.transactions.empty_of(kind.word)
        if not words:
            lines = ["# transaction"] if pending else []
            lines += [f"*{name}{_count(kind, parsed(kind.word, name, text))}" for name, text in pending.items()]
            everything = {name: entry.contents for name, entry in entries.items()} | {name: () for name in empty}
            return "\n".join([*lines, "# filename", *(f"{name}{_count(kind, everything[name])}" for name in sorted(everything))])
        written, is_pending = asked_for(words[0])
        name, index = with_index(written, {*entries, *pending, *empty})
        if index == 0:
            raise CommandError(f"wrong {kind.short} index after colons in '{words[0]}'!")
        if is_pending and name in pending:
            return _details(kind, f"*{name}", "Unused", parsed(kind.word, name, pending[name]), index)
        if not is_pending and name in entries:
            status = "Used" if is_used(entries[name], side) else "Unused"
            return _details(kind, name, status, entries[name].contents, index)
        if not is_pending and name in empty:
            return _details(kind, name, "Unused", (), index)
        raise CommandError(f"Can't display the {kind.called}: Not found!")

    def _new(self, words: Sequence[str], side: TlsSide, _: Context) -> str:
        name = one_name(words, f"new ssl {self._kind.word}")
        side.transactions.create_text(self._kind.word, name)
        return f"New {self._kind.called} created '{name}'!"

    def _put(self, words: Sequence[str], side: TlsSide, *, add: bool) -> str:
        kind = self._kind
        verb = "add" if add else "set"
        if len(words) < 2 or not words[0] or not words[1]:
            raise CommandError(f"'{verb} ssl {kind.word}' expects a filename and {kind.short}s as a payload")
        try:
            begun = side.transactions.set_text(kind.word, words[0], words[1], add=add)
        except Refused as refusal:
            raise CommandError(f"{refusal}\nCan't update {words[0]}!") from None
        return f"transaction {'created' if begun else 'updated'} for {kind.short} {words[0]}!"

    def _commit(self, words: Sequence[str], side: TlsSide, context: Context) -> str:
        kind = self._kind.word
        name = one_name(words, f"commit ssl {kind}")
        try:
            text, warnings = side.transactions.committable_text(kind, name, context.wall(), forced=is_forced(words))
        except Refused as refusal:
            raise not_committed(refusal, name) from None
        return committed(self._install(name, text, side), warnings)

    def _install(self, name: str, text: str, side: TlsSide, *, from_file: bool = False) -> str:
        entry = side.transactions.install_text(self._kind.word, name, text)
        (side.followed if from_file else side.text_installed)(self._kind.word, name)
        return committing(name, entry, side)

    def _installed(self, words: Sequence[str], side: TlsSide, _: Context) -> str:
        """`install ssl ca-file <name> <text> [from-file]`: what a commit, or a changed file, becomes everywhere."""
        if len(words) not in (2, 3):
            raise CommandError(f"'install ssl {self._kind.word}' expects a filename and a text")
        self._install(words[0], words[1], side, from_file=FROM_FILE in words[2:])
        return ""

    def _told(self, words: Sequence[str], side: TlsSide) -> Sequence[str]:
        text = side.transactions.texts(self._kind.word).get(words[0]) if words else None
        return ("install", "ssl", self._kind.word, *words[:1], *(() if text is None else (text,)))

    def _abort(self, words: Sequence[str], side: TlsSide, _: Context) -> str:
        name = one_name(words, f"abort ssl {self._kind.word}")
        if side.transactions.texts(self._kind.word).pop(name, None) is None:
            raise CommandError("No ongoing transaction!")
        return f"Transaction aborted for certificate '{name}'!"

    def _delete(self, words: Sequence[str], side: TlsSide, context: Context) -> str:
        kind = self._kind
        name = one_name(words, f"del ssl {kind.word}")
        entry, empty = side.storage.of(kind.word).get(name), side.transactions.empty_of(kind.word)
        if entry is None and name not in empty:
            raise CommandError(f"Can't remove the {kind.called}: {kind.called} '{name}' doesn't exist!")
        if entry is not None and is_used(entry, side):
            raise CommandError(f"Can't remove the {kind.called}: {kind.called} '{name}' in use, can't be deleted!")
        empty.discard(name)
        side.transactions.texts(kind.word).pop(name, None)
        self._remove(words, side, context)
        return f"{kind.called} '{name}' deleted!"

    def _remove(self, words: Sequence[str], side: TlsSide, _: Context) -> str:
        """`remove ssl ca-file <name>`: what `del ssl ca-file` becomes everywhere; of an empty one only one process knows."""
        name = one_name(words, f"remove ssl {self._kind.word}")
        side.storage.of(self._kind.word).pop(name, None)
        side.deleted(self._kind.word, name)
        return ""


def _count(kind: _Kind, contents: Sequence[object]) -> str:
    return f" - {len(contents)} certificate(s)" if kind.counted else ""


def _details(kind: _Kind, name: str, status: str, contents: Sequence[object], index: int | None) -> str:
    """One after the other, or only the one with the index; nothing at all if there is no such one (management manual 9.3).

    A line with a space keeps what follows in the answer.
    """
    if index is not None and index > len(contents):
        return ""
    lines = [f"Filename: {name}", f"Status: {status}"]
    for number, one in enumerate(contents, 1):
        if index in (None, number):
            lines += [" ", f"{kind.heading} #{number}:", *kind.lines(one)]
    return "\n".join(lines)


_of_authorities, _of_revocations = _Commands(_CA), _Commands(_CRL)
HANDLERS: Mapping[str, _Handler] = {**_of_authorities.handlers, **_of_revocations.handlers}
TELLERS: Mapping[str, _Teller] = {**_of_authorities.tellers, **_of_revocations.tellers}
