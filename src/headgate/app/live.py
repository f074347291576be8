"""The live objects of one process: clock, counters, logs, frontends, backends, and what changes of a server mean for them.

Every process of a generation has all of them. The controller's carry no traffic: they are what the runtime API acts on, and what
the sums over all workers are collected into.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from headgate.app.asked_names import descriptors_needed
from headgate.app.fullconn import set_default_fullconn
from headgate.app.makers import Makers
from headgate.app.prepare import Prepared, StartError
from headgate.app.web import services_of
from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Family
from headgate.base.diagnostics import ConfigError
from headgate.base.termination import Outcome
from headgate.config.model import Proxy, Server
from headgate.observe.counters import ProcessCounters
from headgate.observe.key_exchanges import CheckKeys
from headgate.plan.facts import Session, Stream, Value
from headgate.plan.tables import StickTableFacts
from headgate.proxy.handshakes import write_due
from headgate.proxy.services import Waiter
from headgate.proxy.sides import Backend, Frontend, Shared
from headgate.runtime.connector import TCP_USER_TIMEOUT, Endpoint, ServerConnector, TlsOpener
from headgate.runtime.listener import NO_LINGER
from headgate.runtime.logs.emitters import LogEmitter, Logs
from headgate.runtime.process.limits import raise_descriptor_limit
from headgate.runtime.reactor import Reactor
from headgate.runtime.splice import KernelSplicer

if TYPE_CHECKING:
    from headgate.runtime.tls_tuning import TlsTuning
    from headgate.tables.opening import Tables
    from headgate.tls.client_context import ServerContext
    from headgate.tls.client_sessions import ClientSessions
    from headgate.tls.shared_sessions import SharedSessions


class World:
    """Everything live; implements `plan.facts.World`."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.process_variables: dict[bytes, Value] = {}
        self.backends: dict[str, BackendState] = {}
        self.frontends: dict[str, Frontend] = {}
        self.shared: Shared | None = None
        self.tables: Sequence[StickTableFacts] = ()

    @property
    def sessions(self) -> int:
        """Client connections of the whole process."""
        return self.shared.sessions if self.shared is not None else 0

    def now(self) -> float:
        """Wall clock of this turn."""
        return self._reactor.wall


#: A server had too many errors in a row.
Report = Callable[[BackendState, ServerState, str], None]


def _nobody(backend: BackendState, server: ServerState, what: str) -> None:
    """Nobody is to be told yet."""


class Live:
    """The live objects.

    Args:
        prepared: what is served.
        options: of the command line (`cli.options.Options`).
        watch_writable: see `runtime.logs.sinks.DescriptorSink`.
        makers: of what may be shared with other processes.

    Attributes:
        frontends, backends: by name.
        emitters: of the logs of each proxy, by name.
        endpoints: where and how each server is connected to.
        warnings: for the operator.
        report: told of servers with too many errors in a row (5.2 observe): (backend, server, what).
        quiet: what happens to servers was logged when it happened first: it is being replayed.

    Raises:
        StartError: a log target can't be opened.
    """

    def __init__(
        self,
        prepared: Prepared,
        options: Any,
        watch_writable: Callable[[int, Callable[[], None]], None],
        makers: Makers | None = None,
    ) -> None:
        self.prepared = prepared
        self.makers = makers or Makers()
        self.config = prepared.config
        self.reactor = Reactor()
        self._tls_tuning: TlsTuning | None = None
        self.counters = ProcessCounters()
        self.world = World(self.reactor)
        self.started_at = self.reactor.now
        self.quiet = False
        self.report: Report = _nobody
        self.logs = self._open_logs(watch_writable)
        self.endpoints: dict[ServerState, Endpoint] = {}
        self.emitters: dict[str, LogEmitter] = {}
        settings = self.config.global_
        budget = raise_descriptor_limit(settings.maxconn, self._descriptor_needs(), settings.ulimit_n, settings.fd_hard_limit)
        self.warnings = [budget.warning] if budget.warning else []
        connector = ServerConnector(self.reactor, self.endpoints)
        self.shared = self.makers.shared(
            self.reactor,
            connector,
            self.world,
            self.counters,
            maxconn=budget.maxconn,
            bufsize=settings.bufsize,
            maxrewrite=settings.maxrewrite,
            max_fields=settings.max_headers,
        )
        self.world.shared = self.shared
        gates = self.shared.gates
        gates.connections.limit = settings.maxconnrate
        gates.sessions.limit = settings.maxsessrate
        gates.tls.limit = settings.maxsslrate
        self.shared.tls.limit = settings.maxsslconn
        if not settings.nosplice and not getattr(options, "no_splice", False):
            self.shared.splice = KernelSplicer(self.reactor)
        self.backends: dict[str, Backend] = {}
        self.frontends: dict[str, Frontend] = {}
        self._build_backends()
        self._build_frontends()
        set_default_fullconn(self.frontends.values(), self.backends)
        self.shared.services = services_of(self.config, self.shared)
        self.sessions: SharedSessions | None = None
        self.client_sessions: ClientSessions | None = None
        self.check_keys = CheckKeys()

    def _open_logs(self, watch_writable: Callable[[int, Callable[[], None]], None]) -> Logs:
        try:
            return Logs(self.config, os.getpid(), watch_writable)
        except ConfigError as error:
            raise StartError([error.diagnostic]) from None

    def _descriptor_needs(self) -> int:
        proxies = self.config.proxies
        listening = sum(len(bind.address.ports) for proxy in proxies for bind in proxy.binds)
        checked = sum(1 for proxy in proxies for server in proxy.servers if server.check is not None)
        return listening + checked + len(self.config.global_.stats_sockets) + descriptors_needed(self.config)

    # --- building ---

    def _build_backends(self) -> None:
        for name, plan in self.prepared.plan.backends.items():
            state = self.makers.backend(plan)
            for server in state.servers:
                self.endpoints[server] = self.make_endpoint(plan.spec, server)
                self.watch(state, server)
            self.world.backends[name] = state
            self.backends[name] = Backend(plan, state, self.reactor)
            self.emitters.setdefault(name, self.logs.emitter(plan.spec))
        self.shared.backends = self.backends

    def make_endpoint(self, proxy: Proxy, server: ServerState) -> Endpoint:
        """Where and how to connect to a server, as configured."""
        spec: Server = server.spec
        family, host = self.prepared.addresses[id(spec)]
        if host is None and spec.resolution is not None:
            server.admin |= Admin.UNRESOLVED
        elif host is None:
            server.up = False
        elif spec.address.family is Family.NAME:
            numeric = Family.INET6 if family == socket.AF_INET6 else Family.INET
            server.address = replace(spec.address, family=numeric, host=host)
        options: list[tuple[int, int, int | bytes]] = []
        if spec.tcp_ut is not None:
            options.append((socket.IPPROTO_TCP, TCP_USER_TIMEOUT, int(spec.tcp_ut * 1000)))
        if proxy.options.srvtcpka:
            options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        if proxy.options.nolinger:
            options.append((socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER))
        return Endpoint(
            family,
            host,
            spec.address,
            tls=self.dialler(proxy.name, server),
            send_proxy=spec.send_proxy,
            source=spec.source or proxy.source,
            options=tuple(options),
            socks4=spec.socks4,
        )

    def watch(self, backend: BackendState, server: ServerState) -> None:
        """Have the traffic of a server watched, where its line says `observe` (5.2)."""
        check = server.spec.check
        if check is None or check.observe is None:
            return
        from headgate.health.observation import Observation

        server.observer = Observation(
            server, check.error_limit, lambda what: self.report(backend, server, what), layer7=check.observe == "layer7"
        )

    def _build_frontends(self) -> None:
        for plan in self.prepared.plan.frontends:
            emitter = self.logs.emitter(plan.spec)
            self.emitters[plan.name] = emitter
            maxconn = plan.spec.maxconn or self.shared.maxconn
            side = self.makers.frontend(plan, self.shared, None if emitter.silent else emitter, maxconn)
            self.frontends[plan.name] = side
        self.world.frontends = self.frontends
        for side in self.frontends.values():
            # set-var in the global section: any stream will do, it can only use what needs no connection (3.1 set-var)
            scratch = Stream(Session(self.world, side.plan))
            for name, value in self.prepared.plan.process_variables:
                self.world.process_variables[name] = value(scratch)
            break

    def dialler(self, backend: str, server: ServerState) -> TlsOpener | None:
        """What makes TLS connections to a server; None where no TLS options are known for it."""
        context = self.prepared.server_contexts.get(id(server.spec))
        if context is None:
            return None
        from headgate.app.server_handshakes import ServerHandshakes
        from headgate.runtime.early_server_channel import EarlyDialler
        from headgate.runtime.tls_openers import Dialler

        kind = Dialler if context.early_data is None else EarlyDialler
        told = ServerHandshakes(self, backend, server)
        return kind(context, server.counters, told.failed, self.tls_tuning(), self.shared.tls, told.refused)

    def tls_tuning(self) -> TlsTuning:
        """What the global section says about all TLS connections."""
        if self._tls_tuning is None:
            from headgate.runtime.tls_tuning import tls_tuning  # OpenSSL is loaded only where it is needed

            self._tls_tuning = tls_tuning(self.prepared.config.global_, self.reactor)
        return self._tls_tuning

    def open_tables(self, directory: str | None) -> Tables | None:
        """Open the stick tables, if there are some; see `tables.opening.open_tables`."""
        if not self.prepared.plan.tables:
            return None
        from headgate.tables.opening import open_tables

        try:
            tables = self.world.tables = open_tables(self.prepared.plan.tables, directory, self.reactor)
        except ConfigError as error:
            raise StartError([error.diagnostic]) from None
        return tables

    def share_sessions(self, directory: str | None) -> None:
        """Let all processes share their TLS sessions, in a directory of shared memory; None: each has its own.

        Those with servers, and those with clients that are in no ticket.
        """
        if directory is None:
            return
        try:
            self._share_with_servers(directory)
            self._share_with_clients(directory)
        except ConfigError as error:
            self.warnings.append(error.diagnostic.message)

    def _share_with_servers(self, directory: str) -> None:
        """Raises ConfigError."""
        contexts = self._tls_contexts()
        if not contexts:
            return
        from headgate.tls.shared_sessions import SharedSessions

        self.sessions = SharedSessions(directory)
        for context in contexts:
            context.sessions.shared = self.sessions

    def _share_with_clients(self, directory: str) -> None:
        """Raises ConfigError."""
        contexts = {context.tls: context for context in self.prepared.bind_contexts.values()}
        settings = self.config.global_
        if not contexts or not settings.tls_cache_size:
            return
        from headgate.tls.cached_sessions import CachedSessions, sessions_can_be_shared
        from headgate.tls.client_sessions import ClientSessions
        from headgate.tls.session_context import session_names

        if sessions_can_be_shared():
            cache = self.client_sessions = ClientSessions(directory, settings.tls_cache_size, settings.tls_lifetime)
            for tls, name in session_names(contexts).items():
                contexts[tls].share_sessions(CachedSessions(cache, name, tickets=tls.tickets))

    def _tls_contexts(self) -> list[ServerContext]:
        prepared = self.prepared
        return [*prepared.server_contexts.values(), *prepared.check_contexts.values()]

    # --- changes of servers ---

    def server_changed(self, backend: BackendState, server: ServerState, up: bool) -> None:
        """A server went up or down: its pool, its sessions and those who wait for it follow."""
        if not up:
            self.taken_out(backend, server)
        elif server.spec.on_marked_up == "shutdown-backup-sessions" and not server.backup:
            self.end_sessions([one for one in backend.servers if one.backup], Outcome.BACKUP_NOT_NEEDED)
        self.resume(backend.set_operational(server, up, time.time()))

    def taken_out(self, backend: BackendState, server: ServerState) -> None:
        """A server went down, or into maintenance: its idle connections go, and its streams where it is said so (5.2)."""
        self.backends[backend.name].pools[server.name].clear()
        if server.spec.on_marked_down == "shutdown-sessions":
            self.end_sessions([server], Outcome.SERVER_WENT_DOWN)

    def server_stopping(self, backend: BackendState, server: ServerState, stopping: bool) -> None:
        """A server refuses new sessions, or takes them again (`http-check disable-on-404`)."""
        self.resume(backend.set_stopping(server, stopping, time.time()))

    def warm_up(self, backend: BackendState) -> None:
        """Let servers in slowstart follow the time."""
        self.resume(backend.warm_up(time.time()))

    def end_sessions(self, servers: Iterable[ServerState], outcome: Outcome) -> None:
        """End all streams that these servers are serving."""
        ended = set(servers)
        for session in list(self.shared.live):
            session.end_stream_on(ended, outcome)

    def resume(self, streams: Iterable[Stream]) -> None:
        """Streams that a change took out of a queue: with a server they have its slot, without they ask again."""
        for stream in streams:
            waiter = cast(Waiter, stream)
            self.reactor.later(waiter.slot_granted if stream.server is not None else waiter.queue_flushed)

    # --- the end ---

    def close(self) -> None:
        """Close idle connections to servers, send what logs hold back, and let go of the event loop."""
        write_due(self.shared.handshakes)
        for backend in self.backends.values():
            for pool in backend.pools.values():
                pool.clear()
        if self.sessions is not None:
            for context in self._tls_contexts():
                context.sessions.hand_over(self.reactor.now)
                context.sessions.shared = None
            self.sessions.close()
        if self.client_sessions is not None:
            self.client_sessions.close()
        self.logs.flush()
        self.reactor.clear()
