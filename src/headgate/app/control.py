"""What the runtime API may see and do of the process: the implementation of `admin.context.Context`."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING

from headgate.admin.context import Certificate, Checks, Ocsp
from headgate.app.sampler import descriptor_limit, host_name
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address
from headgate.base.diagnostics import ConfigError
from headgate.base.termination import Outcome
from headgate.config.model import Config, Global, Proxy, Server, StatsSocket
from headgate.observe.counters import ProcessCounters
from headgate.observe.history import History
from headgate.observe.key_exchanges import CheckKeys
from headgate.plan.facts import Stream, Value, World
from headgate.plan.frontends import Plan
from headgate.plan.references import References
from headgate.proxy.sides import Backend, Frontend
from headgate.proxy.tls_connections import TlsConnections
from headgate.runtime.process.place import Role
from headgate.tables.table import Table

if TYPE_CHECKING:
    from headgate.app.changes import Changes
    from headgate.app.inspection import ProcessInspection
    from headgate.app.process import App
    from headgate.app.tls_side import ProcessTls

#: The level of syslog of what an operator did to a frontend.
_WARNING_LEVEL = 4
#: The counters of a name server that was never asked.
_NOTHING_ASKED: Mapping[str, int] = defaultdict(int)


class Control:
    """See `admin.context.Context`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.initial_maxconn = app.shared.maxconn

    @cached_property
    def inspection(self) -> ProcessInspection:
        """The inside of this process; made when somebody looks."""
        from headgate.app.inspection import ProcessInspection

        return ProcessInspection(self._app)

    @property
    def global_(self) -> Global:
        return self._app.config.global_

    @property
    def frontends(self) -> Mapping[str, Frontend]:
        return self._app.frontends

    @property
    def backends(self) -> Mapping[str, Backend]:
        return self._app.backends

    @property
    def tables(self) -> Sequence[Table]:
        reactor = self._app.reactor
        reactor.now = max(reactor.now, time.monotonic())  # their clock: of an idle loop it stands still
        return self._app.tables or ()

    @property
    def config(self) -> Config:
        return self._app.config

    @property
    def plan(self) -> Plan:
        return self._app.prepared.plan

    @property
    def variables(self) -> dict[bytes, Value]:
        return self._app.live.world.process_variables

    @property
    def world(self) -> World:
        return self._app.live.world

    @property
    def catching_up(self) -> bool:
        return self._app.catching_up

    @cached_property
    def _changes(self) -> Changes:
        from headgate.app.changes import Changes

        return Changes(self._app)

    @property
    def references(self) -> References:
        return self._app.prepared.plan.references

    @property
    def checks(self) -> Checks:
        return self._app.checks_seen()

    @property
    def counters(self) -> ProcessCounters:
        return self._app.counters

    @property
    def check_keys(self) -> CheckKeys:
        return self._app.live.check_keys

    @property
    def sessions(self) -> int:
        return self._app.shared.sessions

    @property
    def tls_connections(self) -> TlsConnections:
        return self._app.shared.tls

    @property
    def maxconn(self) -> int:
        return self._app.shared.maxconn

    @property
    def started_at(self) -> float:
        return self._app.started_at

    @property
    def pid(self) -> int:
        # Of the process that an operator would signal; what is asked of a worker is about that worker.
        return os.getpid() if self._app.place.role is Role.WORKER else self._app.place.leader or os.getpid()

    @property
    def threads(self) -> int:
        return self._app.place.workers

    @property
    def stats_sockets(self) -> Sequence[StatsSocket]:
        return self._app.config.global_.stats_sockets

    @property
    def workers(self) -> Mapping[int, int]:
        controller = self._app.controller
        return {1: os.getpid()} if controller is None else controller.workers

    @property
    def dropped_logs(self) -> int:
        controller = self._app.controller
        return self._app.logs.dropped + (0 if controller is None else controller.dropped_logs)

    @property
    def descriptor_limit(self) -> int:
        return descriptor_limit()

    @property
    def memory_limit(self) -> int:
        return (getattr(self._app.options, "memory_megabytes", None) or 0) << 20

    @property
    def host_name(self) -> str:
        return host_name()

    @property
    def stopping(self) -> bool:
        return self._app.shared.stopping

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def history(self) -> History:
        api = self._app.api
        return api.sampler.history if api is not None and api.sampler is not None else History()

    @property
    def resolvers(self) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
        resolving = self._app.resolving
        if resolving is None:  # nothing is resolved while running: nobody was asked
            sections = self._app.config.resolvers.values()
            return {one.name: {server.name: _NOTHING_ASKED for server in one.name_servers} for one in sections}
        return {
            name: {server: asdict(counters) for server, counters in resolver.counters.items()}
            for name, resolver in resolving.resolvers.items()
        }

    @cached_property
    def tls(self) -> ProcessTls | None:
        storage = self._app.prepared.storage
        if storage is None:
            return None
        from headgate.app.tls_side import ProcessTls

        return ProcessTls(self._app, storage)

    @cached_property
    def certificates(self) -> Sequence[Certificate]:
        from headgate.app.certificates import certificates_of

        return certificates_of(self._app.prepared)

    @property
    def ocsp(self) -> Ocsp | None:
        return self._app.ocsp

    def clock(self) -> float:
        return time.monotonic()  # of this moment: an idle event loop's clock stands still

    def wall(self) -> float:
        return time.time()

    def resume(self, backend: Backend, streams: Sequence[Stream]) -> None:
        self._app.live.resume(streams)

    def taken_out(self, backend: Backend, server: ServerState) -> None:
        self._app.live.taken_out(backend.state, server)

    def set_global_maxconn(self, limit: int) -> None:
        self._app.shared.maxconn = limit
        self._app.doors.accept_again()

    def set_frontend_maxconn(self, frontend: Frontend, limit: int) -> None:
        frontend.maxconn = limit
        self._app.doors.accept_again()

    def disable_frontend(self, frontend: Frontend) -> None:
        self._app.doors.close(frontend)
        self._app.log_of_frontend(frontend.name, _WARNING_LEVEL, f"Paused frontend {frontend.name}.")

    def enable_frontend(self, frontend: Frontend) -> str | None:
        try:
            self._app.doors.open(frontend)
        except ConfigError as error:
            return error.diagnostic.message
        self._app.log_of_frontend(frontend.name, _WARNING_LEVEL, f"Resumed frontend {frontend.name}.")
        return None

    def shut_frontend(self, frontend: Frontend) -> None:
        frontend.shut = True
        self._app.doors.close(frontend)

    def accept_again(self) -> None:
        self._app.doors.accept_again()

    def add_server(self, backend: Backend, server: Server, admin: Admin) -> ServerState:
        return self._changes.add_server(backend, server, admin)

    def remove_server(self, backend: Backend, server: ServerState) -> None:
        self._changes.remove_server(backend, server)

    def rename_server(self, backend: Backend, server: ServerState, name: str) -> None:
        self._changes.rename(backend, server, name)

    def set_server_address(self, backend: Backend, server: ServerState, address: Address) -> None:
        self._changes.set_address(backend, server, address)

    def resolve_server(
        self, backend: Backend, server: ServerState, host: str | None, port: int | None, weight: int | None, reason: str
    ) -> None:
        """See `app.changes.Changes.resolve`."""
        self._changes.resolve(backend, server, host, port, weight, reason)

    def set_server_tls(self, backend: Backend, server: ServerState, enabled: bool) -> bool:
        return self._changes.set_tls(backend, server, enabled)

    def add_backend(self, proxy: Proxy) -> Backend:
        return self._changes.add_backend(proxy)

    def remove_backend(self, backend: Backend) -> None:
        self._changes.remove_backend(backend)

    def shutdown_sessions(self, backend: Backend, server: ServerState) -> None:
        self._app.live.end_sessions([server], Outcome.KILLED_BY_ADMIN)
