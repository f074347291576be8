"""Health checks of a process: the runner of the one that checks, and a stand-in where another process does."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from headgate.admin.context import Checked, CheckedAgent
from headgate.app.live import Live
from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.config.mailers import EmailAlert, Mailer
from headgate.health.farm import Availability
from headgate.health.state import ServerStatus
from headgate.runtime.checks.checked import stream_maker
from headgate.runtime.checks.connection import TlsClient
from headgate.runtime.checks.runner import CheckRunner
from headgate.runtime.logs.emitters import log_event

if TYPE_CHECKING:
    from headgate.runtime.checks.mail import MailQueue, Mails

#: Told when a check or the administrator changed what a server may do: (backend, server, reason in the words of the log line).
Tell = Callable[[BackendState, ServerState, str], None]
#: Has a command of the runtime API run, in every process; told its answer.
Command = Callable[[str, Callable[[str], None]], None]
#: Has the name of a server resolved again, if it has one.
LookUp = Callable[[BackendState, ServerState], None]


class _Results:
    """What becomes of what the runner finds.

    Args:
        live, tell, command: see `build_checks`.
    """

    def __init__(self, live: Live, tell: Tell, command: Command) -> None:
        self._live = live
        self._tell = tell
        self._command = command
        self.mails = build_mails(live)

    def changed(self, backend: BackendState, server: ServerState, up: bool, reason: str) -> None:
        self._live.server_changed(backend, server, up)
        self._tell(backend, server, reason)

    def stopping(self, backend: BackendState, server: ServerState, stops: bool) -> None:
        self._live.server_stopping(backend, server, stops)
        self._tell(backend, server, "")

    def log(self, backend: BackendState, level: int, text: str) -> None:
        if not self._live.quiet:
            log_event(self._live.emitters[backend.name], level, text)

    def alert(self, backend: BackendState, level: int, text: str) -> None:
        if self.mails is not None and not self._live.quiet:
            self.mails.event(backend.plan.spec.email_alert, level, text)

    def wanted(self, runner: CheckRunner, backend: BackendState, server: ServerState, what: str) -> None:
        name = f"{backend.name}/{server.name}"
        number = what.removeprefix("maxconn ")
        words = f"set maxconn server {name} {number}" if number != what else f"set server {name} {what}"
        self._command(words, lambda answer: runner.agent_refused(server, answer) if answer else None)


def _tls_client(live: Live, backend: BackendState, server: ServerState) -> TlsClient:
    from headgate.app.server_handshakes import ServerHandshakes
    from headgate.runtime.checks.tls_connection import TlsDialler  # with OpenSSL: only where it is needed

    context = live.prepared.check_contexts[id(server.spec)]
    failures = ServerHandshakes(live, backend.name, server)
    return TlsDialler(context, server.check_exchanges, live.check_keys, live.shared.tls, failures.check_failed)


def build_checks(live: Live, tell: Tell, command: Command, look_up: LookUp) -> CheckRunner:
    """The check runner of a process, not yet started.

    Args:
        live: whose servers are checked; they follow the results.
        tell: told behind each change.
        command: for what agents want.
        look_up: told which servers do not answer.
    """
    settings, results = live.config.global_, _Results(live, tell, command)
    runner = CheckRunner(
        live.world.backends.values(),
        on_change=results.changed,
        log_event=results.log,
        clock=time.monotonic,
        random=random.random,
        make_stream=stream_maker(live.world),
        tls_client=partial(_tls_client, live),
        on_stopping=results.stopping,
        on_checked=live.warm_up,
        on_silence=look_up,
        on_agent=lambda *wish: results.wanted(runner, *wish),
        on_alert=results.alert,
        spread=settings.spread_checks,
        most_spread=settings.max_spread_checks,
        node=settings.node or socket.gethostname(),
        limit=settings.bufsize,
        preserve_environment=settings.external_check == "preserve-env",
    )
    if results.mails is not None:
        runner.on_stop = results.mails.stop
    return runner


def build_mails(live: Live) -> Mails | None:
    """What sends mails; None where no proxy wants any."""
    if all(proxy.email_alert is None for proxy in live.config.proxies):
        return None
    from headgate.runtime.checks.mail import MailQueue, Mails

    host_name = socket.gethostname()

    def queue(alert: EmailAlert, mailer: Mailer) -> MailQueue:
        return MailQueue(
            alert, mailer, host_name, log=partial(log_event, live.logs.process), clock=time.monotonic, wall=time.time,
        )

    return Mails(queue)


class ChecksElsewhere:
    """Implements `admin.context.Checks` for workers: the controller checks, and what it finds arrives as a message."""

    checked: Mapping[ServerState, Checked] = {}
    agents: Mapping[ServerState, CheckedAgent] = {}
    availability: Mapping[str, Availability] = {}

    def admin_changed(self, backend: BackendState, server: ServerState, before: Admin, reason: str = "") -> None:
        """The controller logs it."""

    def survey(self, backend: BackendState) -> None:
        """The controller logs it."""

    def add_backend(self, backend: BackendState) -> None:
        """The controller counts."""

    def remove_backend(self, backend: BackendState) -> None:
        """The controller counts."""

    def add(self, backend: BackendState, server: ServerState) -> None:
        """The controller checks it."""

    def remove(self, server: ServerState) -> None:
        """The controller checks it no more."""

    def retarget(self, server: ServerState) -> None:
        """The controller checks it there."""

    def enable_health(self, server: ServerState, enabled: bool) -> bool:
        """The controller begins or ceases to check."""
        return server.spec.check is not None

    def force(self, backend: BackendState, server: ServerState, status: ServerStatus) -> None:
        """The controller tells of it."""

    def enable_agent(self, server: ServerState, enabled: bool) -> bool:
        """The controller begins or ceases to ask."""
        return server.agent is not None

    def force_agent(self, server: ServerState, up: bool) -> bool:
        """The controller tells of it."""
        return server.agent is not None
