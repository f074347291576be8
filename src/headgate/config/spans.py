"""Finds the exact place of a piece of a word, although quotes and escapes were removed from the word (manual 2.2).

The word's span of the line is read again under the quoting rules; where that gives the word's text, each of its characters
has its column. Where it does not (a variable was expanded), the whole word is the place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from headgate.base.diagnostics import Location
from headgate.config.cursor import Word

_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def piece_of(word: Word, start: int, stop: int) -> Location:
    """Where the characters [start, stop) of a word's text stand in its line."""
    place = word.location
    raw = place.underlined
    if raw == word.text:
        return Location(place.file, place.line, place.column + start, max(1, stop - start), place.text)
    columns = _columns(raw, word.text)
    if columns is None:
        return place
    first = columns[min(start, len(columns) - 1)]
    behind = columns[min(max(stop, start + 1), len(columns) - 1)]
    return Location(place.file, place.line, place.column + first, max(1, behind - first), place.text)


# All pieces of a log format are looked for in turn, and there are some with hundreds.
@functools.lru_cache(maxsize=8)
def _columns(raw: str, text: str) -> Sequence[int] | None:
    """For each character of `text`, and for its end, the offset in `raw`; None when `raw` does not spell `text`."""
    columns: list[int] = []
    read: list[str] = []
    at, end, quote = 0, 0, ""
    while at < len(raw):
        char = raw[at]
        if char == quote:
            quote = ""
            at += 1
        elif not quote and char in "'\"":
            quote = char
            at += 1
        else:
            size = 1
            if char == "\\" and quote != "'" and at + 1 < len(raw):
                char, size = _escape(raw, at)
            columns.append(at)
            read.append(char)
            at = end = at + size
    columns.append(end)
    return columns if "".join(read) == text else None


def _escape(raw: str, at: int) -> tuple[str, int]:
    following = raw[at + 1]
    if following == "x" and at + 3 < len(raw):
        try:
            return chr(int(raw[at + 2 : at + 4], 16)), 4
        except ValueError:
            return "\\", 1
    return _ESCAPED.get(following, following), 2
