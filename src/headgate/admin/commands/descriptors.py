"""`show fd` (management manual 9.3): the open file descriptors of all workers, one a line.

`gid` is the number of the worker: descriptors of two workers may have one number and are two things.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headgate.admin.context import Context
from headgate.admin.gathering import gathered
from headgate.admin.inspection import Descriptor
from headgate.admin.registry import Command, CommandError, Level
from headgate.base.records import dataclass

#: Letters of the selection, and what they select.
_KINDS = {
    "p": {"pipe"}, "l": {"listener"}, "c": {"frontend", "backend"}, "f": {"frontend"}, "b": {"backend"}, "s": {"backend"},
}  # fmt: skip
_ALL = frozenset({"listener", "frontend", "backend", "pipe", "other"})


@dataclass(slots=True)
class _Selection:
    kinds: frozenset[str]
    worker: int | None
    number: int | None


def _selection(words: Sequence[str]) -> _Selection:
    kinds: frozenset[str] | None = None
    worker = number = None
    for word in words:
        if word[:1] in ("-", "!"):
            kinds = _kinds(word, kinds)
        else:
            worker, number = _which(word)
    return _Selection(_ALL if kinds is None else kinds, worker, number)


def _kinds(word: str, before: frozenset[str] | None) -> frozenset[str]:
    """One word of flags: `-` and `!` invert what follows, but a `-` that begins the word only says that it is one."""
    inverted = word[0] == "!"
    chosen = before
    for letter in word[1:]:
        if letter in "-!":
            inverted = not inverted
            continue
        if letter not in _KINDS:
            raise CommandError(f"Unsupported FD type '{letter}': one of p, l, c, f, b, s.")
        kinds = _KINDS[letter]
        if inverted:
            chosen = (_ALL if chosen is None else chosen) - kinds
        else:
            chosen = (frozenset() if chosen is None else chosen) | kinds
    return _ALL if chosen is None else chosen


def _which(word: str) -> tuple[int | None, int | None]:
    group, slash, number = word.partition("/")
    if not slash:
        group, number = "", word
    for part in (group, number):
        if part and not (part.isdecimal() and len(part) < 10):
            raise CommandError("A number is expected: <fd>, <tgid>/, /<fd> or <tgid>/<fd>.")
    return int(group) if group else None, int(number) if number else None


def _collect(words: Sequence[str], context: Context) -> list[str]:
    selection = _selection(words)
    worker = context.inspection.worker or 1
    if selection.worker not in (None, worker):
        return []
    return [
        _line(one, worker)
        for one in context.inspection.descriptors()
        if one.kind in selection.kinds and selection.number in (None, one.number)
    ]


def _line(one: Descriptor, worker: int) -> str:
    """`R`, `W`: this direction is watched; small letters: it is not."""
    events = one.events if one.events is not None else ""
    write, read = "a" if "W" not in events else "A", "a" if "R" not in events else "A"
    text = f"{one.number:7} : W:{write} R:{read} gid={worker} type={one.kind}"
    if one.watched_by:
        text += f" iocb={one.watched_by}"
    if one.family:
        text += f" fam={one.family}"
    for name, address in (("l", one.local), ("r", one.remote)):
        if address:
            text += f" {name}addr={address}"
            port = address.rpartition(":")[2] if one.family != "unix" else ""
            text += f" {name}port={port}" if port.isdecimal() else ""
    if one.belongs_to:
        text += f" {one.belongs_to}"
    if one.kind in ("frontend", "backend"):
        text += f" xprt={'SSL' if one.tls else 'RAW'}"
    return text + (" !" if one.suspicious else "")


def _render(_: Sequence[str], facts: Mapping[int, list[str]]) -> str:
    return "\n".join([line for lines in facts.values() for line in lines])


COMMANDS: tuple[Command, ...] = (
    gathered(
        "show fd",
        "[-!plcfbs]* [<num>] : dump list of file descriptors in use or a specific one",
        Level.OPERATOR,
        _collect,
        _render,
    ),
)
