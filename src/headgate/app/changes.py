"""Changes of servers and backends while running, put into effect on one process's live objects.

The commands of the runtime API decide and check; here, what belongs together is changed together: balancing state, connections,
pools, checks, TLS contexts. Every process of a generation does the same, in the same order.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from headgate.app.prepare import check_context
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError, Report, config_error
from headgate.config.model import Proxy, Server
from headgate.plan.additions import Additions
from headgate.plan.frontends import BackendPlan
from headgate.proxy.pool import Pool
from headgate.proxy.sides import Backend
from headgate.runtime.sockets import resolve_host

if TYPE_CHECKING:
    from headgate.app.names import ServerAddress
    from headgate.app.process import App
    from headgate.tls.client_context import ServerContext


class Changes:
    """Of one process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._live = app.live
        prepared = app.prepared
        # Filled at the start and read by id() of a server: what comes later belongs there too.
        self._addresses = cast("dict[int, ServerAddress]", prepared.addresses)
        self._contexts = cast("dict[int, ServerContext]", prepared.server_contexts)
        self._check_contexts = cast("dict[int, ServerContext]", prepared.check_contexts)
        self._plans = cast("dict[str, BackendPlan]", prepared.plan.backends)

    @property
    def _additions(self) -> Additions:
        additions = self._app.prepared.plan.additions
        if additions is None:
            raise config_error("nothing can be added to this configuration", None)
        return additions

    # --- servers -----------------------------------------------------------------------------------------------------

    def add_server(self, backend: Backend, server: Server, admin: Admin) -> ServerState:
        """Add a server to a backend.

        Raises:
            ConfigError: its expressions or certificates are wrong; nothing has changed then.
        """
        plan = self._additions.server(backend.spec, server)
        self._make_contexts(backend.spec, server)
        self._addresses[id(server)] = _resolved(server.address)
        state = backend.state.add_server(plan, admin, self._live.reactor.wall)
        self._live.endpoints[state] = self._live.make_endpoint(backend.spec, state)
        backend.pools[state.name] = Pool(state, self._live.reactor, backend.spec.source)
        self._live.watch(backend.state, state)
        checks = self._app.checks_seen()
        checks.add(backend.state, state)
        checks.survey(backend.state)
        return state

    def _make_contexts(self, proxy: Proxy, server: Server) -> None:
        """The TLS contexts of a server and of its checks, built on demand."""
        from headgate.runtime.checks.plans import needs_tls

        checked = needs_tls(proxy, server)
        if server.tls is None and not checked:
            return
        from headgate.tls.client_context import build_server_context
        from headgate.tls.session_store import ServerSessions

        report = Report()
        storage = self._app.prepared.storage
        sessions = ServerSessions(f"{proxy.name}/{server.name}")
        sessions.shared = self._live.sessions
        context = None if server.tls is None else build_server_context(server.tls, report, sessions, storage)
        checking = check_context(proxy.name, server, context, report, storage) if checked and server.check is not None else None
        if storage is not None:
            storage.reader.forget()
        if checking is not None:
            checking.sessions.shared = self._live.sessions
        if report.alerts:
            raise ConfigError(report.alerts[0])
        if context is not None:
            self._contexts[id(server)] = context
        if checking is not None:
            self._check_contexts[id(server)] = checking

    def remove_server(self, backend: Backend, server: ServerState) -> None:
        """Remove a server that is in maintenance and serves nobody; its idle connections are closed."""
        backend.pools.pop(server.name).clear()
        backend.state.remove_server(server)
        checks = self._app.checks_seen()
        checks.remove(server)
        checks.survey(backend.state)
        self._live.endpoints.pop(server, None)
        # The server's description lives as long as its state does: only then may its id() be another one's.
        for table in (self._addresses, self._contexts, self._check_contexts):
            table.pop(id(server.spec), None)

    def set_address(self, backend: Backend, server: ServerState, address: Address) -> None:
        """Connect to another address from now on; what is under way goes on, idle connections are closed."""
        endpoint = self._live.endpoints[server]
        had_none = endpoint.host is None
        endpoint.family, endpoint.host = _resolved(address)
        endpoint.port, endpoint.port_is_offset = address.port, address.port_is_offset
        wall = self._live.reactor.wall
        streams = backend.state.set_address(server, address, wall)
        backend.pools[server.name].readdress()
        self._live.resume(streams)
        if had_none and server.check is None:
            self._live.resume(backend.state.set_operational(server, True, wall))
        self._app.checks_seen().survey(backend.state)

    def resolve(
        self, backend: Backend, server: ServerState, host: str | None, port: int | None, weight: int | None, reason: str
    ) -> None:
        """What became of a server's name.

        Args:
            host: the address to connect to from now on; None: there is none, the server is out of service.
            port, weight: of an SRV record, None without one.
            reason: why there is no address.
        """
        admin = server.admin | Admin.UNRESOLVED
        if host is not None:
            admin = server.admin & ~Admin.UNRESOLVED
            family = Family.INET6 if ":" in host else Family.INET
            address = replace(server.address, family=family, host=host)
            if port is not None:
                address = replace(address, port=port, last_port=port, port_is_offset=False)
            if address != server.address or self._live.endpoints[server].host is None:
                self.set_address(backend, server, address)
            if weight is not None and weight != server.weight:
                self._live.resume(backend.state.set_weight(server, weight, self._live.reactor.wall))
        before = server.admin
        if admin is not before:
            streams = backend.state.set_admin(server, admin, self._live.reactor.wall)
            self._app.checks_seen().admin_changed(backend.state, server, before, reason)
            self._live.resume(streams)
            if host is None:
                self._live.taken_out(backend.state, server)

    def set_tls(self, backend: Backend, server: ServerState, enabled: bool) -> bool:
        """Connect over TLS or not; False when no TLS options are known for the server."""
        if id(server.spec) not in self._contexts:
            return False
        self._live.endpoints[server].tls = self._live.dialler(backend.name, server) if enabled else None
        server.tls = enabled
        backend.pools[server.name].clear()
        return True

    def rename(self, backend: Backend, server: ServerState, name: str) -> None:
        """Give a server another name."""
        backend.pools[name] = backend.pools.pop(server.name)
        backend.state.rename(server, name)

    # --- backends ----------------------------------------------------------------------------------------------------

    def add_backend(self, proxy: Proxy) -> Backend:
        """Add a backend without servers, which content switching does not know before it is published.

        Raises:
            ConfigError: its rules are wrong; nothing has changed then.
        """
        plan = self._additions.backend(proxy)
        state = self._live.makers.backend(plan)
        backend = Backend(plan, state, self._live.reactor)
        self._app.prepared.plan.unpublished.add(proxy.name)
        self._plans[proxy.name] = plan
        self._live.emitters[proxy.name] = self._live.logs.emitter(proxy)
        self._live.world.backends[proxy.name] = state
        self._live.backends[proxy.name] = backend
        self._app.checks_seen().add_backend(state)
        return backend

    def remove_backend(self, backend: Backend) -> None:
        """Remove a backend without servers and streams."""
        name = backend.name
        del self._plans[name], self._live.world.backends[name], self._live.backends[name]
        self._live.emitters.pop(name, None)
        self._app.prepared.plan.unpublished.discard(name)
        backend.state.close()
        self._app.checks_seen().remove_backend(backend.state)


def _resolved(address: Address) -> ServerAddress:
    """Where to connect; names are not looked up while running (`init-addr none`)."""
    if address.family is Family.NAME:
        return socket.AF_INET, None
    return resolve_host(address)


