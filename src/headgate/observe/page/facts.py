"""What the answers of the runtime API say: rows and fields, all text, as it came, and facts in JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from headgate.base.records import dataclass

#: Column name -> cell, "" for an empty one.
Row = Mapping[str, str]


def rows_of(answer: str) -> Iterator[Row]:
    """The rows of `show stat`, one at a time: ten thousand servers are not taken apart at once."""
    lines = csv.reader(answer.splitlines())
    header = next(lines, None)
    if not header or not header[0].startswith("# "):
        return
    names = [header[0][2:], *header[1:]]
    for cells in lines:
        if len(cells) > 1:
            yield dict(zip(names, cells, strict=False))


def fields_of(answer: str) -> dict[str, str]:
    """The fields of `show info`."""
    fields = {}
    for line in answer.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields[name] = value.strip()
    return fields


def facts_of(answer: str) -> Mapping[str, Any]:
    """An answer in JSON, `show headgate` for instance; nothing where there is none."""
    import json  # not for those who only have rows: each start would load it

    try:
        found = json.loads(answer)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def lists_of(answer: str) -> list[Mapping[str, Any]]:
    """An answer in JSON that is a list; nothing where there is none."""
    import json

    try:
        found = json.loads(answer)
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def key_of(row: Row) -> str:
    """What names a row: `<proxy>/<server>`, with the proxy's number, since a frontend and a backend may share their name."""
    return f"{row['pxname']}/{row['svname']}/{row['iid']}.{row['type']}.{row['sid']}"


def by_proxy(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows, proxy by proxy."""
    for _, group in groupby(rows, key=lambda row: row["iid"]):
        yield list(group)


def number(text: str) -> int:
    """A cell as a number, 0 where there is none."""
    try:
        return int(text)
    except ValueError:
        return 0


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are shown.

    Attributes:
        scope: names of proxies (`stats scope`); empty for all.
        part: of a proxy's name, as typed into the box.
        up: no servers that are down or in maintenance; no_maintenance: none in maintenance.
    """

    scope: frozenset[str] = frozenset()
    part: str = ""
    up: bool = False
    no_maintenance: bool = False

    def takes(self, row: Row) -> bool:
        """Whether a row is among them."""
        name = row["pxname"]
        if (self.scope and name not in self.scope) or (self.part and self.part not in name):
            return False
        if row["type"] != "2":
            return True
        status = row["status"]
        if self.up and (status.startswith("DOWN") or status.startswith("MAINT")):
            return False
        return not (self.no_maintenance and status.startswith("MAINT"))
