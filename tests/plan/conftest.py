"""A small world for compiled plans: streams, servers and clocks that hold still."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headgate.base.diagnostics import Location, Report, render
from headgate.config.cursor import Word
from headgate.config.load import load
from headgate.config.model import Config
from headgate.config.parse_expression import parse_expression
from headgate.config.parse_logformat import parse_logformat
from headgate.config.predicates import BuildFacts
from headgate.plan.compiler import compile_plan
from headgate.plan.expressions import Expression, compile_expression
from headgate.plan.facts import Session, Stream
from headgate.plan.frontends import Plan
from headgate.plan.logformat import Use, compile_format
from headgate.plan.places import Place
from headgate.plan.scope import Scope, Surroundings
from headgate.wire.http1.heads import parse_request_head, parse_response_head

CONFIG = """
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend web
    bind 127.0.0.1:8080
    default_backend app
backend app
    server srv1 127.0.0.1:9001 maxconn 10
    server srv2 127.0.0.1:9002
userlist people
    user ann insecure-password secret
    user bob insecure-password hidden groups staff
    group staff
"""


@dataclass
class Server:
    name: str
    sessions: int = 1
    queued: int = 2
    up: bool = True

    def usable(self) -> bool:
        return self.up


@dataclass
class Side:
    name: str
    sessions: int = 3
    queued: int = 4
    servers: dict[str, Server] = field(default_factory=dict)

    def usable(self) -> int:
        return sum(server.up for server in self.servers.values())

    def server(self, name: str) -> Server | None:
        return self.servers.get(name)


@dataclass
class World:
    sessions: int = 5
    process_variables: dict[bytes, object] = field(default_factory=dict)
    backends: dict[str, Side] = field(default_factory=dict)
    frontends: dict[str, Side] = field(default_factory=dict)
    time: float = 1233922454.655

    def now(self) -> float:
        return self.time


@pytest.fixture
def read_config(tmp_path: Path) -> Callable[[str], Config]:
    """Text -> a configuration without errors."""

    def read(text: str) -> Config:
        path = tmp_path / "test.cfg"
        path.write_text(text)
        report = Report()
        config = load([str(path)], {}, BuildFacts(), report)
        assert config is not None, "\n".join(map(render, report.items))
        return config

    return read


@pytest.fixture
def surroundings() -> Surroundings:
    from datetime import UTC

    return Surroundings(
        hostname="lb1",
        environment={"SITE": "north"},
        process_id=lambda: 4242,
        draw=lambda top: top - 1,
        draw_bytes=lambda count: bytes(range(count)),
        timezone=UTC,
        uptime=lambda: 77,
    )


@pytest.fixture
def make_plan(read_config: Callable[[str], Config], surroundings: Surroundings) -> Callable[..., Plan]:
    """Text -> a plan; errors fail the test unless a report is passed in."""

    def make(text: str, report: Report | None = None) -> Plan:
        given = report if report is not None else Report()
        plan = compile_plan(read_config(text), given, surroundings)
        if report is None:
            assert not given.alerts, "\n".join(map(render, given.items))
        return plan

    return make


@pytest.fixture
def config(read_config: Callable[[str], Config]) -> Config:
    return read_config(CONFIG)


@pytest.fixture
def scope_at(config: Config, surroundings: Surroundings) -> Callable[..., Scope]:
    """A scope of the frontend in a place; `files` are what read_file finds."""

    def make(
        place: Place = Place.FE_HTTP_REQUEST, files: Mapping[str, bytes] | None = None, report: Report | None = None
    ) -> Scope:
        contents = dict(files or {})
        return Scope(config, report or Report(), surroundings, config.proxies[0], place, {}, contents)

    return make


def word(text: str) -> Word:
    return Word(text, Location("test.cfg", 7, 5, len(text), "    " + text))


@pytest.fixture
def expression(scope_at: Callable[..., Scope]) -> Callable[..., Expression]:
    """Text -> a compiled expression."""

    def make(text: str, place: Place = Place.FE_HTTP_REQUEST, files: Mapping[str, bytes] | None = None) -> Expression:
        return compile_expression(parse_expression(word(text)), scope_at(place, files))

    return make


@pytest.fixture
def formatted(scope_at: Callable[..., Scope]) -> Callable[..., bytes]:
    """A format's text and a stream -> what it writes."""

    def make(text: str, stream: Stream, use: Use = Use.LOG, place: Place = Place.LOG) -> bytes:
        return compile_format(parse_logformat(word(text), merge_spaces=use is Use.LOG), scope_at(place), use)(stream)

    return make


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    return make_plan(CONFIG)


@pytest.fixture
def make_stream(plan: Plan) -> Callable[..., Stream]:
    """A stream of a client at 10.0.1.2, with heads from raw text."""

    def make(request: bytes | None = None, response: bytes | None = None, of: Plan | None = None, **facts: Any) -> Stream:
        used = of or plan
        world = World()
        for frontend in used.frontends:
            world.frontends[frontend.name] = Side(frontend.name)
        for name, backend in used.backends.items():
            servers = {server.spec.name: Server(server.spec.name) for server in backend.servers}
            world.backends[name] = Side(name, servers=servers)
        session = Session(world, used.frontends[0])  # type: ignore[arg-type]
        session.source, session.source_port = b"10.0.1.2", 33317
        session.destination, session.destination_port = b"10.0.3.31", 8012
        session.accepted_at = 1233922454.655
        session.listener_name, session.listener_id, session.streams = "http-in", 1, 1
        stream = Stream(session)
        stream.started_at = 1233922454.655
        if request is not None:
            stream.request = parse_request_head(request)
            stream.original_method, stream.original_target = stream.request.method, stream.request.target
            stream.original_version = stream.request.version
        if response is not None:
            stream.response = parse_response_head(response)
        for name, value in facts.items():
            setattr(stream, name, value)
        return stream

    return make
