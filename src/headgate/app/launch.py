"""One generation: the processes that serve one configuration, from opening its sockets to the end of the last of them.

With one worker that is this process; with more it becomes the launcher of a controller and its workers.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from headgate.app.prepare import Prepared, StartError
from headgate.app.process import App
from headgate.base.diagnostics import ConfigError, Diagnostic, Severity, config_error
from headgate.config.model import Config
from headgate.runtime.listening import OpenFailed, SocketFiles, address_keys, open_sockets
from headgate.runtime.logs.emitters import Logs, log_event
from headgate.runtime.process.identity import Identity, become, become_parent, settle
from headgate.runtime.process.launcher import Launcher
from headgate.runtime.process.limits import raise_descriptor_limit
from headgate.runtime.process.owned_directories import make_directory
from headgate.runtime.process.place import Heritage, Place, Role
from headgate.runtime.process.signals import NOT_FOR_CHILDREN
from headgate.runtime.reactor import READ
from headgate.runtime.workers.journal import Journal

if TYPE_CHECKING:
    from headgate.runtime.process.memory_directory import MemoryDirectory

_FAILED = 1
_WARNING_LEVEL = 4
_MOST_WORKERS = 64
#: Descriptors by which each process is woken and given connections; all of them have all of these.
_FOR_EACH = 3


class Messages(Protocol):
    """Shows messages to the operator; `cli.console.Console`."""

    @property
    def text(self) -> str:
        """What was shown so far."""

    def say(self, severity: Severity, text: str) -> None:
        """Show one message."""

    def show(self, items: Iterable[Diagnostic]) -> None:
        """Show what is to be said about a configuration."""


class Upwards:
    """What a generation tells those above it. This one has nobody above.

    Attributes:
        link: the socket to the master, None without one.
    """

    link: socket.socket | None = None

    def opened(self, sockets: Mapping[str, socket.socket]) -> None:
        """These listening sockets are in use from now on, and no others."""

    def processes(self, pids: list[int]) -> None:
        """These processes belong to the generation besides its first one."""

    def ready(self) -> None:
        """Every process serves."""


def worker_count(config: Config) -> int:
    """How many workers serve: `nbthread`, or one for each CPU that we may use."""
    return config.global_.nbthread or min(len(os.sched_getaffinity(0)), _MOST_WORKERS)


class Generation:
    """See the module.

    Args:
        prepared: the configuration.
        options: of the command line.
        identity: who serves.
        messages: shows what is to be said until the generation serves, and what happens to its processes.
        heritage: of the generation before.
        upwards: see there.
    """

    def __init__(
        self,
        prepared: Prepared,
        options: Any,
        identity: Identity,
        messages: Messages,
        heritage: Heritage,
        upwards: Upwards,
    ) -> None:
        self._prepared = prepared
        self._config = prepared.config
        self._options = options
        self._identity = identity
        self._messages = messages
        self._heritage = heritage
        self._upwards = upwards
        self._files = SocketFiles()
        self._journal: Journal | None = None

    def run(self) -> int:
        """Open the sockets, serve, and stay until all is over.

        Returns:
            The exit code.
        """
        for number in NOT_FOR_CHILDREN:
            signal.signal(number, signal.SIG_IGN)
        try:
            self._open()
            self._open_response_store()
            self._make_state_directory()
            workers = worker_count(self._config)
            return self._serve_alone() if workers == 1 else self._launch(workers)
        except (StartError, OpenFailed) as error:
            self._messages.show(error.diagnostics)
        except ConfigError as error:
            self._messages.show([error.diagnostic])
        return _FAILED

    def _open(self) -> None:
        heritage = self._heritage
        inherited = heritage.listeners
        reuse_port = not getattr(self._options, "no_reuse_port", False)
        sockets = open_sockets(self._config, inherited, reuse_port=reuse_port)
        for key, sock in inherited.items():
            if key not in sockets:
                sock.close()
        heritage.listeners = sockets
        heritage.lines = address_keys(self._config)
        self._upwards.opened(sockets)

    def _open_response_store(self) -> None:
        """Where OCSP responses are kept: made and opened while we may."""
        ocsp = self._prepared.ocsp
        if ocsp is None or not ocsp.keeps:
            return
        reason = ocsp.store.open(self._identity.uid, self._identity.gid)
        if reason is not None:
            text = f"OCSP responses are not kept on disk, a restart will have to fetch them again: '{ocsp.store.path}': {reason}"
            self._messages.say(Severity.WARNING, f"{text}. Name a directory with 'ocsp-update.directory'")

    def _make_state_directory(self) -> None:
        """Where installed certificates are kept: made while we may, for the user that will write there."""
        directory = self._config.global_.crt_state_dir
        if directory is not None:
            with contextlib.suppress(OSError):  # who opens it says why that fails
                make_directory(directory, 0o700, self._identity.uid, self._identity.gid)

    # --- one process ---

    def _serve_alone(self) -> int:
        place = Place(Role.SINGLE, 0, 1, self._heritage, ready=self._upwards.ready)
        self._describe_tables()
        app = App(self._prepared, self._options, place)
        app.bind_all()
        master = self._heritage.master
        if master is not None:
            app.reactor.watch(master.fileno(), READ, lambda events: self._lost_master_of(app))
        for warning in (*app.warnings, *become(self._identity)):
            self._messages.say(Severity.WARNING, warning)
        _settle_memory()
        if self._upwards.link is None:
            self._files.note(self._heritage.listeners)
        self._heritage.startup_logs = self._messages.text
        code = app.run()
        if not app.shared.stopping:
            self._files.remove()
        return code

    def _lost_master_of(self, app: App) -> None:
        master = self._heritage.master
        if master is not None:
            app.reactor.unwatch(master.fileno())
        log_event(app.logs.process, _WARNING_LEVEL, _lost_master(os.getpid()))

    # --- several processes ---

    def _launch(self, workers: int) -> int:
        connections = self._raise_limits(workers)
        if self._upwards.link is None:
            self._files.note(self._heritage.listeners)
        memory = self._share_tables()
        try:
            return self._launch_sharing(workers, connections)
        finally:
            if memory is not None:
                memory.remove()

    def _launch_sharing(self, workers: int, connections: int) -> int:
        logs = Logs(self._config, os.getpid())
        for warning in become_parent(self._identity):
            self._messages.say(Severity.WARNING, warning)

        def log(level: int, text: str) -> None:
            self._messages.say(Severity.ALERT if level < _WARNING_LEVEL else Severity.WARNING, text)
            log_event(logs.process, level, text)

        from headgate.app.joining import make_shared_state  # what several processes share is not loaded for one

        self._journal = Journal()
        cli = self._heritage.cli
        link = self._upwards.link
        shared = make_shared_state(self._config, workers, connections)
        launcher = Launcher(
            self._work,
            workers,
            self._heritage,
            shared,
            on_gone=shared.recover,
            log=log,
            on_ready=self._upwards.ready,
            on_children=self._upwards.processes,
            hard_stop_after=self._longest_stop(),
            not_for_children=() if link is None else (link,),
            not_for_workers=() if cli is None else (cli,),
        )
        if link is not None:

            def lost() -> None:
                launcher.unwatch(link)
                log(_WARNING_LEVEL, _lost_master(os.getpid()))

            launcher.watch(link, lost)
        _settle_memory()
        self._heritage.startup_logs = self._messages.text
        code = launcher.run()
        if launcher.stopped_by is not signal.SIGUSR1:
            # After a soft stop a successor may have taken the sockets over, files and all.
            self._files.remove()
        return code

    def _share_tables(self) -> MemoryDirectory | None:
        """Where the workers share stick tables and TLS sessions: without a master, the directory is made here."""
        prepared = self._prepared
        if not (prepared.plan.tables or prepared.server_contexts or prepared.check_contexts or prepared.bind_contexts):
            return None
        memory = None
        if self._heritage.tables is None:
            from headgate.runtime.process.memory_directory import SHARED_MEMORY, MemoryDirectory

            identity = self._identity
            memory = MemoryDirectory((identity.uid, identity.gid) if os.geteuid() == 0 else (None, None))
            if memory.path is None and prepared.plan.tables:
                raise config_error(f"stick tables of several workers need {SHARED_MEMORY}", None, remedy="write 'nbthread 1'")
            self._heritage.tables = memory.path
        self._describe_tables()
        return memory

    def _describe_tables(self) -> None:
        """Say what becomes of stick tables that are in shared memory."""
        tables, directory = self._prepared.plan.tables, self._heritage.tables
        if tables and directory is not None:
            from headgate.tables.opening import notices

            for notice in notices(tables, directory):
                self._messages.say(Severity.WARNING, notice)

    def _longest_stop(self) -> float | None:
        settings = self._config.global_
        return None if settings.hard_stop_after is None else settings.hard_stop_after + (settings.grace or 0.0)

    def _raise_limits(self, workers: int) -> int:
        """While we may: processes that are made later inherit the limit. Returns how many connections there may be."""
        settings = self._config.global_
        fixed = len(self._heritage.listeners) + _FOR_EACH * (workers + 1)
        return raise_descriptor_limit(settings.maxconn, fixed, settings.ulimit_n, settings.fd_hard_limit).maxconn

    def _work(self, place: Place) -> int:
        """Be the controller or a worker."""
        place.journal = self._journal
        try:
            app = App(self._prepared, self._options, place)
            app.bind_all()
            settle(self._identity)
        except StartError as error:
            self._messages.show(error.diagnostics)
            return _FAILED
        except ConfigError as error:
            self._messages.show([error.diagnostic])
            return _FAILED
        if place.role is Role.CONTROLLER:
            said = len(self._messages.text)
            for warning in app.warnings:
                self._messages.say(Severity.WARNING, warning)
            place.heritage.startup_logs += self._messages.text[said:]
        gc.enable()
        return app.run()


def _settle_memory() -> None:
    # What is there now stays: collections while serving look at what came later only, and forks share it.
    gc.freeze()
    gc.enable()


def _lost_master(pid: int) -> str:
    return (
        f"the master process is gone: this generation (pid {pid}) goes on serving, but nothing can reload it or replace it. "
        f"Start a new master with '-sf {pid}'"
    )
