"""Traces: what is caught while they are on, and that nothing is touched while they are off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.admin.tracing import State
from headgate.app.tracing import POINTS, Tracing
from headgate.base.compiled import traceables
from headgate.proxy.http_stream import HttpStream
from headgate.proxy.relay import RelayStream
from headgate.proxy.seeking import Seeking
from headgate.proxy.sides import Frontend
from headgate.runtime.logs.rings import LogRing
from tests.proxy.playbook import Playbook

CONFIG = """
frontend web
    bind :80
    default_backend app
backend app
    server s1 192.0.2.10:80
"""
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
METHODS = ((HttpStream, "start"), (Seeking, "_chosen"), (Frontend, "_enter"), (RelayStream, "finish"))



def test_all_points_are_found_in_compiled_classes_too() -> None:
    for kind, method, _ in (point for points in POINTS.values() for point in points):
        assert vars(kind)[method].__qualname__ in traceables
        assert not [below for below in kind.__subclasses__() if method in vars(below)]


class Traced:
    """A playbook whose events go to a ring."""

    def __init__(self, directory: Path) -> None:
        self.play = Playbook(CONFIG, directory)
        self.ring = LogRing("buf0")
        self.bugs: list[Exception] = []
        app: Any = SimpleNamespace(
            place=SimpleNamespace(index=3), reactor=self.play.clock, logs=SimpleNamespace(rings={"buf0": self.ring}),
            bug=self.bugs.append,
        )  # fmt: skip
        self.tracing = Tracing(app)

    def switch(self, name: str, **settings: object) -> None:
        """Run a source into the ring."""
        source = self.tracing.sources[name]
        source.sink = "buf0"
        for key, value in settings.items():
            setattr(source, key, value)
        source.switch(State.RUNNING)
        self.tracing.changed()

    def request(self) -> None:
        client = self.play.client("web")
        client.sends(GET)
        self.play.server().sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def events(self) -> list[str]:
        """Without their dates."""
        return [line.decode().rstrip("\n").partition("] ")[2] for line in self.ring.since(0)[0]]


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    made = Traced(tmp_path)
    yield made
    made.tracing.close()
    assert not made.bugs


def test_nothing_is_touched_while_all_is_off(traced: Traced) -> None:
    before = [vars(kind)[name] for kind, name in METHODS]
    traced.switch("stream")
    traced.switch("h1")
    traced.switch("session")
    assert [vars(kind)[name] for kind, name in METHODS] != before
    traced.request()
    for name in ("stream", "session", "h1"):  # not in the order in which they were switched on
        traced.tracing.sources[name].switch(State.STOPPED)
        traced.tracing.changed()
    assert [vars(kind)[name] for kind, name in METHODS] == before
    count = traced.ring.written
    traced.request()
    assert traced.ring.written == count > 0


def test_levels_and_verbosity(traced: Traced) -> None:
    traced.switch("stream")
    traced.request()
    assert traced.events() == [
        "[03|stream|user] strm_new : GET /a HTTP/1.1",
        "[03|stream|user] strm_free : COMPLETE status=200 in=28 out=40 retries=0",
    ]
    traced.switch("stream", level="developer", verbosity="complete")
    traced.request()
    used = [event for event in traced.events() if "strm_ana" in event]
    assert len(used) == 1
    assert used[0].endswith("src=192.0.2.7:4711 frontend=web backend=app server=app/s1")
    traced.switch("stream", level="user", verbosity="quiet")
    traced.request()
    assert traced.events()[-1] == "[03|stream|user] strm_free"


def test_one_session_from_its_begin_to_its_end(traced: Traced) -> None:
    source = traced.tracing.sources["stream"]
    source.start, source.stop, source.lock, source.sink = {"strm_new"}, {"strm_free"}, "session", "buf0"
    source.switch(State.WAITING)
    traced.tracing.changed()
    first, second = traced.play.client("web"), traced.play.client("web")
    first.sends(GET)
    second.sends(GET)
    traced.play.server().sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    traced.play.server().sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    traced.play.clock.settle()
    assert [event.split()[1] for event in traced.events()] == ["strm_new", "strm_free"]
    assert source.state is State.STOPPED
    assert not hasattr(HttpStream.start, "__wrapped__")  # let go of by itself


def test_messages_and_sessions(traced: Traced) -> None:
    traced.switch("h1", level="data")
    traced.switch("session")
    traced.request()
    client = traced.play.client("web")
    client.sends(b"GET / HTTP/1.1\r\nA b: c\r\n\r\n")
    text = "\n".join(traced.events())
    for part in (
        "[03|session|user] sess_new : new session on frontend web", "[03|h1|proto] rx_hdr : request, 28 bytes: GET /a HTTP/1.1",
        "[03|h1|proto] rx_hdr : response, status 200", "[03|h1|data] tx_data : 40 bytes to the client",
        "[03|h1|error] rx_err : invalid request: invalid character in a header name",
        "[03|session|user] sess_end : end of session on frontend web after 1 streams",
    ):  # fmt: skip
        assert part in text, part
