"""The runner with live backends and real sockets: waits are for events, with a deadline, never for a time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location
from headgate.config.model import AgentCheck, Proxy, ProxyKind, Server, ServerCheck
from headgate.health.results import CheckStatus
from headgate.health.state import Health, ServerStatus
from headgate.plan.checks import CheckStream
from headgate.plan.frontends import BackendPlan, ServerPlan
from headgate.runtime.checks.checked import state_header
from headgate.runtime.checks.runner import CheckRunner
from headgate.runtime.checks.turns import next_turn
from headgate.runtime.loop import run as run_loop
from tests.health.checks import backend_plan, stream

HERE = Location("test.cfg", 1, 1)
TIMING = ServerCheck(inter=0.02, rise=2, fall=2)


def backend_of(*servers: Server, rules: tuple[str, ...] = (), name: str = "app", **more: object) -> BackendState:
    """A backend with these servers, checked as these lines say."""
    compiled = backend_plan(*rules)
    spec = compiled.spec.check
    proxy = Proxy(name, ProxyKind.BACKEND, 3, HERE, servers=servers, check=spec, **more)  # type: ignore[arg-type]
    return BackendState(_plan(proxy, compiled), lambda: 0.5)


def _plan(proxy: Proxy, compiled: BackendPlan) -> BackendPlan:
    values: dict[str, object] = {field.name: None for field in dataclasses.fields(BackendPlan)}
    values |= {"spec": proxy, "name": proxy.name, "error_replies": {}, "check": compiled.check}
    values["servers"] = tuple(ServerPlan(server) for server in proxy.servers)
    return BackendPlan(**values)  # type: ignore[arg-type]


def server(name: str, port: int, number: int = 1, **more: object) -> Server:
    more.setdefault("check", TIMING)
    return Server(name, Address(Family.INET, "127.0.0.1", port, port), HERE, number, **more)  # type: ignore[arg-type]


class Port:
    """A port that can begin and cease to accept connections; a bound guard keeps the number ours meanwhile."""

    def __init__(self) -> None:
        self.guard = self._bound(0)
        self.number: int = self.guard.getsockname()[1]
        self.listener: socket.socket | None = None

    def _bound(self, port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    def listen(self) -> None:
        listener = self.listener = self._bound(self.number)
        listener.listen(128)
        listener.setblocking(False)
        asyncio.get_running_loop().add_reader(listener, lambda: listener.accept()[0].close())

    def refuse(self) -> None:
        if self.listener is not None:
            asyncio.get_running_loop().remove_reader(self.listener)
            self.listener.close()
            self.listener = None


def stream_of(backend: BackendState, server: ServerState) -> CheckStream:
    made = stream(backend.plan)
    made.server = server
    return made


class Watched:
    """A runner with its callbacks recorded; `until` waits for one of the recorded events."""

    def __init__(self, *backends: BackendState, **more: object) -> None:
        self.events: list[tuple[object, ...]] = []
        self.lines: list[tuple[int, str]] = []
        self._news = asyncio.Event()
        self.checks = 0
        self.runner = CheckRunner(
            backends,
            on_change=self._changed,
            log_event=self._logged,
            clock=time.monotonic,
            random=lambda: 0.5,
            make_stream=stream_of,
            on_stopping=self._stopping,
            on_checked=self._checked,
            **more,  # type: ignore[arg-type]
        )

    def _changed(self, backend: BackendState, server: ServerState, up: bool, reason: str) -> None:
        backend.set_operational(server, up, time.monotonic())
        self.events.append((server.name, up))
        self._news.set()

    def _stopping(self, backend: BackendState, server: ServerState, stopping: bool) -> None:
        backend.set_stopping(server, stopping, time.monotonic())
        self.events.append((server.name, "NOLB" if stopping else "LB"))
        self._news.set()

    def _checked(self, backend: BackendState) -> None:
        self.checks += 1
        self._news.set()

    def _logged(self, backend: BackendState, level: int, text: str) -> None:
        self.lines.append((level, text))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                # Not everything is news to the callbacks: what agents say that changes nothing, for instance.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self._news.wait()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    run_loop(bounded())


@contextlib.contextmanager
def ports(count: int) -> Iterator[list[Port]]:
    made = [Port() for _ in range(count)]
    try:
        yield made
    finally:
        for port in made:
            port.refuse()
            port.guard.close()


def test_server_goes_down_and_comes_back_and_the_backup_takes_over() -> None:
    async def scenario() -> None:
        with ports(2) as (first, spare):
            first.listen()
            spare.listen()
            backend = backend_of(server("s1", first.number), server("b1", spare.number, 2, backup=True))
            watched = Watched(backend)
            watched.runner.start()
            main = watched.runner.checked[backend.servers[0]]
            await watched.until(lambda: main.health.checked)
            assert [one.name for one in backend.selected] == ["s1"]
            first.refuse()
            await watched.until(lambda: watched.events == [("s1", False)])
            assert [one.name for one in backend.selected] == ["b1"]
            first.listen()
            await watched.until(lambda: ("s1", True) in watched.events)
            assert [one.name for one in backend.selected] == ["s1"]
            await watched.runner.stop()
            (down_level, down), (up_level, up) = watched.lines
            assert (down_level, up_level) == (1, 5)
            assert down.startswith('Server app/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused"')
            assert down.endswith(
                "0 active and 1 backup servers left. Running on backup. 0 sessions active, 0 requeued, 0 remaining in queue."
            )
            assert up.startswith("Server app/s1 is UP, reason: Layer4 check passed, check duration: ")
            assert up.endswith("1 active and 1 backup servers online. 0 sessions requeued, 0 total in queue.")
            assert (main.health.falls, main.health.failures) == (1, 2)

    run(scenario)


def test_a_backend_without_servers_is_an_emergency() -> None:
    async def scenario() -> None:
        with ports(1) as (only,):
            backend = backend_of(server("s1", only.number))
            watched = Watched(backend)
            watched.runner.start()
            await watched.until(lambda: ("s1", False) in watched.events)
            await watched.runner.stop()
            assert watched.lines[-1] == (0, "backend app has no server available!")
            assert watched.runner.availability["app"].falls == 1
            assert not watched.runner.availability["app"].available

    run(scenario)


def test_failure_counts_towards_fall_only_after_the_first_success() -> None:
    """Yet unchecked, one failure is enough."""

    async def scenario() -> None:
        with ports(1) as (only,):
            backend = backend_of(server("s1", only.number, check=ServerCheck(inter=0.02, fall=50)))
            watched = Watched(backend)
            watched.runner.start()
            await watched.until(lambda: bool(watched.events))
            assert watched.runner.checked[backend.servers[0]].health.failures == 1
            await watched.runner.stop()

    run(scenario)


def test_answers_404_take_no_new_sessions() -> None:
    answers = [b"HTTP/1.0 200 OK\r\n\r\n"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answers[0])
            await reader.read()
        writer.close()

    async def scenario() -> None:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        timing = ServerCheck(inter=5.0, fastinter=0.02)
        backend = backend_of(server("s1", port, check=timing), rules=(
            "option httpchk", "http-check disable-on-404", "option log-health-checks"
        ))
        watched = Watched(backend)
        checked = next(iter(watched.runner.checked.values()))
        watched.runner.start()
        await watched.until(lambda: watched.checks == 1)
        answers[0] = b"HTTP/1.0 404 Gone fishing\r\n\r\n"
        watched.runner._turns.hurry(checked)
        await watched.until(lambda: ("s1", "NOLB") in watched.events)
        assert (backend.servers[0].state, backend.selected) == ("NOLB", ())
        answers[0] = b"HTTP/1.0 200 OK\r\n\r\n"
        watched.runner._turns.hurry(checked)
        await watched.until(lambda: ("s1", "LB") in watched.events)
        assert backend.servers[0].state == "UP"
        await watched.runner.stop()
        listening.close()
        texts = [text for _, text in watched.lines]
        passed = "Health check for server app/s1 succeeded, reason: Layer7 check passed, code: 200, check duration"
        assert texts[0].startswith(passed)
        stopping = "Server app/s1 is stopping, reason: Layer7 check conditionally passed, code: 404"
        assert any(text.startswith(stopping) for text in texts)

    run(scenario)


def test_no_checks_in_maintenance_and_up_again_afterwards() -> None:
    async def scenario() -> None:
        with ports(1) as (only,):
            backend = backend_of(server("s1", only.number, disabled=True, check=ServerCheck(inter=0.5)))
            watched = Watched(backend)
            target = backend.servers[0]
            watched.runner.start()
            checked = watched.runner.checked[target]
            assert checked.paused
            only.listen()
            backend.set_admin(target, Admin.READY, time.monotonic())
            watched.runner.admin_changed(backend, target, Admin.MAINT)
            await watched.until(lambda: checked.health.checked)
            assert watched.events == []
            backend.set_admin(target, Admin.MAINT, time.monotonic())
            watched.runner.admin_changed(backend, target, Admin.READY)
            assert [text.split(". ")[0] for _, text in watched.lines] == [
                "Server app/s1 is UP/READY (leaving forced maintenance).",
                "Server app/s1 is going DOWN for maintenance",
                "backend app has no server available!",
            ]
            await watched.runner.stop()

    run(scenario)


def test_forced_and_disabled_health() -> None:
    async def scenario() -> None:
        with ports(1) as (only,):
            backend = backend_of(server("s1", only.number, check=ServerCheck(inter=3600.0)), server("s2", 1, 2, check=None))
            watched = Watched(backend)
            first, unchecked = backend.servers
            runner = watched.runner
            runner.force(backend, first, ServerStatus.DOWN)
            runner.force(backend, first, ServerStatus.DOWN)
            assert watched.events == [("s1", False)]
            assert runner.enable_health(first, False)
            assert first.up
            runner.force(backend, first, ServerStatus.DOWN)
            assert not first.up
            assert runner.enable_health(first, True)
            assert first.up
            runner.force(backend, unchecked, ServerStatus.DOWN)
            assert not runner.enable_health(unchecked, True)
            assert not unchecked.up

    run(scenario)


def test_a_defect_of_ours_is_reported_and_does_not_end_the_checks() -> None:
    async def scenario() -> None:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
        broken = [True]

        def address_of(backend: BackendState, server: ServerState) -> Address:
            if broken:
                broken.clear()
                raise RuntimeError("a defect")
            return server.spec.address

        with ports(1) as (only,):
            only.listen()
            watched = Watched(backend_of(server("s1", only.number)), address_of=address_of)
            watched.runner.start()
            await watched.until(lambda: watched.checks == 1)
            await watched.runner.stop()
        assert reported == ["health check of app/s1 broke"]

    run(scenario)


# --- init-state, tracking, traffic -----------------------------------------------------------------------------------


def test_a_server_that_is_to_be_checked_first_takes_nothing_before() -> None:
    async def scenario() -> None:
        with ports(1) as (only,):
            backend = backend_of(server("s1", only.number, init_state="down"))
            assert backend.servers[0].up is False
            watched = Watched(backend)
            only.listen()
            watched.runner.start()
            await watched.until(lambda: watched.events == [("s1", True)])
            target = backend.servers[0]
            for before, state in ((Admin.READY, Admin.MAINT), (Admin.MAINT, Admin.READY)):
                backend.set_admin(target, state, time.monotonic())
                watched.runner.admin_changed(backend, target, before)
            assert watched.events == [("s1", True), ("s1", False)]
            assert watched.lines[-1][1].startswith("Server app/s1 is DOWN/READY (leaving forced maintenance)")
            await watched.until(lambda: watched.events[2:] == [("s1", True)])
            await watched.runner.stop()

    run(scenario)


def test_servers_that_track_others_do_as_they_do() -> None:
    async def scenario() -> None:
        with ports(1) as (only,):
            only.listen()
            first = backend_of(server("s1", only.number))
            second = backend_of(
                server("t", 1, 1, check=None, track=("app", "s1")), server("u", 1, 2, check=None, track=("trk", "t")), name="trk"
            )
            watched = Watched(first, second)
            runner = watched.runner
            runner.start()
            await watched.until(lambda: watched.checks > 0)
            only.refuse()
            await watched.until(lambda: len(watched.events) == 3)
            assert watched.events == [("s1", False), ("t", False), ("u", False)]
            assert [text.split(". ")[0] for _, text in watched.lines if "via" in text] == [
                "Server trk/t is DOWN via app/s1", "Server trk/u is DOWN via trk/t",
            ]
            only.listen()
            await watched.until(lambda: len(watched.events) == 6)
            assert [one.up for one in second.servers] == [True, True]
            target = first.servers[0]
            first.set_admin(target, Admin.MAINT, time.monotonic())
            runner.admin_changed(first, target, Admin.READY)
            assert [one.up for one in second.servers] == [False, False]
            first.set_admin(target, Admin.DRAIN, time.monotonic())
            runner.admin_changed(first, target, Admin.MAINT)
            assert [(one.up, one.stopping) for one in second.servers] == [(True, True), (True, True)]
            await runner.stop()

    run(scenario)


def test_errors_of_the_traffic_count_and_hurry_the_next_check() -> None:
    async def scenario() -> None:
        with ports(1) as (only,):
            only.listen()
            timing = ServerCheck(inter=3600.0, fastinter=0.02, rise=1, fall=1, observe="layer4", on_error="mark-down")
            backend = backend_of(server("s1", only.number, check=timing))
            watched = Watched(backend)
            watched.runner.start()
            await watched.until(lambda: watched.checks == 1)
            watched.runner.observed(backend.servers[0], "Detected 10 consecutive errors, last one was: x")
            assert watched.events == [("s1", False)]
            assert watched.lines[0][1].startswith(
                'Server app/s1 is DOWN, reason: Health analyze, info: "Detected 10 consecutive errors, last one was: x". 0 active'
            )
            await watched.until(lambda: watched.events == [("s1", False), ("s1", True)])  # long before `inter` is over
            await watched.runner.stop()

    run(scenario)


# --- agents ----------------------------------------------------------------------------------------------------------


class Agent:
    """An agent that says what `line` holds."""

    def __init__(self) -> None:
        self.line = b"up\n"
        self.heard: list[bytes] = []

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(self.line)
            if not self.line.endswith(b"\n"):
                writer.write_eof()
            self.heard.append(await reader.read())
        writer.close()


def test_agents_decide_beside_the_checks() -> None:
    async def scenario() -> None:
        agent = Agent()
        asked: list[str] = []
        with ports(1) as (only,):
            only.listen()
            options = AgentCheck(await agent.start(), inter=0.02, send=b"hello\n")
            timing = ServerCheck(inter=0.02, rise=1, fall=1)
            backend = backend_of(server("s1", only.number, check=timing, agent=options, weight=40))
            watched = Watched(backend, on_agent=lambda backend, server, words: asked.append(words))
            runner, target = watched.runner, backend.servers[0]
            runner.start()
            heard = runner.agents[target]
            await watched.until(lambda: bool(agent.heard) and watched.checks > 0)
            assert heard.health.result.info == "via agent : up" and agent.heard[0] == b"hello\n"
            agent.line = b"down # tired\n"
            await watched.until(lambda: watched.events == [("s1", False)])
            down = watched.lines[0][1]
            assert 'reason: Layer7 wrong status, code: 0, info: "via agent : down (tired)"' in down
            checks = watched.checks
            await watched.until(lambda: watched.checks > checks + 1)
            assert watched.events == [("s1", False)]  # the check passes, the agent still says no
            agent.line = b"garbage \xff\n"
            await watched.until(lambda: heard.health.result.status is CheckStatus.CHECKED)
            assert watched.events == [("s1", False)]
            agent.line = b"up 75% maxconn:30 drain\n"
            await watched.until(lambda: watched.events == [("s1", False), ("s1", True)] and len(asked) >= 3)
            assert asked[:3] == ["state drain", "weight 75%", "maxconn 30"]
            only.refuse()
            await watched.until(lambda: len(watched.events) == 3)
            assert watched.events[2] == ("s1", False)
            assert runner.enable_agent(target, False) and not runner.enable_agent(ServerState(target.plan), False)
            assert runner.force_agent(target, False)
            assert heard.health.status is ServerStatus.DOWN
            await runner.stop()
        agent.server.close()

    run(scenario)


def test_an_agent_that_can_t_be_reached_is_no_error() -> None:
    async def scenario() -> None:
        agent = Agent()
        agent.line = b"75"
        backend = backend_of(server("s1", 1, check=None, agent=AgentCheck(await agent.start(), inter=0.02)))
        watched = Watched(backend)
        heard = watched.runner.agents[backend.servers[0]]
        watched.runner.start()
        await watched.until(lambda: heard.health.result.status is CheckStatus.L7TOUT)
        assert heard.health.result.info == "Ignoring incomplete line from agent"
        agent.server.close()
        await watched.until(lambda: heard.health.result.status is CheckStatus.L4CON)
        assert (watched.events, backend.servers[0].up) == ([], True)
        await watched.runner.stop()

    run(scenario)


def test_what_an_agent_wants_and_can_t_have_is_shown() -> None:
    async def scenario() -> None:
        backend = backend_of(server("s1", 1, check=None, agent=AgentCheck(7)))
        watched = Watched(backend)
        watched.runner.agent_refused(backend.servers[0], "Backend is using a static LB algorithm")
        info = watched.runner.agents[backend.servers[0]].health.result.info
        assert info == "agent warns : Backend is using a static LB algorithm"

    run(scenario)


# --- mails, state header ---------------------------------------------------------------------------------------------


def test_what_is_mailed() -> None:
    """4.2 email-alert level: down is alert, up is notice, log-health-checks is info; that nobody is left is not mailed."""

    async def scenario() -> None:
        mailed: list[tuple[int, str]] = []
        with ports(1) as (only,):
            backend = backend_of(
                server("s1", only.number, check=ServerCheck(inter=0.02, rise=1, fall=1)), rules=("option log-health-checks",)
            )
            watched = Watched(backend, on_alert=lambda backend, level, text: mailed.append((level, text.split(",")[0])))
            watched.runner.start()
            await watched.until(lambda: watched.events == [("s1", False)])
            only.listen()
            await watched.until(lambda: watched.events == [("s1", False), ("s1", True)])
            await watched.runner.stop()
        assert mailed == [
            (6, "Health check for server app/s1 failed"), (1, "Server app/s1 is DOWN"),
            (6, "Health check for server app/s1 succeeded"), (5, "Server app/s1 is UP"),
        ]

    run(scenario)


def test_what_the_administrator_does_is_logged_and_mostly_not_mailed() -> None:
    async def scenario() -> None:
        mailed: list[str] = []
        backend = backend_of(server("s1", 1, check=None))
        watched = Watched(backend, on_alert=lambda backend, level, text: mailed.append(text.split(".")[0]))
        runner, target = watched.runner, backend.servers[0]
        for state in (Admin.MAINT, Admin.READY, Admin.DRAIN, Admin.MAINT | Admin.DRAIN, Admin.DRAIN, Admin.READY):
            before = target.admin
            backend.set_admin(target, state, time.monotonic())
            runner.admin_changed(backend, target, before)
        for status in (ServerStatus.NOLB, ServerStatus.DOWN):
            runner.force(backend, target, status)
        said = [text.split(". ")[0] for _, text in watched.lines if text.startswith("Server")]
        assert said == [
            "Server app/s1 is going DOWN for maintenance", "Server app/s1 is UP/READY (leaving forced maintenance).",
            "Server app/s1 enters drain state", "Server app/s1 is going DOWN for maintenance",
            "Server app/s1 is UP/DRAIN (leaving forced maintenance).", "Server app/s1 is UP (leaving forced drain).",
            "Server app/s1 is stopping, changed from CLI", "Server app/s1 is DOWN, changed from CLI",
        ]
        assert mailed == ["Server app/s1 enters drain state", "Server app/s1 is DOWN, changed from CLI"]

    run(scenario)


def test_state_header() -> None:
    backend = backend_of(server("s1", 8080, weight=3), server("s2", 8081, 2, weight=1))
    health = Health(2, 3)
    assert state_header(backend, backend.servers[0], health, "lb1") == (
        b"UP; address=127.0.0.1; port=8080; name=app/s1; node=lb1; weight=3/4; scur=0/0; qcur=0"
    )
    health.checked = True
    health.failed(1.0)
    health.passed(2.0)
    assert state_header(backend, backend.servers[0], health, "lb1").startswith(b"DOWN 1/2; ")


def test_max_spread_checks_bounds_the_first_round() -> None:
    async def scenario() -> None:
        with ports(3) as some:
            for port in some:
                port.listen()
            timing = ServerCheck(inter=3600.0)
            servers = [server(f"s{number}", port.number, number, check=timing) for number, port in enumerate(some, 1)]
            watched = Watched(backend_of(*servers), most_spread=0.05)
            watched.runner.start()
            await watched.until(lambda: watched.checks == 3)
            await watched.runner.stop()

    run(scenario)


def test_an_agent_brings_back_a_server_that_a_process_before_this_one_left_down() -> None:
    async def scenario() -> None:
        agent = Agent()
        backend = backend_of(server("s1", 1, check=None, agent=AgentCheck(await agent.start(), inter=0.02)))
        backend.set_operational(backend.servers[0], False, 1.0)
        watched = Watched(backend)
        watched.runner.start()
        await watched.until(lambda: watched.events == [("s1", True)])
        await watched.runner.stop()
        agent.server.close()

    run(scenario)


@pytest.mark.parametrize("interval", [0.001, 0.2, 2.0, 86400.0])
def test_turns_of_checks_fall_together_and_keep_their_interval(interval: float) -> None:
    apart = min(interval / 10.0, 0.05)
    began = [1000.0 + number * interval / 100.0 for number in range(100)]
    turns = [next_turn(one, interval) for one in began]
    assert all(abs(turn - one - interval) <= apart * 0.5001 for one, turn in zip(began, turns, strict=True))
    if interval <= 0.5:
        assert len({round(turn / apart) for turn in turns}) <= 11
    turn = turns[0]
    for _ in range(100):
        turn = next_turn(turn + apart / 50.0, interval)  # each begins a little behind its turn
    assert turn == pytest.approx(turns[0] + 100 * interval)


def test_a_check_without_an_interval_is_due_at_once() -> None:
    assert next_turn(5.0, 0.0) == 5.0
