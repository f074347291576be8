"""Places in configuration files and what is said about them.

Every message to an operator is a `Diagnostic`: how bad it is, where, what was written, what is allowed there and the
nearest known word. Parsers collect them in a `Report`, so that one run shows all errors and not the first.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from headgate.base.records import dataclass, field
from headgate.base.regex import regex

#: Lines that hold a password.
_SECRET_LINE = regex(
    r"\b(?:insecure-password|password|stats\s+auth|cluster-secret|dynamic-cookie-key|ca-sign-pass|tcp-md5sig)\b"
)


@dataclass(frozen=True, slots=True)
class Location:
    """A span of one line of one file. Lines count from 1, columns from 1; `width` is the length to underline.

    `text` is the line; what may be shown of it is `excerpt`.
    """

    file: str
    line: int
    column: int = 1
    width: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def short(self) -> str:
        """HAProxy's own way to name a place in its messages: `file:line`."""
        return f"{self.file}:{self.line}"

    @property
    def underlined(self) -> str:
        """What stands there."""
        return self.text[self.column - 1 :][: self.width]

    @property
    def excerpt(self) -> str:
        """The line below a message; "" for one that holds a password."""
        return "" if _SECRET_LINE.search(self.text) else self.text


NOWHERE = Location("<none>", 0)


def where(place: Location, seen_from: Location) -> str:
    """`line 30` for a place in the same file, `other.cfg:30` for one elsewhere."""
    return f"line {place.line}" if place.file == seen_from.file else place.short


class Severity(enum.IntEnum):
    """How bad a diagnostic is, worst first, in HAProxy's words (manual, 2.4: .alert, .warning, .notice, .diag)."""

    ALERT = 0
    WARNING = 1
    NOTICE = 2
    DIAG = 3


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message to the operator: what is wrong, where, and what to do about it. `code`: kind of a finding, see `findings`."""

    severity: Severity
    message: str
    location: Location | None = None
    allowed: tuple[str, ...] = ()
    nearest: str | None = None
    remedy: str | None = None
    code: str | None = None


class ConfigError(Exception):
    """The operator wrote something that can't work. Carries the diagnostic to show."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class UsageError(Exception):
    """The operator's command line can't be understood."""


class Bug(Exception):
    """We broke our own rules: never caused by input. Loud, and a reason to file an issue."""


def config_error(
    message: str,
    location: Location | None,
    *,
    allowed: Iterable[str] = (),
    written: str | None = None,
    remedy: str | None = None,
) -> ConfigError:
    """Build the error for one place.

    Args:
        message: what is wrong, in a sentence without a full stop.
        location: where.
        allowed: words that would be right there.
        written: the word that stands there; with `allowed` the nearest of them is proposed.
        remedy: what to write instead.
    """
    words = tuple(allowed)
    near = nearest_word(written, words) if written is not None else None
    return ConfigError(Diagnostic(Severity.ALERT, message, location, words, near, remedy))


def nearest_word(written: str, known: Iterable[str]) -> str | None:
    """The known word that `written` most likely was meant to be, or None when nothing is near."""
    import difflib  # only for mistakes, and `-cc` must answer at once

    found = difflib.get_close_matches(written, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


@dataclass(slots=True)
class Report:
    """Collects diagnostics of one load. `alerts` decide whether the configuration may run."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(self, diagnostic: Diagnostic) -> None:
        self.items.append(diagnostic)

    def alert(self, message: str, location: Location | None = None, **details: object) -> None:
        """Record an error; `details` as for `config_error`."""
        self.items.append(config_error(message, location, **details).diagnostic)  # type: ignore[arg-type]

    def warn(self, message: str, location: Location | None = None, *, remedy: str | None = None) -> None:
        self.items.append(Diagnostic(Severity.WARNING, message, location, remedy=remedy))

    def drop_repeated(self) -> None:
        """Say once what several lines have brought up: they share a default of the global section, or a crt-list."""
        self.items[:] = dict.fromkeys(self.items)

    def note(self, severity: Severity, message: str, location: Location | None = None) -> None:
        self.items.append(Diagnostic(severity, message, location))

    @property
    def alerts(self) -> list[Diagnostic]:
        return [item for item in self.items if item.severity is Severity.ALERT]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [item for item in self.items if item.severity is Severity.WARNING]


#: Words beyond this many are not listed in full; the nearest one is still proposed.
_LISTED = 12


def render(diagnostic: Diagnostic) -> str:
    """Format a diagnostic for people: place, message, the line with a caret, what is allowed, the nearest word."""
    lines = []
    place = diagnostic.location
    head = f"{place}: " if place is not None and place.line else ""
    lines.append(f"{head}{diagnostic.message}")
    if place is not None and place.excerpt:
        shown = place.excerpt.replace("\t", " ")
        start = max(place.column - 1, 0)
        # A hundred-megabyte line must not be echoed whole: a window around the caret is enough.
        offset = max(start - 60, 0)
        window = shown[offset : offset + 120]
        lines.append(f"    {window}")
        lines.append("    " + " " * (start - offset) + "^" * max(1, min(place.width, len(window) - (start - offset))))
    if diagnostic.nearest is not None:
        lines.append(f"  did you mean {diagnostic.nearest!r}?")
    if diagnostic.allowed:
        listed = ", ".join(diagnostic.allowed[:_LISTED])
        more = len(diagnostic.allowed) - _LISTED
        lines.append(f"  allowed here: {listed}" + (f" and {more} more" if more > 0 else ""))
    if diagnostic.remedy is not None:
        lines.append(f"  {diagnostic.remedy}")
    return "\n".join(lines)
