"""Trace sources and what is switched of them (management manual 9.3, `trace`). Says nothing of how events are caught.

A source is stopped, waits for an event to start it, or runs. While it runs, events that are enabled and whose level is not above
its own go to its sink.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

#: Levels from the least to the most, with what they report.
LEVELS: Mapping[str, str] = {
    "error": "report errors",
    "user": "also information useful to the end user",
    "proto": "also protocol-level updates",
    "state": "also report internal state changes",
    "data": "also report data transfers",
    "developer": "also report information useful only to the developer",
}
_NUMBERS = {name: number for number, name in enumerate(LEVELS)}
#: How much of an event is told.
VERBOSITIES: Mapping[str, str] = {
    "quiet": "only report basic information with no decoding",
    "clean": "only user-friendly stuff: what and whose",
    "complete": "add addresses, proxies and numbers",
}
#: What a trace can be locked on: attribute of an event -> meaning.
LOCKS: Mapping[str, str] = {
    "backend": "lock on the backend that started the trace",
    "frontend": "lock on the frontend that started the trace",
    "nothing": "do not lock on anything",
    "server": "lock on the server that started the trace",
    "session": "lock on the session that started the trace",
}


class State(enum.Enum):
    """Of a source; the value is the letter that `trace` shows."""

    STOPPED = "."
    WAITING = "w"
    RUNNING = "R"


class Source:
    """One source.

    Attributes:
        name, description: for the operator.
        events: name -> description.
        report, start, stop, pause: the events that are reported, and that start, stop and pause the trace.
        level, verbosity, sink, lock: as configured; sink "none" drops all.
        locked: what it is locked on now, None before the first event.
        dropped: events that the sink did not take.
    """

    __slots__ = (
        "description", "dropped", "events", "level", "lock", "locked", "name", "pause", "report", "sink", "start", "state",
        "stop", "verbosity",
    )  # fmt: skip

    def __init__(self, name: str, description: str, events: Mapping[str, str]) -> None:
        self.name = name
        self.description = description
        self.events = events
        self.report = set(events)
        self.start: set[str] = set()
        self.stop: set[str] = set()
        self.pause: set[str] = set()
        self.level = "user"
        self.verbosity = "clean"
        self.sink = "none"
        self.lock = "nothing"
        self.locked: object | None = None
        self.dropped = 0
        self.state = State.STOPPED

    @property
    def awake(self) -> bool:
        """Whether its events must be caught at all."""
        return self.state is not State.STOPPED

    def switch(self, state: State) -> None:
        """Start, stop or pause now; what it was locked on is forgotten."""
        self.state = state
        self.locked = None

    def takes(self, event: str, level: str, things: Mapping[str, object | None]) -> bool:
        """Whether an event is to be reported; starts, pauses or stops the trace as configured.

        Args:
            event: its name.
            level: of its importance.
            things: what it is about, by the names of `LOCKS`.
        """
        if self.state is State.WAITING and event in self.start:
            self.state = State.RUNNING
        if self.state is not State.RUNNING or not self._is_locked_on(things):
            return False
        taken = event in self.report and _NUMBERS[level] <= _NUMBERS[self.level]
        if event in self.stop:
            self.switch(State.STOPPED)
        elif event in self.pause:
            self.switch(State.WAITING)
        return taken

    def _is_locked_on(self, things: Mapping[str, object | None]) -> bool:
        if self.lock == "nothing":
            return True
        thing = things.get(self.lock)
        if thing is None:
            return False
        if self.locked is None:
            self.locked = thing
        return self.locked == thing


def sources() -> dict[str, Source]:
    """A new set of all sources, stopped."""
    made = (
        Source("session", "Client session", {
            "sess_new": "new session", "sess_end": "end of session", "sess_err": "session that failed before its first stream",
        }),
        Source("stream", "Applicative stream", {
            "strm_new": "new stream", "strm_free": "release stream", "strm_err": "error during stream processing",
            "strm_ana": "choice of backend and server",
        }),
        Source("h1", "HTTP/1 connections", {
            "rx_hdr": "head of a request or response received", "rx_err": "invalid message", "tx_data": "data sent to the client",
        }),
        Source("check", "Health-check", {"chk_end": "result of a check", "chk_state": "a server changed its state"}),
        Source("ssl", "TLS handshakes", {"hs_end": "handshake done", "hs_err": "handshake failed"}),
    )  # fmt: skip
    return {source.name: source for source in made}
