"""One process that serves: live frontends and backends on one loop, from opening sockets to the last session."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from headgate.app.prepare import Prepared, StartError
from headgate.balance.backend import BackendState
from headgate.balance.server import ServerState
from headgate.base.diagnostics import ConfigError, Diagnostic
from headgate.base.termination import Outcome
from headgate.config.model import Bind, Proxy, Server
from headgate.observe.counters import ProcessCounters
from headgate.plan.facts import Session, Stream, Value
from headgate.proxy.services import Waiter
from headgate.proxy.sides import Backend, Frontend, Shared
from headgate.runtime.connector import TCP_USER_TIMEOUT, Endpoint, ServerConnector, TlsOpener
from headgate.runtime.listener import NO_LINGER, Listener, TlsAcceptor, resume_all
from headgate.runtime.logs.emitters import LogEmitter, Logs, log_event
from headgate.runtime.process.limits import raise_descriptor_limit
from headgate.runtime.process.place import Place, Role, alone
from headgate.runtime.reactor import Reactor
from headgate.runtime.sockets import DEFAULT_BACKLOG, open_listeners
from headgate.runtime.splice import KernelSplicer

if TYPE_CHECKING:
    from headgate.runtime.checks.connection import TlsClient
    from headgate.runtime.checks.runner import CheckRunner
    from headgate.runtime.stats_socket import StatsListener

_WARNING_LEVEL, _NOTICE_LEVEL, _ALERT_LEVEL = 4, 5, 1
#: Default of `hard-stop-after`: none. How often a soft stop looks whether it is done, seconds.
_SOFT_STOP_POLL = 0.05
#: How often a process says that it is not stuck, seconds.
_HEARTBEAT = 0.5


class World:
    """Everything live; implements `plan.facts.World`."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self.process_variables: dict[bytes, Value] = {}
        self.backends: dict[str, BackendState] = {}
        self.frontends: dict[str, Frontend] = {}
        self.shared: Shared | None = None

    @property
    def sessions(self) -> int:
        """Client connections of the whole process."""
        return self.shared.sessions if self.shared is not None else 0

    def now(self) -> float:
        """Wall clock of this turn."""
        return self._reactor.wall


class App:
    """One process that serves.

    Attributes:
        prepared: what it serves.
        options: of the command line (`cli.options.Options`).
        place: its role, and what it inherits.
        frontends, backends: live, by name.
    """

    def __init__(self, prepared: Prepared, options: Any = None, place: Place | None = None) -> None:
        self.prepared = prepared
        self.options = options
        self.place = place or alone()
        self.config = prepared.config
        self.reactor = Reactor()
        self.counters = ProcessCounters()
        self.world = World(self.reactor)
        self.started_at = self.reactor.now
        self.logs = self._open_logs()
        self.listeners: list[Listener] = []
        self.endpoints: dict[ServerState, Endpoint] = {}
        self.emitters: dict[str, LogEmitter] = {}
        self.checks: CheckRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._exit_code = 0
        settings = self.config.global_
        budget = raise_descriptor_limit(settings.maxconn, self._descriptor_needs(), settings.ulimit_n)
        self.warnings = [budget.warning] if budget.warning else []
        connector = ServerConnector(self.reactor, self.endpoints)
        self.shared = Shared(
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
        if not settings.nosplice and not getattr(options, "no_splice", False):
            self.shared.splice = KernelSplicer(self.reactor)
        self.shared.session_ended = self._session_ended
        self.backends: dict[str, Backend] = {}
        self.frontends: dict[str, Frontend] = {}
        self._build_backends()
        self._build_frontends()
        self._stats: list[tuple[StatsListener, list[socket.socket]]] = []

    def _open_logs(self) -> Logs:
        try:
            return Logs(self.config, os.getpid(), self._watch_writable)
        except ConfigError as error:
            raise StartError([error.diagnostic]) from None

    def _watch_writable(self, fd: int, call: Callable[[], None]) -> None:
        """For log sinks whose descriptor is blocked: tell them once when it takes bytes again."""
        loop = self._loop
        if loop is None:
            return

        def writable() -> None:
            loop.remove_writer(fd)
            call()

        loop.add_writer(fd, writable)

    def _descriptor_needs(self) -> int:
        proxies = self.config.proxies
        listening = sum(len(bind.address.ports) for proxy in proxies for bind in proxy.binds)
        checked = sum(1 for proxy in proxies for server in proxy.servers if server.check is not None)
        return listening + checked + len(self.config.global_.stats_sockets)

    # --- building ---

    def _build_backends(self) -> None:
        for name, plan in self.prepared.plan.backends.items():
            state = BackendState(plan, random.random)
            for server in state.servers:
                self.endpoints[server] = self._endpoint(plan.spec, server)
            self.world.backends[name] = state
            self.backends[name] = Backend(plan, state, self.reactor)
            self.emitters.setdefault(name, self.logs.emitter(plan.spec))
        self.shared.backends = self.backends

    def _endpoint(self, proxy: Proxy, server: ServerState) -> Endpoint:
        spec: Server = server.spec
        family, host = self.prepared.addresses[id(spec)]
        if host is None:
            server.up = False
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
            tls=self._dialler(spec),
            send_proxy=spec.send_proxy,
            source=spec.source or proxy.source,
            options=tuple(options),
        )

    def _build_frontends(self) -> None:
        for plan in self.prepared.plan.frontends:
            emitter = self.logs.emitter(plan.spec)
            self.emitters[plan.name] = emitter
            maxconn = plan.spec.maxconn or self.shared.maxconn
            side = Frontend(plan, self.shared, None if emitter.silent else emitter, maxconn)
            self.frontends[plan.name] = side
        self.world.frontends = self.frontends
        for side in self.frontends.values():
            # set-var in the global section: any stream will do, it can only use what needs no connection (3.1 set-var)
            scratch = Stream(Session(self.world, side.plan))
            for name, value in self.prepared.plan.process_variables:
                self.world.process_variables[name] = value(scratch)
            break

    # --- opening ---

    def bind_all(self) -> None:
        """Open all listening sockets.

        Raises:
            StartError: with a diagnostic for each that can't be opened.
        """
        problems: list[Diagnostic] = []
        for side in self.frontends.values() if self.place.role is not Role.CONTROLLER else ():
            for bind in side.plan.binds:
                try:
                    self._open_line(side, bind)
                except ConfigError as error:
                    problems.append(error.diagnostic)
        if self.config.global_.stats_sockets and self.place.role is not Role.WORKER:
            self._open_stats_sockets(problems)
        if problems:
            self._close_listeners()
            raise StartError(problems)
        # Behind this, privileges are dropped and this program's files may be out of reach: load what serving needs.
        import uvloop  # noqa: F401

        if self._is_checking():
            import headgate.runtime.checks.runner  # noqa: F401

    def _is_checking(self) -> bool:
        """Whether a server is checked, or a stats socket asks for the results."""
        return self.place.role is not Role.WORKER and self._has_checks()

    def _has_checks(self) -> bool:
        return bool(self._stats) or any(server.check is not None for proxy in self.config.proxies for server in proxy.servers)

    def _open_stats_sockets(self, problems: list[Diagnostic]) -> None:
        # Without a stats socket, nobody needs the runtime API: a twentieth of a small configuration's start.
        from headgate.admin.commands import all_commands
        from headgate.app.control import Control
        from headgate.runtime.stats_socket import StatsListener

        commands = all_commands()
        control = Control(self)
        for line in self.config.global_.stats_sockets:
            stats = StatsListener(
                line,
                commands,
                control,
                timeout=self.config.global_.stats_timeout,
                longest_line=self.config.global_.bufsize,
                most_connections=self.config.global_.stats_maxconn,
            )
            try:
                self._stats.append((stats, self.place.heritage.sockets_of(line) or stats.open()))
            except ConfigError as error:
                problems.append(error.diagnostic)

    def _open_line(self, side: Frontend, bind: Bind) -> list[Listener]:
        """Open the sockets of one bind line; raises ConfigError."""
        backlog = bind.backlog or side.spec.backlog or side.spec.maxconn or DEFAULT_BACKLOG
        reuse_port = not getattr(self.options, "no_reuse_port", False)
        tls = self._answerer(bind)
        sockets = self.place.heritage.sockets_of(bind) or open_listeners(bind, backlog, reuse_port=reuse_port)
        opened = [
            Listener(self.reactor, side, bind, sock, tls, (bind.id or 1) + index)
            for index, sock in enumerate(sockets)
        ]
        self.listeners.extend(opened)
        return opened

    def _answerer(self, bind: Bind) -> TlsAcceptor | None:
        context = self.prepared.bind_contexts.get(id(bind))
        if context is None:
            return None
        from headgate.runtime.tls_channel import Answerer

        return Answerer(context)

    def _dialler(self, server: Server) -> TlsOpener | None:
        context = self.prepared.server_contexts.get(id(server))
        if context is None:
            return None
        from headgate.runtime.tls_channel import Dialler

        return Dialler(context)

    def open_frontend(self, side: Frontend) -> None:
        """Listen (again) on all addresses of a frontend and accept.

        Raises:
            ConfigError: an address can't be bound; none is left open then.
        """
        try:
            opened = [self._open_line(side, bind) for bind in side.plan.binds]
        except ConfigError:
            self.close_frontend(side)
            raise
        for line in opened:
            for listener in line:
                listener.start()

    def close_frontend(self, side: Frontend) -> None:
        """Stop listening and release the ports of a frontend; its sessions go on."""
        for listener in [one for one in self.listeners if one.side is side]:
            listener.stop()
            self.listeners.remove(listener)

    def _close_listeners(self) -> None:
        for listener in self.listeners:
            listener.stop()
            if self._owns_files and not self.shared.stopping:
                listener.remove_file()

    @property
    def _owns_files(self) -> bool:
        """Whether nobody above us answers for the files of unix sockets."""
        return self.place.role is Role.SINGLE and self.place.heritage.master is None

    # --- serving ---

    def run(self) -> int:
        """Serve until stopped.

        Returns:
            The exit code: 0, or 128 and the signal that ended us.
        """
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())
        return self._exit_code

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self.reactor.attach(loop)
        self.reactor.on_bug = self._bug
        self.reactor.turn_ends.append(self.logs.flush)
        for number, action in (
            (signal.SIGTERM, self.stop),
            (signal.SIGINT, self.stop),
            (signal.SIGUSR1, self.soft_stop),
            (signal.SIGHUP, self.dump_states),
        ):
            loop.add_signal_handler(number, action)
        if self.place.alive is not None:
            self._beat(self.place.alive)
        self._start_checks()
        for listener in self.listeners:
            listener.start()
        for stats, sockets in self._stats:
            await stats.start(sockets)
        for side in self.frontends.values():
            log_event(self.emitters[side.name], _NOTICE_LEVEL, f"Proxy {side.name} started.")
        try:
            await self._done.wait()
        finally:
            if self.checks is not None:
                await self.checks.stop()
            for stats, _ in self._stats:
                await stats.stop(unlink=self._owns_files and not self.shared.stopping)
            self._close_listeners()
            for backend in self.backends.values():
                for pool in backend.pools.values():
                    pool.clear()
            self.logs.flush()
            self.reactor.close()

    def _beat(self, alive: Callable[[], None]) -> None:
        """Tell the launcher, as long as the loop turns, that we don't hang."""
        alive()
        if self._loop is not None:
            self._loop.call_later(_HEARTBEAT, self._beat, alive)

    def _bug(self, error: Exception) -> None:
        """Something of ours broke: said loudly, with all that a report needs; the other connections go on."""
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr)
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        what = f"BUG: {type(error).__name__} in {where}; please report it with the trace on stderr"
        log_event(self.logs.process, _ALERT_LEVEL, what)

    def _start_checks(self) -> None:
        if not self._is_checking():
            return
        from headgate.runtime.checks.runner import CheckRunner

        self.checks = CheckRunner(
            self.world.backends.values(),
            on_change=self._server_changed,
            log_event=lambda backend, level, text: log_event(self.emitters[backend.name], level, text),
            clock=time.monotonic,
            random=random.random,
            tls_client=self._check_client,
            on_stopping=lambda backend, server, stopping: self.resume(
                backend.set_stopping(server, stopping, time.time())
            ),
            on_checked=lambda backend: self.resume(backend.warm_up(time.time())),
            spread=self.config.global_.spread_checks,
        )
        self.checks.start()

    def _check_client(self, backend: BackendState, server: ServerState) -> TlsClient:
        return self.prepared.check_contexts[id(server.spec)]

    def _server_changed(self, backend: BackendState, server: ServerState, up: bool, reason: str) -> None:
        if not up:
            self.backends[backend.name].pools[server.name].clear()
            if server.spec.on_marked_down == "shutdown-sessions":
                self.end_sessions([server], Outcome.SERVER_WENT_DOWN)
        elif server.spec.on_marked_up == "shutdown-backup-sessions" and not server.backup:
            self.end_sessions([one for one in backend.servers if one.backup], Outcome.BACKUP_NOT_NEEDED)
        self.resume(backend.set_operational(server, up, time.time()))

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

    def accept_again(self) -> None:
        """A limit was raised or a session ended: paused listeners may accept."""
        resume_all(self.listeners)

    def _session_ended(self, side: Frontend) -> None:
        for listener in self.listeners:
            if listener.paused:
                resume_all(self.listeners)
                break

    # --- stopping ---

    def stop(self) -> None:
        """SIGTERM, SIGINT: stop now."""
        if self._done is not None:
            self._done.set()

    def soft_stop(self) -> None:
        """SIGUSR1: accept no more, finish what is under way, then stop."""
        loop = self._loop
        if self.shared.stopping or loop is None:
            return
        self.shared.stopping = True
        self.prepared.state.is_stopping = True
        for side in self.frontends.values():
            side.stopped = True
            log_event(self.emitters[side.name], _WARNING_LEVEL, f"Stopping frontend {side.name} in 0 ms.")
        for listener in self.listeners:
            listener.stop()
        for session in list(self.shared.live):
            session.soft_stop()
        hard = self.config.global_.hard_stop_after
        deadline = loop.time() + hard if hard else None

        def look() -> None:
            if self.shared.sessions == 0 or (deadline is not None and loop.time() >= deadline):
                self.stop()
            else:
                loop.call_later(_SOFT_STOP_POLL, look)

        look()

    def dump_states(self) -> None:
        """SIGHUP: the state of every proxy and server to the log (management manual, 4)."""
        for name, backend in self.backends.items():
            emitter = self.emitters[name]
            for server in backend.state.servers:
                load = f"Conn: {server.sessions} act, {server.queued} pend."
                log_event(emitter, _NOTICE_LEVEL, f"SIGHUP: Server {name}/{server.name} is {server.state}. {load}")
        for name, side in self.frontends.items():
            state = "stopped" if side.stopped else "up"
            log_event(self.emitters[name], _NOTICE_LEVEL, f"SIGHUP: Proxy {name} is {state}. Conn: {side.sessions} act.")
