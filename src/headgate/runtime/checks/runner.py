"""The check runner: what a check of each server and each agent is, what its result means, and who is told of changes.

`turns` says when. `app` builds it, gives it callbacks and starts it; `admin` reads `checked`, `agents` and `availability`, and
tells it of administrative changes. It changes no server itself: that is the callbacks' work. A server is up when both its check
and its agent say so; those that track it follow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState, relative_weight
from headgate.base.addresses import Address
from headgate.base.compiled import traceable
from headgate.health import agent as agents
from headgate.health import events, farm
from headgate.health.results import CheckResult, CheckStatus, Outcome, printable
from headgate.health.state import Health, ServerStatus
from headgate.health.tracking import Following, follow_line, inherited
from headgate.plan.checks import CheckStream
from headgate.runtime.checks.checked import Checked, CheckedAgent, CheckedServer, agent_plan, state_header
from headgate.runtime.checks.connection import TlsClient
from headgate.runtime.checks.exchange import Exchange
from headgate.runtime.checks.external import run_external
from headgate.runtime.checks.plans import needs_tls, plan_check
from headgate.runtime.checks.turns import Turns
from headgate.runtime.loop import reactor_of

#: A server went up (True) or down: (backend, server, up, reason in the words of the log line).
OnChange = Callable[[BackendState, ServerState, bool, str], None]
#: A server began (True) or ceased to refuse new sessions (`http-check disable-on-404`).
OnStopping = Callable[[BackendState, ServerState, bool], None]
#: An event for the backend's log targets: (backend, syslog level, text). Also for its mails.
LogEvent = Callable[[BackendState, int, str], None]
#: What an agent wants of a server: (backend, server, words of a command behind the server's name).
OnAgent = Callable[[BackendState, ServerState, str], None]
MakeStream = Callable[[BackendState, ServerState], CheckStream]


def _nobody(*_: object) -> None:
    return None


def _configured_address(_: BackendState, server: ServerState) -> Address:
    return server.address


def _no_tls(backend: BackendState, server: ServerState) -> TlsClient:
    raise ValueError(f"server {backend.name}/{server.name} is checked over TLS but nothing makes TLS connections")


class CheckRunner:
    """Checks all servers that are to be checked, and asks all agents.

    Args:
        backends: all live backends.
        on_change: told when a server goes up or down; must put it into effect.
        log_event: where event lines go.
        clock: monotonic seconds.
        random: numbers in [0, 1), for `spread-checks`.
        make_stream: makes what samples of check rules look at.
        tls_client: what makes TLS connections to a server; asked once for each server checked over TLS.
        on_stopping: told of `disable-on-404` changes; must put them into effect.
        on_checked: told after every check, so that slowstart can follow the time.
        on_silence: told when a server has not answered our connection in time: it may be somewhere else by now (5.3).
        on_agent: told what agents want of a server's administrative state, weight and maxconn.
        on_alert: events that are mailed (4.2 email-alert level).
        address_of: the address that a server has now.
        spread: `spread-checks`, percent, 0 to 50.
        most_spread: `max-spread-checks`, seconds.
        node: for `http-check send-state`.
        limit: `tune.bufsize`.
        preserve_environment: for external checks.

    Attributes:
        checked, agents: every checked server, every agent.
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
        make_stream: MakeStream,
        tls_client: Callable[[BackendState, ServerState], TlsClient] = _no_tls,
        on_stopping: OnStopping = _nobody,
        on_checked: Callable[[BackendState], None] = _nobody,
        on_silence: Callable[[BackendState, ServerState], None] = _nobody,
        on_agent: OnAgent = _nobody,
        on_alert: LogEvent = _nobody,
        address_of: Callable[[BackendState, ServerState], Address] = _configured_address,
        spread: int = 0,
        most_spread: float | None = None,
        node: str = "",
        limit: int = 16384,
        preserve_environment: bool = False,
    ) -> None:
        self._on_change = on_change
        self._on_stopping = on_stopping
        self._on_checked = on_checked
        self._on_silence = on_silence
        self._on_agent = on_agent
        self._on_alert = on_alert
        self._log_event = log_event
        self._clock = clock
        self._make_stream = make_stream
        self._address_of = address_of
        self._most_spread = most_spread
        self._node = node
        self._limit = limit
        self._inherited: Mapping[str, str] = os.environ if preserve_environment else {}
        self._turns = Turns(self._make, self._done, clock=clock, random=random, spread=spread / 100.0)
        self.checked: dict[ServerState, CheckedServer] = {}
        self.agents: dict[ServerState, CheckedAgent] = {}
        self.availability: dict[str, farm.Availability] = {}
        self._tls_client = tls_client
        #: called when checking ends
        self.on_stop: Callable[[], None] = _nobody
        self._by_name: dict[tuple[str, str], tuple[BackendState, ServerState]] = {}
        #: those that track a server, by its name: who is tracked can't be renamed
        self._trackers: dict[tuple[str, str], list[tuple[BackendState, ServerState]]] = {}
        #: what the administrator said of the health of those that nothing checks
        self._forced: dict[ServerState, Health] = {}
        self._followings: dict[ServerState, Admin] = {}  # what those that track others had of them last
        now = clock()
        for backend in backends:
            self.add_backend(backend)
            for server in backend.servers:
                self._include(backend, server, now)

    def _include(self, backend: BackendState, server: ServerState, now: float) -> list[Checked]:
        made: list[Checked] = []
        self._by_name[backend.name, server.name] = backend, server
        if server.spec.track is not None:
            self._trackers.setdefault(server.spec.track, []).append((backend, server))
        check, agent = server.check, server.agent
        if check is not None:
            proxy = backend.plan.spec
            tls = self._tls_client(backend, server) if needs_tls(proxy, server.spec) else None
            program = server.plan.check if server.spec.check_spec is not None else backend.plan.check
            plan = plan_check(proxy, server.spec, check, tls, program, self._limit)
            self.checked[server] = CheckedServer(backend, server, plan, now)
            made.append(self.checked[server])
        if agent is not None:
            self.agents[server] = CheckedAgent(backend, server, agent_plan(backend, server, agent), now)
            made.append(self.agents[server])
        return made

    # --- servers that come and go ------------------------------------------------------------------------------------

    def add_backend(self, backend: BackendState) -> None:
        """A backend was added."""
        present = farm.count(backend.servers)
        self.availability[backend.name] = farm.Availability(self._clock(), available=present.active + present.backup > 0)

    def remove_backend(self, backend: BackendState) -> None:
        """A backend without servers was removed."""
        self.availability.pop(backend.name, None)

    def add(self, backend: BackendState, server: ServerState) -> None:
        """A server was added. It is not checked before `enable health`, nor its agent asked before `enable agent`."""
        for checked in self._include(backend, server, self._clock()):
            checked.enabled = False
            self._turns.add(checked)
        if server.spec.track is not None:
            self._follow(backend, server)

    def remove(self, server: ServerState) -> None:
        """A server was removed."""
        gone: tuple[Checked | None, ...] = self.checked.pop(server, None), self.agents.pop(server, None)
        for checked in gone:
            if checked is not None:
                self._turns.remove(checked)
        self._forced.pop(server, None)
        for name, (_, known) in list(self._by_name.items()):
            if known is server:
                del self._by_name[name]
        for name, tracking in list(self._trackers.items()):
            self._trackers[name] = [(backend, other) for backend, other in tracking if other is not server]

    def retarget(self, server: ServerState) -> None:
        """A server's `check` or `agent` has another address or port, or the agent is sent something else."""
        checked, agent = self.checked.get(server), self.agents.get(server)
        if checked is not None and server.check is not None:
            checked.plan = replace(checked.plan, timing=server.check)
        if agent is not None and server.agent is not None:
            agent.plan = agent_plan(agent.backend, server, server.agent)

    # --- running -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start checking, on the running loop. The first checks are spread over the shortest interval (5.2 inter)."""
        for backend, server in list(self._by_name.values()):
            if server.spec.track is not None:
                self._follow(backend, server)
        everything: list[Checked] = [*self.checked.values(), *self.agents.values()]
        span = min((each.plan.timing.inter for each in everything), default=0.0)
        if self._most_spread is not None:
            span = min(span, self._most_spread)
        self._turns.start(everything, span)

    async def stop(self) -> None:
        """Stop checking; connections of running checks are closed in order."""
        self.on_stop()
        await self._turns.stop()
        clients = [checked.plan.tls for checked in self.checked.values() if checked.plan.tls is not None]
        await asyncio.gather(*[client.settle() for client in clients])

    def _make(self, checked: Checked) -> None:
        """Begin a check; `checked.done` is told what came of it."""
        backend, server, plan = checked.backend, checked.server, checked.plan
        spec = plan.script.spec
        if spec.kind == "external":
            proxy, seconds = backend.plan.spec, plan.connect_timeout
            program = run_external(proxy, server, seconds, inherited=self._inherited, clock=self._clock)
            checked.external = asyncio.get_running_loop().create_task(program)
            checked.external.add_done_callback(partial(_program_ended, checked))
            return
        stream = self._make_stream(backend, server)
        if spec.send_state:
            stream.state = state_header(backend, server, checked.health, self._node)
        # 4.2 http-check disable-on-404: "only evaluated for running servers"
        stream.disable_on_404 = spec.disable_on_404 and server.up
        address, reactor = self._address_of(backend, server), reactor_of(asyncio.get_running_loop())
        checked.exchange = Exchange(reactor, plan, address, stream=stream, clock=self._clock, done=checked.done)
        checked.exchange.begin()

    def _done(self, checked: Checked, result: CheckResult) -> None:
        if isinstance(checked, CheckedServer):
            self._finished(checked, result)
        elif isinstance(checked, CheckedAgent) and checked.exchange is not None:
            self._heard(checked, result, checked.exchange.stream)

    @traceable
    def _finished(self, checked: CheckedServer, result: CheckResult) -> None:
        health = checked.health
        level, status = health.level, health.result.status
        entered = health.count(result, self._clock())
        self._tell_check(checked, level, status, "Health")
        # A server's state may also come from a process before this one, which knew more than we did.
        if entered is not None or self._found(checked.server)[0] is not checked.server.up:
            self._settle(checked.backend, checked.server, result.reason)
        if result.status is CheckStatus.L4TOUT:
            self._on_silence(checked.backend, checked.server)
        self._ends(checked)

    def _ends(self, checked: Checked) -> None:
        """A check is over: slowstart follows the time, also of those that track the server."""
        backend = checked.backend
        self._on_checked(backend)
        for other, _ in self._trackers.get((backend.name, checked.server.name), ()):
            if other is not backend:
                self._on_checked(other)

    def _tell_check(self, checked: Checked, level: int, status: CheckStatus, kind: str) -> None:
        """`option log-health-checks`: only what is different from before."""
        health, backend, server = checked.health, checked.backend, checked.server
        result = health.result
        if backend.plan.spec.check.log and (health.level != level or result.status is not status):
            self._tell(backend, events.check_changed(backend.name, server.name, server.backup, result, health.describe(), kind))

    # --- agents ------------------------------------------------------------------------------------------------------

    def _heard(self, agent: CheckedAgent, result: CheckResult, stream: CheckStream) -> None:
        """An agent was asked. That it can't be reached, or says nothing, is not an error (5.2 agent-check)."""
        health = agent.health
        level, status = health.level, health.result.status
        if result.outcome is not Outcome.PASSED:
            health.checked = True
            health.result = result
            self._tell_check(agent, level, status, "Agent")
            self._ends(agent)
            return
        reply = agents.read(stream.response_buffer)
        entered = health.count(replace(reply.result, duration=result.duration), self._clock())
        self._tell_check(agent, level, status, "Agent")
        said = reply.result.outcome is not Outcome.NEUTRAL
        if entered is not None or (said and self._found(agent.server)[0] is not agent.server.up):
            self._settle(agent.backend, agent.server, health.result.reason)
        self._obey(agent, reply)
        self._ends(agent)

    def _obey(self, agent: CheckedAgent, reply: agents.AgentReply) -> None:
        """Put the agent's wishes into effect, as commands of the runtime API: so they reach every process."""
        backend, server = agent.backend, agent.server
        if reply.admin is not None:
            wanted = {"ready": Admin.READY, "drain": Admin.DRAIN, "maint": Admin.MAINT}[reply.admin]
            agent.drained, agent.maintained = wanted is Admin.DRAIN, wanted is Admin.MAINT
            if server.admin & ~Admin.UNRESOLVED != wanted:
                self._on_agent(backend, server, f"state {reply.admin}")
        if reply.weight is not None and _weight_of(reply.weight, server.spec.weight) != server.weight:
            self._on_agent(backend, server, f"weight {reply.weight}")
        if reply.maxconn is not None and reply.maxconn != server.maxconn:
            self._on_agent(backend, server, f"maxconn {reply.maxconn}")

    def agent_refused(self, server: ServerState, why: str) -> None:
        """What an agent wanted can't be done: said where its answers are shown."""
        agent = self.agents.get(server)
        if agent is not None:
            result = agent.health.result
            agent.health.result = replace(result, info=printable(f"agent warns : {why}"))

    def enable_agent(self, server: ServerState, enabled: bool) -> bool:
        """`enable agent`, `disable agent`: whether the agent is asked; what it says has no effect while it is not."""
        agent = self.agents.get(server)
        if agent is None:
            return False
        if agent.enabled is not enabled:
            agent.enabled = enabled
            self._turns.hurry(agent)
        return True

    def force_agent(self, server: ServerState, up: bool) -> bool:
        """`set server agent up|down`: what the agent is taken to have said; False when there is none."""
        agent = self.agents.get(server)
        if agent is None:
            return False
        status = ServerStatus.UP if up else ServerStatus.DOWN
        if agent.health.force(status, self._clock()) is not None:
            self._settle(agent.backend, server, events.FROM_CLI)
        return True

    # --- changes -----------------------------------------------------------------------------------------------------

    def _settle(self, backend: BackendState, server: ServerState, reason: str) -> None:
        """Put what check and agent say together into effect, and tell of it."""
        up, stopping = self._found(server)
        self._enter(backend, server, up=up, stopping=stopping, reason=reason)

    def _found(self, server: ServerState) -> tuple[bool, bool]:
        """Whether check and agent together say that a server is up, and that it takes no new sessions."""
        agent = self.agents.get(server)
        answers = agent is None or agent.health.up
        tracked = self._tracked(server)
        if tracked is not None:
            draining = bool(inherited(server, self._tracked) & Admin.DRAIN)
            return tracked[1].usable() and answers, tracked[1].stopping or draining
        health = self._health_of(server)
        return (health is None or health.up) and answers, health is not None and health.status is ServerStatus.NOLB

    def _health_of(self, server: ServerState) -> Health | None:
        """What its checks have found, or where it has none, what the administrator has said; None: nobody says anything."""
        checked = self.checked.get(server)
        return checked.health if checked is not None and checked.enabled else self._forced.get(server)

    def _tracked(self, server: ServerState) -> tuple[BackendState, ServerState] | None:
        """The server that this one tracks."""
        return self._by_name.get(server.spec.track) if server.spec.track is not None else None

    @traceable
    def _enter(self, backend: BackendState, server: ServerState, *, up: bool, stopping: bool, reason: str) -> None:
        was_up, was_stopping = server.up, server.stopping
        waiting = server.queued
        if up is not was_up:
            self._on_change(backend, server, up, reason)
        if stopping is not was_stopping:
            self._on_stopping(backend, server, stopping)
        if up is was_up and (stopping is was_stopping or not up):
            return
        now = farm.count(
            backend.servers, sessions=server.sessions, requeued=waiting if not up else 0, queued=backend.queued
        )
        name, is_backup = server.name, server.backup
        if not up:
            event = events.down(backend.name, name, is_backup, reason, now, was_stopping=was_stopping)
        elif stopping:
            event = events.stopping(backend.name, name, is_backup, reason, now)
        else:
            event = events.up(backend.name, name, is_backup, reason, now)
        self._announce(backend, server, event, now)

    def _announce(self, backend: BackendState, server: ServerState, event: events.Event, now: events.Farm) -> None:
        """A server went up or down, or took a state over: say so, and let follow what depends on it."""
        self._tell(backend, event)
        self.survey(backend, now)
        self._followed(backend, server)

    def _tell(self, backend: BackendState, event: events.Event) -> None:
        self._log_event(backend, event.level, event.text)
        if event.mail_level is not None:
            self._on_alert(backend, event.mail_level, event.text)

    def _followed(self, backend: BackendState, server: ServerState) -> None:
        """Those that track this server do as it does (5.2 track)."""
        for other_backend, other in self._trackers.get((backend.name, server.name), ()):
            self._follow(other_backend, other)

    def _follow(self, backend: BackendState, server: ServerState) -> None:
        """Do as the tracked server does, and say so: its administrative state is this one's, too."""
        if self._tracked(server) is None:
            return
        before = Following(server.up, server.stopping, self._followings.get(server, Admin.READY))
        after = Following(*self._found(server), inherited(server, self._tracked))
        if after == before:
            return
        self._followings[server] = after.admin
        waiting = server.queued
        if after.up is not before.up:
            self._on_change(backend, server, after.up, "")
        if after.stopping is not before.stopping:
            self._on_stopping(backend, server, after.stopping)
        now = farm.count(
            backend.servers, sessions=server.sessions, requeued=waiting if not after.up else 0, queued=backend.queued
        )
        via = "/".join(server.spec.track or ())
        event = follow_line(backend.name, server.name, server.backup, via, before, after, now)
        self._announce(backend, server, event, now)

    def survey(self, backend: BackendState, now: events.Farm | None = None) -> None:
        """Look whether `backend` still has servers, after any change of one; says so in the log when it has none."""
        present = now or farm.count(backend.servers)
        if self.availability[backend.name].survey(present, self._clock()):
            self._tell(backend, events.no_server(backend.name))

    def admin_changed(self, backend: BackendState, server: ServerState, before: Admin, reason: str = "") -> None:
        """The administrator, or its name, changed a server's state from `before` to what it has now. It is in effect already.

        A server that leaves maintenance begins anew, until its next check, made at once, says otherwise (5.2 init-state).
        """
        waited = server.queued
        in_maintenance, was_in_maintenance = bool(server.admin & Admin.OUT), bool(before & Admin.OUT)
        if was_in_maintenance and not in_maintenance:
            self._restart(backend, server)
        now = farm.count(backend.servers, sessions=server.sessions, requeued=waited, queued=backend.queued)
        name, is_backup = server.name, server.backup
        state, mode = "UP" if server.up else "DOWN", "DRAIN" if server.admin & Admin.DRAIN else "READY"
        event: events.Event | None = None
        if in_maintenance and not was_in_maintenance:
            event = events.maintenance(backend.name, name, is_backup, now, reason)
        elif was_in_maintenance and not in_maintenance:
            if before & Admin.UNRESOLVED:
                event = events.resolved(backend.name, name, is_backup, server.spec.address.host)
            else:
                event = events.leaving(backend.name, name, is_backup, f"{state}/{mode}", "forced maintenance")
        elif server.admin & Admin.DRAIN and not before & Admin.DRAIN:
            event = events.drain(backend.name, name, is_backup, now)
        elif before & Admin.DRAIN and not server.admin & Admin.DRAIN:
            event = events.leaving(backend.name, name, is_backup, state, "forced drain")
        if event is not None:
            self._tell(backend, event)
        self.survey(backend)
        self._followed(backend, server)

    def enable_health(self, server: ServerState, enabled: bool) -> bool:
        """`enable health`, `disable health`: whether the server is checked at all. Without checks it counts as up."""
        checked = self.checked.get(server)
        if checked is None:
            return False
        if checked.enabled is not enabled:
            checked.enabled = enabled
            before = server.up
            self._restart(checked.backend, server)
            if server.up is not before:
                self._told_otherwise(checked.backend, server)
        return True

    def _told_otherwise(self, backend: BackendState, server: ServerState) -> None:
        """A server is up, or down, since it is checked no more, or again."""
        now = farm.count(backend.servers, sessions=server.sessions, queued=backend.queued)
        say, reason = (events.up, "no longer checked") if server.up else (events.down, "not checked yet")
        event = say(backend.name, server.name, server.backup, reason, now)
        self._announce(backend, server, event, now)

    def force(self, backend: BackendState, server: ServerState, status: ServerStatus) -> None:
        """`set server health`: put a server into a state until checks say otherwise, or until it leaves maintenance."""
        now = self._clock()
        health = self._health_of(server)
        if health is None:
            health = self._forced[server] = Health(1, 1, now)
        if health.force(status, now) is not None or self._found(server)[0] is not server.up:
            self._settle(backend, server, events.FROM_CLI)

    def observed(self, server: ServerState, what: str) -> None:
        """The traffic had too many errors in a row (5.2 observe): `what` says it in HAProxy's words."""
        checked = self.checked.get(server)
        if checked is None or checked.paused:
            return
        health: Health = checked.health
        result = CheckResult(CheckStatus.HANA, None, what)
        level, status = health.level, health.result.status
        entered = health.observed(result, checked.plan.timing.on_error, self._clock())
        self._tell_check(checked, level, status, "Health")
        if entered is not None:
            self._settle(checked.backend, server, result.reason)
        self._hurry(checked)

    def _hurry(self, checked: CheckedServer) -> None:
        """Have the next check after `fastinter` at most."""
        timing = checked.plan.timing
        fast = timing.inter if timing.fastinter is None else timing.fastinter
        self._turns.hurry(checked, fast)

    def _restart(self, backend: BackendState, server: ServerState) -> None:
        checked, forced = self.checked.get(server), self._forced.pop(server, None)
        is_checked = checked is not None and checked.enabled
        anew = checked is not None and checked.health.restart(self._clock()) is not None
        if anew or forced is not None or not is_checked:
            self._begin_anew(backend, server, "yet unchecked" if is_checked else "no longer checked")
        if checked is not None:
            self._turns.hurry(checked)

    def _begin_anew(self, backend: BackendState, server: ServerState, reason: str) -> None:
        up, stopping = self._found(server)
        if up is not server.up:
            self._on_change(backend, server, up, reason)
        if stopping is not server.stopping:
            self._on_stopping(backend, server, stopping)


def _program_ended(checked: Checked, program: asyncio.Task[CheckResult]) -> None:
    if not program.cancelled():
        error = program.exception()
        checked.done(error if isinstance(error, Exception) else program.result())


def _weight_of(text: str, initial: int) -> int:
    """What `set server weight` makes of the words of an agent."""
    return relative_weight(initial, int(text[:-1])) if text.endswith("%") else int(text)
