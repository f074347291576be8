"""One process that serves: from opening sockets to the last session, in the role that its place gives it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headgate.admin.executor import LocalExecutor
from headgate.app.api import RuntimeApi
from headgate.app.asked_names import asked_sections
from headgate.app.doors import Doors
from headgate.app.live import Live
from headgate.app.makers import JointMakers, Makers
from headgate.app.prepare import Prepared
from headgate.app.repeating import Repeater
from headgate.app.sampler import Sampler
from headgate.app.server_states import restore_states
from headgate.app.variables import RepeatedVariables
from headgate.balance.backend import BackendState
from headgate.balance.server import ServerState
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.loop import run
from headgate.runtime.process.place import Place, Role, alone

if TYPE_CHECKING:
    from headgate.admin.context import Checks
    from headgate.admin.executor import Executor
    from headgate.app.certificate_watch import CertificateWatch
    from headgate.app.control import Control
    from headgate.app.controller import Controller
    from headgate.app.joining import Joining
    from headgate.app.ocsp import Ocsp
    from headgate.app.resolving import Resolving
    from headgate.app.reuse import ReuseWarnings
    from headgate.app.worker import Worker
    from headgate.runtime.checks.runner import CheckRunner
    from headgate.runtime.lookups import Lookups
    from headgate.tables.opening import Tables

_WARNING_LEVEL, _NOTICE_LEVEL, _ALERT_LEVEL = 4, 5, 1
#: How often a soft stop looks whether it is done, seconds.
_SOFT_STOP_POLL = 0.05
#: How often a process says that it is not stuck, seconds.
_HEARTBEAT = 0.5
_SECOND = 1.0
#: Places of unexpected errors that are counted one by one.
_MOST_BUGS = 100


def _makers(place: Place) -> Makers:
    """Of objects that are this process's own, or one over all that share their state."""
    if place.shared is not None:
        from headgate.app.joining import shared_state

        state = shared_state(place)
        if state is not None:
            return JointMakers(state.enter(place.index))
    return Makers()


class App:
    """One process that serves.

    Attributes:
        prepared, config: what it serves.
        options: of the command line (`cli.options.Options`).
        place: its role, and what it inherits.
        live: its objects; the most used of them are attributes here too.
        doors: its listening sockets.
        api: the runtime API, None in a worker.
        lookups: finds addresses for rules, None where no rule asks.
        controller, worker: the links to the others, in a process that has that role.
    """

    def __init__(self, prepared: Prepared, options: Any = None, place: Place | None = None) -> None:
        self.prepared = prepared
        self.options = options
        self.place = place or alone()
        self.config = prepared.config
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._exit_code = 0
        live = self.live = Live(prepared, options, self._watch_writable, _makers(self.place))
        self.reactor = live.reactor
        self.counters = live.counters
        self.world = live.world
        self.started_at = live.started_at
        self.logs = live.logs
        self.emitters = live.emitters
        self.endpoints = live.endpoints
        self.shared = live.shared
        self.backends = live.backends
        self.frontends = live.frontends
        self.warnings = live.warnings
        self.tables = live.open_tables(self.place.heritage.tables)
        live.share_sessions(self.place.heritage.tables)
        self.doors = Doors(live, self.place, options)
        #: unexpected errors, by place in the code
        self.bugs: Counter[str] = Counter()
        #: changes that were made before this process was there are being repeated
        self.catching_up = False
        self._dumping: asyncio.Future[None] | None = None
        self.checks: CheckRunner | None = None
        self.resolving: Resolving | None = None
        self.lookups: Lookups | None = None
        self.controller: Controller | None = None
        self.worker: Worker | None = None
        self.api: RuntimeApi | None = None
        self.ocsp = self._make_ocsp()
        self._take_role()
        live.report = self._observed
        if self.place.role is not Role.SINGLE:
            # Rules of traffic run in workers, those of checks in the controller.
            repeater = Repeater(self._ask, self._call_later)
            prepared.plan.references.changed_by_rule = repeater.tell
            self.world.process_variables = RepeatedVariables(self.world.process_variables, repeater.repeat)

    def _make_ocsp(self) -> Ocsp | None:
        """None without TLS."""
        state = self.prepared.ocsp
        if state is None:
            return None
        from headgate.app.ocsp import Ocsp

        return Ocsp(self, state)

    def _ask(self, command: str, answered: Callable[[str], None]) -> None:
        if self.shared.asker is not None:
            self.shared.asker.ask(command, answered)
        else:
            answered("")

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        if self._loop is not None:
            self._loop.call_later(seconds, call)

    def _take_role(self) -> None:
        """A single process does without what connects it with others."""
        if self.place.role is Role.WORKER:
            from headgate.app.worker import Worker

            self.shared.asker = self.worker = Worker(self)
            return
        executor: Executor = LocalExecutor()
        if self.place.role is Role.CONTROLLER:
            from headgate.app.cluster import ClusterExecutor
            from headgate.app.controller import Controller

            self.controller = Controller(self)
            executor = ClusterExecutor(self.controller)
        self.shared.asker = self.api = RuntimeApi(self, executor)

    @cached_property
    def control(self) -> Control:
        """What the runtime API may see and do of this process."""
        from headgate.app.control import Control

        return Control(self)

    def _watch_writable(self, fd: int, call: Callable[[], None]) -> None:
        """For log sinks whose descriptor is blocked: tell them once when it takes bytes again."""
        loop = self._loop
        if loop is None:
            return

        def writable() -> None:
            loop.remove_writer(fd)
            call()

        loop.add_writer(fd, writable)

    # --- opening ---

    def bind_all(self) -> None:
        """Open all listening sockets.

        Raises:
            StartError: with a diagnostic for each that can't be opened.
        """
        problems = self.doors.open_all()
        if self.api is not None:
            problems += self.api.open()
        if problems:
            self.doors.refuse(problems)
        if self.config.global_.crt_state_dir is not None and self.api is not None:
            self.control.tls  # noqa: B018  # opens it
        # Behind this, privileges are dropped and this program's files may be out of reach: load what serving needs.
        if self.ocsp is not None:
            self.ocsp.load()
        settings = self.config.global_
        leaves = bool(settings.chroot or settings.user or settings.uid or settings.group or settings.gid)
        if self.place.role is not Role.SINGLE or self._is_checking() or leaves:
            import headgate.app.checking
        if self._is_resolving():
            import headgate.app.resolving

            if self.prepared.name_server_contexts:
                import headgate.runtime.checks.tls_connection
        if asked_sections(self.config):
            import headgate.app.lookups
        if self.place.role is not Role.SINGLE or leaves:
            import headgate.admin.commands
            import headgate.app.control

            if self.prepared.storage is not None:
                import headgate.admin.tls
                import headgate.app.certificate_watch
                import headgate.app.tls_side  # noqa: F401

    def _is_checking(self) -> bool:
        """Whether a server is checked here, or a stats socket asks for the results."""
        if self.api is None:
            return False
        return self.api.is_open or any(
            server.check is not None or server.agent is not None for proxy in self.config.proxies for server in proxy.servers
        )

    def _is_resolving(self) -> bool:
        """Whether name servers are asked here, for servers or for rules."""
        if self.api is None:
            return False
        servers = any(server.resolution is not None for proxy in self.config.proxies for server in proxy.servers)
        return servers or bool(asked_sections(self.config))

    # --- serving ---

    def run(self) -> int:
        """Serve until stopped.

        Returns:
            The exit code: 0, or 128 and the signal that ended us.
        """
        run(self._serve(), self.reactor)
        return self._exit_code

    async def _serve(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self.reactor.on_bug = self.bug
        if self.api is not None and self.tables is not None:
            self.tables.discard_others()
        self.reactor.turn_ends.append(self.logs.flush)
        self._heed_signals(loop)
        if self.place.alive is not None:
            self._beat(self.place.alive)
        for sibling in (self.controller, self.worker):
            if sibling is not None:
                await sibling.start()
        for warning in restore_states(self):
            if self.api is not None:
                log_event(self.logs.process, _WARNING_LEVEL, warning)
        watch = self._watch_certificates()
        await self._begin_background()
        joining = self._join()
        if self.tables is not None:
            self._settle_tables(self.tables)
        self.doors.start()
        sampler = Sampler(self.live, loop) if self.place.role is not Role.CONTROLLER else None
        warnings = self._warn_of_full_handshakes(loop)
        if self.api is not None:
            await self.api.start()
        self._log_of_frontends(_NOTICE_LEVEL, "Proxy {} started.")
        if self.place.ready is not None:
            with contextlib.suppress(OSError):  # the launcher is gone: we serve without it
                self.place.ready()
        try:
            await self._done.wait()
        finally:
            for running in (self.checks, self.lookups, self.resolving, self.ocsp):
                if running is not None:
                    await running.stop()
            if self.api is not None:
                await self.api.stop(unlink=self.doors.owns_files and not self.shared.stopping)
            if watch is not None:
                watch.stop()
            if sampler is not None:
                sampler.stop()
            if warnings is not None:
                warnings.stop()
            self.doors.shut()
            if joining is not None:
                joining.stop()
            for sibling in (self.controller, self.worker):
                if sibling is not None:
                    sibling.stop()
            if self.tables is not None:
                self.tables.close()
            self.live.close()

    def _warn_of_full_handshakes(self, loop: asyncio.AbstractEventLoop) -> ReuseWarnings | None:
        """By the process that speaks for all, where servers are connected to over TLS."""
        if self.api is None or not (self.prepared.server_contexts or self.prepared.check_contexts):
            return None
        from headgate.app.reuse import ReuseWarnings

        return ReuseWarnings(self.live, loop, self.place.workers)

    def _watch_certificates(self) -> CertificateWatch | None:
        interval, storage = self.config.global_.crt_watch, self.prepared.storage
        if interval is None or storage is None or self.api is None:
            return None
        from headgate.app.certificate_watch import CertificateWatch

        watch = CertificateWatch(self, storage, interval, self.prepared.state.began_to_load)
        watch.start()
        return watch

    async def _begin_background(self) -> None:
        """Checks, name resolution, OCSP: what goes on beside the traffic."""
        if self._is_checking():
            self.checker().start()
        if self._is_resolving():
            from headgate.app.resolving import Resolving

            self.resolving = Resolving(self)
            self.resolving.start()
        if asked_sections(self.config):
            from headgate.app.lookups import lookups_of

            self.lookups = self.shared.lookups = lookups_of(self)
        if self.ocsp is not None:
            await self.ocsp.start()

    def _heed_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number, action in (
            (signal.SIGTERM, self.stop),
            (signal.SIGINT, self.stop),
            (signal.SIGUSR1, self.soft_stop),
            (signal.SIGHUP, self.dump_states),
        ):
            loop.add_signal_handler(number, action)

    def _join(self) -> Joining | None:
        if self.place.shared is None:
            return None
        from headgate.app.joining import Joining, shared_state

        state = shared_state(self.place)
        if state is None:
            return None
        joining = Joining(self, state)
        joining.start()
        return joining

    def _settle_tables(self, tables: Tables) -> None:
        """Once a second: what stick tables put off while a request may be over at once."""
        tables.settle()
        if self._loop is not None:
            self._loop.call_later(_SECOND, self._settle_tables, tables)

    def _beat(self, alive: Callable[[], None]) -> None:
        """Tell the launcher, as long as the loop turns, that we don't hang."""
        alive()
        if self._loop is not None:
            self._loop.call_later(_HEARTBEAT, self._beat, alive)

    def bug(self, error: Exception) -> None:
        """Something of ours broke: said loudly, with all that a report needs; the other connections go on."""
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr)
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        counted = f"{where} {place.name}(): {type(error).__name__}"
        if counted in self.bugs or len(self.bugs) < _MOST_BUGS:
            self.bugs[counted] += 1
        what = f"BUG: {type(error).__name__} in {where}; please report it with the trace on stderr"
        log_event(self.logs.process, _ALERT_LEVEL, what)

    def _log_of_frontends(self, level: int, text: str) -> None:
        """One line for each frontend, by the process that speaks for all."""
        for name in self.frontends:
            self.log_of_frontend(name, level, text.format(name))

    def log_of_frontend(self, name: str, level: int, text: str) -> None:
        """One line with the loggers of a frontend, by the process that speaks for all."""
        if self.api is not None:
            log_event(self.emitters[name], level, text)

    # --- checks ---

    def checker(self) -> CheckRunner:
        """The check runner of this process; built at first use, for what is asked where nothing is checked."""
        if self.checks is None:
            from headgate.app.checking import build_checks

            self.checks = build_checks(self.live, self._server_told, self._ask, self._look_up)
        return self.checks

    def _look_up(self, backend: BackendState, server: ServerState) -> None:
        if self.resolving is not None:
            self.resolving.hasten(backend.name, server.name)

    def checks_seen(self) -> Checks:
        """The checks as commands see them."""
        if self.api is not None:
            return self.checker()
        from headgate.app.checking import ChecksElsewhere

        return ChecksElsewhere()

    def _observed(self, backend: BackendState, server: ServerState, what: str) -> None:
        """The traffic to a server had too many errors in a row: who checks it is told."""
        if self.worker is not None:
            self.worker.observed(backend, server, what)
        else:
            self.checker().observed(server, what)

    def _server_told(self, backend: BackendState, server: ServerState, reason: str) -> None:
        """Checks or the administrator changed what a server may do."""
        if self.controller is not None:
            self.controller.server_told(backend, server)

    # --- stopping ---

    def stop(self) -> None:
        """SIGTERM, SIGINT: stop now."""
        if self._done is not None:
            self._done.set()

    def soft_stop(self) -> None:
        """SIGUSR1: accept no more, finish what is under way, then stop."""
        loop = self._loop
        if self.prepared.state.is_stopping or loop is None:
            return
        self.prepared.state.is_stopping = True
        grace = self.config.global_.grace or 0.0
        self._log_of_frontends(_WARNING_LEVEL, f"Stopping frontend {{}} in {int(grace * 1000)} ms.")
        if grace:
            loop.call_later(grace, self._leave, loop)
        else:
            self._leave(loop)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """The grace period of a soft stop is over (manual 3.1, "grace")."""
        self.shared.stopping = True
        self.shared.stopping_since = self.reactor.now
        self.shared.close_spread = self.config.global_.close_spread_time or 0.0
        for side in self.frontends.values():
            side.stopped = True
        self.doors.soft_stop()
        if self.api is not None:
            self.api.soft_stop()
        if self.ocsp is not None:
            self.ocsp.soft_stop()
        for session in list(self.shared.live):
            session.soft_stop()
        hard = self.config.global_.hard_stop_after
        deadline = loop.time() + hard if hard else None

        def look() -> None:
            if not self.shared.live or (deadline is not None and loop.time() >= deadline):
                self.stop()
            else:
                loop.call_later(_SOFT_STOP_POLL, look)

        if self.place.role is not Role.CONTROLLER:  # which stays as long as there are workers: the launcher ends it
            look()

    def dump_states(self) -> None:
        """SIGHUP: the state of every proxy and server to the log (management manual, 4), by the process that speaks for all."""
        if self.controller is None:
            if self.worker is None:
                self._dump_states()
        elif self._dumping is None or self._dumping.done():
            self._dumping = asyncio.ensure_future(self._collect_and_dump(self.controller))

    async def _collect_and_dump(self, controller: Controller) -> None:
        await controller.collect()
        self._dump_states()

    def _dump_states(self) -> None:
        for name, backend in self.backends.items():
            emitter = self.emitters[name]
            for server in backend.state.servers:
                load = f"Conn: {server.sessions} act, {server.queued} pend."
                log_event(emitter, _NOTICE_LEVEL, f"SIGHUP: Server {name}/{server.name} is {server.state}. {load}")
        for name, side in self.frontends.items():
            state = "stopped" if side.stopped else "up"
            log_event(self.emitters[name], _NOTICE_LEVEL, f"SIGHUP: Proxy {name} is {state}. Conn: {side.sessions} act.")
