"""The check runner: one task for each checked server, its timing, its health, and who is told of changes.

`app` builds it, gives it callbacks and starts it; `admin` reads `checked` and `availability`, and tells it of
administrative changes. It changes no server itself: that is the callbacks' work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address
from headgate.health import events, farm
from headgate.health.results import CheckResult
from headgate.health.state import Health, ServerStatus
from headgate.runtime.checks.connection import TlsClient
from headgate.runtime.checks.exchange import CheckPlan, plan_check, run_check, wants_tls

#: A server went up (True) or down: (backend, server, up, reason in the words of the log line).
OnChange = Callable[[BackendState, ServerState, bool, str], None]
#: A server began (True) or ceased to refuse new sessions (`http-check disable-on-404`).
OnStopping = Callable[[BackendState, ServerState, bool], None]
#: An event for the backend's log targets: (backend, syslog level, text).
LogEvent = Callable[[BackendState, int, str], None]

#: No check starts sooner after the last one, whatever the interval says.
_SHORTEST_INTERVAL = 0.001


class CheckedServer:
    """One server's checks.

    Attributes:
        backend, server: whose.
        plan: how it is checked.
        health: what came of it.
        enabled: `disable health` sets it to False; the server then counts as up.
        in_progress: a check is running now.
    """

    __slots__ = ("backend", "enabled", "health", "in_progress", "plan", "server", "wake")

    def __init__(self, backend: BackendState, server: ServerState, plan: CheckPlan, now: float) -> None:
        self.backend = backend
        self.server = server
        self.plan = plan
        self.health = Health(plan.timing.rise, plan.timing.fall, now)
        self.enabled = True
        self.in_progress = False
        self.wake = asyncio.Event()

    @property
    def paused(self) -> bool:
        """Whether no checks are made: maintenance, or disabled."""
        return not self.enabled or bool(self.server.admin & Admin.OUT)


def _nobody(*_: object) -> None:
    return None


def _configured_address(_: BackendState, server: ServerState) -> Address:
    return server.address


def _no_tls(backend: BackendState, server: ServerState) -> TlsClient:
    raise ValueError(f"server {backend.name}/{server.name} is checked over TLS but nothing makes TLS connections")


class CheckRunner:
    """Checks all servers that are to be checked.

    Args:
        backends: all live backends.
        on_change: told when a server goes up or down; must put it into effect.
        log_event: where event lines go.
        clock: monotonic seconds.
        random: numbers in [0, 1), for `spread-checks`.
        tls_client: what makes TLS connections to a server; asked once for each server checked over TLS.
        on_stopping: told of `disable-on-404` changes; must put them into effect.
        on_checked: told after every check, so that slowstart can follow the time.
        address_of: the address that a server has now.
        spread: `spread-checks`, percent, 0 to 50.

    Attributes:
        checked: every checked server.
        availability: of every backend, by name.
    """

    def __init__(
        self,
        backends: Iterable[BackendState],
        *,
        on_change: OnChange,
        log_event: LogEvent,
        clock: Callable[[], float],
        random: Callable[[], float],
        tls_client: Callable[[BackendState, ServerState], TlsClient] = _no_tls,
        on_stopping: OnStopping = _nobody,
        on_checked: Callable[[BackendState], None] = _nobody,
        address_of: Callable[[BackendState, ServerState], Address] = _configured_address,
        spread: int = 0,
    ) -> None:
        self._on_change = on_change
        self._on_stopping = on_stopping
        self._on_checked = on_checked
        self._log_event = log_event
        self._clock = clock
        self._random = random
        self._address_of = address_of
        self._spread = spread / 100.0
        self._tasks: dict[ServerState, asyncio.Task[None]] = {}
        self.checked: dict[ServerState, CheckedServer] = {}
        self.availability: dict[str, farm.Availability] = {}
        now = clock()
        self._tls_client = tls_client
        self._running = False
        for backend in backends:
            self.add_backend(backend)
            for server in backend.servers:
                self._include(backend, server, now)

    def _include(self, backend: BackendState, server: ServerState, now: float) -> CheckedServer | None:
        check = server.check
        if check is None:
            return None
        tls = self._tls_client(backend, server) if wants_tls(server.spec) else None
        checked = CheckedServer(backend, server, plan_check(backend.plan.spec, server.spec, check, tls), now)
        self.checked[server] = checked
        return checked

    # --- servers that come and go ------------------------------------------------------------------------------------

    def add_backend(self, backend: BackendState) -> None:
        """A backend was added."""
        present = farm.count(backend.servers)
        self.availability[backend.name] = farm.Availability(self._clock(), available=present.active + present.backup > 0)

    def remove_backend(self, backend: BackendState) -> None:
        """A backend without servers was removed."""
        self.availability.pop(backend.name, None)

    def add(self, backend: BackendState, server: ServerState) -> None:
        """A server was added. It is not checked before `enable health`."""
        checked = self._include(backend, server, self._clock())
        if checked is not None:
            checked.enabled = False
            if self._running:
                self._launch(checked, 0.0)

    def remove(self, server: ServerState) -> None:
        """A server was removed."""
        if self.checked.pop(server, None) is not None:
            task = self._tasks.pop(server, None)
            if task is not None:
                task.cancel()

    def retarget(self, server: ServerState) -> None:
        """A server's `check` has another address or port."""
        checked = self.checked.get(server)
        if checked is not None and server.check is not None:
            checked.plan = replace(checked.plan, timing=server.check)

    # --- running -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start checking, on the running loop. The first checks are spread over the shortest interval (5.2 inter)."""
        self._running = True
        if not self.checked:
            return
        step = min(each.plan.timing.inter for each in self.checked.values()) / len(self.checked)
        for index, each in enumerate(self.checked.values()):
            self._launch(each, index * step)

    def _launch(self, checked: CheckedServer, delay: float) -> None:
        name = f"check {checked.backend.name}/{checked.server.name}"
        self._tasks[checked.server] = asyncio.create_task(self._run(checked, delay), name=name)

    async def stop(self) -> None:
        """Stop checking; connections of running checks are closed in order."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        clients = [checked.plan.tls for checked in self.checked.values() if checked.plan.tls is not None]
        await asyncio.gather(*[client.settle() for client in clients])

    async def _run(self, checked: CheckedServer, delay: float) -> None:
        while True:
            await _wait(checked.wake, delay)
            if checked.paused:
                checked.wake.clear()
                await checked.wake.wait()
            checked.wake.clear()
            if checked.paused:
                delay = _SHORTEST_INTERVAL
                continue
            began = self._clock()
            await self._check_once(checked)
            spread = self._spread * (2.0 * self._random() - 1.0)
            interval = checked.health.next_interval(checked.plan.timing, spread)
            delay = max(_SHORTEST_INTERVAL, began + interval - self._clock())

    async def _check_once(self, checked: CheckedServer) -> None:
        checked.in_progress = True
        try:
            address = self._address_of(checked.backend, checked.server)
            result = await run_check(checked.plan, address, clock=self._clock)
            if not checked.paused:  # maintenance began meanwhile: what the check found means nothing
                self._finished(checked, result)
        except Exception as error:
            # Ours, not the server's: say it loudly, but go on checking.
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"health check of {checked.backend.name}/{checked.server.name} broke", "exception": error}
            )
        finally:
            checked.in_progress = False

    def _finished(self, checked: CheckedServer, result: CheckResult) -> None:
        health = checked.health
        before, level, status = health.status, health.level, health.result.status
        entered = health.count(result, self._clock())
        if checked.backend.plan.spec.check.log and (health.level != level or result.status is not status):
            server = checked.server
            line = events.check_changed(checked.backend.name, server.name, server.backup, result, health.describe())
            self._log_event(checked.backend, *line)
        if entered is not None:
            self._enter(checked, before, entered, result.reason)
        self._on_checked(checked.backend)

    # --- changes -----------------------------------------------------------------------------------------------------

    def _enter(self, checked: CheckedServer, before: ServerStatus, entered: ServerStatus, reason: str) -> None:
        """Put a transition into effect and tell of it."""
        backend, server = checked.backend, checked.server
        waiting = server.queued
        if entered is ServerStatus.DOWN:
            self._on_change(backend, server, False, reason)
        elif before is ServerStatus.DOWN:
            self._on_change(backend, server, True, reason)
        if ServerStatus.NOLB in (before, entered):
            self._on_stopping(backend, server, entered is ServerStatus.NOLB)
        moved = waiting if entered is ServerStatus.DOWN else 0
        now = farm.count(backend.servers, sessions=server.sessions, requeued=moved, queued=backend.queued)
        name, is_backup = server.name, server.backup
        if entered is ServerStatus.DOWN:
            stopping = before is ServerStatus.NOLB
            line = events.down(backend.name, name, is_backup, reason, now, was_stopping=stopping)
        elif entered is ServerStatus.UP:
            line = events.up(backend.name, name, is_backup, reason, now)
        else:
            line = events.stopping(backend.name, name, is_backup, reason, now)
        self._log_event(backend, *line)
        self.survey(backend, now)

    def survey(self, backend: BackendState, now: events.Farm | None = None) -> None:
        """Look whether `backend` still has servers, after any change of one; says so in the log when it has none."""
        present = now or farm.count(backend.servers)
        if self.availability[backend.name].survey(present, self._clock()):
            self._log_event(backend, *events.no_server(backend.name))

    def admin_changed(self, backend: BackendState, server: ServerState, before: Admin, reason: str = "") -> None:
        """The administrator, or its name, changed a server's state from `before` to what it has now. It is in effect already.

        A server that leaves maintenance counts as up until its next check, made at once, says otherwise (5.2 init-state).
        """
        waited = server.queued
        now = farm.count(backend.servers, sessions=server.sessions, requeued=waited, queued=backend.queued)
        name, is_backup = server.name, server.backup
        in_maintenance, was_in_maintenance = bool(server.admin & Admin.OUT), bool(before & Admin.OUT)
        line: tuple[int, str] | None = None
        if in_maintenance and not was_in_maintenance:
            line = events.maintenance(backend.name, name, is_backup, now, reason)
        elif was_in_maintenance and not in_maintenance:
            if before & Admin.UNRESOLVED:
                line = events.resolved(backend.name, name, is_backup, server.spec.address.host)
            else:
                line = events.ready(backend.name, name, is_backup, "forced maintenance", now)
            self._restart(server)
        elif server.admin & Admin.DRAIN and not before & Admin.DRAIN:
            line = events.drain(backend.name, name, is_backup, now)
        elif before & Admin.DRAIN and not server.admin & Admin.DRAIN:
            line = events.ready(backend.name, name, is_backup, "forced drain", now)
        if line is not None:
            self._log_event(backend, *line)
        self.survey(backend)

    def enable_health(self, server: ServerState, enabled: bool) -> bool:
        """`enable health`, `disable health`: whether the server is checked at all. Without checks it counts as up."""
        checked = self.checked.get(server)
        if checked is None:
            return False
        if checked.enabled is not enabled:
            checked.enabled = enabled
            self._restart(server)
        return True

    def force(self, server: ServerState, status: ServerStatus) -> bool:
        """`set server health`: put a server into a state until checks say otherwise; False when it is not checked."""
        checked = self.checked.get(server)
        if checked is None:
            return False
        before = checked.health.status
        entered = checked.health.force(status, self._clock())
        if entered is not None:
            self._enter(checked, before, entered, "changed from CLI")
        return True

    def _restart(self, server: ServerState) -> None:
        checked = self.checked.get(server)
        if checked is None:
            return
        before = checked.health.status
        if checked.health.restart(self._clock()) is not None:
            if before is ServerStatus.DOWN:
                self._on_change(checked.backend, server, True, "no longer checked" if not checked.enabled else "yet unchecked")
            else:
                self._on_stopping(checked.backend, server, False)
        checked.wake.set()


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    """Wait until `wake` is set or the time is over."""
    if seconds <= 0.0:
        return
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass
