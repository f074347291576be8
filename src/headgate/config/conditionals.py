"""Conditional blocks: `.if`, `.elif`, `.else`, `.endif` and the messages `.diag`, `.notice`, `.warning`, `.alert` (manual 2.4).

Decides line by line whether text counts. Blocks may not reach over the end of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from headgate.base.diagnostics import ConfigError, Location, Report, Severity, config_error
from headgate.base.records import dataclass
from headgate.config.cursor import Word
from headgate.config.predicates import BuildFacts, evaluate

DEEPEST_NESTING = 64
_MESSAGES = {
    ".diag": Severity.DIAG,
    ".notice": Severity.NOTICE,
    ".warning": Severity.WARNING,
    ".alert": Severity.ALERT,
}


@dataclass(slots=True)
class _Block:
    """One `.if`. `taking`: its lines count now; `taken`: a branch counted, or none may; `else_seen`: this is the last."""

    opened: Location
    taking: bool
    taken: bool
    else_seen: bool = False


class Blocks:
    """The blocks that are open at a line."""

    def __init__(self, facts: BuildFacts, environment: Mapping[str, str]) -> None:
        self._facts = facts
        self._environment = environment
        self._open: list[_Block] = []
        self._directives: dict[str, Callable[[Sequence[Word]], None]] = {
            ".if": self._if,
            ".elif": self._elif,
            ".else": self._else,
            ".endif": self._endif,
        }

    @property
    def skipping(self) -> bool:
        """Whether the lines here don't count."""
        return bool(self._open) and not self._open[-1].taking

    def directive(self, words: Sequence[Word], report: Report) -> bool:
        """Obey a line that begins with a dot. Answers False when its lines don't count and it is no block directive.

        Raises:
            ConfigError: an unknown directive, a bad condition, or one that does not fit here.
        """
        name = words[0].text
        obey = self._directives.get(name)
        if obey is not None:
            obey(words)
            return True
        if self.skipping:
            return False
        severity = _MESSAGES.get(name)
        if severity is None:
            allowed = (*self._directives, *_MESSAGES)
            raise config_error(f"unknown directive '{name}'", words[0].location, allowed=allowed, written=name)
        if len(words) != 2:
            place = words[2].location if len(words) > 2 else words[0].location
            raise config_error(f"'{name}' takes one message, in quotes", place)
        report.note(severity, words[1].text, words[0].location)
        return True

    def end_of_file(self) -> list[ConfigError]:
        """The errors for blocks that are still open; they are closed."""
        errors = [config_error("'.if' without '.endif'", block.opened) for block in self._open]
        self._open.clear()
        return errors

    def _if(self, words: Sequence[Word]) -> None:
        if len(self._open) >= DEEPEST_NESTING:
            raise config_error(f"more than {DEEPEST_NESTING} '.if' are nested", words[0].location)
        outer = not self.skipping
        # Opened before it is evaluated, so that a bad condition skips its lines and the '.endif' still has its '.if'.
        block = _Block(words[0].location, False, not outer)
        self._open.append(block)
        if outer:
            block.taken = True
            value = self._evaluate(words)
            block.taking = block.taken = value

    def _elif(self, words: Sequence[Word]) -> None:
        block = self._innermost(words[0])
        block.taking = False
        if not block.taken:
            block.taken = True
            value = self._evaluate(words)
            block.taking = block.taken = value

    def _else(self, words: Sequence[Word]) -> None:
        block = self._innermost(words[0])
        self._no_words(words)
        block.else_seen = True
        block.taking, block.taken = not block.taken, True

    def _endif(self, words: Sequence[Word]) -> None:
        if not self._open:
            raise config_error("'.endif' without '.if'", words[0].location)
        self._open.pop()
        self._no_words(words)

    def _innermost(self, word: Word) -> _Block:
        if not self._open:
            raise config_error(f"'{word.text}' without '.if'", word.location)
        block = self._open[-1]
        if block.else_seen:
            raise config_error(f"'{word.text}' behind '.else'", word.location)
        return block

    def _no_words(self, words: Sequence[Word]) -> None:
        if len(words) > 1:
            raise config_error(f"'{words[0].text}' takes no argument", words[1].location)

    def _evaluate(self, words: Sequence[Word]) -> bool:
        text = " ".join(word.text for word in words[1:])
        return evaluate(text, self._facts, self._environment, _span(words))


def _span(words: Sequence[Word]) -> Location:
    """From the first word behind the directive to the last."""
    if len(words) == 1:
        return words[0].location
    first, last = words[1].location, words[-1].location
    return Location(first.file, first.line, first.column, last.column + last.width - first.column, first.text)
