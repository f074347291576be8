"""Regular expressions and pattern files: what the operator wrote, made usable for Python's `re`.

HAProxy's expressions are PCRE. Python's are close enough that the common ones mean the same; what Python does not know is an
error with the reason, never a different meaning. Bytes are matched, so `\\w` and `.` are about bytes as in HAProxy.
"""

from __future__ import annotations

import re
import warnings
from typing import Final

from headgate.base.diagnostics import Location, config_error

_POSIX: Final = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": "\\x21-\\x7e", "lower": "a-z", "print": "\\x20-\\x7e", "punct": "!-/:-@\\[-`{-~", "space": r" \t\n\r\f\v",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}
_POSIX_CLASS: Final = re.compile(r"\[:(\^?)([a-z]+):\]")


def compile_regex(text: str, location: Location | None, *, ignore_case: bool = False) -> re.Pattern[bytes]:
    """Compile an expression.

    Raises:
        ConfigError: it is wrong, or uses what Python's `re` has not.
    """

    def posix(match: re.Match[str]) -> str:
        if match[1] or match[2] not in _POSIX:
            raise config_error(f"character class '{match[0]}' is not supported", location)
        return _POSIX[match[2]]

    translated = _POSIX_CLASS.sub(posix, text)
    try:
        with warnings.catch_warnings():
            # "Possible nested set": harmless in PCRE, where a bracket inside a class is a plain character, and today in Python.
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(translated.encode("utf-8", "surrogateescape"), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise config_error(
            f"regular expression '{text}': {error.msg}", location,
            remedy="if this is valid PCRE, it uses a feature that is not supported here",
        ) from None
    except OverflowError:
        raise config_error(f"regular expression '{text}': a repetition count is too large", location) from None


_REFERENCE: Final = re.compile(rb"\\([0-9]|.)", re.DOTALL)


def parse_substitution(text: bytes) -> tuple[bytes | int, ...]:
    """Split a replacement into literals and group numbers: `\\1` is a group, `\\x` any other character is itself."""
    parts: list[bytes | int] = []
    position = 0
    for match in _REFERENCE.finditer(text):
        if match.start() > position:
            parts.append(text[position : match.start()])
        parts.append(int(match[1]) if match[1].isdigit() else match[1])
        position = match.end()
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


def expand(parts: tuple[bytes | int, ...], match: re.Match[bytes]) -> bytes:
    """A replacement for one match; groups that don't exist or took no part are empty, as in HAProxy."""
    groups = match.re.groups
    return b"".join(
        [part if isinstance(part, bytes) else (match[part] or b"") if part <= groups else b"" for part in parts]
    )


def pattern_lines(content: bytes) -> list[tuple[int, bytes]]:
    """Numbered lines of a pattern file (7.1): leading blanks stripped, empty lines and those that begin with `#` left out."""
    lines = []
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.rstrip(b"\r")
        if line.startswith(b"#"):
            continue
        line = line.lstrip(b" \t")
        if line:
            lines.append((number, line))
    return lines


def map_lines(content: bytes) -> list[tuple[int, bytes, bytes]]:
    """Numbered keys and values of a map file (7.3.1 "map"): the key ends at the first blank, the value keeps its own blanks."""
    pairs = []
    for number, line in pattern_lines(content):
        parts = line.split(None, 1)
        pairs.append((number, parts[0], parts[1].rstrip(b" \t") if len(parts) > 1 else b""))
    return pairs
