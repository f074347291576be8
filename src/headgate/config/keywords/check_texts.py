"""What rules of checks send and look for: text, hexadecimal digits, log formats. Not a family of its own."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import ConfigError
from headgate.base.regex import regex
from headgate.config.cursor import Cursor, Word
from headgate.config.expression import Literal, LogFormat
from headgate.config.parse_logformat import read_logformat

_DIGITS = regex(r"[0-9A-Fa-f\s]*")


def text_bytes(text: str) -> bytes:
    """A word's bytes, as they are in the file."""
    return text.encode("utf-8", "surrogateescape")


def text(empty: str) -> Callable[[Cursor], bytes]:
    """A reader of a string that is not empty; `empty` says why."""

    def read(cursor: Cursor) -> bytes:
        word = cursor.next("a string")
        if not word.text:
            raise cursor.wrong(word, empty)
        return text_bytes(word.text)

    return read


def hexadecimal(cursor: Cursor) -> bytes:
    """Bytes, written as two digits each."""
    word = cursor.next("hexadecimal digits")
    return _digits(cursor, word, word.text)


def log_format(cursor: Cursor) -> LogFormat:
    """A log format that is not empty."""
    if cursor.peek() == "":
        raise cursor.wrong(cursor.next("a log format"), "the log format is empty")
    return read_logformat(cursor)


def hexadecimal_format(cursor: Cursor) -> LogFormat:
    """A log format that gives hexadecimal digits, where what is fixed in it can be some."""
    format_ = log_format(cursor)
    word = cursor.last
    fixed = [item.text for item in format_.items if isinstance(item, Literal)]
    if len(fixed) == len(format_.items):
        _digits(cursor, word, "".join(fixed))
    for part in fixed:  # the other digit of a byte may be evaluated
        if not _DIGITS.fullmatch(part):
            raise _not_digits(cursor, word, f"'{part}' is not made of hexadecimal digits")
    return format_


def _digits(cursor: Cursor, word: Word, digits: str) -> bytes:
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = b""
    if not data:
        raise _not_digits(cursor, word, f"'{digits}' is not an even number of hexadecimal digits")
    return data


def _not_digits(cursor: Cursor, word: Word, message: str) -> ConfigError:
    return cursor.wrong(word, message, remedy="write two digits for each byte, for example '50494e470d0a'")
