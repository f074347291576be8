"""Controller and workers in one loop, over the links that a launcher would hand out: commands, changes, questions, ring lines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.admin.executor import Answer
from headgate.admin.registry import Command, CommandError, Level, Registry, Scope
from headgate.app import controller as controller_module
from headgate.app.api import RuntimeApi, whole
from headgate.app.cluster import ClusterExecutor
from headgate.app.controller import Controller
from headgate.app.siblings import Sibling
from headgate.app.worker import Worker
from headgate.runtime.logs.rings import LogRing
from headgate.runtime.loop import run as run_loop
from headgate.runtime.process.place import Heritage, Place, Role
from headgate.runtime.workers.journal import Journal

WORDS = Sequence[str]


class FakeLogs:
    """Rings, and what the process said."""

    def __init__(self) -> None:
        self.rings = {"buf0": LogRing("buf0", maxlen=100)}
        self.dropped = 0
        self.said: list[str] = []
        self.process = SimpleNamespace(silent=False, emit=self._emit, flush=lambda: None)

    def _emit(self, level: int, line: bytes, now: float) -> None:
        self.said.append(line.decode())


class Board:
    """Counters as a dictionary of lists."""

    def __init__(self) -> None:
        self.published: dict[int, int] = {}

    def publish(self, app: Any) -> None:
        self.published[app.place.index] = app.counted

    def collect(self, app: Any) -> None:
        app.counted = sum(self.published.values())


class FakeApp:
    """What the roles need of an app; its control is a list of the values that were set."""

    def __init__(self, role: Role, index: int, journal: Journal, board: Board) -> None:
        self.line, supervision = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.place = Place(role, index, 2, Heritage({}), supervision, board, journal)
        self.logs = FakeLogs()
        self.live = SimpleNamespace(quiet=False)
        self.reactor = SimpleNamespace(turn_ends=[])
        self.world = SimpleNamespace(backends={})
        self.control: Any = SimpleNamespace(values=[], who=index)
        self.counted = index
        self.api: RuntimeApi | None = None
        self.bugs: list[Exception] = []
        self.config = SimpleNamespace()

    def bug(self, error: Exception) -> None:
        self.bugs.append(error)


def set_value(words: WORDS, context: Any) -> str:
    if words[0] == "bad":
        raise CommandError("No such value.")
    if words[0] == f"bad-in-{context.who}":
        raise CommandError("Not here.")
    if words[0] == f"bug-in-{context.who}":
        raise ZeroDivisionError
    context.values.append(" ".join(words))
    return ""


async def _slowly(words: WORDS, context: Any) -> AsyncIterator[str]:
    await asyncio.sleep(0.01)
    context.values.append(" ".join(words))
    yield "set\n"


def show_who(words: WORDS, context: Any) -> str:
    if words and words[0] != str(context.who):
        raise CommandError("No such process.")
    return f"worker {context.who}"


def _show_values(words: WORDS, context: Any) -> str:
    return ",".join(context.values)


REGISTRY = Registry((
    Command("set value", "", Level.ADMIN, set_value, Scope.EVERYWHERE, key=lambda words: tuple(words[:1])),
    Command("set slowly", "", Level.ADMIN, _slowly, Scope.EVERYWHERE, key=lambda words: None),
    Command("do once", "", Level.ADMIN, set_value, Scope.EVERYWHERE, kept=False),
    Command("show who", "", Level.USER, show_who, Scope.WORKERS),
    Command("show values", "", Level.USER, _show_values),
))  # fmt: skip


class Generation:
    """A controller and workers, and the launcher's part."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.board = Board()
        self.workers: dict[int, FakeApp] = {}
        self.siblings: list[Sibling] = []
        self.apps: list[FakeApp] = []
        self.ends: list[socket.socket] = []

    async def start(self) -> None:
        await self.make_controller()
        for number in (1, 2):
            await self.make_worker(number)

    def _app(self, role: Role, index: int) -> FakeApp:
        app = FakeApp(role, index, self.journal, self.board)
        self.apps.append(app)
        return app

    async def make_controller(self) -> None:
        self.app = self._app(Role.CONTROLLER, 0)
        self.controller = Controller(self.app)  # type: ignore[arg-type]
        self.controller.registry = REGISTRY
        self.executor = ClusterExecutor(self.controller)
        self.app.api = RuntimeApi(self.app, self.executor)  # type: ignore[arg-type]
        self.app.api.registry = REGISTRY
        self.siblings.append(self.controller)
        await self.controller.start()

    async def make_worker(self, number: int) -> Worker:
        app = self.workers[number] = self._app(Role.WORKER, number)
        worker = Worker(app)  # type: ignore[arg-type]
        worker.registry = REGISTRY
        self.siblings.append(worker)
        self.link(number)
        await worker.start()
        return worker

    def link(self, number: int) -> None:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for app, to, end in ((self.app, number, ends[0]), (self.workers[number], 0, ends[1])):
            socket.send_fds(app.line, [b"link %d" % to], [end.fileno()])
            end.close()

    async def run(self, line: str) -> str:
        found = REGISTRY.find(line.split())
        assert found is not None
        answer: Answer = self.executor.execute(*found, self.app.control)
        return await whole(answer)

    def values(self) -> list[list[str]]:
        return [app.control.values for app in (self.app, *self.workers.values())]

    def close(self) -> None:
        for sibling in self.siblings:
            sibling.stop()  # type: ignore[attr-defined]
        for app in self.apps:
            app.line.close()
            assert app.place.supervision is not None
            app.place.supervision.close()
        self.journal.close()


def run(scenario: Callable[[Generation], Awaitable[None]]) -> None:
    async def bounded() -> None:
        generation = Generation()
        async with asyncio.timeout(10):
            await generation.start()
            try:
                await scenario(generation)
            finally:
                generation.close()

    run_loop(bounded())


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds; `run` limits the time."""
    while not condition():  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0.001)


def test_a_change_is_made_here_first_and_then_everywhere() -> None:
    async def scenario(all_: Generation) -> None:
        assert await all_.run("set value a 1") == ""
        assert all_.values() == [["a 1"]] * 3
        with pytest.raises(CommandError, match="No such value"):
            await all_.run("set value bad")
        assert all_.values() == [["a 1"]] * 3
        assert await all_.run("set slowly x") == "set\n"
        await asyncio.gather(all_.run("set slowly y"), all_.run("set value z"))
        assert all_.values()[1] == all_.values()[2] == ["a 1", "x", *all_.values()[0][2:]]

    run(scenario)


def test_a_worker_that_fails_or_is_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(all_: Generation) -> None:
        assert (await all_.run("set value bad-in-2")).splitlines()[0].startswith("worker 2 (pid ")
        assert (await all_.run("set value bad-in-1")).endswith(": Not here.")
        assert "internal error: ZeroDivisionError" in await all_.run("set value bug-in-1")
        assert [type(bug) for bug in all_.workers[1].bugs] == [ZeroDivisionError]
        monkeypatch.setattr(controller_module, "PATIENCE", 0.05)
        monkeypatch.setattr("headgate.app.cluster.PATIENCE", 0.05)
        asyncio.get_running_loop().remove_reader(all_.siblings[1]._link._sock.fileno())  # type: ignore[attr-defined]
        assert "worker 1 (pid " in (text := await all_.run("set value a")) and "has not answered within 0.05 s" in text
        assert "has not answered" in await all_.run("show who")
        assert len([line for line in all_.app.logs.said if "has not answered" in line]) == 1
        monkeypatch.setattr(controller_module, "PATIENCE", 60.0)
        assert await all_.run("show values") == ",".join(all_.app.control.values)  # without waiting for it again

    run(scenario)


def test_a_full_journal_is_said() -> None:
    async def scenario(all_: Generation) -> None:
        all_.journal._limit = 300
        assert await all_.run("set slowly x") == "set\n"
        text = await all_.run(f"set slowly {'x' * 400}")
        assert text.endswith("The journal of changes is full: a process that is replaced will not know this one.")
        assert [len(values) for values in all_.values()] == [2, 2, 2]
        await all_.make_worker(1)
        assert all_.workers[1].control.values == ["x"]

    run(scenario)


def test_who_comes_later_replays_what_counts() -> None:
    async def scenario(all_: Generation) -> None:
        for line in ("set value a 1", "set value b 1", "set value a 2", "do once c"):
            await all_.run(line)
        await all_.make_worker(1)
        assert all_.workers[1].control.values == ["b 1", "a 2"]
        await all_.make_controller()
        assert all_.app.control.values == ["b 1", "a 2"]
        for number in all_.workers:
            all_.link(number)
        await until(lambda: len(all_.controller.members) == 2)
        await all_.run("set value d 1")
        assert [values[-1] for values in all_.values()] == ["d 1"] * 3

    run(scenario)


def test_what_was_changed_while_a_worker_started_comes_with_the_greeting() -> None:
    async def scenario(all_: Generation) -> None:
        app = all_.workers[2] = all_._app(Role.WORKER, 2)
        worker = Worker(app)  # type: ignore[arg-type]
        worker.registry = REGISTRY
        all_.siblings.append(worker)
        starting = asyncio.ensure_future(worker.start())  # without a link: it waits
        await asyncio.sleep(0)
        await all_.run("set value late 1")
        assert app.control.values == []
        all_.link(2)
        await starting
        assert app.control.values == ["late 1"]

    run(scenario)


def test_workers_answer_together() -> None:
    async def scenario(all_: Generation) -> None:
        assert await all_.run("show who") == "worker 1\nworker 2"
        assert await all_.run("show who 2") == "worker 2"
        with pytest.raises(CommandError, match="No such process"):
            await all_.run("show who 3")

    run(scenario)


def test_counters_are_collected_before_a_command_reads_them() -> None:
    async def scenario(all_: Generation) -> None:
        all_.workers[1].counted, all_.workers[2].counted = 30, 12
        all_.workers[2].logs.dropped = 5
        await asyncio.gather(all_.run("show values"), all_.run("show values"))
        assert all_.app.counted == 42
        assert all_.controller.dropped_logs == 5

    run(scenario)


def test_the_data_plane_of_a_worker_asks_the_controller() -> None:
    async def scenario(all_: Generation) -> None:
        worker = all_.siblings[1]
        assert isinstance(worker, Worker)
        loop = asyncio.get_running_loop()
        for line, expected in (
            ("set value a 1", ""),
            ("show values", "a 1"),
            ("set value bad", "No such value."),
            ("frob", "Unknown command: 'frob'."),
        ):
            answer: asyncio.Future[str] = loop.create_future()
            worker.ask(line, answer.set_result)
            assert not answer.done()
            assert await answer == expected
        asked: list[asyncio.Future[str]] = [loop.create_future() for _ in range(1000)]
        for index, each in enumerate(asked):
            worker.ask(f"set value {index % 10} {index}", each.set_result)
        await asyncio.gather(*asked)
        for values in all_.values():
            assert values == ["a 1", *[f"{index % 10} {index}" for index in range(1000)]]
        all_.controller.stop()
        answer = loop.create_future()
        worker.ask("show values", answer.set_result)
        assert await answer == ""

    run(scenario)


def test_ring_lines_go_to_the_controller_and_what_is_too_much_is_counted() -> None:
    async def scenario(all_: Generation) -> None:
        app = all_.workers[1]
        ring = app.logs.rings["buf0"]
        for line in (b"one\n", b"two\n"):
            ring.write(line, 0.0)
        app.reactor.turn_ends[0]()
        shown = all_.app.logs.rings["buf0"]
        await until(lambda: shown.written == 2)
        assert shown.since(0)[0] == [b"one\n", b"two\n"] and ring.written == 0
        for _ in range(20000):
            ring.write(b"x" * 99 + b"\n", 0.0)
        app.reactor.turn_ends[0]()
        await until(lambda: shown.dropped)
        assert shown.dropped == 20000 - (1 << 20) // 100

    run(scenario)


def test_without_the_launcher_serving_goes_on_and_that_is_said_once() -> None:
    async def scenario(all_: Generation) -> None:
        for app in all_.apps:
            app.line.close()
        await all_.run("set value a 1")
        assert all_.values() == [["a 1"]] * 3
        for app in all_.apps:
            assert len([line for line in app.logs.said if "the launcher is gone" in line]) == 1

    run(scenario)
