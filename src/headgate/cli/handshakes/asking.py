"""Asks a running process about handshakes over its stats socket, and puts the answers together: one group for each cause.

What can go wrong is said in words for the operator (`CannotAsk`).
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import nearest_word
from headgate.base.records import dataclass, field
from headgate.cli.stats_socket import stats_socket
from headgate.config.model import Config

#: How long an answer may take, seconds; and how long it may become, bytes.
PATIENCE: Final = 10.0
_LONGEST_ANSWER: Final = 64 << 20
#: How much of a text is shown, characters.
_LONGEST: Final = 1000
_TO_ADD: Final = "stats socket /run/headgate/admin.sock mode 600 level admin"

Facts = dict[str, Any]
Ask = Callable[[str], str]


class CannotAsk(Exception):
    """There is no answer; the text says why and what to do."""


@dataclass(slots=True)
class Group:
    """What is known of one cause.

    Attributes:
        code: of the cause; probe: it is no failure.
        total: since the start; hour: in the last hour; sources: from how many addresses (at most).
        last: when it was met last, seconds since the epoch.
        rate: a second, since the last time that was looked; None the first time.
        lines: bind lines where it was met, `frontend/line`, the most frequent first.
        newest: the record of the newest one, as `show ssl handshakes json` has it; None when it is kept no longer.
    """

    code: str
    probe: bool = False
    total: int = 0
    hour: int = 0
    sources: int = 0
    last: float = 0.0
    rate: float | None = None
    lines: list[str] = field(default_factory=list)
    newest: Facts | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        failed: leave out probes.
        cause, frontend: only this one; "" for all.
    """

    failed: bool = False
    cause: str = ""
    frontend: str = ""


class Watch:
    """One process, asked again and again.

    Args:
        ask: sends a command, answers what came back.
        wanted: see there.
    """

    def __init__(self, ask: Ask, wanted: Wanted) -> None:
        self._ask = ask
        self._wanted = wanted
        self._totals: dict[str, int] = {}
        self._newest: dict[str, Facts | None] = {}
        self._at: float | None = None

    def look(self, now: float) -> list[Group]:
        """All groups, the most frequent of the last hour first, probes last.

        Args:
            now: seconds, of a clock that never goes back.

        Raises:
            CannotAsk: see there.
        """
        rows = _answer(self._ask("show ssl handshake-counters json"))["counters"]
        groups = gathered(rows, self._wanted)
        for one in groups:
            before = self._totals.get(one.code)
            if self._at is not None and now > self._at:
                # Fewer than before: it was started anew, or cleared.
                one.rate = max(0, one.total - (before or 0)) / (now - self._at)
            if before != one.total:
                self._newest[one.code] = self._one(one.code)
            one.newest = self._newest.get(one.code)
        self._totals = {one.code: one.total for one in groups}
        self._at = now
        return groups

    def check_frontend(self) -> None:
        """See that there is a proxy of the name that is asked for.

        Raises:
            CannotAsk: there is none.
        """
        lines = self._ask("show stat").splitlines()
        names = dict.fromkeys(line.partition(",")[0] for line in lines if "," in line and not line.startswith("#"))
        name = self._wanted.frontend
        if names and name not in names:
            near = nearest_word(name, tuple(names))
            meant = f"; is {near!r} meant?" if near else ""
            raise CannotAsk(f"the process has no frontend, listen or backend section {name!r}{meant}")

    def _one(self, code: str) -> Facts | None:
        frontend = f" frontend {self._wanted.frontend}" if self._wanted.frontend else ""
        found = _answer(self._ask(f"show ssl handshakes json cause {code}{frontend} last 1"))
        return found[-1] if found else None


def gathered(rows: Iterable[Facts], wanted: Wanted) -> list[Group]:
    """The counters of all bind lines as one group for each cause."""
    groups: dict[str, Group] = {}
    for row in rows:
        if (wanted.frontend and row["frontend"] != wanted.frontend) or (wanted.cause and row["cause"] != wanted.cause):
            continue
        if wanted.failed and row["probe"]:
            continue
        one = groups.setdefault(row["cause"], Group(row["cause"], row["probe"]))
        one.total += row["total"]
        one.hour += row["hour"]
        one.sources = max(one.sources, row["sources"])  # the same address may have been at several lines
        one.last = max(one.last, row["last"])
        one.lines.append(f"{row['frontend']}/{row['listener']}")
    return sorted(groups.values(), key=lambda one: (one.probe, -one.hour, -one.total, one.code))


def plain(value: object) -> str:
    """A text that a terminal shows as it is: nothing in it can move the cursor, colour, or ring."""
    text = str(value)
    shown = "".join([one if one.isprintable() else "?" for one in text[:_LONGEST]])
    return shown + "..." if len(text) > _LONGEST else shown


def _answer(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    first = plain(text.strip().partition("\n")[0][:100])
    if first.startswith("Unknown command"):
        raise CannotAsk(
            "the process behind the socket does not know 'show ssl handshakes': it is older than this program, or another one;"
            " restart it (a reload is enough with -W)"
        )
    if first.startswith("Permission denied"):
        raise CannotAsk("the stats socket does not allow it: give its line 'level operator' or 'level admin'")
    raise CannotAsk(f"the process behind the socket answers: {first or 'nothing'}")


# --- the socket ---


def named_socket(text: str) -> Address:
    """A path, or HOST:PORT.

    Raises:
        CannotAsk: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if "/" in text or not colon:
        return Address(Family.UNIX, text)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CannotAsk(f"--socket {text}: a path, or HOST:PORT")
    host = host.strip("[]")
    return Address(Family.INET6 if ":" in host else Family.INET, host, int(port))


def chosen_socket(config: Config) -> Address:
    """That of a configuration.

    Raises:
        CannotAsk: it has none.
    """
    found = stats_socket(config)
    if found is None:
        raise CannotAsk(f"the configuration has no stats socket to ask; add to its global section: {_TO_ADD}")
    return found


def asker(address: Address) -> Ask:
    """Asks at this address, on a connection for each command.

    Raises (the function returned):
        CannotAsk: nobody answers.
    """

    def ask(command: str) -> str:
        try:
            with _connected(address) as connection:
                connection.sendall(command.encode() + b"\n")
                pieces: list[bytes] = []
                size = 0
                while data := connection.recv(65536):
                    pieces.append(data)
                    size += len(data)
                    if size > _LONGEST_ANSWER:
                        raise CannotAsk(f"{_shown(address)}: the answer does not end")
                return b"".join(pieces).decode("utf-8", "replace")
        except OSError as error:
            raise CannotAsk(_why(address, error)) from None

    return ask


def _connected(address: Address) -> socket.socket:
    unix = address.family is Family.UNIX
    everywhere = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
    family = socket.AF_UNIX if unix else socket.AF_INET6 if address.family is Family.INET6 else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(address.host if unix else (everywhere.get(address.host, address.host), address.port))
    except BaseException:
        connection.close()
        raise
    return connection


def _shown(address: Address) -> str:
    return address.host if address.family is Family.UNIX else f"{address.host}:{address.port}"


def _why(address: Address, error: OSError) -> str:
    where = _shown(address)
    if isinstance(error, TimeoutError):
        return f"{where}: no answer within {PATIENCE:g} s: is the process stopped, or overloaded?"
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{where}: {remedy}" if remedy is not None else f"{where}: {error.strerror or error}"


_FORBIDDEN: Final = (
    "permission denied: run this as the user that the 'stats socket' line gives it to ('user', 'group', 'mode'), or as root"
)
_REMEDIES: Final = {
    errno.ENOENT: "there is no such socket: is headgate running, and is this the 'stats socket' of its configuration?",
    errno.ECONNREFUSED: "nobody listens there: is headgate running, and is this the 'stats socket' of its configuration?",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EAGAIN: "the socket's queue is full: is the process stopped, or overloaded?",
}


def as_json(groups: Sequence[Group]) -> str:
    """One line of JSON."""
    return json.dumps({
        "causes": [
            {
                "cause": one.code, "probe": one.probe, "total": one.total, "hour": one.hour, "sources": one.sources,
                "last": one.last, "rate": one.rate, "lines": one.lines, "newest": one.newest,
            }
            for one in groups
        ]
    }, separators=(",", ":"))  # fmt: skip
