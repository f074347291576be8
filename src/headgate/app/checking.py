"""Health checks of a process: the runner of the one that checks, and a stand-in where another process does."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from headgate.admin.context import Checked
from headgate.app.live import Live
from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.health.farm import Availability
from headgate.health.state import ServerStatus
from headgate.runtime.checks.connection import TlsClient
from headgate.runtime.checks.runner import CheckRunner
from headgate.runtime.logs.emitters import log_event

#: Told when a check or the administrator changed what a server may do: (backend, server, reason in the words of the log line).
Tell = Callable[[BackendState, ServerState, str], None]


def build_checks(live: Live, tell: Tell) -> CheckRunner:
    """The check runner of a process, not yet started.

    Args:
        live: whose servers are checked; they follow the results.
        tell: told behind each change.
    """

    def changed(backend: BackendState, server: ServerState, up: bool, reason: str) -> None:
        live.server_changed(backend, server, up)
        tell(backend, server, reason)

    def stopping(backend: BackendState, server: ServerState, stops: bool) -> None:
        live.server_stopping(backend, server, stops)
        tell(backend, server, "")

    def log(backend: BackendState, level: int, text: str) -> None:
        if not live.quiet:
            log_event(live.emitters[backend.name], level, text)

    def tls_client(backend: BackendState, server: ServerState) -> TlsClient:
        from headgate.runtime.checks.tls_connection import CheckDialler  # with OpenSSL: only where it is needed

        return CheckDialler(live.prepared.check_contexts[id(server.spec)], server.check_exchanges, live.check_keys)

    return CheckRunner(
        live.world.backends.values(),
        on_change=changed,
        log_event=log,
        clock=time.monotonic,
        random=random.random,
        tls_client=tls_client,
        on_stopping=stopping,
        on_checked=live.warm_up,
        spread=live.config.global_.spread_checks,
    )


class ChecksElsewhere:
    """Implements `admin.context.Checks` for workers: the controller checks, and what it finds arrives as a message."""

    checked: Mapping[ServerState, Checked] = {}
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

    def force(self, server: ServerState, status: ServerStatus) -> bool:
        """The controller tells of it."""
        return server.spec.check is not None
