"""Sample expressions: `fetch(args),converter(args),...` (manual 7.3, quoting of arguments 2.2) -> expression.SampleExpression.

Syntax only: whether a fetch exists and what it takes is known to `plan`. Called by conditions, log formats and the keywords that
take an expression.
"""

from __future__ import annotations

from headgate.base.diagnostics import ConfigError, config_error
from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.expression import Call, SampleExpression
from headgate.config.parse_arguments import parse_arguments
from headgate.config.spans import piece_of

_NAME = regex(r"[A-Za-z0-9_.+-]+")

#: Nobody chains more by hand; a bound keeps a hostile file from building a tree without end.
MOST_CONVERTERS = 256


def parse_expression(word: Word) -> SampleExpression:
    """Parse a word that is one sample expression.

    Raises:
        ConfigError: not an expression, or text behind it.
    """
    expression, end = parse_expression_at(word, 0)
    if end != len(word.text):
        raise _wrong(word, end, f"unexpected '{word.text[end:][:40]}' behind the sample expression", stop=len(word.text))
    return expression


def read_expression(cursor: Cursor, what: str = "a sample expression") -> SampleExpression:
    """Read the next word of a line as a sample expression."""
    return parse_expression(cursor.next(what))


def parse_expression_at(word: Word, start: int) -> tuple[SampleExpression, int]:
    """Parse an expression that begins at an index of the word's text, and answer it with the index behind it."""
    text = word.text
    fetch, at = _call(word, start, "sample fetch")
    converters: list[Call] = []
    while at < len(text) and text[at] == ",":
        if len(converters) == MOST_CONVERTERS:
            raise _wrong(word, at, f"more than {MOST_CONVERTERS} converters in one expression")
        call, at = _call(word, at + 1, "converter")
        converters.append(call)
    return SampleExpression(fetch, tuple(converters), piece_of(word, start, at), text[start:at]), at


def _call(word: Word, start: int, what: str) -> tuple[Call, int]:
    match = _NAME.match(word.text, start)
    if match is None:
        found = repr(word.text[start : start + 1]) if start < len(word.text) else "the end"
        remedy = "no spaces stand around the commas of an expression" if word.text[start : start + 1] == " " else None
        raise _wrong(word, start, f"the name of a {what} is missing before {found}", remedy=remedy)
    at = match.end()
    arguments: tuple[str, ...] = ()
    if at < len(word.text) and word.text[at] == "(":
        arguments, at = parse_arguments(word, at)
    return Call(match[0], arguments, piece_of(word, start, at)), at


def _wrong(word: Word, start: int, message: str, *, stop: int | None = None, remedy: str | None = None) -> ConfigError:
    return config_error(message, piece_of(word, start, start + 1 if stop is None else stop), remedy=remedy)
