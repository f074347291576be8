"""Where an option of a bind or server line stands: on the line itself, or behind the `ssl-default-*` of the global section.

The resolved configuration keeps one place for a line's whole TLS part; findings underline the very word. Called by `tls.lint`.
"""

from __future__ import annotations

import re

from headgate.base.diagnostics import Location
from headgate.config.drafts import ConfigDraft, Settings
from headgate.config.model import Config


class OptionPlaces:
    """Finds options again.

    Args:
        config: what was read.
    """

    def __init__(self, config: Config) -> None:
        self._global = config.origin.global_.settings if isinstance(config.origin, ConfigDraft) else Settings()

    def is_on(self, keyword: str) -> bool:
        """Whether a switch of the global section is on."""
        return self._global.is_on(keyword)

    def find(self, line: Location | None, option: str, value: str = "", *, side: str = "bind") -> Location | None:
        """The place of an option, or of one piece of its value.

        Args:
            line: a place on the line that has the option, or that has it by default.
            option: its name, `ciphers`.
            value: what stands behind it, or a piece of that.
            side: bind or server, for the defaults.
        """
        if line is None:
            return None
        found = place_on_line(line, option, value)
        if found is not None:
            return found
        setting = self._global.get(f"ssl-default-{side}-{option}")
        if setting is not None:
            return place_on_line(setting.location, f"ssl-default-{side}-{option}", value) or setting.location
        return line


def place_on_line(place: Location, option: str, value: str) -> Location | None:
    """The place of an option, or of a piece of its value, on the line of `place`; None where the line does not have it."""
    match = re.search(rf"(?<!\S){re.escape(option)}(?!\S)", place.text)
    if match is None:
        return None
    start, width = match.start(), len(option)
    if value:
        piece = re.compile(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])").search(place.text, match.end())
        if piece is not None:
            start, width = piece.start(), len(value)
    return Location(place.file, place.line, start + 1, width, place.text)
