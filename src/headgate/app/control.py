"""What the runtime API may see and do of the process: the implementation of `admin.context.Context`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headgate.admin.context import Checks
from headgate.balance.server import ServerState
from headgate.base.diagnostics import Bug, ConfigError
from headgate.base.termination import Outcome
from headgate.config.model import Global
from headgate.observe.counters import ProcessCounters
from headgate.plan.facts import Stream
from headgate.proxy.sides import Backend, Frontend

if TYPE_CHECKING:
    from headgate.app.process import App


class Control:
    """See `admin.context.Context`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.initial_maxconn = app.shared.maxconn

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
    def checks(self) -> Checks:
        if self._app.checks is None:
            raise Bug("the stats socket answers before the checks were built")
        return self._app.checks

    @property
    def counters(self) -> ProcessCounters:
        return self._app.counters

    @property
    def sessions(self) -> int:
        return self._app.shared.sessions

    @property
    def maxconn(self) -> int:
        return self._app.shared.maxconn

    @property
    def started_at(self) -> float:
        return self._app.started_at

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def threads(self) -> int:
        return 1

    @property
    def dropped_logs(self) -> int:
        return self._app.logs.dropped

    @property
    def stopping(self) -> bool:
        return self._app.shared.stopping

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    def clock(self) -> float:
        return self._app.reactor.now

    def wall(self) -> float:
        return self._app.reactor.wall

    def resume(self, backend: Backend, streams: Sequence[Stream]) -> None:
        self._app.resume(streams)

    def set_global_maxconn(self, limit: int) -> None:
        self._app.shared.maxconn = limit
        self._app.accept_again()

    def set_frontend_maxconn(self, frontend: Frontend, limit: int) -> None:
        frontend.maxconn = limit
        self._app.accept_again()

    def disable_frontend(self, frontend: Frontend) -> None:
        self._app.close_frontend(frontend)

    def enable_frontend(self, frontend: Frontend) -> str | None:
        try:
            self._app.open_frontend(frontend)
        except ConfigError as error:
            return error.diagnostic.message
        return None

    def shut_frontend(self, frontend: Frontend) -> None:
        frontend.stopped = True
        self._app.close_frontend(frontend)

    def shutdown_sessions(self, backend: Backend, server: ServerState) -> None:
        self._app.end_sessions([server], Outcome.KILLED_BY_ADMIN)
