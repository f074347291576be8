"""CA files and CRL files at run time: `show|new|set|add|commit|abort|del ssl ca-file|crl-file` (management manual 9.3).

The same commands for both kinds; a `_Kind` has what differs. As with certificates, a transaction is put together in one process
and told to the others when it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headgate.admin.context import Context, TlsSide
from headgate.admin.registry import CommandError
from headgate.admin.tls.files import asked_for, committing, is_used, one_name, with_index
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


def _commands(kind: _Kind) -> tuple[dict[str, _Handler], dict[str, _Teller]]:
    word = kind.word

    def show(words: Sequence[str], side: TlsSide, _: Context) -> str:
        pending = side.transactions.texts(word)
        entries = side.storage.of(word)
        if not words:
            lines = ["# transaction"] if pending else []
            lines += [f"*{name}{_count(kind, parsed(word, name, text))}" for name, text in pending.items()]
            everything = {name: entry.contents for name, entry in entries.items()}
            everything |= {name: () for name in side.transactions.empty_of(word)}
            return "\n".join([*lines, "# filename", *(f"{name}{_count(kind, everything[name])}" for name in sorted(everything))])
        written, index = with_index(words[0])
        name, is_pending = asked_for(written)
        if is_pending and name in pending:
            return _details(kind, f"*{name}", "Unused", parsed(word, name, pending[name]), index)
        if not is_pending and name in entries:
            status = "Used" if is_used(entries[name], side) else "Unused"
            return _details(kind, name, status, entries[name].contents, index)
        if not is_pending and name in side.transactions.empty_of(word):
            return _details(kind, name, "Unused", (), index)
        raise CommandError(f"Can't display the {kind.called}: Not found!")

    def new(words: Sequence[str], side: TlsSide, _: Context) -> str:
        name = one_name(words, f"new ssl {word}")
        side.transactions.create_text(word, name)
        return f"New {kind.called} created '{name}'!"

    def put(words: Sequence[str], side: TlsSide, *, add: bool) -> str:
        verb = "add" if add else "set"
        if len(words) < 2 or not words[0] or not words[1]:
            raise CommandError(f"'{verb} ssl {word}' expects a filename and {'CAs' if kind is _CA else 'CRLs'} as a payload")
        try:
            begun = side.transactions.set_text(word, words[0], words[1], add=add)
        except Refused as refusal:
            raise CommandError(f"{refusal}\nCan't update {words[0]}!") from None
        return f"transaction {'created' if begun else 'updated'} for {kind.short} {words[0]}!"

    def commit(words: Sequence[str], side: TlsSide, _: Context) -> str:
        name = one_name(words, f"commit ssl {word}")
        text = side.transactions.texts(word).get(name)
        if text is None:
            raise CommandError(f"No ongoing transaction! !\nCan't commit {name}!")
        return f"{install([name, text], side)}\nSuccess!"

    def install(words: Sequence[str], side: TlsSide) -> str:
        name, text = words
        entry = side.transactions.install_text(word, name, text)
        side.text_installed(word, name, text)
        return committing(name, entry, side)

    def installed(words: Sequence[str], side: TlsSide, _: Context) -> str:
        if len(words) != 2:
            raise CommandError(f"'install ssl {word}' expects a filename and a text")
        install(words, side)
        return ""

    def told(words: Sequence[str], side: TlsSide) -> Sequence[str]:
        text = side.transactions.texts(word).get(words[0]) if words else None
        return ("install", "ssl", word, *words[:1], *(() if text is None else (text,)))

    def abort(words: Sequence[str], side: TlsSide, _: Context) -> str:
        name = one_name(words, f"abort ssl {word}")
        if side.transactions.texts(word).pop(name, None) is None:
            raise CommandError("No ongoing transaction!")
        return f"Transaction aborted for certificate '{name}'!"

    def delete(words: Sequence[str], side: TlsSide, context: Context) -> str:
        name = one_name(words, f"del ssl {word}")
        entries = side.storage.of(word)
        if name in side.transactions.empty_of(word):
            side.transactions.empty_of(word).discard(name)
        elif name in entries:
            if is_used(entries[name], side):
                raise CommandError(f"Can't remove the {kind.called}: {kind.called} '{name}' in use, can't be deleted!")
            del entries[name]
        elif not context.catching_up:
            raise CommandError(f"Can't remove the {kind.called}: {kind.called} '{name}' doesn't exist!")
        return f"{kind.called} '{name}' deleted!"

    handlers: dict[str, _Handler] = {
        f"show ssl {word}": show,
        f"new ssl {word}": new,
        f"set ssl {word}": lambda words, side, _: put(words, side, add=False),
        f"add ssl {word}": lambda words, side, _: put(words, side, add=True),
        f"commit ssl {word}": commit,
        f"install ssl {word}": installed,
        f"abort ssl {word}": abort,
        f"del ssl {word}": delete,
    }
    return handlers, {f"commit ssl {word}": told}


def _count(kind: _Kind, contents: Sequence[object]) -> str:
    return f" - {len(contents)} certificate(s)" if kind.counted else ""


def _details(kind: _Kind, name: str, status: str, contents: Sequence[object], index: int | None) -> str:
    """One after the other, or only the one with the index. A line with a space keeps what follows in the answer."""
    lines = [f"Filename: {name}", f"Status: {status}"]
    for number, one in enumerate(contents, 1):
        if index in (None, number):
            lines += [" ", f"{kind.heading} #{number}:", *kind.lines(one)]
    return "\n".join(lines)


_of_authorities, _of_revocations = _commands(_CA), _commands(_CRL)
HANDLERS: Mapping[str, _Handler] = {**_of_authorities[0], **_of_revocations[0]}
TELLERS: Mapping[str, _Teller] = {**_of_authorities[1], **_of_revocations[1]}
