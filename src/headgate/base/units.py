"""Times and sizes as haproxy.cfg writes them (manual 2.5 and 2.6)."""

from __future__ import annotations

import math
import re

_TIME_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_NUMBER = re.compile(r"([0-9]+)([A-Za-z]*)")

#: HAProxy keeps times in 32 bits of milliseconds (manual 2.5: about 24.8 days is the most).
LONGEST_TIME = 0x7FFFFFFF / 1000.0
#: Of a time that no timer waits for: how long ago, or how far ahead, something is looked for.
LONGEST_SPAN = 100_000 * 86400.0
#: More digits than any time needs.
_MOST_DIGITS = 18


class UnitError(ValueError):
    """The text is not a time or a size; the message says why."""


def parse_time(text: str, default_unit: str = "ms", *, longest: float = LONGEST_TIME) -> float:
    """Parse a duration.

    Args:
        text: a whole number and an optional unit: us, ms, s, m, h, d.
        default_unit: what a bare number counts.
        longest: seconds; `LONGEST_TIME` or `LONGEST_SPAN`.

    Returns:
        Seconds.

    Raises:
        UnitError: not a number, an unknown unit, or longer than `longest`.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UnitError(f"'{text}' is not a time: a whole number and one of us, ms, s, m, h, d")
    unit = match[2] or default_unit
    if unit not in _TIME_UNITS:
        raise UnitError(f"unknown time unit '{unit}' in '{text}': one of us, ms, s, m, h, d")
    seconds = int(match[1]) * _TIME_UNITS[unit] if len(match[1]) <= _MOST_DIGITS else math.inf
    if seconds > longest:
        limit = "2147483647 ms (about 24.8 days)" if longest == LONGEST_TIME else f"{longest / 86400:.0f} days"
        raise UnitError(f"'{text}' is longer than the longest time, {limit}")
    return seconds


def parse_size(text: str) -> int:
    """Parse a size: a whole number of bytes, or of k, m, g (powers of 1024).

    Raises:
        UnitError: not a number or an unknown unit.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or match[2].lower() not in _SIZE_UNITS:
        raise UnitError(f"'{text}' is not a size: a whole number and one of k, m, g")
    return int(match[1]) * _SIZE_UNITS[match[2].lower()]
