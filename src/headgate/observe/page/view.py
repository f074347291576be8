"""Rows of `show stat` -> what the templates show of a proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from headgate.base.records import dataclass
from headgate.config.model import StatsPage
from headgate.observe.page.cells import COLUMNS, GROUPS, MODULES, Cell, cells_of, look_of
from headgate.observe.page.changes import ACTIONS
from headgate.observe.page.facts import Row, key_of
from headgate.observe.page.request import Wanted

_KINDS = {"0": "frontend", "1": "backend", "2": "server", "3": "listener"}
_TITLES = {"0": "Frontend", "1": "Backend"}
_WIDTH, _HEIGHT, _LENGTH = 180.0, 30.0, 120


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a page: those of all pages, and with `stats show-modules` some more."""

    groups: Sequence[tuple[str, Sequence[tuple[int, Any]]]]
    classes: Sequence[Markup]
    width: int


def _layout(*, modules: bool) -> Layout:
    groups = []
    classes: list[Markup] = []
    at = 1
    for title, columns in (*GROUPS, *(MODULES if modules else ())):
        groups.append((title, [(at + number, column) for number, column in enumerate(columns)]))
        for number, column in enumerate(columns):
            names = [name for name, wanted in (("g", number == 0), ("t", not column.numeric)) if wanted]
            classes.append(Markup(' class="{}"').format(" ".join(names)) if names else Markup(""))
        at += len(columns)
    return Layout(groups, classes, at - 1)


_LAYOUTS = {modules: _layout(modules=modules) for modules in (False, True)}


def row_view(row: Row, page: StatsPage, wanted: Wanted) -> dict[str, Any]:
    """One row, for the template."""
    cells: list[Cell] = cells_of(row)
    kind = _KINDS.get(row["type"], "server")
    return {
        "key": key_of(row),
        "kind": kind,
        "look": look_of(row),
        "name": row["svname"],
        "title": _TITLES.get(row["type"], row["svname"]),
        "link": wanted.link("row=" + quote(key_of(row), safe="/")),
        "legend": _legend(row, page),
        "cells": cells if page.show_modules else cells[: len(COLUMNS)],
    }


def _legend(row: Row, page: StatsPage) -> str:
    parts = []
    if row["type"] == "2" and row.get("bck") == "1":
        parts.append("backup")
    if row.get("tracked"):
        parts.append(f"via {row['tracked']}")
    if page.show_legends:
        parts += [row[name] for name in ("addr", "algo") if row.get(name)]
        if row.get("cookie"):
            parts.append(f"cookie {row['cookie']}")
        parts.append(f"id {row['sid']}" if row["type"] in ("2", "3") else "")
    return ", ".join(part for part in parts if part)


def card_view(rows: Sequence[Row], page: StatsPage, wanted: Wanted, history: Mapping[str, Any], *, admin: bool) -> dict[str, Any]:
    """One proxy, for the template, without its rows."""
    first = rows[0]
    types = {row["type"] for row in rows}
    kind = "listen" if {"0", "1"} <= types else "frontend" if "0" in types else "backend"
    tags = [kind, first.get("mode", "")]
    if page.show_legends:
        tags.append(f"id {first['iid']}")
    layout = _LAYOUTS[page.show_modules]
    changeable = admin and "2" in types
    return {
        "id": f"px-{first['iid']}-{first['pxname']}",
        "name": first["pxname"],
        "number": first["iid"],
        "tags": [tag for tag in tags if tag],
        "curve": _curve(rows, history),
        "groups": layout.groups,
        "classes": layout.classes,
        "form": wanted.link(*wanted.kept()) if changeable else "",
        "actions": ACTIONS,
    }


def _curve(rows: Sequence[Row], history: Mapping[str, Any]) -> dict[str, Any]:
    """The last minutes of a proxy: of its frontend where it has one."""
    row = next((row for row in rows if row["type"] == "0"), rows[-1])
    track = history.get(f"{row['pxname']}/{row['svname']}", {})
    requests: Sequence[int] = track.get("requests", ())
    errors: Sequence[int] = track.get("errors", ())
    most = max((1, *requests, *errors))
    line = _points(requests, most)
    unit = "req/s" if row.get("mode") == "http" else "sess/s"
    start = line.partition(",")[0]
    now = requests[-1] if requests else 0
    return {
        "key": key_of(row),
        "requests": ",".join(map(str, requests)),
        "errors": ",".join(map(str, errors)),
        "line": line,
        "area": f"{start},{_HEIGHT:g} {line} {_WIDTH:g},{_HEIGHT:g}" if line else "",
        "failed": _points(errors, most, hide=True) if any(errors) else "",
        "now": now,
        "failing": errors[-1] if errors else 0,
        "unit": unit,
        "label": f"{unit} in the last two minutes: now {now}, at most {max(requests, default=0)}",
    }


def _points(values: Sequence[int], most: int, *, hide: bool = False) -> str:
    """Points of a curve, as the script of the page draws them too; with `hide`, nothing is seen of zeros."""
    step = _WIDTH / (_LENGTH - 1)
    start = _LENGTH - len(values)
    ground = _HEIGHT - 1
    return " ".join(
        f"{(start + at) * step:.1f},{ground - (_HEIGHT - 3) * value / most if value or not hide else ground + 3:.1f}"
        for at, value in enumerate(values)
    )
