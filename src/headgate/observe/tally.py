"""Counters as a line of numbers, and what becomes of such lines when those of several processes are put together.

What a counters class counts is read off its slots, so that new counters need no word here. Whole numbers are added up, and so
are those of lists; of those whose names begin with `maximum_` the greatest stands; the seconds of a `RateMeter` are aligned
and added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from headgate.base.compiled import slots_of
from headgate.observe.cells import Sessions
from headgate.observe.counters import RateMeter

#: What there is now, not what there was: gone with the process that counted it.
_NOW: Final = frozenset({
    "tls_sessions", "idle_safe", "idle_unsafe", "busy", "bytes_rate", "resident", "pipes_used", "pipes_free",
})
#: The same, and known over all workers without this.
_SHARED: Final = frozenset(slots_of(Sessions))
_METER: Final = ("_second", "_current", "_previous", "maximum")

Numbers = Sequence[int]


def _is_momentary(name: str) -> bool:
    # Averages are over a window of the last streams, which a process that is gone has no part in.
    return name in _NOW or name == "samples" or name.startswith("times_")


class Tally:
    """How the counters of one class are written as numbers.

    Args:
        example: an object of the class.

    Attributes:
        width: how many numbers.
    """

    def __init__(self, example: object) -> None:
        self._plain: list[str] = []
        self._lists: list[tuple[str, int]] = []
        self._meters: list[str] = []
        for name in sorted(set(slots_of(type(example))) - _SHARED):
            value = getattr(example, name, None)
            if isinstance(value, RateMeter):
                self._meters.append(name)
            elif isinstance(value, list):
                self._lists.append((name, len(value)))
            elif type(value) in (int, float):
                self._plain.append(name)
        listed = sum(length for _, length in self._lists)
        self._meters_at = len(self._plain) + listed
        self.width = self._meters_at + len(_METER) * len(self._meters)
        self._maxima = {at for at, name in enumerate(self._plain) if name.startswith("maximum_")}
        self._momentary = {at for at, name in enumerate(self._plain) if _is_momentary(name)}
        names = [*self._plain, *(f"{meter}.{part}" for meter in self._meters for part in _METER)]
        self._read = attrgetter(*names)

    def read(self, counters: object) -> list[int]:
        """The numbers of an object; fractions are cut off."""
        values: Any = self._read(counters)
        count = len(self._plain)
        numbers = [int(value) for value in values[:count]]
        for name, _ in self._lists:
            numbers += getattr(counters, name)
        numbers += values[count:]
        return numbers

    def retire(self, past: Numbers, last: Numbers) -> list[int]:
        """What is left of processes that are gone.

        Args:
            past: of those before.
            last: the last numbers of one that is gone now.
        """
        kept = [
            max(old, new) if at in self._maxima else 0 if at in self._momentary else old + new
            for at, (old, new) in enumerate(zip(past[: self._meters_at], last, strict=False))
        ]
        for at in range(self._meters_at, self.width, len(_METER)):
            kept += self._meter([past[at : at + len(_METER)], last[at : at + len(_METER)]])
        return kept

    def write(self, counters: object, columns: Sequence[Numbers]) -> None:
        """Set an object to what all columns together make.

        Greatest rates that the object has seen stand, as they may have been those of a second that is over.
        """
        for at, name in enumerate(self._plain):
            values = [column[at] for column in columns]
            setattr(counters, name, max(values) if at in self._maxima else sum(values))
        at = len(self._plain)
        for name, length in self._lists:
            setattr(counters, name, [sum(column[at + index] for column in columns) for index in range(length)])
            at += length
        for name in self._meters:
            meter = getattr(counters, name)
            parts = self._meter([column[at : at + len(_METER)] for column in columns])
            meter._second, meter._current, meter._previous = parts[:3]
            meter.maximum = max(meter.maximum, *parts[1:])
            at += len(_METER)

    @staticmethod
    def _meter(parts: Iterable[Numbers]) -> list[int]:
        meters = list(parts)
        second = max(meter[0] for meter in meters)
        current = previous = 0
        for at, now, before, _ in meters:
            if at == second:
                current += now
                previous += before
            elif at == second - 1:
                previous += now
        return [second, current, previous, max(meter[3] for meter in meters)]
