"""The script of the statistics page: from a request to the page, its exports, its events and its form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final

from headgate.config.model import StatsPage
from headgate.observe.page.cells import LEGEND, digits
from headgate.observe.page.changes import MESSAGES, answer_form
from headgate.observe.page.events import Feed, set_of
from headgate.observe.page.facts import Row, Selection, by_proxy, facts_of, fields_of, key_of, rows_of
from headgate.observe.page.process import last_line, live_texts, process_tiles, tls_view
from headgate.observe.page.request import Wanted, read_request
from headgate.observe.page.templates import SECURITY, inline, write
from headgate.observe.page.view import card_view, row_view
from headgate.observe.service import Ask, Begin, Pause, Question, Script, Step, pieces

#: Rows that are looked at in one turn.
_ROWS: Final = 500
#: What only a page with `stats show-legends` tells (as HAProxy's).
_LEGENDS: Final = ("addr", "cookie", "algo")
#: Seconds for which an answer serves all who follow the page live.
_FRESH: Final = 0.9

#: Numbers that are names.
_PLAIN: Final = frozenset({"iid", "sid", "type", "check_code", "agent_code"})

_HTML: Final = b"cache-control: no-cache, no-store\r\ncontent-type: text/html; charset=utf-8\r\n"
_TYPES: Final = {
    "csv": b"text/plain; charset=utf-8", "typed": b"text/plain; charset=utf-8", "json": b"application/json",
    "json-schema": b"application/json",
}  # fmt: skip

Export = Callable[[Wanted, StatsPage], Generator[Step, str, None]]


class StatsPages:
    """All statistics pages of a process; `write` is the service."""

    def __init__(self) -> None:
        self._feeds: dict[frozenset[str], Feed] = {}

    def write(self, question: Question) -> Script:
        """See `observe.service.Write`."""
        page = question.service.page or StatsPage()
        wanted = read_request(question)
        if question.head.method == b"POST":
            yield from answer_form(question, wanted)
        elif wanted.form == "live":
            yield from self._events(question, wanted)
        elif wanted.form in _EXPORTS:
            refresh = b"refresh: %d\r\n" % page.refresh if page.refresh and wanted.refresh else b""
            yield Begin(200, b"cache-control: no-cache\r\ncontent-type: " + _TYPES[wanted.form] + b"\r\n" + refresh)
            yield from _EXPORTS[wanted.form](wanted, page)
        elif wanted.row:
            yield from _details(wanted, page)
        else:
            yield from _page(question, wanted, page)

    def _events(self, question: Question, wanted: Wanted) -> Script:
        selection = Selection(wanted.selection.scope)
        feed = self._feeds.setdefault(selection.scope, Feed(selection))
        fields = b"cache-control: no-cache, no-store\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\n"
        yield Begin(200, fields, endless=True)
        yield b"retry: 3000\n\n"
        seen = -1
        feed.join()
        try:
            while True:
                answer = yield Ask("show stat", _FRESH)
                info = fields_of((yield Ask("show info", _FRESH)))
                own = facts_of((yield Ask("show headgate", _FRESH)))
                for _ in feed.take(answer, live_texts(info, own)):
                    yield Pause(0.001)
                event, seen = feed.event(seen), feed.serial
                yield event
                yield Pause(feed.pause)
        finally:
            feed.leave()


# --- exports ---------------------------------------------------------------------------------------------------------


def _csv(wanted: Wanted, page: StatsPage) -> Generator[Step, str, None]:
    """`;csv`: as `show stat`."""
    answer = yield Ask("show stat")
    lines = answer.splitlines(keepends=True)
    everything = page.show_legends and wanted.selection == Selection()
    yield from pieces(lines if everything else _chosen(answer, wanted.selection, () if page.show_legends else _LEGENDS))
    if lines and not lines[-1].endswith("\n"):
        yield b"\n"


def _chosen(answer: str, selection: Selection, hidden: tuple[str, ...]) -> Iterator[str]:
    """The header of `show stat` and the chosen rows, without what is hidden."""
    header = answer.partition("\n")[0]
    yield header + "\n"
    names = header.removeprefix("# ").split(",")
    for row in rows_of(answer):
        if selection.takes(row):
            line = io.StringIO()
            cells = ["" if name in hidden else row.get(name, "") for name in names]
            csv.writer(line, lineterminator="\n").writerow(cells)
            yield line.getvalue()


def _proxies(selection: Selection) -> Generator[Step, str, list[str]]:
    """Numbers of the proxies that are shown, asked one by one: all at once would be too much of a farm of thousands."""
    answer = yield Ask("show stat -1 3 -1")
    return list(dict.fromkeys(row["iid"] for row in rows_of(answer) if selection.takes(row)))


def _filters(selection: Selection) -> str:
    return (" up" if selection.up else "") + (" no-maint" if selection.no_maintenance else "")


def _typed(wanted: Wanted, page: StatsPage) -> Generator[Step, str, None]:
    """`;typed`: as `show stat typed`."""
    proxies = yield from _proxies(wanted.selection)
    hidden = () if page.show_legends else tuple(f".{name}." for name in _LEGENDS)
    for number in proxies:
        answer = yield Ask(f"show stat {number} 7 -1 typed" + _filters(wanted.selection))
        kept = (line + "\n" for line in answer.splitlines() if not any(name in line.partition(":")[0] for name in hidden))
        yield from pieces(kept)


def _json(wanted: Wanted, page: StatsPage) -> Generator[Step, str, None]:
    """`;json`: as `show stat json`."""
    proxies = yield from _proxies(wanted.selection)
    before = "["
    for number in proxies:
        answer = yield Ask(f"show stat {number} 7 -1 json" + _filters(wanted.selection))
        try:
            rows = json.loads(answer)
        except ValueError:
            continue
        for row in rows:
            if not page.show_legends:
                row = [item for item in row if item["field"]["name"] not in _LEGENDS]
            yield (before + json.dumps(row, separators=(",", ":"), ensure_ascii=False)).encode()
            before = ","
    yield b"]\n" if before == "," else b"[]\n"


def _schema(wanted: Wanted, page: StatsPage) -> Generator[Step, str, None]:
    """`;json-schema`: as `show schema json`."""
    answer = yield Ask("show schema json", 60.0)
    yield (answer.strip() + "\n").encode()


_EXPORTS: dict[str, Export] = {"csv": _csv, "typed": _typed, "json": _json, "json-schema": _schema}


# --- the page --------------------------------------------------------------------------------------------------------


def _page(question: Question, wanted: Wanted, page: StatsPage) -> Script:
    answer = yield Ask("show stat")
    info = fields_of((yield Ask("show info")))
    own = facts_of((yield Ask("show headgate")))
    history = facts_of((yield Ask("show history")))
    counted = facts_of((yield Ask("show ssl handshake-counters json")))
    if not answer:
        yield Begin(503, _HTML + SECURITY, b"<!DOCTYPE html><title>No answer</title><p>The process did not answer in time.</p>\n")
        return
    yield Begin(200, _HTML + SECURITY)
    selection = wanted.selection
    keys = []
    scope = Selection(selection.scope)
    for number, row in enumerate(rows_of(answer), 1):
        if scope.takes(row):
            keys.append(key_of(row))
        if number % _ROWS == 0:
            yield Pause(0.001)
    shown = selection.scope
    causes = [one for one in counted.get("counters", ()) if not shown or one["frontend"] in shown]
    head = _head(wanted, page, info, own, causes, set_of(keys))
    yield write("top", head).encode()
    admin = question.service.admin
    for proxy in by_proxy(row for row in rows_of(answer) if selection.takes(row)):
        card = card_view(proxy, page, wanted, history, admin=admin)
        yield from pieces(_card(proxy, card, page, wanted))
    head["empty"] = not any(selection.takes(row) for row in rows_of(answer))
    yield write("bottom", head).encode()


def _card(proxy: list[Row], card: Mapping[str, Any], page: StatsPage, wanted: Wanted) -> Iterator[str]:
    yield write("card_top", card)
    for row in proxy:
        yield write("row", row_view(row, page, wanted), card)
    yield write("card_bottom", card)


def _head(
    wanted: Wanted, page: StatsPage, info: Mapping[str, str], own: Mapping[str, Any], causes: Sequence[Mapping[str, Any]],
    rows: str,
) -> dict[str, Any]:
    node = None if page.node is None else page.node or info.get("node", "")
    description = None if page.description is None else page.description or info.get("description", "")
    heading = "headgate" + (f" {info.get('Version', '')}" if page.show_version else "") + (f" on {node}" if node else "")
    return {
        **inline(),
        "title": f"Statistics report for {heading}",
        "heading": heading,
        "description": description,
        "uri": wanted.uri,
        "plain": wanted.link(*wanted.kept()),
        "live": wanted.link("live") if wanted.refresh else "",
        "set": rows,
        "looks": " ".join([look for look, _ in LEGEND] + ["open"]),
        "refresh": int(page.refresh) if page.refresh and wanted.refresh else 0,
        "form": "?" not in wanted.uri,
        "part": wanted.selection.part,
        "links": _links(wanted),
        "message": MESSAGES.get(wanted.status),
        "tiles": process_tiles(info),
        "tls": tls_view(info, own, causes),
        "legend": LEGEND,
        "footer": last_line(info, version=page.show_version),
    }


def _links(wanted: Wanted) -> list[dict[str, str]]:
    kept = wanted.kept()
    up = [word for word in kept if word != "up"] if wanted.selection.up else [*kept, "up"]
    live = [word for word in kept if word != "norefresh"] if not wanted.refresh else [*kept, "norefresh"]
    links = [
        (wanted.link(*up), "Show all servers" if wanted.selection.up else "Hide servers that are down"),
        (wanted.link(*live), "Stop updates" if wanted.refresh else "Live updates"),
        (wanted.link(*kept), "Refresh now"),
        (wanted.link("csv", "norefresh"), "CSV"),
        (wanted.link("json", "norefresh"), "JSON"),
        (wanted.link("json-schema"), "Schema"),
    ]
    if wanted.selection.part:
        links.insert(0, (wanted.link(*[word for word in kept if not word.startswith("scope=")]), "All proxies"))
    return [{"href": href, "text": text} for href, text in links]


def _details(wanted: Wanted, page: StatsPage) -> Script:
    """`;row=`: all that is known of one row."""
    answer = yield Ask("show stat")
    row = next((row for row in rows_of(answer) if wanted.selection.takes(row) and key_of(row) == wanted.row), None)
    if row is None:
        body = b"<!DOCTYPE html><title>Not found</title><p>There is no such proxy or server.</p>\n"
        yield Begin(404, _HTML + SECURITY, body)
        return
    hidden = () if page.show_legends else _LEGENDS
    shown = [
        (name, digits(text) if name not in _PLAIN else text)
        for name, text in row.items()
        if text and name not in hidden and name not in ("-", "pid")
    ]
    name = f"{row['pxname']} / {row['svname']}"
    facts = {**inline(), "title": name, "name": name, "facts": shown, "plain": wanted.link(*wanted.kept())}
    yield Begin(200, _HTML + SECURITY, write("details", facts).encode())
