"""What the commands about certificates, CA files and CRL files have in common."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from headgate.admin.context import TlsSide
from headgate.admin.registry import CommandError, Escaped
from headgate.tls.storage import Entry
from headgate.tls.transactions import Refused

#: The last word of what puts something into effect that its file holds: nothing differs from the files then.
FROM_FILE = "from-file"
#: Behind the file name of a commit: installed whatever speaks against it.
_FORCE = "force"


def is_used(entry: Entry[Any], side: TlsSide) -> bool:
    """Whether a frontend or a server uses an entry of the storage."""
    return any(entry in line.entries() for line in side.lines)


def asked_for(written: str) -> tuple[str, bool]:
    """The file name in a `show` command, and whether its transaction is meant (`*name`; not by `\\*name`)."""
    if written.startswith("\\*"):  # its backslash is escaped as well, as it had to be once
        return written[1:], False
    if isinstance(written, Escaped):
        return written, False
    return (written[1:], True) if written.startswith("*") else (written, False)


def with_index(written: str, names: Collection[str]) -> tuple[str, int | None]:
    """`name:2` in its parts, None where there is no index. Indexes start from 1: 0 is no index, and stands for words too.

    Args:
        written: in the command, without the sign of a transaction.
        names: of files that there are: one may have colons itself, without an index behind it.
    """
    name, colon, digits = written.rpartition(":")
    if not colon or (not digits.isdecimal() and written in names):
        return written, None
    # Of nine digits any is too big, and so is what has more.
    return name, int(digits.lstrip("0")[:9] or "0") if digits.isdecimal() else 0


def listing(transactions: Sequence[str], names: Sequence[str]) -> str:
    """Both lists, as `show ssl cert` has them."""
    lines = []
    if transactions:
        lines += ["# transaction", *(f"*{name}" for name in transactions)]
    return "\n".join([*lines, "# filename", *names])


def committing(name: str, entry: Entry[Any], side: TlsSide) -> str:
    """What a commit says: a dot for each instance that is built again, as HAProxy has it."""
    return f"Committing {name}{'.' * sum(line.instances(entry) for line in side.lines)}"


def committed(said: str, warnings: Sequence[str]) -> str:
    """The answer of a commit that took effect: what `committing` said, what is wrong all the same, and that it is done."""
    return "\n".join([said, *(f"Warning: {one}." for one in warnings), "Success!"])


def not_committed(refusal: Refused, name: str) -> Refused:
    """The answer of a commit that was refused."""
    return Refused(f"{refusal}\nCan't commit {name}!", by_force=refusal.by_force)


def is_forced(words: Sequence[str]) -> bool:
    """Whether a commit is to take effect whatever speaks against it."""
    return words[1:2] == [_FORCE]


def told_of_removal(word: str, words: Sequence[str]) -> Sequence[str]:
    """What `del ssl <word> <name>` becomes for the other processes."""
    return ("remove", "ssl", word, *words[:1])


def one_name(words: Sequence[str], command: str) -> str:
    """The only argument."""
    if not words or not words[0]:
        raise CommandError(f"'{command}' expects a filename")
    return words[0]
