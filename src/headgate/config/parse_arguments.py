"""The arguments of sample fetches, converters and predicates: `(a,b,c)` with their quotes (manual 2.2, 7.3).

Stands by itself so that `-cc` can read a condition without loading the syntax trees of whole configurations.
"""

from __future__ import annotations

from headgate.base.diagnostics import ConfigError, config_error
from headgate.config.cursor import Word
from headgate.config.spans import piece_of


def parse_arguments(word: Word, opening: int) -> tuple[tuple[str, ...], int]:
    """Read `(a,b,c)` whose parenthesis opens at an index: the arguments without quotes, and the index behind the parenthesis.

    `()` has no argument, `(,)` two empty ones.

    Raises:
        ConfigError: a quote or the parenthesis is never closed.
    """
    text = word.text
    arguments: list[str] = []
    piece: list[str] = []
    at, quote, quoted_at, seen = opening + 1, "", 0, False
    while at < len(text):
        char = text[at]
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote, quoted_at, seen = char, at, True
        elif char == "\\" and quote != "'" and at + 1 < len(text):
            at += 1
            piece.append(_unescape(text[at], quote))
        elif quote:
            piece.append(char)
        elif char == ",":
            arguments.append("".join(piece))
            piece.clear()
            seen = True
        elif char == ")":
            if arguments or piece or seen:
                arguments.append("".join(piece))
            return tuple(arguments), at + 1
        else:
            piece.append(char)
        at += 1
    if quote:
        raise _wrong(word, quoted_at, f"the quote {quote} is never closed in '{text[:80]}'")
    remedy = "escape the quotes inside, or put single quotes around the whole argument (manual 2.2)" if " " not in text else None
    raise _wrong(word, opening, f"the parenthesis is never closed in '{text[:80]}'", remedy=remedy)


def _unescape(char: str, quote: str) -> str:
    """What a backslash and `char` mean inside arguments: as on top level, but without `\\#`, `\\$` and `\\xNN` (2.2)."""
    special = {"n": "\n", "r": "\r", "t": "\t"}.get(char)
    if special is not None:
        return special
    if char in "\\'\"" or (not quote and char in " \t,()"):
        return char
    return "\\" + char


def _wrong(word: Word, start: int, message: str, *, remedy: str | None = None) -> ConfigError:
    return config_error(message, piece_of(word, start, start + 1), remedy=remedy)
