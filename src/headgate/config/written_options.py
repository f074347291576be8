"""Where the options of a TLS line were written, for what is found to be wrong with them only when OpenSSL is told.

An option may come from the line itself, from a `default-server` line, or from an `ssl-default-*` of the global section: an error
belongs where it was written, and speaks of it by the word that stands there. Part of the resolved configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headgate.base.diagnostics import Location
from headgate.base.records import dataclass, field
from headgate.base.regex import regex

#: Lowest to highest, as `ssl-min-ver` writes them.
VERSIONS = ("SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")


def exclusion_of(version: str) -> str:
    """The word that leaves a version out.

    >>> exclusion_of("TLSv1.2")
    'no-tlsv12'
    """
    return f"no-{version.lower().replace('.', '')}"


#: Words that leave a version out, lowest first. Each is an option by itself: those of a line add to the global section's.
EXCLUSIONS = {exclusion_of(version): version for version in VERSIONS}
#: What OpenSSL is told of, by the names of settings.
TOLD = EXCLUSIONS.keys() | set(
    "alpn ca-file ca-verify-file check-alpn ciphers ciphersuites client-sigalgs crl-file curves sigalgs ssl-max-ver ssl-min-ver"
    " verify verifyhost".split()
)
_WORD = regex(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class WrittenOptions:
    """The options of one line.

    Attributes:
        line: a place on the line, for what is not written anywhere.
        places: of the words that are written, by the name that the option's value is kept under (`ssl-min-ver` also for
            `force-tlsv12`, `curves` also for `ecdhe`).
    """

    line: Location | None = None
    places: Mapping[str, Location] = field(default_factory=dict)

    def of(self, option: str, piece: str = "") -> Location | None:
        """The place of an option, or of a piece of what stands behind it."""
        place = self.places.get(option)
        if place is None:
            return self.line
        return (piece_behind(place, piece) if piece else None) or place

    def word(self, option: str) -> str:
        """The word that stands there: `ecdhe`, `ssl-default-bind-curves`; the option's name where that can't be seen."""
        place = self.places.get(option)
        if place is None:
            return option
        word = place.underlined
        return word if _WORD.fullmatch(word) else option


def piece_behind(place: Location, piece: str) -> Location | None:
    """The place of a word, or of a piece of a list, behind another place on its line; None where the line does not show it."""
    behind = place.column - 1 + place.width
    found = re.compile(rf"(?<![\w.-]){re.escape(piece)}(?![\w.-])").search(place.text, behind)
    if found is None:
        return None
    return Location(place.file, place.line, found.start() + 1, len(piece), place.text)
