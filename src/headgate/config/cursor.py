"""A cursor over the words of one configuration line.

Keyword parsers read their arguments through it, so that each error knows its place and each message has the same form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from headgate.base.diagnostics import ConfigError, Location, Report, config_error
from headgate.base.records import dataclass
from headgate.base.units import UnitError, parse_size, parse_time

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Word:
    """One argument of a line after unquoting and expansion (manual 2.2, 2.3), and where it stands."""

    text: str
    location: Location


class Cursor:
    """Reads the words of one line from left to right.

    Attributes:
        words: all words of the line, the keyword first.
        position: index of the next word.
        report: where warnings go; errors are raised as `ConfigError` and caught once a line.
        prefix: "no" or "default" when the line began with it (it is not among `words`), else "".
    """

    __slots__ = ("_first", "position", "prefix", "report", "words")

    def __init__(self, words: Sequence[Word], report: Report, position: int = 0, prefix: str = "") -> None:
        self.words = words
        self.report = report
        self.position = self._first = position
        self.prefix = prefix

    @property
    def keyword(self) -> Word:
        """The first word of the line."""
        return self.words[0]

    @property
    def title(self) -> str:
        """The whole keyword: `option smtpchk`."""
        return " ".join([word.text for word in self.words[: self._first or 1]])

    @property
    def more(self) -> bool:
        """Whether a word is left."""
        return self.position < len(self.words)

    @property
    def rest(self) -> Sequence[Word]:
        """The words not read yet."""
        return self.words[self.position :]

    @property
    def end(self) -> Location:
        """The place just behind the last word: where a missing argument belongs."""
        last = self.words[-1].location
        return Location(last.file, last.line, last.column + last.width + 1, 1, last.text)

    @property
    def last(self) -> Word:
        """The word that was read last."""
        return self.words[self.position - 1]

    def peek(self) -> str | None:
        """The next word's text without reading it, or None at the end."""
        return self.words[self.position].text if self.position < len(self.words) else None

    def next(self, what: str) -> Word:
        """Read a word that must be there; `what` says what it is ("a backend name").

        Raises:
            ConfigError: the line ends here.
        """
        if self.position >= len(self.words):
            raise config_error(f"'{self.title}' expects {what}", self.end)
        word = self.words[self.position]
        self.position += 1
        return word

    def take(self, *texts: str) -> Word | None:
        """Read the next word if it is one of `texts`, else leave it and answer None."""
        if self.position < len(self.words) and self.words[self.position].text in texts:
            self.position += 1
            return self.last
        return None

    def take_all(self) -> Sequence[Word]:
        """Read everything that is left."""
        rest = self.rest
        self.position = len(self.words)
        return rest

    def choice(self, what: str, allowed: Mapping[str, T]) -> T:
        """Read a word that must be a key of `allowed`, and answer its value."""
        word = self.next(f"{what} ({', '.join(allowed)})" if len(allowed) < 9 else what)
        if word.text not in allowed:
            raise self.wrong(word, f"unknown {what} '{word.text}'", allowed=tuple(allowed))
        return allowed[word.text]

    def integer(self, what: str, low: int | None = None, high: int | None = None) -> int:
        """Read a whole number within [low, high]."""
        word = self.next(what)
        try:
            value = int(word.text, 10)
        except ValueError:
            raise self.wrong(word, f"{what} must be a whole number, not '{word.text}'") from None
        if (low is not None and value < low) or (high is not None and value > high):
            span = f"at least {low}" if high is None else f"from {low} to {high}"
            raise self.wrong(word, f"{what} must be {span}, not {value}")
        return value

    def time(self, what: str, default_unit: str = "ms") -> float:
        """Read a duration (manual 2.5) and answer it in seconds. Without a unit it counts in `default_unit`."""
        return self._unit(what, lambda text: parse_time(text, default_unit))

    def size(self, what: str) -> int:
        """Read a size (manual 2.6) and answer it in bytes."""
        return self._unit(what, parse_size)

    def _unit(self, what: str, parse: Callable[[str], T]) -> T:
        word = self.next(what)
        try:
            return parse(word.text)
        except UnitError as error:
            raise self.wrong(word, f"{what}: {error}") from None

    def wrong(self, word: Word, message: str, *, allowed: Sequence[str] = (), remedy: str | None = None) -> ConfigError:
        """Build (not raise) the error for `word`."""
        return config_error(message, word.location, allowed=allowed, written=word.text, remedy=remedy)

    def finish(self) -> None:
        """Insist that nothing is left on the line.

        Raises:
            ConfigError: there is a word that the keyword has no use for.
        """
        if self.position < len(self.words):
            word = self.words[self.position]
            raise config_error(f"'{self.title}' does not take '{word.text}' here", word.location)
