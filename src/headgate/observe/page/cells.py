"""The columns of the page's tables, and how a cell is written for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headgate.base.records import dataclass
from headgate.observe.page.facts import Row, number


def digits(text: str) -> str:
    """A number in groups of three."""
    return f"{int(text):,}".replace(",", "\u202f") if text.lstrip("-").isdecimal() else text


def amount(text: str) -> str:
    """Bytes, as people say them."""
    if not text.isdecimal():
        return text
    size = float(text)
    if size < 1000:
        return f"{text} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size /= 1000
        if size < 999.5 or unit == "PB":
            break
    return f"{size:.1f} {unit}" if size < 99.95 else f"{size:.0f} {unit}"


def duration(text: str) -> str:
    """Seconds, in the two units that matter."""
    if not text.isdecimal():
        return ""
    seconds = int(text)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size}{unit} {rest}{smaller}" if rest else f"{seconds // size}{unit}"
    return f"{seconds}s"


class Cell(NamedTuple):
    """One cell: what is read, what it is sorted by ("" for the text itself) and what is said of it besides."""

    text: str
    sort: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the tables.

    Attributes:
        head: over it; title: in full.
        write: makes the cell of a row.
        numeric: aligned and sorted as a number.
    """

    head: str
    title: str
    write: Callable[[Row], Cell]
    numeric: bool = True


def _plain(name: str, form: Callable[[str], str] = digits) -> Callable[[Row], Cell]:
    def write(row: Row) -> Cell:
        value = row.get(name, "")
        text = form(value)
        return Cell(text, "" if text == value else value)

    return write


def _last(row: Row) -> Cell:
    value = row.get("lastsess", "")
    return Cell("", "999999999") if value == "-1" else Cell(duration(value), value)


def _check(row: Row) -> Cell:
    status = row.get("check_status", "")
    if not status:
        return Cell("")
    code, taken = row.get("check_code", ""), row.get("check_duration", "")
    text = status + (f"/{code}" if code else "") + (f" in {taken} ms" if taken else "")
    hint = ": ".join(part for part in (row.get("check_desc", ""), row.get("last_chk", "")) if part)
    agent = row.get("agent_status", "")
    if agent:
        text += f", agent {agent}"
        hint += "; agent: " + (row.get("agent_desc", "") or row.get("last_agt", "") or agent)
    return Cell(text, "", hint)


def _weight(row: Row) -> Cell:
    weight, configured = row.get("weight", ""), row.get("uweight", "")
    if row.get("type") == "2" and configured and configured != weight:
        return Cell(f"{weight}/{configured}", weight, f"weight {weight} of {configured} configured")
    return Cell(digits(weight), weight)


def _members(name: str) -> Callable[[Row], Cell]:
    def write(row: Row) -> Cell:
        value = row.get(name, "")
        return Cell({"0": "–", "1": "Y"}.get(value, value) if row.get("type") == "2" else value, value)

    return write


def _throttle(row: Row) -> Cell:
    value = row.get("throttle", "")
    return Cell(f"{value} %" if value else "", value)


def _status(row: Row) -> Cell:
    text, since = row.get("status", ""), row.get("lastchg", "")
    return Cell(text, text, f"for {duration(since)}" if since and row.get("type") != "0" else "")


def _since(row: Row) -> Cell:
    value = row.get("lastchg", "")
    return Cell(duration(value), value)


def _failed(row: Row) -> Cell:
    value = row.get("chkfail", "")
    return Cell(digits(value), value, "failed checks" if value else "")


def _response(group: str) -> Column:
    return Column(group, f"HTTP {group} responses", _plain(f"hrsp_{group}"))


def _time(head: str, name: str, what: str) -> Column:
    def write(row: Row) -> Cell:
        value, most = row.get(name, ""), row.get(f"{name}_max", "")
        return Cell(digits(value), value if digits(value) != value else "", f"at most {most} ms" if most and value else "")

    return Column(head, f"{what} time in ms, average of the last 1024 requests", write)


def _number(head: str, name: str, title: str) -> Column:
    return Column(head, title, _plain(name))


#: Groups of columns, in their order. The row's name stands before them.
GROUPS: tuple[tuple[str, tuple[Column, ...]], ...] = (
    ("Status", (
        Column("Status", "Status", _status, numeric=False),
        Column("Since", "Time since the last change of status", _since),
        Column("LastChk", "Last health check", _check, numeric=False),
    )),
    ("Queue", (
        _number("Cur", "qcur", "Queued requests now"),
        _number("Max", "qmax", "Most queued requests"),
        _number("Limit", "qlimit", "Limit of the queue"),
    )),
    ("Session rate", (
        _number("Cur", "rate", "Sessions in the last second"),
        _number("Max", "rate_max", "Most sessions in a second"),
        _number("Limit", "rate_lim", "Limit of new sessions in a second"),
    )),
    ("Sessions", (
        _number("Cur", "scur", "Sessions now"),
        _number("Max", "smax", "Most sessions at a time"),
        _number("Limit", "slim", "Limit of sessions"),
        _number("Total", "stot", "Sessions so far"),
        _number("LbTot", "lbtot", "Times that load balancing chose it"),
        Column("Last", "Time since the last session", _last),
    )),
    ("Bytes", (
        Column("In", "Bytes from clients", _plain("bin", amount)),
        Column("Out", "Bytes to clients", _plain("bout", amount)),
    )),
    ("Denied", (
        _number("Req", "dreq", "Denied requests"),
        _number("Resp", "dresp", "Denied responses"),
    )),
    ("Errors", (
        _number("Req", "ereq", "Request errors"),
        _number("Conn", "econ", "Errors of connections to servers"),
        _number("Resp", "eresp", "Response errors"),
    )),
    ("Warnings", (
        _number("Retr", "wretr", "Retries"),
        _number("Redis", "wredis", "Redispatches"),
    )),
    ("Server", (
        Column("Wght", "Weight", _weight),
        Column("Act", "Active servers", _members("act")),
        Column("Bck", "Backup servers", _members("bck")),
        Column("Chk", "Failed checks", _failed),
        Column("Dwn", "Changes from up to down", _plain("chkdown")),
        Column("Dwntme", "Time that it was down", _plain("downtime", duration)),
        Column("Thrtle", "Share of its weight during slow start", _throttle),
    )),
    ("Responses", tuple(_response(group) for group in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))),
    ("Time (ms)", (
        _time("Queue", "qtime", "Queue"), _time("Conn", "ctime", "Connect"), _time("Resp", "rtime", "Response"),
        _time("Total", "ttime", "Total"),
    )),
)  # fmt: skip

#: What `stats show-modules` adds.
MODULES: tuple[tuple[str, tuple[Column, ...]], ...] = (
    ("Connections", (
        _number("New", "connect", "New connections to the server"),
        _number("Reuse", "reuse", "Reused connections to the server"),
        _number("Used", "used_conn_cur", "Connections in use now"),
        _number("Idle", "srv_icur", "Idle connections now"),
        _number("Total", "conn_tot", "Connections of clients"),
        _number("Interc", "intercepted", "Requests that were answered here"),
        _number("Rewr", "wrew", "Headers that could not be rewritten"),
        _number("Intern", "eint", "Internal errors"),
    )),
)  # fmt: skip

COLUMNS = tuple(column for _, columns in GROUPS for column in columns)
_ALL = (*COLUMNS, *(column for _, columns in MODULES for column in columns))


def cells_of(row: Row) -> list[Cell]:
    """All cells of a row, in the order of the columns; those of `MODULES` come last."""
    return [column.write(row) for column in _ALL]


_STATUSES = (
    ("no check", "nocheck"), ("MAINT", "maint"), ("DRAIN", "drain"), ("NOLB", "nolb"), ("OPEN", "open"), ("STOP", "down"),
    ("PAUSED", "maint"), ("WAITING", "open"), ("FULL", "falling"),
)


def look_of(row: Row) -> str:
    """How a row looks: the class that its status has."""
    status = row.get("status", "")
    for begin, look in _STATUSES:
        if status.startswith(begin):
            return look
    if status.startswith("UP"):
        return "up" if status == "UP" else "falling"
    if status.startswith("DOWN"):
        return "rising" if "/" in status.partition(" (")[0] else "down"
    return "nocheck"


#: Class, what it means: the legend.
LEGEND = (
    ("up", "up"), ("falling", "up, going down"), ("rising", "down, going up"), ("down", "down"), ("nocheck", "not checked"),
    ("drain", "draining"), ("nolb", "no load balancing"), ("maint", "maintenance"),
)


def failures(row: Row) -> int:
    """What the sparkline counts as errors: 5xx of HTTP proxies, failed connections and responses of others."""
    if row.get("mode") == "http":
        return number(row.get("hrsp_5xx", ""))
    return number(row.get("econ", "")) + number(row.get("eresp", ""))


def requests(row: Row) -> int:
    """What the sparkline counts as requests: sessions of proxies that are not HTTP."""
    return number(row.get("req_tot", "") or row.get("stot", ""))
