"""The live page: what changed since a moment ago, as server-sent events.

All who look at the same page share one feed, which compares the rows once for all of them.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from headgate.observe.page.cells import Cell, cells_of, failures, look_of, requests
from headgate.observe.page.facts import Row, Selection, key_of

#: Columns that only say how long ago something was: alone they are news every minute.
_AGES: Final = ("lastchg", "downtime", "lastsess")
_LONGEST_PAUSE: Final = 10.0
#: Rows that are compared in one turn.
_ROWS: Final = 200


def set_of(keys: list[str]) -> str:
    """Names a set of rows: when it changes, the page is loaded again."""
    return f"{zlib.crc32(chr(10).join(keys).encode()):08x}" if keys else "0"


class Feed:
    """The rows of one page, followed.

    Attributes:
        serial: of the latest state.
        pause: seconds between two looks: more with thousands of rows.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._answer: str | None = None
        self._raw: dict[str, tuple[str, ...]] = {}
        self._cells: dict[str, tuple[str, list[Cell]]] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._points: dict[str, tuple[int, int]] = {}
        self._process: Mapping[str, str] = {}
        self._delta = b""
        self._whole: bytes | None = None
        self._set = "0"
        self._watchers = 0
        self._busy = False
        self.serial = 0
        self.pause = 1.0

    def join(self) -> None:
        """One more looks. The first one starts anew: how long nobody looked is not known."""
        if not self._watchers:
            self._totals.clear()
            self._raw.clear()
            self._cells.clear()
            self._process = {}
            self._answer = None
        self._watchers += 1

    def leave(self) -> None:
        """One less looks."""
        self._watchers -= 1

    def take(self, answer: str, process: Mapping[str, str]) -> Iterator[None]:
        """Take the latest answers; the same answer again changes nothing. Stops now and then, for others to be served.

        Args:
            answer: of `show stat`.
            process: what the head of the page shows, by name.
        """
        if answer is self._answer or not answer or self._busy:
            return
        self._busy = True
        done = False
        try:
            yield from self._compare(answer, process)
            done = True
        finally:
            self._busy = False
            if not done:
                # Who compared left in the middle: nobody was told what it had found so far.
                self._raw, self._whole = {}, None
                self._cells.clear()
                self.serial += 2

    def _compare(self, answer: str, process: Mapping[str, str]) -> Iterator[None]:
        self._answer = answer
        span = self.pause
        changed: dict[str, object] = {}
        points: dict[str, tuple[int, int]] = {}
        raw: dict[str, tuple[str, ...]] = {}
        lines = csv.reader(answer.splitlines())
        header = next(lines, [])
        names = [header[0].removeprefix("# "), *header[1:]] if header else []
        ages = [(at, name) for at, name in enumerate(names) if name in _AGES]
        for number, line in enumerate(lines, 1):
            if number % _ROWS == 0:
                yield
            if len(line) < 2:
                continue
            row: Row = dict(zip(names, line, strict=False))
            if not self._selection.takes(row):
                continue
            key = key_of(row)
            if row["type"] in ("0", "1"):
                now = (requests(row), failures(row))
                before = self._totals.get(key)
                self._totals[key] = now
                if before is not None:
                    points[key] = (max(0, round((now[0] - before[0]) / span)), max(0, round((now[1] - before[1]) / span)))
            for at, _ in ages:
                line[at] = _coarse(line[at])
            seen = raw[key] = tuple(line)
            if seen != self._raw.get(key):
                difference = self._difference(key, row)
                if difference:
                    changed[key] = difference
        for key in self._raw.keys() - raw.keys():
            self._cells.pop(key, None)
            self._totals.pop(key, None)
        self._raw, self._points = raw, points
        self._set = set_of(list(raw))
        fresh = {name: text for name, text in process.items() if self._process.get(name) != text}
        self._process = dict(process)
        self.serial += 1
        self.pause = min(1.0 + len(raw) // 1000, _LONGEST_PAUSE)
        self._delta = _event({"rows": changed, "points": points, "process": fresh, "set": self._set})
        self._whole = None

    def _difference(self, key: str, row: Row) -> dict[str, object]:
        look, cells = look_of(row), cells_of(row)
        old_look, old = self._cells.get(key, ("", []))
        self._cells[key] = (look, cells)
        difference: dict[str, object] = {
            str(at): _written(cell) for at, cell in enumerate(cells) if at >= len(old) or cell != old[at]
        }
        if look != old_look:
            difference["look"] = look
        return difference

    def event(self, seen: int) -> bytes:
        """The event for one who has seen the state `seen`."""
        if seen == self.serial:
            return b": nothing new\n\n"
        if seen == self.serial - 1:
            return self._delta
        if self._whole is None:
            rows: dict[str, object] = {
                key: {"look": look, **{str(at): _written(cell) for at, cell in enumerate(cells)}}
                for key, (look, cells) in self._cells.items()
            }
            self._whole = _event({"rows": rows, "points": self._points, "process": self._process, "set": self._set})
        return self._whole


def _coarse(age: str) -> str:
    return str(int(age) // 60) if age.isdecimal() else age


def _written(cell: Cell) -> list[str]:
    return [cell.text, cell.sort, cell.hint] if cell.hint else [cell.text, cell.sort] if cell.sort else [cell.text]


def _event(facts: Mapping[str, object]) -> bytes:
    return b"data: " + json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"
