"""Cuts one line of text into words (manual 2.1, 2.2, 2.3): quotes, escapes, comments and variables.

There are no continuation lines. Words keep the place of their raw text, quotes included, so that an error can underline what
stands in the file. Called by `load` for each line.
"""

from __future__ import annotations

from collections.abc import Mapping

from headgate.base.diagnostics import Location, config_error
from headgate.base.regex import regex
from headgate.config.cursor import Word

_PLAIN_WORD = regex(r"[^ \t]+")
_SPECIAL = regex(r"[\\\"'#]")
#: A word whose quotes only have to be taken off: no escape, no variable. What follows it decides whether it is whole.
_SIMPLE_WORD = regex(r"""(?:[^ \t\\"'#]++|'[^']*+'|"[^"\\$]*+")++(?=[ \t#]|\Z)""")
_QUOTED = regex(r"""'([^']*)'|"([^"]*)\"""")
#: What needs no attention outside quotes, and inside weak quotes.
_UNQUOTED_RUN = regex(r"[^ \t\\\"'#]+")
_WEAK_RUN = regex(r"[^\\\"$]+")
_HEX = regex(r"[0-9A-Fa-f]{2}")
_VARIABLE = regex(r"\.?[A-Za-z_][A-Za-z0-9_]*")

_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_SELF_ESCAPED = frozenset(" \t#\\'\"$")
_SURROGATE = regex("[\udc80-\udcff]")

_UNSAFE = regex(r"""[\s\\"'#$\x00-\x1f\x7f\udc80-\udcff]""")
_NOT_STRONG = regex(r"['\x00-\x1f\x7f\udc80-\udcff]")


def split_line(text: str, file: str, line: int, environment: Mapping[str, str], section: str = "") -> list[Word]:
    """Cut a line into words.

    Args:
        text: the line without its line end; bytes that are not UTF-8 as surrogate escapes.
        file: the file's name, for places and `.FILE`.
        line: its number from 1, for places and `.LINE`.
        environment: where variables are looked up.
        section: what `.SECTION` stands for.

    Raises:
        ConfigError: a quote that is not closed, a bad escape or a bad variable.
    """
    if _SPECIAL.search(text) is None:
        return [
            Word(match[0], Location(file, line, match.start() + 1, match.end() - match.start(), text))
            for match in _PLAIN_WORD.finditer(text)
        ]
    return _LineReader(text, file, line, environment, section).read()


class _LineReader:
    """Reads one line that has quotes, escapes, variables or a comment."""

    def __init__(self, text: str, file: str, line: int, environment: Mapping[str, str], section: str) -> None:
        self.text = text
        self.file = file
        self.line = line
        self.environment = environment
        self.section = section
        self.position = 0
        self.words: list[Word] = []

    def read(self) -> list[Word]:
        text = self.text
        while self.position < len(text):
            char = text[self.position]
            if char in " \t":
                self.position += 1
            elif char == "#":
                break
            else:
                self._word()
        return self.words

    def _word(self) -> None:
        """Read one word. `[*]` may make several of it, or none."""
        text, start = self.text, self.position
        simple = _SIMPLE_WORD.match(text, start)
        if simple is not None:
            self.position = simple.end()
            self.words.append(Word(_QUOTED.sub(r"\1\2", simple[0]), self._place(start, self.position)))
            return
        parts = [""]  # the word so far; a further element begins where a [*] expansion was cut
        expanded_only = True
        while self.position < len(text):
            char = text[self.position]
            if char in " \t#":
                break
            run = _UNQUOTED_RUN.match(text, self.position)
            if run is not None:
                parts[-1] += run[0]
                self.position = run.end()
                expanded_only = False
            elif char == "'":
                parts[-1] += self._strong()
                expanded_only = False
            elif char == '"':
                expanded_only &= self._weak(parts)
            else:
                parts[-1] += self._escape()
                expanded_only = False
        if expanded_only and parts == [""]:
            return  # "${LIST[*]}" of nothing is no word
        place = self._place(start, self.position)
        self.words.extend(Word(_joined_bytes(part), place) for part in parts)

    def _strong(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            raise config_error(
                "single quote is not closed", self._place(self.position), remedy="a quote itself is written \\'"
            )
        inner = self.text[self.position + 1 : end]
        self.position = end + 1
        return inner

    def _weak(self, parts: list[str]) -> bool:
        """Read "..." onto the last part. Answers whether it was nothing but an expanded list."""
        text, start = self.text, self.position
        self.position += 1
        only_list = False
        while self.position < len(text):
            char = text[self.position]
            if char == '"':
                self.position += 1
                return only_list
            run = _WEAK_RUN.match(text, self.position)
            if run is not None:
                parts[-1] += run[0]
                self.position = run.end()
                only_list = False
            elif char == "\\":
                parts[-1] += self._escape()
                only_list = False
            else:
                before = self.position
                only_list = self._variable(parts) and before == start + 1
        raise config_error("double quote is not closed", self._place(start), remedy='a quote itself is written \\"')

    def _escape(self) -> str:
        text, start = self.text, self.position
        following = text[start + 1 : start + 2]
        if not following:
            remedy = "a line can't be continued on the next one; a backslash itself is written '\\\\'"
            raise config_error("backslash at the end of the line", self._place(start), remedy=remedy)
        self.position = start + 2
        if following in _SELF_ESCAPED:
            return following
        if following in _CONTROL:
            return _CONTROL[following]
        if following != "x":
            return "\\" + following  # as written, so that regular expressions like \. and \d survive
        match = _HEX.match(text, start + 2)
        if match is None:
            raise config_error("'\\x' must be followed by two hexadecimal digits", self._place(start, start + 4))
        code = int(match[0], 16)
        if code == 0:
            raise config_error("'\\x00' can't be part of a word", self._place(start, start + 4))
        self.position = start + 4
        return chr(code) if code < 0x80 else chr(0xDC00 + code)

    def _variable(self, parts: list[str]) -> bool:
        """Expand `$NAME`, `${NAME}`, `${NAME-default}`, `${NAME[*]}` (2.3). Answers whether it was a list."""
        text, start = self.text, self.position
        braces = text.startswith("{", start + 1)
        begin = start + 2 if braces else start + 1
        match = _VARIABLE.match(text, begin)
        if match is None:
            raise config_error(
                "a variable name must begin with a letter or '_'",
                self._place(start, begin + 1),
                remedy="a dollar inside double quotes is written \\$",
            )
        name, end, as_list, default = match[0], match.end(), False, None
        if braces:
            close = text.find("}", end)
            if close < 0:
                raise config_error(f"'}}' is missing behind variable '{name}'", self._place(start, end))
            rest = text[end:close]
            if rest.startswith("[*]"):
                as_list, rest = True, rest[3:]
            if rest.startswith("-"):
                default = rest[1:]
                if default.endswith("[*]"):
                    as_list, default = True, default[:-3]
            elif rest:
                message = f"'{rest}' is not allowed behind variable '{name}'"
                raise config_error(message, self._place(end, close), allowed=("}", "-default}", "[*]}"))
            end = close + 1
        self.position = end
        value = self._lookup(name, start, end)
        if value is None:
            value = default or ""
        if not as_list:
            parts[-1] += value
            return False
        items = value.split()
        if items:
            parts[-1] += items[0]
            parts.extend(items[1:])
        return True

    def _lookup(self, name: str, start: int, end: int) -> str | None:
        if not name.startswith("."):
            return self.environment.get(name)
        pseudo = {".FILE": self.file, ".LINE": str(self.line), ".SECTION": self.section}
        if name not in pseudo:
            raise config_error(
                f"unknown pseudo-variable '{name}'", self._place(start, end), allowed=tuple(pseudo), written=name
            )
        return pseudo[name]

    def _place(self, start: int, end: int | None = None) -> Location:
        stop = len(self.text) if end is None else min(end, len(self.text))
        return Location(self.file, self.line, start + 1, max(1, stop - start), self.text)


def _joined_bytes(text: str) -> str:
    """Bytes written as \\xc3\\xa9 become the character that they spell, as if it had been written itself."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def quote_word(text: str) -> str:
    """Write a word so that `split_line` reads the same word back."""
    if text and _UNSAFE.search(text) is None:
        return text
    if _NOT_STRONG.search(text) is None:
        return f"'{text}'"
    quoted = []
    for char in text:
        code = ord(char)
        if char in '\\"$':
            quoted.append("\\" + char)
        elif 0xDC80 <= code <= 0xDCFF:
            quoted.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            quoted.append(f"\\x{code:02x}")
        else:
            quoted.append(char)
    return f'"{"".join(quoted)}"'
