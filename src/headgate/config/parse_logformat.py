"""Log formats: `%ci`, `%{+Q,-X}o`, `%[expression]`, `%(name)ST`, `%%` and text (manual 8.2.6) -> expression.LogFormat.

Used for log lines and for every argument that the manual calls <fmt>. Syntax and names only; `plan` compiles.
"""

from __future__ import annotations

from headgate.base.diagnostics import ConfigError, config_error
from headgate.base.records import dataclass, field
from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.expression import Alias, Evaluated, Literal, LogFormat, LogItem
from headgate.config.parse_expression import parse_expression_at
from headgate.config.spans import piece_of

#: Every alias of the table in 8.2.6, besides `o`.
ALIASES = frozenset(
    "B CC CS H HM HP HPO HQ HU HV ID OG ST T Ta Tc Td Th Ti Tl TR Tq Tr Ts Tt Tu Tw U ac b bc bi bp bq ci cp f fc fi fp ft hr hrl"
    " hs hsl lc ms pid r rc rt s sc si sp sq sslc sslv t tr trg trl ts tsc".split()
)

_FLAGS = ("Q", "X", "E", "bin", "json", "cbor")
_LETTERS = regex(r"[A-Za-z0-9]+")
_SPACES = regex(r" {2,}")


@dataclass(slots=True)
class _Reading:
    """One format while it is read."""

    word: Word
    at: int = 0
    flags: frozenset[str] = frozenset()
    items: list[LogItem] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def flush(self, merge_spaces: bool) -> None:
        literal = "".join(self.text)
        if literal:
            self.items.append(Literal(_SPACES.sub(" ", literal) if merge_spaces else literal))
            self.text.clear()


def read_logformat(cursor: Cursor, what: str = "a log format", *, merge_spaces: bool = False) -> LogFormat:
    """Read the next word of a line as a log format."""
    return parse_logformat(cursor.next(what), merge_spaces=merge_spaces)


def parse_logformat(word: Word, *, merge_spaces: bool = False) -> LogFormat:
    """Parse a log format.

    Args:
        word: the whole format.
        merge_spaces: spaces are delimiters and several count as one (log-format, log-format-sd, unique-id-format).

    Raises:
        ConfigError: an unknown alias or flag, or something that is never closed.
    """
    reading = _Reading(word)
    text = word.text
    while reading.at < len(text):
        percent = text.find("%", reading.at)
        if percent < 0:
            reading.text.append(text[reading.at :])
            break
        reading.text.append(text[reading.at : percent])
        if text[percent + 1 : percent + 2] == "%":
            reading.text.append("%")
            reading.at = percent + 2
            continue
        _read_item(reading, percent, merge_spaces)
    reading.flush(merge_spaces)
    return LogFormat(tuple(reading.items), word.location, text, reading.flags)


def literal_format(text: str, word: Word) -> LogFormat:
    """A format that is this text and nothing else."""
    return LogFormat((Literal(text),) if text else (), word.location, text)


def _read_item(reading: _Reading, percent: int, merge_spaces: bool) -> None:
    word, text = reading.word, reading.word.text
    at = percent + 1
    label: str | None = None
    argument: str | None = None
    flags = reading.flags
    if text[at : at + 1] == "(":
        label, at = _read_label(word, at)
    if text[at : at + 1] == "{":
        close = text.find("}", at)
        if close < 0:
            raise _wrong(word, at, at + 1, "the brace of the flags is never closed")
        argument = text[at + 1 : close]
        flags = _apply_flags(word, at + 1, argument, flags)
        at = close + 1
    if text[at : at + 1] == "[":
        expression, end = parse_expression_at(word, at + 1)
        if text[end : end + 1] != "]":
            raise _wrong(word, at, at + 1, f"the bracket is never closed: ']' is expected behind '{expression.text[:60]}'")
        reading.flush(merge_spaces)
        reading.items.append(Evaluated(expression, flags - {"bin"} | reading.flags & {"bin"}, label, expression.location))
        reading.at = end + 1
        return
    match = _LETTERS.match(text, at)
    if match is None:
        raise _wrong(
            word, percent, at, "'%' begins neither an alias nor an expression here", remedy="a percent sign is written '%%'"
        )
    reading.at = match.end()
    if match[0] == "o":
        reading.flags = flags
        return
    if match[0] not in ALIASES:
        raise config_error(
            f"unknown log format alias '%{match[0]}'", piece_of(word, percent, match.end()), allowed=sorted(ALIASES),
            written=match[0], remedy="a percent sign is written '%%'",
        )
    reading.flush(merge_spaces)
    reading.items.append(Alias(match[0], flags, argument, label, piece_of(word, percent, match.end())))


def _read_label(word: Word, opening: int) -> tuple[str, int]:
    close = word.text.find(")", opening)
    if close < 0:
        raise _wrong(word, opening, opening + 1, "the parenthesis of the item's name is never closed")
    name, colon, kind = word.text[opening + 1 : close].partition(":")
    if colon:
        raise _wrong(word, opening, close + 1, f"the output type ':{kind}' of a log format item is known but not yet supported")
    return name, close + 1


def _apply_flags(word: Word, start: int, argument: str, flags: frozenset[str]) -> frozenset[str]:
    for part in argument.split(","):
        sign, name = part[:1], part[1:]
        if sign not in ("+", "-") or name not in _FLAGS:
            raise config_error(
                f"unknown log format flag '{part}'", piece_of(word, start, start + max(1, len(part))),
                allowed=tuple(f"{mark}{flag}" for flag in _FLAGS for mark in "+-"), written=part,
            )
        flags = flags | {name} if sign == "+" else flags - {name}
        start += len(part) + 1
    return flags


def _wrong(word: Word, start: int, stop: int, message: str, *, remedy: str | None = None) -> ConfigError:
    return config_error(message, piece_of(word, start, stop), remedy=remedy)
