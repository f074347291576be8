"""Catches the events of trace sources: while a source is awake, methods of the data plane are wrapped; else nothing is touched.

So tracing costs nothing while it is off, not even a test of a flag. What is wrapped belongs to classes, hence to the process.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from headgate.admin.tracing import Source, State, sources
from headgate.admin.writing import date, endpoint
from headgate.proxy.exchange import Exchange
from headgate.proxy.http_session import HttpSession
from headgate.proxy.http_stream import HttpStream
from headgate.proxy.relay import RelayStream
from headgate.proxy.response import ResponsePath
from headgate.proxy.seeking import Seeking
from headgate.proxy.sides import Frontend, Shared
from headgate.runtime.arrival import Arrival
from headgate.runtime.checks.runner import CheckRunner
from headgate.runtime.logs.sinks import DescriptorSink

if TYPE_CHECKING:
    from headgate.app.process import App

#: Characters of one event.
_LONGEST = 1000

#: (event, level, what happened, the session, the stream) of one call, None when it is no event.
Event = tuple[str, str, str, Any, Any]
_Describe = Callable[..., Event | None]
_Point = tuple[type, str, _Describe]


class Tracing:
    """Implements `admin.inspection.Tracing`.

    Args:
        app: the process.

    Attributes:
        sources: by name.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.sources: Mapping[str, Source] = sources()
        #: (class, name of the method) -> the method as it was, and who wants to hear of its calls
        self._wrapped: dict[tuple[type, str], tuple[Any, list[tuple[Source, _Describe]]]] = {}
        self._outputs: dict[str, DescriptorSink] = {}

    def changed(self) -> None:
        """See `admin.inspection.Tracing.changed`."""
        wanted: dict[tuple[type, str], list[tuple[Source, _Describe]]] = {}
        for name, source in self.sources.items():
            if source.awake:
                for kind, method, describe in POINTS[name]:
                    wanted.setdefault((kind, method), []).append((source, describe))
        for point in [point for point in self._wrapped if point not in wanted]:
            original, _ = self._wrapped.pop(point)
            setattr(*point, original)
        for point, listeners in wanted.items():
            if point in self._wrapped:
                self._wrapped[point][1][:] = listeners
            else:
                self._wrap(point, listeners)

    def close(self) -> None:
        """Stop all."""
        for source in self.sources.values():
            source.switch(State.STOPPED)
        self.changed()

    def _wrap(self, point: tuple[type, str], listeners: list[tuple[Source, _Describe]]) -> None:
        original = getattr(*point)

        @functools.wraps(original)
        def wrapper(*arguments: Any, **named: Any) -> Any:
            for source, describe in listeners:
                try:
                    event = describe(*arguments, **named)
                    if event is not None:
                        self._happened(source, event)
                except Exception as error:  # a trace must never harm what it looks at
                    self._app.bug(error)
            return original(*arguments, **named)

        self._wrapped[point] = original, listeners
        setattr(*point, wrapper)

    def _happened(self, source: Source, event: Event) -> None:
        name, level, text, session, stream = event
        link, server = getattr(stream, "link", None), getattr(stream, "server", None)
        side = getattr(session, "side", None)
        things = {
            "session": session, "frontend": side and side.name, "backend": link and link.name,
            "server": server and f"{link and link.name}/{server.name}",
        }  # fmt: skip
        taken = source.takes(name, level, things)
        if not source.awake:
            # This event is the one that stops it: not from inside what is wrapped.
            self._app.reactor.later(self.changed)
        if not taken:
            return
        head = f"[{self._app.place.index:02}|{source.name}|{level}] {name}"
        if source.verbosity != "quiet":
            head += f" : {text}"
        if source.verbosity == "complete" and session is not None:
            head += f" sess=0x{id(session):x} src={endpoint(session.source, session.source_port, session.listener_id)}"
            head += "".join([f" {key}={value}" for key, value in things.items() if key != "session" and value])
        self._write(source, head)

    def _write(self, source: Source, text: str) -> None:
        now = time.time()  # the event loop of a controller has nothing to do, and its clock stands still
        line = f"[{date(now, 6)}] {text}"[:_LONGEST]
        data = line.encode("utf-8", "replace").replace(b"\n", b" ") + b"\n"
        ring = self._app.logs.rings.get(source.sink)
        if ring is not None:
            ring.write(data, now)
        elif source.sink in _OUTPUTS:
            output = self._outputs.get(source.sink)
            if output is None:
                output = self._outputs[source.sink] = DescriptorSink(source.sink, _OUTPUTS[source.sink])
            dropped = output.dropped
            output.write(data, now)
            output.flush()
            source.dropped += output.dropped - dropped


_OUTPUTS = {"stdout": 1, "stderr": 2}


# --- what is an event ------------------------------------------------------------------------------------------------


def _session_new(side: Frontend, session: Any, now: float) -> Event:
    return "sess_new", "user", f"new session on frontend {side.name}", session, None


def _session_end(side: Frontend, session: Any) -> Event:
    return "sess_end", "user", f"end of session on frontend {side.name} after {session.streams} streams", session, None


def _session_failed(side: Frontend, session: Any) -> Event:
    return "sess_err", "error", session.error_text or "failed", session, None


def _request(stream: HttpStream, raw: bytes) -> Event:
    first = raw.partition(b"\r\n")[0].decode("ascii", "backslashreplace")
    return "strm_new", "user", first, stream.owner, stream


def _relay_new(stream: RelayStream, early: bytes) -> Event:
    return "strm_new", "user", "TCP relay", stream.owner, stream


def _over(stream: Exchange | RelayStream, outcome: Any, **_: Any) -> Event | None:
    if not stream.started_at:
        return None
    text = f"{outcome.name} status={stream.status} in={stream.bytes_in} out={stream.bytes_out} retries={stream.retries}"
    return "strm_free", "user", text, stream.owner, stream


def _failed(stream: Exchange, outcome: Any, status: int) -> Event:
    return "strm_err", "error", f"{outcome.name} status={status}", stream.owner, stream


def _server_chosen(stream: Seeking, server: Any) -> Event:
    name = stream.link.name if stream.link is not None else "?"
    return "strm_ana", "state", f"server {name}/{server.name}", stream.timed, stream


def _request_head(stream: HttpStream, raw: bytes) -> Event:
    return "rx_hdr", "proto", f"request, {len(raw)} bytes: {_request(stream, raw)[2]}", stream.owner, stream


def _response_head(stream: ResponsePath, head: Any, *_: Any) -> Event:
    return "rx_hdr", "proto", f"response, status {head.status}", stream.owner, stream


def _refused(session: HttpSession, reason: str, status: int, data: bytes) -> Event:
    return "rx_err", "error", f"invalid request: {reason}", session, session.stream


def _bad_response(stream: ResponsePath, reason: str, data: bytes) -> Event:
    return "rx_err", "error", f"invalid response: {reason}", stream.owner, stream


def _sent(stream: Exchange, data: bytes) -> Event:
    return "tx_data", "data", f"{len(data)} bytes to the client", stream.owner, stream


def _handshake(shared: Shared, tls: Any) -> Event:
    how = "resumed" if tls.resumed else "full"
    return "hs_end", "user", f"{tls.version} {tls.cipher}, {how}", None, None


def _handshake_failed(arrival: Arrival, reason: Any) -> Event:
    channel = arrival.channel
    return "hs_err", "error", (channel.failure if channel is not None else "") or reason.value, arrival.session, None


def _check_done(runner: CheckRunner, checked: Any, result: Any) -> Event:
    text = f"{checked.backend.name}/{checked.server.name} {result.status.word} {result.code or ''} {result.info or ''}".rstrip()
    return "chk_end", "user", f"{text} in {result.milliseconds} ms", None, None


def _check_changed(runner: CheckRunner, checked: Any, before: Any, entered: Any, reason: str) -> Event:
    return "chk_state", "user", f"{checked.backend.name}/{checked.server.name} {entered.name}: {reason}", None, None


#: Source -> the methods that are wrapped while it is awake; see `base.compiled.traceable`.
POINTS: Mapping[str, tuple[_Point, ...]] = {
    "session": (
        (Frontend, "_enter", _session_new),
        (Frontend, "_leave", _session_end),
        (Frontend, "write_failure", _session_failed),
    ),
    "stream": (
        (HttpStream, "start", _request),
        (RelayStream, "start", _relay_new),
        (Exchange, "finish", _over),
        (RelayStream, "finish", _over),
        (Exchange, "_fail", _failed),
        (Seeking, "_chosen", _server_chosen),
    ),
    "h1": (
        (HttpStream, "start", _request_head),
        (ResponsePath, "_final_head", _response_head),
        (HttpSession, "_refuse", _refused),
        (ResponsePath, "_bad_response", _bad_response),
        (Exchange, "send_client", _sent),
    ),
    "check": (
        (CheckRunner, "_finished", _check_done),
        (CheckRunner, "_enter", _check_changed),
    ),
    "ssl": (
        (Shared, "client_handshake", _handshake),
        (Shared, "server_handshake", _handshake),
        (Arrival, "connection_lost", _handshake_failed),
    ),
}
