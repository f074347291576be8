"""What the runner knows of one checked server and of its agent. The runner drives it; `admin` reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.config.checks import CheckSpec
from headgate.config.model import AgentCheck, ServerCheck
from headgate.health import agent as agents
from headgate.health.programs import Script
from headgate.health.results import CheckResult
from headgate.health.state import Health
from headgate.plan.checks import CheckStream
from headgate.plan.facts import Session, World
from headgate.plan.frontends import FrontendPlan
from headgate.proxy.services import Reminder
from headgate.runtime.checks.exchange import Exchange
from headgate.runtime.checks.plans import CheckPlan

_READY: Final = Admin.READY  # asked twice a check: a member of an enumeration is found through a descriptor


def _nothing(*_: object) -> None:
    return None


class Checked:
    """Of a check or an agent; the reactor tells it when its next one is due.

    Attributes:
        backend, server: whose.
        health: what came of it.
        enabled: `disable health` (or `agent`) sets it to False; it then has no say.
        in_progress: one is running now.
        hurried: the next one is to begin as soon as this one is over.
        began: when the last one began, monotonic seconds.
        turn: called when one is due; `done` is told the result. Set by `turns`.
        exchange, external: the one that is under way.
        deadline, armed: the reactor's.
    """

    __slots__ = (
        "armed", "backend", "began", "deadline", "done", "enabled", "exchange", "external", "health", "hurried", "in_progress",
        "plan", "server", "turn",
    )  # fmt: skip

    def __init__(self, backend: BackendState, server: ServerState, plan: CheckPlan, health: Health) -> None:
        self.backend = backend
        self.server = server
        self.plan = plan
        self.health = health
        self.enabled = True
        self.in_progress = False
        self.hurried = False
        self.began = 0.0
        self.turn: Callable[[], None] = _nothing
        self.done: Callable[[CheckResult | Exception], None] = _nothing
        self.exchange: Exchange | None = None
        self.external: asyncio.Task[CheckResult] | None = None
        self.deadline = 0.0
        self.armed: Reminder | None = None

    def timed_out(self) -> None:
        """The reactor's call."""
        self.turn()

    @property
    def paused(self) -> bool:
        """Whether none are made."""
        return not self.enabled

    def give_up(self) -> None:
        """The one that is under way comes to nothing, and no more are made."""
        self.turn = self.done = _nothing
        if self.exchange is not None:
            self.exchange.abandon()
        if self.external is not None:
            self.external.cancel()
        self.let_go()

    def let_go(self) -> None:
        """No check comes soon: no connection is kept for one."""
        if self.plan.pool is not None:
            self.plan.pool.close()


class CheckedServer(Checked):
    """One server's checks. They pause in maintenance."""

    __slots__ = ()

    def __init__(self, backend: BackendState, server: ServerState, plan: CheckPlan, now: float) -> None:
        timing = plan.timing
        super().__init__(backend, server, plan, Health(timing.rise, timing.fall, now, server.spec.init_state))

    @property
    def paused(self) -> bool:
        """Whether no checks are made: maintenance, or disabled."""
        admin = self.server.admin
        return not self.enabled or (admin is not _READY and bool(admin & Admin.OUT))


class CheckedAgent(Checked):
    """One server's agent. It is asked in maintenance, too: it alone can take back what it said.

    Attributes:
        drained, maintained: the server's administrative state is the agent's doing.
    """

    __slots__ = ("drained", "maintained")

    def __init__(self, backend: BackendState, server: ServerState, plan: CheckPlan, now: float) -> None:
        super().__init__(backend, server, plan, Health(1, 1, now))
        self.drained = False
        self.maintained = False


def agent_timing(agent: AgentCheck) -> ServerCheck:
    """The agent's options as those of a check: one answer decides."""
    return ServerCheck(inter=agent.inter, rise=1, fall=1, address=agent.address, port=agent.port)


def agent_plan(backend: BackendState, server: ServerState, agent: AgentCheck) -> CheckPlan:
    """How an agent is asked: plain, and with `agent-inter` as the timeout where there is no `timeout check` (5.2 agent-inter)."""
    timeouts = backend.plan.spec.timeouts
    connect = agent.inter
    if timeouts.check is not None and timeouts.connect is not None:
        connect = min(connect, timeouts.connect)
    script = Script(CheckSpec(kind="agent"), agents.steps(agent.send))
    timing = agent_timing(agent)
    return CheckPlan(server.spec, timing, b"", b"", None, False, None, script, connect, timeouts.check, agents.LONGEST_LINE)


class _Nowhere:
    """The frontend of a check's stream: there is none, and formats that look for one find this."""

    unique_id = None

    def __init__(self, name: str, spec: object) -> None:
        self.name = name
        self.spec = spec


def stream_maker(world: World) -> Callable[[BackendState, ServerState], CheckStream]:
    """A maker of the streams that checks evaluate samples with."""

    def make(backend: BackendState, server: ServerState) -> CheckStream:
        nowhere = cast(FrontendPlan, _Nowhere(backend.name, backend.plan.spec))
        stream = CheckStream(Session(world, nowhere))
        stream.backend = backend.plan
        stream.server = server
        stream.started_at = stream.session.accepted_at = world.now()
        return stream

    return make


def state_header(backend: BackendState, server: ServerState, health: Health, node: str) -> bytes:
    """The value of X-Haproxy-Server-State (4.2 http-check send-state).

    Args:
        node: of the global section, else the machine's name.
    """
    status = health.status.value
    if health.level not in (0, health.full) and health.checked:
        going_down = health.level >= health.rise
        passed = health.level - health.rise + 1 if going_down else health.level
        status += f" {passed}/{health.fall if going_down else health.rise}"
    address = server.address
    local = "unix" if not address.port and address.host.startswith("/") else ""
    total = sum(each.effective for each in backend.selected)
    parts = [
        status, f"address={local or address.host}", f"port={local or address.port}", f"name={backend.name}/{server.name}",
        f"node={node}", f"weight={server.effective}/{total}", f"scur={server.sessions}/{backend.sessions}",
        f"qcur={server.queued}",
    ]
    return "; ".join(parts).encode("utf-8", "replace")
