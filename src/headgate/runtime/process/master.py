"""Master-worker mode (`-W`, `-Ws`): the master keeps what outlives a reload and supervises generations.

It carries no traffic and runs no event loop but a selector. A generation is forked for the first configuration and for each
reload; it loads, binds and serves on its own, and says so over its link. Only then the one before it is told to finish. Whatever
goes wrong before that leaves the old one alone.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from headgate.base.diagnostics import Severity
from headgate.runtime.listening import SocketFiles
from headgate.runtime.process.daemon import exit_code_of
from headgate.runtime.process.generation import GenerationRecord, MasterLink
from headgate.runtime.process.place import Heritage
from headgate.runtime.process.signals import SignalQueue
from headgate.runtime.process.systemd import SystemdNotifier

#: How long a generation may take until it serves, seconds: names are resolved and certificates read in that time.
START_LIMIT = 300.0
#: How long the processes of a generation may take to leave at once until they are killed, seconds.
STOP_LIMIT = 15.0
#: Wait before a generation that crashed is replaced (`no-exit-on-failure`), seconds.
CRASH_WAIT = 1.0
_CHECK_EVERY = 1.0
_CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGCHLD)

#: Shows a message to the operator.
Say = Callable[[Severity, str], None]
#: Told the outcome of a reload: whether it succeeded, and what was said meanwhile.
Outcome = Callable[[bool, str], None]


class Generate(Protocol):
    """Makes and runs a generation, in a process of its own; answers its exit code."""

    def __call__(self, heritage: Heritage, link: MasterLink, number: int, before: str | None) -> int:
        """
        Args:
            heritage: what it inherits.
            link: to the master.
            number: 1 for the first one, which may use the configuration that is loaded already.
            before: path of the runtime API's socket of the generation that it replaces.
        """


class Cli(Protocol):
    """The master CLI; `runtime.process.master_cli.MasterCli`."""

    def start(self, master: Master) -> None:
        """Accept connections from now on."""

    def look(self, now: float) -> None:
        """Close what has been idle for too long."""

    def close(self, *, unlink: bool) -> None:
        """Close everything."""


class Master:
    """Supervises generations.

    Args:
        generate: see there.
        say: shows a message.
        notifier: tells systemd.
        on_first_ready: called once, when the first generation serves.
        cli: the master CLI, None without one.
        inherited: listening sockets of a process before this one.
        private: a directory for sockets that only the master may connect to.
        tables: directory of the shared tables.
        make_session_context: makes what keeps TLS tickets valid over reloads (see `Heritage.session_context`).
        speaks_tls: whether the first configuration needs it; later ones say so themselves.

    Attributes:
        records: all generations that have processes, oldest first.
        current: the one that serves.
        reloads, failed: how many reloads there were, and how many failed since the last that did not.
        started: monotonic seconds.
        startup_logs: what was said during the latest start or reload.
    """

    def __init__(
        self,
        generate: Generate,
        say: Say,
        notifier: SystemdNotifier,
        on_first_ready: Callable[[], None],
        *,
        cli: Cli | None = None,
        inherited: dict[str, socket.socket] | None = None,
        private: str,
        tables: str | None = None,
        make_session_context: Callable[[], object] | None = None,
        speaks_tls: bool = False,
    ) -> None:
        self._generate = generate
        self._say = say
        self._notifier = notifier
        self._on_first_ready = on_first_ready
        self._cli = cli
        self._tables = tables
        self._make_session_context = make_session_context
        self._session_context: object | None = None
        if speaks_tls:
            self._prepare_tls()
        self._listeners: dict[str, socket.socket] = dict(inherited or {})
        self._files = SocketFiles()
        self._private = private
        self._selector = selectors.PollSelector()
        self._numbered = 0
        self._starting: GenerationRecord | None = None
        self._next: tuple[bool, list[Outcome]] | None = None
        self._again_at = 0.0
        self._checked_at = 0.0
        self._kill_at = 0.0
        self._signals: SignalQueue | None = None
        self._stopped_by: signal.Signals | None = None
        self._code = 0
        self._has_served = False
        self.records: list[GenerationRecord] = []
        self.current: GenerationRecord | None = None
        self.reloads = 0
        self.failed = 0
        self.started = time.monotonic()
        self.startup_logs = ""

    @property
    def selector(self) -> selectors.BaseSelector:
        """For the master CLI: the data of what it registers is called with the events."""
        return self._selector

    def run(self) -> int:
        """Start the first generation and stay until all are gone.

        Returns:
            The exit code: 128 + signal where a signal ended us or the generation. It returns in the master only.
        """
        signals = self._signals = SignalQueue(_CAUGHT)
        self._selector.register(signals.fileno(), selectors.EVENT_READ, lambda _: self._take_signals(signals))
        with contextlib.suppress(OSError):
            from headgate.runtime.process.capabilities import adopt_orphans

            adopt_orphans()
        try:
            self._start(hard=False, outcomes=[])
            if self._cli is not None:
                self._cli.start(self)
            while self.records or self._again_at:
                self._turn()
        finally:
            if self._cli is not None:
                self._cli.close(unlink=True)
            signals.close()
            self._selector.close()
            if self._stopped_by is not signal.SIGUSR1:
                self._files.remove()
        self._say(Severity.WARNING, f"All workers exited. Exiting... ({self._code})")
        return self._code

    def _turn(self) -> None:
        for key, events in self._selector.select(_CHECK_EVERY):
            key.data(events)
        self._reap()
        now = time.monotonic()
        if self._again_at and now >= self._again_at:
            self._again_at = 0.0
            self.reload()
        starting = self._starting
        if starting is not None and now - starting.started > START_LIMIT:
            self._message(Severity.ALERT, f"the new generation does not serve after {START_LIMIT:g} s: it is ended")
            self._signal(starting, signal.SIGKILL)
        if self._kill_at and now >= self._kill_at:
            self._kill_at = now + STOP_LIMIT
            for record in self.records:
                self._signal(record, signal.SIGKILL)
        if now - self._checked_at >= _CHECK_EVERY:
            self._checked_at = now
            self._drop_finished()
            if self._cli is not None:
                self._cli.look(now)

    def _message(self, severity: Severity, text: str) -> None:
        """Show a message, and keep it with the start that is under way."""
        self._say(severity, text)
        if self._starting is not None:
            label = {Severity.ALERT: "[ALERT]   ", Severity.WARNING: "[WARNING] "}.get(severity, "[NOTICE]  ")
            self._starting.say(f"{label} ({os.getpid()}) : {text}\n")

    # --- signals ---

    def _take_signals(self, signals: SignalQueue) -> None:
        for number in signals.take():
            if number in (signal.SIGUSR2, signal.SIGHUP):
                self.reload()
            elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                self._stop(number)

    def _stop(self, number: signal.Signals) -> None:
        if self._stopped_by is None:
            self._notifier.stopping()
        self._stopped_by = number
        self._next = None
        self._again_at = 0.0
        if number is not signal.SIGUSR1:
            self._kill_at = time.monotonic() + STOP_LIMIT
        for record in self.records:
            record.is_leaving = True
            self._signal(record, signal.SIGUSR1 if number is signal.SIGUSR1 else signal.SIGTERM)
        self._close_listeners()

    def _close_listeners(self) -> None:
        for sock in self._listeners.values():
            sock.close()
        self._listeners = {}

    @staticmethod
    def _signal(record: GenerationRecord, number: signal.Signals) -> None:
        """Tell a generation: its first process, or what is left of it. All, where they are to be killed."""
        pids = [record.pid] if record.status is None and number is not signal.SIGKILL else record.alive()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # --- generations ---

    def reload(self, *, hard: bool = False, outcome: Outcome | None = None) -> None:
        """Replace the generation that serves by one with the configuration as it is now.

        Args:
            hard: end the old one at once in place of letting it finish.
            outcome: told how it went.
        """
        outcomes = [] if outcome is None else [outcome]
        if self._stopped_by is not None:
            for told in outcomes:
                told(False, "the master is stopping\n")
        elif self._starting is not None:
            # One is on its way: the configuration may have changed behind its back, so another follows.
            before, waiting = self._next or (False, [])
            self._next = (before or hard, [*waiting, *outcomes])
        else:
            self.reloads += 1
            self._notifier.reloading()
            self._start(hard=hard, outcomes=outcomes)

    def _start(self, *, hard: bool, outcomes: list[Outcome]) -> None:
        self._numbered += 1
        number = self._numbered
        path = f"{self._private}/cli-{number}"
        api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        api.bind(path)
        api.listen(16)
        api.setblocking(False)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        sys.stdout.flush()
        sys.stderr.flush()
        assert self._signals is not None
        try:
            pid = self._signals.fork()
        except OSError as error:
            for sock in (api, ours, theirs):
                sock.close()
            self._could_not_fork(error, outcomes)
            return
        if not pid:
            ours.close()
            self._become(number, theirs, api)
        api.close()
        theirs.close()
        record = GenerationRecord(number, pid, ours, path, time.monotonic(), is_hard=hard, on_end=outcomes)
        self._starting = record
        self.records.append(record)
        self._selector.register(ours, selectors.EVENT_READ, lambda _: self._told(record))
        if self.current is not None:
            self._message(Severity.NOTICE, f"New worker ({pid}) forked")

    def _could_not_fork(self, error: OSError, outcomes: list[Outcome]) -> None:
        text = f"cannot fork: {error.strerror}"
        self._say(Severity.ALERT, text)
        self.failed += 1
        self._notifier.reload_failed(os.getpid())
        for told in outcomes:
            told(False, f"{text}\n")

    def _become(self, number: int, link: socket.socket, api: socket.socket) -> None:
        """Be a generation; never returns."""
        code = 1
        try:
            self._selector.close()
            for record in self.records:
                record.link.close()
            if self._cli is not None:
                self._cli.close(unlink=False)
            before = self.current.cli if self.current is not None else None
            heritage = Heritage(
                dict(self._listeners),
                tables=self._tables,
                session_context=self._session_context,
                cli=api,
                reloads=self.reloads,
                master=link,
            )
            code = self._generate(heritage, MasterLink(link, self._listeners), number, before)
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            # Not sys.exit(): the master's frames lie below on this stack and must not run twice.
            os._exit(code)

    def _told(self, record: GenerationRecord) -> None:
        was_ready = record.is_ready
        if not record.read():
            self._selector.unregister(record.link)  # SIGCHLD follows
        if record.is_ready and not was_ready and record is self._starting:
            self._succeeded(record)

    def _succeeded(self, record: GenerationRecord) -> None:
        before = [one for one in self.records if one is not record]
        is_first, self._has_served = not self._has_served, True
        self.failed = 0
        if is_first:
            self._message(Severity.NOTICE, f"New worker ({record.pid}) forked")
        self._message(Severity.NOTICE, "Loading success.")
        self._starting = None
        self.current = record
        self._adopt_sockets(record)
        if record.speaks_tls:
            self._prepare_tls()
        for old in before:
            old.reloads += 1
            if record.is_hard or old.reloads > record.max_reloads:
                self._signal(old, signal.SIGTERM)
            elif not old.is_leaving:
                self._signal(old, signal.SIGUSR1)
            old.is_leaving = True
        self._concluded(record, True)
        self._notifier.ready(os.getpid())
        if is_first:
            self._on_first_ready()
        if self._stopped_by is not None:
            self._stop(self._stopped_by)

    def _prepare_tls(self) -> None:
        if self._session_context is None and self._make_session_context is not None:
            self._session_context = self._make_session_context()

    def _adopt_sockets(self, record: GenerationRecord) -> None:
        """Keep what the new generation uses, close what it doesn't: nobody waits in a backlog that is never read."""
        for key in record.dropped:
            sock = self._listeners.pop(key, None)
            if sock is not None:
                sock.close()
        for key, sock in record.opened.items():
            old = self._listeners.pop(key, None)
            if old is not None:
                old.close()
            self._listeners[key] = sock
        record.opened = {}
        self._files.note(self._listeners)

    def _concluded(self, record: GenerationRecord, success: bool) -> None:
        self.startup_logs = record.text
        for told in record.on_end:
            told(success, record.text)
        record.on_end = []
        if self._next is not None and self._stopped_by is None:
            hard, outcomes = self._next
            self._next = None
            self.reloads += 1
            self._notifier.reloading()
            self._start(hard=hard, outcomes=outcomes)

    # --- deaths ---

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            for record in list(self.records):
                if record.pid == pid:
                    record.read()
                    record.status = status
                    self._first_process_gone(record)
                elif pid in record.pids:
                    record.pids.remove(pid)
                    self._drop_finished()

    def _drop_finished(self) -> None:
        """Look after generations whose first process is gone."""
        for record in list(self.records):
            if record.status is None:
                continue
            alive = record.alive()
            if record.is_leaving and alive == [record.controller]:
                # Only the launcher would have told it that its workers are gone.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(record.controller, signal.SIGTERM)
            elif not alive:
                if record.is_leaving:
                    self._forget(record)
                else:
                    self._crashed(record, exit_code_of(record.status))

    def _forget(self, record: GenerationRecord) -> None:
        self.records.remove(record)
        if self.current is record:
            self.current = None
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(record.link)
        record.link.close()
        record.forget_sockets()
        with contextlib.suppress(OSError):
            os.unlink(record.cli)

    def _first_process_gone(self, record: GenerationRecord) -> None:
        assert record.status is not None
        code = exit_code_of(record.status)
        if record is self._starting:
            # Between "ready" and its end we may not have looked.
            if record.is_ready:
                self._succeeded(record)
            else:
                self._failed_to_start(record, code)
                return
        if record.is_leaving:
            self._left(record, code)
        elif record.alive():
            self._lost_launcher(record, code)
        else:
            self._crashed(record, code)

    def _failed_to_start(self, record: GenerationRecord, code: int) -> None:
        for pid in record.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        is_first = not self._has_served
        if is_first:
            self._message(Severity.ALERT, "Failed to load worker. Exiting.")
        elif self._stopped_by is None:
            self._message(Severity.WARNING, "Loading failure! The generation before goes on serving.")
        self._starting = None
        self._forget(record)
        if is_first:
            self._code = code or 1
            return
        self.failed += 1
        self._notifier.reload_failed(os.getpid())
        self._concluded(record, False)

    def _left(self, record: GenerationRecord, code: int) -> None:
        if self._stopped_by is None:
            self._say(Severity.WARNING, f"Former worker ({record.pid}) exited with code {code}")
        elif record is self.current:
            if not code and self._stopped_by is not signal.SIGUSR1:
                code = 128 + self._stopped_by
            self._code = code
            self._say(Severity.WARNING, f"Current worker ({record.pid}) exited with code {code}")
        if not record.alive():
            self._forget(record)
        else:
            for pid in record.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1 if self._stopped_by in (None, signal.SIGUSR1) else signal.SIGTERM)

    def _lost_launcher(self, record: GenerationRecord, code: int) -> None:
        self._say(
            Severity.ALERT,
            f"the launcher ({record.pid}) exited with code {code}, its processes go on serving: "
            "they are replaced by a new generation",
        )
        self.reload()

    def _crashed(self, record: GenerationRecord, code: int) -> None:
        self._say(Severity.ALERT, f"Current worker ({record.pid}) exited with code {code}")
        keeps = record.keeps_after_crash
        self._forget(record)
        if keeps:
            self._say(Severity.WARNING, f"no-exit-on-failure: a new generation follows in {CRASH_WAIT:g} s")
            self._again_at = time.monotonic() + CRASH_WAIT
            return
        self._code = code or 1
        self._say(Severity.ALERT, "exit-on-failure: killing every processes with SIGTERM")
        self._stopped_by = signal.SIGTERM
        self._notifier.stopping()
        self._kill_at = time.monotonic() + STOP_LIMIT
        for one in self.records:
            one.is_leaving = True
            self._signal(one, signal.SIGTERM)
        self._close_listeners()
