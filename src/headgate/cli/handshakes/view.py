"""Groups of failed handshakes as text for a terminal. Pure: no clock, no terminal, no socket.

Everything that clients have sent, and everything that came over the socket, goes through `plain`: no escape sequence gets to the
terminal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Group as Lines
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from headgate.base.handshake_causes import from_addresses, without_similar
from headgate.cli.handshakes.asking import Facts, Group, plain

#: Colours by severity of the newest record; a terminal without colours shows none.
_COLOURS: Final = {"error": "bold red", "warning": "bold yellow", "notice": "bold cyan", "info": "bold"}


def page(
    groups: Sequence[Group], *, source: str, wall: float, trouble: str = "", interval: float | None = None
) -> RenderableType:
    """All of it.

    Args:
        groups: in the order in which they are shown.
        source: who was asked.
        wall: when, seconds since the epoch.
        trouble: why the last question had no answer; "" when it had.
        interval: seconds between questions, None when it is asked once.
    """
    parts: list[RenderableType] = [_head(groups, source, wall, interval)]
    if trouble:
        parts.append(Text(f"No answer, trying again: {plain(trouble)}", "bold red"))
    if not groups:
        parts.append(Text("\nNo handshake has failed."))
    for one in groups:
        parts.append(Text(""))
        parts += _group(one)
    return Lines(*parts)


def _head(groups: Sequence[Group], source: str, wall: float, interval: float | None) -> Text:
    failures = sum(one.hour for one in groups if not one.probe)
    probes = sum(one.hour for one in groups if one.probe)
    rates = [one.rate for one in groups if one.rate is not None and not one.probe]
    every = f", every {interval:g} s; Ctrl-C ends it" if interval is not None else ""
    text = Text(f"TLS handshakes of {plain(source)}, {_clock(wall)}{every}\n", "bold")
    text.append(f"Last hour: {_count(failures, 'failure')}, {_count(probes, 'probe')}", "default")
    if rates:
        text.append(f"; now {_rate(sum(rates))}", "default")
    return text


def _group(one: Group) -> Iterator[RenderableType]:
    newest = one.newest or {}
    colour = _COLOURS.get(str(newest.get("severity")), "bold") if not one.probe else "dim"
    title = Text(plain(one.code), colour)
    # Servers are where we went.
    title.append(f"  {one.hour} in the last hour{from_addresses(one.sources)}", "default")
    if one.total != one.hour:
        title.append(f", {one.total} in all", "default")
    if one.rate:
        title.append(f", {_rate(one.rate)}", "default")
    yield title
    if not newest:
        yield _indented(f"last at {_clock(one.last)} on {plain(_listed(one.lines))}")
        return
    yield _indented(", ".join(_example(one, newest)))
    if not one.probe and newest.get("advice"):
        yield _indented(plain(without_similar(newest["advice"])), "italic")  # the process that wrote it knows of its own only


def _indented(text: str, style: str = "") -> Padding:
    return Padding(Text(text, style), (0, 0, 0, 2), expand=False)


def _example(one: Group, newest: Facts) -> Iterator[str]:
    """Who it was, in pieces."""
    yield f"{_clock(newest.get('at', one.last))} {_peer(newest)}"
    more = f" (and {len(one.lines) - 1} more)" if len(one.lines) > 1 else ""
    yield f"on {plain(newest.get('frontend'))}/{plain(newest.get('listener'))}{more}"
    yield f"SNI {plain(newest['sni'])}" if newest.get("sni") else "without SNI"
    offered: dict[str, Any] = newest.get("offered") or {}
    if offered:
        yield f"offers {plain(' '.join(map(str, offered.get('versions', ()))))}"
        if offered.get("alpn"):
            yield f"ALPN {plain(' '.join(map(str, offered['alpn'])))}"
        yield f"JA4 {plain(offered.get('ja4'))}"
    for key, words in (("alert_received", "alert received"), ("alert_sent", "alert sent")):
        if newest.get(key):
            yield f"{words} {plain(newest[key])}"
    yield f"step {plain(newest.get('step'))}"


def _peer(newest: Facts) -> str:
    """The client, or the server that we went to."""
    address, port = ("address", "port") if newest.get("outgoing") else ("client", "client_port")
    host = plain(newest.get(address) or "unix")
    return f"[{host}]:{plain(newest.get(port, 0))}" if ":" in host else f"{host}:{plain(newest.get(port, 0))}"


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _count(number: int, word: str) -> str:
    plural = "es" if word.endswith("s") else "s"
    return f"{number} {word}{'' if number == 1 else plural}"


def _rate(rate: float) -> str:
    return f"{rate:.1f} a second" if rate < 100 else f"{rate:.0f} a second"


def _clock(wall: object) -> str:
    return time.strftime("%H:%M:%S", time.localtime(wall)) if isinstance(wall, int | float) else "?"
