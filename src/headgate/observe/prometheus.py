"""`http-request use-service prometheus-exporter`: the metrics, in the text format of Prometheus or as OpenMetrics.

Names and labels are those of HAProxy's exporter. What has no value has no sample. Written by hand rather than by the client
library: a farm of ten thousand servers has half a million samples, which must go out piece by piece, in little time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from headgate.base.records import dataclass, field
from headgate.observe.page.facts import Row, facts_of, fields_of, lists_of, rows_of
from headgate.observe.service import Ask, Begin, Pause, Question, Script, Step, pieces

_SCOPES: Final = {"f": "frontend", "l": "listener", "b": "backend", "s": "server"}
#: Names of `scope=`, in the order of output.
_ORDER: Final = ("global", "frontend", "listener", "backend", "server", "sticktable")
_ROWS: Final = 500
_FRESH: Final = 0.5

_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

_STATES: Final = {
    "f": ("DOWN", "UP"), "l": ("WAITING", "OPEN", "FULL"), "b": ("DOWN", "UP"), "s": ("DOWN", "UP", "MAINT", "DRAIN", "NOLB"),
}  # fmt: skip
_CHECKS: Final = (
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7OK", "L7OKC", "L7STS",
    "PROCERR", "PROCTOUT", "PROCOK",
)  # fmt: skip
#: What an agent's check ends with (management.txt, agent_status), and CHECKED: it said nothing of up and down.
_AGENTS: Final = ("SOCKERR", "L4OK", "L4TOUT", "L4CON", "L7TOUT", "L7RSP", "L7OK", "L7STS", "CHECKED")
_CODES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")


class BadRequest(Exception):
    """The query can't be answered."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table, for one scope.

    Attributes:
        name: in full; scope: its letter.
        form: gauge, counter, or how its samples are made.
    """

    name: str
    scope: str
    form: str
    column: str
    help: str


def _table() -> tuple[Metric, ...]:
    found = []
    text = (resources.files(__package__) / "metrics.txt").read_text("utf-8")
    lines = [line.split("|") for line in text.splitlines() if line[0] != "#"]
    for letter, scope in (("p", "process"), *_SCOPES.items()):
        found += [
            Metric(f"haproxy_{scope}_{name}", letter, form, column, help_)
            for scopes, name, form, column, help_ in lines
            if letter in scopes
        ]
    return tuple(found)


METRICS: Final = _table()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the query of the request asks for.

    Attributes:
        scopes: names of `_ORDER`.
        only, without: names of metrics (`metrics=`).
        no_maintenance: servers in maintenance are left out.
        descriptions: proxies' descriptions are labels.
        openmetrics: the format.
    """

    scopes: frozenset[str] = frozenset(_ORDER)
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    no_maintenance: bool = False
    descriptions: bool = False
    openmetrics: bool = False

    def wants(self, name: str) -> bool:
        """Whether a metric is wanted."""
        return name not in self.without and (not self.only or name in self.only)


def read_wish(target: bytes, accept: bytes) -> Wish:
    """Read the query.

    Raises:
        BadRequest: a scope is unknown.
    """
    scopes: set[str] = set()
    scoped = False
    only: set[str] = set()
    without: set[str] = set()
    flags = set()
    for pair in target.partition(b"?")[2].partition(b"#")[0].split(b"&"):
        name, _, raw = pair.partition(b"=")
        value = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")
        if name == b"scope":
            scoped = True
            if value == "*":
                scopes.update(_ORDER)
            elif value in _ORDER:
                scopes.add(value)
            elif value:
                raise BadRequest(f"unknown scope '{value}': one of {', '.join(_ORDER)}, *")
            else:
                scopes.clear()
        elif name == b"metrics":
            for one in value.split(","):
                (without if one.startswith("-") else only).add(one.lstrip("-"))
        else:
            flags.add(name)
    only.discard("")
    without.discard("")
    return Wish(
        frozenset(scopes) if scoped else frozenset(_ORDER), frozenset(only), frozenset(without), b"no-maint" in flags,
        b"desc-labels" in flags, b"application/openmetrics-text" in accept,
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@dataclass(slots=True)
class Rows:
    """The rows of one scope, with the labels of each as text."""

    labels: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def _sorted(answer: str, wish: Wish, descriptions: Mapping[str, str]) -> Generator[Step, str, dict[str, Rows]]:
    """The rows by scope. Others are served meanwhile: there may be ten thousand."""
    found = {letter: Rows() for letter in _SCOPES}
    letters = {"0": "f", "1": "b", "2": "s", "3": "l"}
    for number, row in enumerate(rows_of(answer), 1):
        if number % _ROWS == 0:
            yield Pause(0.001)
        letter = letters.get(row["type"])
        if letter is None or (_SCOPES[letter] not in wish.scopes and not (letter == "s" and "backend" in wish.scopes)):
            continue
        if letter == "s" and wish.no_maintenance and row["status"].startswith("MAINT"):
            continue
        labels = f'proxy="{_escaped(row["pxname"])}"'
        if letter == "s":
            labels += f',server="{_escaped(row["svname"])}"'
        elif letter == "l":
            labels += f',listener="{_escaped(row["svname"])}"'
        if wish.descriptions and row["pxname"] in descriptions:
            labels += f',desc="{_escaped(descriptions[row["pxname"]])}"'
        found[letter].labels.append(labels)
        found[letter].rows.append(row)
    return found


# --- samples of one metric -------------------------------------------------------------------------------------------


def _state(row: Row, letter: str) -> str:
    """A row's status as the metrics have it."""
    status = row["status"].partition(" ")[0]
    if letter == "f":
        return "UP" if status in ("OPEN", "FULL") else "DOWN"
    if letter == "s" and status not in ("DOWN", "MAINT", "DRAIN", "NOLB"):
        return "UP"
    return status


def _check(row: Row, column: str = "check_status") -> str:
    return row.get(column, "").removeprefix("* ")


def _plain(metric: Metric, rows: Rows) -> Iterator[str]:
    name, column = metric.name, metric.column
    for labels, row in zip(rows.labels, rows.rows, strict=True):
        value = row.get(column, "")
        if value:
            yield f"{name}{{{labels}}} {value}\n"


def _thousandth(metric: Metric, rows: Rows) -> Iterator[str]:
    for labels, row in zip(rows.labels, rows.rows, strict=True):
        value = row.get(metric.column, "")
        if value.isdecimal():
            yield f"{metric.name}{{{labels}}} {int(value) / 1000:.6f}\n"


def _states(metric: Metric, rows: Rows) -> Iterator[str]:
    for labels, row in zip(rows.labels, rows.rows, strict=True):
        now = _state(row, metric.scope)
        for state in _STATES[metric.scope]:
            yield f'{metric.name}{{{labels},state="{state}"}} {int(state == now)}\n'


def _check_states(metric: Metric, rows: Rows) -> Iterator[str]:
    states = _AGENTS if metric.form == "agent" else _CHECKS
    for labels, row in zip(rows.labels, rows.rows, strict=True):
        now = _check(row, metric.column)
        if now:
            for state in states:
                yield f'{metric.name}{{{labels},state="{state}"}} {int(state == now)}\n'


def _by_code(metric: Metric, rows: Rows) -> Iterator[str]:
    for labels, row in zip(rows.labels, rows.rows, strict=True):
        for code in _CODES:
            value = row.get("hrsp_" + code, "")
            if value:
                yield f'{metric.name}{{{labels},code="{code}"}} {value}\n'


_FORMS: dict[str, Callable[[Metric, Rows], Iterator[str]]] = {
    "gauge": _plain, "counter": _plain, "gauge/1000": _thousandth, "state": _states, "check": _check_states,
    "agent": _check_states, "code": _by_code,
}  # fmt: skip
_TYPES: Final = {"counter": "counter", "code": "counter"}


def _aggregated(metric: Metric, rows: Rows, servers: Rows) -> Iterator[str]:
    """Servers of each backend, counted."""
    states = _STATES["s"] if metric.form == "servers" else _CHECKS
    counts: dict[str, dict[str, int]] = {}
    for row in servers.rows:
        now = _state(row, "s") if metric.form == "servers" else _check(row)
        counted = counts.setdefault(row["iid"], {})
        counted[now] = counted.get(now, 0) + 1
    for labels, row in zip(rows.labels, rows.rows, strict=True):
        counted = counts.get(row["iid"], {})
        for state in states:
            yield f'{metric.name}{{{labels},state="{state}"}} {counted.get(state, 0)}\n'


# --- the whole -------------------------------------------------------------------------------------------------------


def _family(name: str, kind: str, text: str, samples: Iterable[str], wish: Wish) -> Iterator[str]:
    """A metric with what is said of it, if it has a sample."""
    if not wish.wants(name):
        return
    family = name
    if wish.openmetrics and kind == "counter":
        if name.endswith("_total"):
            family = name.removesuffix("_total")
        else:
            kind = "unknown"
    first = True
    for sample in samples:
        if first:
            yield f"# HELP {family} {text}\n# TYPE {family} {kind}\n"
            first = False
        yield sample


def _process(info: Mapping[str, str], wish: Wish) -> Iterator[str]:
    for metric in METRICS:
        value = info.get(metric.column, "") if metric.scope == "p" else ""
        if value and _is_number(value):
            yield from _family(metric.name, metric.form, metric.help, [f"{metric.name} {value}\n"], wish)
    version = info.get("Version")
    if version:
        name = "haproxy_process_build_info"
        yield from _family(name, "gauge", "Version of the program", [f'{name}{{version="{_escaped(version)}"}} 1\n'], wish)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


_TLS: Final = (
    ("headgate_tls_handshakes_failed_total", "counter", "failures", "TLS handshakes with clients that failed"),
    ("headgate_tls_handshakes_total", "counter", "connections", "TLS handshakes with clients that began"),
    ("headgate_tls_handshakes_resumed_total", "counter", "reused", "TLS handshakes with clients that resumed a session"),
    ("headgate_tls_sessions", "gauge", "sessions", "TLS connections of clients now"),
    ("headgate_tls_server_connections_total", "counter", "server_connections", "TLS connections to servers"),
    (
        "headgate_tls_server_connections_refused_total", "counter", "server_refused",
        "TLS connections to servers that were not made because of maxsslconn",
    ),
    ("headgate_tls_server_handshakes_full_total", "counter", "server_full", "TLS handshakes with servers that made a new key"),
    (
        "headgate_tls_server_handshakes_resumed_total", "counter", "server_reused",
        "TLS handshakes with servers that resumed a session",
    ),
)
_OWN: Final = (
    ("headgate_workers", "gauge", "workers", "Worker processes"),
    ("headgate_accept_failures_total", "counter", "accept_failures", "Connections that could not be accepted"),
    ("headgate_dropped_logs_total", "counter", "dropped_logs", "Log lines that no target took"),
    ("headgate_spliced_bytes_total", "counter", "spliced_bytes", "Bytes that the kernel moved from connection to connection"),
)


def _own(own: Mapping[str, Any], wish: Wish) -> Iterator[str]:
    """What HAProxy's exporter does not have."""
    for table, facts in ((_OWN, own), (_TLS, own.get("tls", {}))):
        for name, kind, key, text in table:
            if isinstance(facts.get(key), int):
                yield from _family(name, kind, text, [f"{name} {facts[key]}\n"], wish)
    name = "headgate_tls_certificate_expiry_seconds"
    samples = [
        f'{name}{{file="{_escaped(one["file"])}",name="{_escaped((one["names"] or [""])[0])}"}} {one["expires"]}\n'
        for one in own.get("certificates", ())
    ]
    yield from _family(name, "gauge", "When a certificate expires, seconds since the epoch", samples, wish)


def _handshakes(counted: Mapping[str, Any], wish: Wish) -> Iterator[str]:
    """Why handshakes with clients failed. Labels are lines of the configuration and a closed list: clients can't add any."""
    rows: Sequence[Mapping[str, Any]] = counted.get("counters", ())
    for name, text, probes in (
        ("headgate_tls_handshake_failures_total", "TLS handshakes with clients that failed, by cause", False),
        ("headgate_tls_probes_total", "TLS connections of clients that asked for nothing, by kind", True),
    ):
        samples = [
            f'{name}{{proxy="{_escaped(one["frontend"])}",listener="{_escaped(one["listener"])}",cause="{_escaped(one["cause"])}"}}'
            f" {one['total']}\n"
            for one in rows
            if one["probe"] is probes
        ]
        yield from _family(name, "counter", text, samples, wish)


def _reuse(answer: str, wish: Wish) -> Iterator[str]:
    """Handshakes with each server, of traffic and checks, from `show ssl reuse json`."""
    found = lists_of(answer)
    labels = [
        f'proxy="{_escaped(str(one["backend"]))}",server="{_escaped(str(one["server"]))}",kind="{one["kind"]}"' for one in found
    ]
    name = "headgate_server_tls_handshakes_total"
    samples = [
        f'{name}{{{label},result="{result}"}} {one[result]}\n'
        for label, one in zip(labels, found, strict=True) for result in ("resumed", "full", "failed")
    ]  # fmt: skip
    yield from _family(name, "counter", "TLS handshakes with a server, of traffic or of health checks", samples, wish)
    name = "headgate_server_tls_full_handshakes_total"
    samples = [
        f'{name}{{{label},cause="{cause}"}} {count}\n'
        for label, one in zip(labels, found, strict=True) for cause, count in one["causes"].items()
    ]  # fmt: skip
    yield from _family(name, "counter", "Full TLS handshakes with a server, by their cause", samples, wish)


_OCSP: Final = (
    ("headgate_ocsp_staple_expiry_seconds", "gauge", "left", "Seconds until the stapled OCSP response expires, 0 without one"),
    ("headgate_ocsp_updates_total", "counter", "successes", "Updates that brought an OCSP response"),
    ("headgate_ocsp_update_failures_total", "counter", "failures", "Updates of OCSP responses that failed"),
)
_OCSP_STATES: Final = ("good", "revoked", "expired", "missing")


def _ocsp(entries: Sequence[Mapping[str, Any]], wish: Wish) -> Iterator[str]:
    """OCSP responses; what fetches them bounds the values of `error`."""
    labelled = [(f'file="{_escaped(one["file"])}"', one) for one in entries]
    for name, kind, key, text in _OCSP:
        yield from _family(name, kind, text, [f"{name}{{{labels}}} {one[key]}\n" for labels, one in labelled], wish)
    name = "headgate_ocsp_state"
    states = [
        f'{name}{{{labels},state="{state}"}} {int(state == one["state"])}\n' for labels, one in labelled for state in _OCSP_STATES
    ]
    yield from _family(name, "gauge", "What the OCSP response on hand says", states, wish)
    name = "headgate_ocsp_update_failing"
    errors = [f'{name}{{{labels},error="{_escaped(one["error"])}"}} 1\n' for labels, one in labelled if one["error"]]
    yield from _family(name, "gauge", "The last update of an OCSP response failed, and why", errors, wish)
    name = "headgate_ocsp_must_staple_missing"
    missing = [
        f"{name}{{{labels}}} {int(one['state'] in ('expired', 'missing'))}\n" for labels, one in labelled if one["must_staple"]
    ]
    yield from _family(name, "gauge", "A must-staple certificate has no OCSP response", missing, wish)


def _tables(answer: str, wish: Wish) -> Iterator[str]:
    """Stick tables, from the lines of `show table`."""
    found: list[tuple[str, Mapping[str, str]]] = []
    for line in answer.splitlines():
        if line.startswith("# table:"):
            pairs = dict(part.strip().partition(":")[::2] for part in line[2:].split(","))
            name, kind = _escaped(pairs["table"].strip()), _escaped(pairs.get("type", "").strip())
            found.append((f'name="{name}",type="{kind}"', pairs))
    for key, text in (("size", "Entries that a stick table may have"), ("used", "Entries of a stick table")):
        metric = f"haproxy_sticktable_{key}"
        samples = [f"{metric}{{{labels}}} {pairs[key].strip()}\n" for labels, pairs in found if key in pairs]
        yield from _family(metric, "gauge", text, samples, wish)


def _everything(rows: Mapping[str, Rows], wish: Wish) -> Iterator[str]:
    for metric in METRICS:
        if metric.scope == "p" or _SCOPES[metric.scope] not in wish.scopes:
            continue
        mine = rows[metric.scope]
        if metric.form in _FORMS:
            samples = _FORMS[metric.form](metric, mine)
        else:
            samples = _aggregated(metric, mine, rows["s"])
        yield from _family(metric.name, _TYPES.get(metric.form, "gauge"), metric.help, samples, wish)


def write_metrics(question: Question) -> Script:
    """The service; see `observe.service.Write`."""
    try:
        wish = read_wish(question.head.target, question.head.first(b"accept") or b"")
    except BadRequest as error:
        yield Begin(400, b"cache-control: no-cache\r\ncontent-type: text/plain; charset=utf-8\r\n", f"{error}\n".encode())
        return
    kind = _OPENMETRICS if wish.openmetrics else _TEXT
    yield Begin(200, b"cache-control: no-cache\r\ncontent-type: " + kind + b"\r\n")
    own: Mapping[str, Any] = {}
    if "global" in wish.scopes or wish.descriptions:
        own = facts_of((yield Ask("show headgate", _FRESH)))
    if "global" in wish.scopes:
        yield from pieces(_process(fields_of((yield Ask("show info", _FRESH))), wish))
        yield from pieces(_own(own, wish))
        counted = facts_of((yield Ask("show ssl handshake-counters json", _FRESH)))
        yield from pieces(_handshakes(counted, wish))


        yield from pieces(_ocsp(own.get("ocsp", ()), wish))
    if wish.scopes & frozenset(_SCOPES.values()):
        answer = yield Ask("show stat", _FRESH)
        rows = yield from _sorted(answer, wish, own.get("descriptions", {}))
        del answer
        yield from pieces(_everything(rows, wish))
    if "server" in wish.scopes:
        yield from pieces(_reuse((yield Ask("show ssl reuse json", _FRESH)), wish))
    if "sticktable" in wish.scopes:
        yield from pieces(_tables((yield Ask("show table", _FRESH)), wish))
    if wish.openmetrics:
        yield b"# EOF\n"


__all__: Sequence[str] = ("METRICS", "BadRequest", "Metric", "Wish", "read_wish", "write_metrics")
