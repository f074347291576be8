"""What is asked for once, what is kept, and what is too much."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headgate.plan.verdicts import Question
from headgate.runtime import lookups as module
from headgate.runtime.lookups import Found, Key, Lookups
from tests.proxy.playbook import Clock


class Waiter:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def resolved(self, question: Question, address: object | None) -> None:
        self.heard.append(address)


def question(name: str = "a.example", prefer: int = 4) -> Question:
    return Question("dns", name, prefer, 1.0, lambda stream, address: None)


class Scene:
    """Lookups whose finder the test speaks for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.finding: dict[Key, asyncio.Future[Found | None]] = {}
        self.asked: list[Key] = []
        self.bugs: list[Exception] = []
        self.refused = 0
        self.lookups = Lookups(self._find, self.clock, self.bugs.append, self._full)

    async def _find(self, key: Key) -> Found | None:
        self.asked.append(key)
        found = self.finding[key] = asyncio.get_running_loop().create_future()
        return await found

    def _full(self) -> None:
        self.refused += 1

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.clock.settle()

    async def ask(self, one: Question) -> Waiter:
        waiter = Waiter()
        self.lookups.ask(one, waiter)
        await self.settle()
        return waiter

    async def answer(self, one: Question, found: Found | None) -> None:
        self.finding[one.section, one.name, one.prefer].set_result(found)
        await self.settle()


def play(part: Callable[[Scene], object]) -> Scene:
    async def main() -> Scene:
        scene = Scene()
        await part(scene)  # type: ignore[misc]
        await scene.lookups.stop()
        return scene

    return asyncio.run(main())


def test_those_who_want_the_same_share_a_query() -> None:
    async def part(scene: Scene) -> None:
        waiters = [await scene.ask(question()) for _ in range(3)]
        other = await scene.ask(question(prefer=6))
        await scene.answer(question(), Found("1.1.1.1", 10.0))
        assert [one.heard for one in waiters] == [["1.1.1.1"]] * 3 and other.heard == []

    assert play(part).asked == [("dns", "a.example", 4), ("dns", "a.example", 6)]


def test_an_answer_is_kept_for_as_long_as_it_says() -> None:
    async def part(scene: Scene) -> None:
        await scene.ask(question())
        await scene.answer(question(), Found("1.1.1.1", 10.0))
        scene.clock.advance(9.0)
        assert scene.lookups.known(question()) == "1.1.1.1" and scene.lookups.seconds_left(question()) == pytest.approx(1.0)
        scene.clock.advance(1.0)
        assert scene.lookups.known(question()) is None and scene.lookups.seconds_left(question()) == 0.0

    play(part)


@pytest.mark.parametrize("found", [None, Found("1.1.1.1", 0.0)])
def test_failures_and_answers_of_the_moment_are_not_kept(found: Found | None) -> None:
    async def part(scene: Scene) -> None:
        waiter = await scene.ask(question())
        await scene.answer(question(), found)
        assert waiter.heard == [None if found is None else "1.1.1.1"] and scene.lookups.known(question()) is None

    play(part)


def test_who_has_left_hears_nothing_and_the_answer_is_kept() -> None:
    async def part(scene: Scene) -> None:
        gone = question()
        waiter = await scene.ask(gone)
        scene.lookups.forget(gone)
        await scene.answer(gone, Found("1.1.1.1", 10.0))
        scene.lookups.forget(gone)
        assert waiter.heard == [] and scene.lookups.known(question()) == "1.1.1.1"

    play(part)


def test_an_error_of_ours_is_told_and_nobody_waits_for_ever() -> None:
    async def part(scene: Scene) -> None:
        waiter = await scene.ask(question())
        scene.finding["dns", "a.example", 4].set_exception(ZeroDivisionError())
        await scene.settle()
        assert waiter.heard == [None] and len(scene.bugs) == 1

    play(part)


def test_names_that_are_asked_for_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ASKED", 3)

    async def part(scene: Scene) -> None:
        waiters = [await scene.ask(question(f"{number}.example")) for number in range(4)]
        assert [one.heard for one in waiters] == [[], [], [], [None]] and scene.refused == 1
        await scene.answer(question("0.example"), None)
        assert (await scene.ask(question("4.example"))).heard == []

    play(part)


def test_names_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those go first whose time is over, then the oldest."""
    monkeypatch.setattr(module, "MOST_KEPT", 2)

    async def part(scene: Scene) -> None:
        for name, seconds in (("a", 50.0), ("b", 1.0), ("c", 50.0), ("d", 50.0)):
            await scene.ask(question(name))
            await scene.answer(question(name), Found(name, seconds))
            scene.clock.advance(2.0)
        assert [scene.lookups.known(question(name)) for name in "abcd"] == [None, None, "c", "d"]

    play(part)
