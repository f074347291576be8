"""A small process for the runtime API: a frontend, two backends, three servers; what happens to it is recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location
from headgate.config.model import Global, Mode, Proxy, ProxyKind, Server, ServerCheck, StatsSocket
from headgate.health.farm import Availability
from headgate.health.state import Health, ServerStatus
from headgate.observe.counters import ProcessCounters
from headgate.observe.key_exchanges import CheckKeys
from headgate.plan.facts import Stream
from headgate.plan.frontends import BackendPlan, FrontendPlan, Plan, ServerPlan
from headgate.plan.references import References
from headgate.proxy.sides import Backend, Frontend
from headgate.proxy.tls_connections import TlsConnections
from headgate.tables.table import Table
from tests.admin.inside import Inside

HERE = Location("test.cfg", 1, 1)


class Clock:
    now = 1000.0
    wall = 1000.0


def _fill(kind: Any, **given: object) -> Any:
    return kind(**({field.name: None for field in dataclasses.fields(kind)} | given))


def _server(name: str, number: int, **more: Any) -> Server:
    return Server(name, Address(Family.INET, "127.0.0.1", 8000 + number, 8000 + number), HERE, number, **more)


class FakeChecked:
    def __init__(self) -> None:
        self.health = Health(2, 3, 1000.0)
        self.enabled = True
        self.in_progress = False


class FakeChecks:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.checked: dict[ServerState, FakeChecked] = {}
        self.agents: dict[ServerState, Any] = {}
        self.availability: dict[str, Availability] = {}

    def admin_changed(self, backend: BackendState, server: ServerState, before: Admin) -> None:
        self.process.happened.append(("admin", server.name, before, server.admin))

    def survey(self, backend: BackendState) -> None:
        self.process.happened.append(("survey", backend.name))

    def enable_health(self, server: ServerState, enabled: bool) -> bool:
        self.process.happened.append(("health", server.name, enabled))
        return server in self.checked

    def force(self, backend: BackendState, server: ServerState, status: ServerStatus) -> None:
        self.process.happened.append(("force", server.name, status))

    def enable_agent(self, server: ServerState, enabled: bool) -> bool:
        self.process.happened.append(("agent", server.name, enabled))
        return server in self.agents

    def force_agent(self, server: ServerState, up: bool) -> bool:
        self.process.happened.append(("force agent", server.name, up))
        return server in self.agents

    def retarget(self, server: ServerState) -> None:
        self.process.happened.append(("retarget", server.name))


class Process:
    """Implements `admin.context.Context`."""

    def __init__(self) -> None:
        self.happened: list[tuple[object, ...]] = []
        self.inspection = Inside(self.happened)
        self.global_ = Global(node="node1")
        self.counters = ProcessCounters()
        self.check_keys = CheckKeys()
        self.sessions = 3
        self.tls_connections = TlsConnections()
        self.maxconn = self.initial_maxconn = 2000
        self.started_at = 1000.0
        self.time = 1000.0 + 90061
        self.pid, self.threads, self.stopping = 4242, 1, False
        self.workers = {1: 4242}
        self.stats_sockets: tuple[StatsSocket, ...] = ()
        self.dropped_logs = 7
        self.descriptor_limit, self.memory_limit, self.host_name = 20000, 0, "host1"
        self.environment = {"HOME": "/root", "X": "1"}
        web = Proxy("web", ProxyKind.FRONTEND, 2, HERE, mode=Mode.HTTP)
        self.frontends = {"web": Frontend(_fill(FrontendPlan, spec=web, name="web"), None, None, 500)}  # type: ignore[arg-type]
        self.backends: Mapping[str, Backend] = {
            "app": self._backend(
                "app", 3, _server("s1", 1, check=ServerCheck(), weight=10, cookie="c1"), _server("b1", 2, backup=True)
            ),
            "other": self._backend("other", 4, _server("s1", 1, disabled=True)),
        }
        self.references = References()
        self.plan = Plan((), {}, references=self.references)
        self.tables: Sequence[Table] = ()
        self.ocsp: object = None
        self.checks = FakeChecks(self)
        self.checks.checked[self.backends["app"].state.servers[0]] = FakeChecked()
        self.checks.availability["app"] = Availability(1000.0)

    def _backend(self, name: str, number: int, *servers: Server) -> Backend:
        spec = Proxy(name, ProxyKind.BACKEND, number, HERE, servers=servers, mode=Mode.HTTP)
        plans = tuple(ServerPlan(server) for server in servers)
        plan = _fill(BackendPlan, spec=spec, name=name, servers=plans, error_replies={})
        return Backend(plan, BackendState(plan, lambda: 0.5), Clock())  # type: ignore[arg-type]

    def clock(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time + 1_700_000_000.0

    def taken_out(self, backend: Backend, server: ServerState) -> None:
        backend.pools[server.name].clear()

    def resume(self, backend: Backend, streams: Sequence[Stream]) -> None:
        assert not streams

    def set_global_maxconn(self, limit: int) -> None:
        self.maxconn = limit

    def set_frontend_maxconn(self, frontend: Frontend, limit: int) -> None:
        frontend.maxconn = limit

    def disable_frontend(self, frontend: Frontend) -> None:
        frontend.stopped = True

    def enable_frontend(self, frontend: Frontend) -> str | None:
        frontend.stopped = False
        return None

    def shut_frontend(self, frontend: Frontend) -> None:
        self.happened.append(("shut", frontend.name))

    def shutdown_sessions(self, backend: Backend, server: ServerState) -> None:
        self.happened.append(("shutdown", backend.name, server.name))


@pytest.fixture
def process() -> Process:
    return Process()
