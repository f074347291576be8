"""The runner with live backends and real sockets: waits are for events, with a deadline, never for a time."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

import uvloop

from headgate.balance.backend import BackendState
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location
from headgate.config.model import CheckSpec, Proxy, ProxyKind, Server, ServerCheck
from headgate.health.state import ServerStatus
from headgate.plan.frontends import BackendPlan, ServerPlan
from headgate.runtime.checks.runner import CheckRunner

HERE = Location("test.cfg", 1, 1)
TIMING = ServerCheck(inter=0.02, rise=2, fall=2)


def backend_of(*servers: Server, check: CheckSpec | None = None) -> BackendState:
    proxy = Proxy("app", ProxyKind.BACKEND, 3, HERE, servers=servers, check=check or CheckSpec())
    return BackendState(_plan(proxy), lambda: 0.5)


def _plan(proxy: Proxy) -> BackendPlan:
    values: dict[str, object] = {field.name: None for field in dataclasses.fields(BackendPlan)}
    values |= {"spec": proxy, "name": proxy.name, "error_replies": {}}
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
                await self._news.wait()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    uvloop.run(bounded())


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
        backend = backend_of(server("s1", port, check=timing), check=CheckSpec("http", disable_on_404=True, log=True))
        watched = Watched(backend)
        checked = next(iter(watched.runner.checked.values()))
        watched.runner.start()
        await watched.until(lambda: watched.checks == 1)
        answers[0] = b"HTTP/1.0 404 Gone fishing\r\n\r\n"
        checked.wake.set()
        await watched.until(lambda: ("s1", "NOLB") in watched.events)
        assert (backend.servers[0].state, backend.selected) == ("NOLB", ())
        answers[0] = b"HTTP/1.0 200 OK\r\n\r\n"
        checked.wake.set()
        await watched.until(lambda: ("s1", "LB") in watched.events)
        assert backend.servers[0].state == "UP"
        await watched.runner.stop()
        listening.close()
        texts = [text for _, text in watched.lines]
        assert texts[0].startswith('Health check for server app/s1 succeeded, reason: Layer7 check passed, code: 200, info: "OK"')
        stopping = "Server app/s1 is stopping, reason: Layer7 check conditionally passed, code: 404"
        assert any(text.startswith(stopping) for text in texts)

    run(scenario)


def test_no_checks_in_maintenance_and_up_again_afterwards() -> None:
    async def scenario() -> None:
        with ports(1) as (only,):
            backend = backend_of(server("s1", only.number, disabled=True))
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
                "Server app/s1 is UP/READY (leaving forced maintenance)",
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
            assert runner.force(first, ServerStatus.DOWN)
            assert runner.force(first, ServerStatus.DOWN)
            assert watched.events == [("s1", False)]
            assert runner.enable_health(first, False)
            assert first.up
            assert not runner.force(unchecked, ServerStatus.DOWN)
            assert not runner.enable_health(unchecked, True)
            assert unchecked.up

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
