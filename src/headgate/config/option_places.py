"""Where an option of a bind or server line stands: on the line itself, or behind the `ssl-default-*` of the global section.

The resolved configuration keeps one place for a line's whole TLS part; findings underline the very word. Called by `tls.lint`.
"""

from __future__ import annotations

import re

from headgate.base.diagnostics import Location
from headgate.config.drafts import ConfigDraft, Settings
from headgate.config.model import Config
from headgate.config.written_options import piece_behind


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
        options = self._global.value(f"ssl-default-{side}-options", Settings())
        if option in options:
            place = options.place(option)
            return place_on_line(place, option, value) or place
        return line


def place_on_line(place: Location, option: str, value: str) -> Location | None:
    """The place of an option, or of a piece of its value, on the line of `place`; None where the line does not have it."""
    # In a crt-list the first and the last option touch the brackets.
    match = re.search(rf"(?<![^\s\[]){re.escape(option)}(?![^\s\]])", place.text)
    if match is None:
        return None
    found = Location(place.file, place.line, match.start() + 1, len(option), place.text)
    return (piece_behind(found, value) if value else None) or found
