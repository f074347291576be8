"""Turns of checks on a reactor whose time is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headgate.balance.server import Admin
from headgate.config.model import ServerCheck
from headgate.health.results import CheckResult, CheckStatus
from headgate.runtime.checks.checked import Checked
from headgate.runtime.checks.runner import CheckRunner
from headgate.runtime.checks.turns import Turns
from headgate.runtime.loop import run as run_loop
from tests.runtime.checks.test_runner import backend_of, server, stream_of

PASSED = CheckResult(CheckStatus.L4OK)
#: When the stories begin: the reactor, which goes by the real clock, must not join in.
BASE = 1e7


class Course:
    """Turns whose checks end when they are told to."""

    def __init__(self, inter: float = 1000.0, fails: bool = False) -> None:
        self.begun = 0
        self.ended: list[CheckResult] = []
        self.now = 1.0
        self._fails = fails
        backend = backend_of(server("s1", 1, check=ServerCheck(inter=inter)))
        runner = CheckRunner(
            [backend], on_change=lambda *_: None, log_event=lambda *_: None, clock=lambda: 0.0, random=lambda: 0.5,
            make_stream=stream_of,
        )
        self.checked = runner.checked[backend.servers[0]]
        self.turns = Turns(self._make, self._ended, clock=lambda: BASE + self.now, random=lambda: 0.5, spread=0.0)

    def _make(self, checked: Checked) -> None:
        self.begun += 1
        if self._fails:
            raise RuntimeError("a defect")

    def _ended(self, checked: Checked, result: CheckResult) -> None:
        self.ended.append(result)

    @property
    def due(self) -> float:
        """When the next one is due, 0.0 for never."""
        return self.checked.deadline and round(self.checked.deadline - BASE, 3)

    def at(self, now: float) -> None:
        """It is that late: whatever is due happens."""
        self.now = now
        if self.due and self.due <= now:
            self.checked.deadline = 0.0
            self.checked.timed_out()


def on_a_loop(scenario: Callable[[], None]) -> None:
    async def there() -> None:
        scenario()

    run_loop(there())


def test_one_after_the_other() -> None:
    def scenario() -> None:
        course = Course()
        course.now = 5.0
        course.turns.start([course.checked], 3.0)
        assert course.due == 5.0
        course.at(5.0)
        assert course.begun == 1 and course.checked.in_progress and not course.due
        course.now = 7.0
        course.checked.done(PASSED)
        assert course.ended == [PASSED] and not course.checked.in_progress
        assert course.due == 1005.0  # an interval behind the beginning, not behind the end

    on_a_loop(scenario)


def test_what_takes_longer_than_the_interval_is_followed_at_once() -> None:
    def scenario() -> None:
        course = Course(inter=1.0)
        course.turns.start([course.checked], 0.0)
        course.at(1.0)
        course.now = 3.5
        course.checked.done(PASSED)
        assert course.due == 3.501

    on_a_loop(scenario)


def test_a_turn_is_brought_forward_and_never_put_off() -> None:
    def scenario() -> None:
        course = Course()
        course.turns.start([course.checked], 0.0)
        course.at(1.0)
        course.checked.done(PASSED)
        course.turns.hurry(course.checked, 20.0)
        assert course.due == 21.0
        course.turns.hurry(course.checked, 30.0)
        assert course.due == 21.0
        course.now = 2.0
        course.turns.hurry(course.checked)
        assert course.due == 2.0

    on_a_loop(scenario)


def test_a_check_that_is_under_way_is_followed_by_the_hurried_one() -> None:
    def scenario() -> None:
        course = Course()
        course.turns.start([course.checked], 0.0)
        course.at(1.0)
        course.turns.hurry(course.checked)
        assert course.begun == 1 and not course.due
        course.checked.done(PASSED)
        assert course.due == 1.001
        course.at(2.0)
        course.checked.done(PASSED)
        assert course.begun == 2 and course.due == 1002.0

    on_a_loop(scenario)


def test_in_maintenance_there_is_none_until_it_is_over() -> None:
    def scenario() -> None:
        course = Course()
        course.turns.start([course.checked], 0.0)
        course.at(1.0)
        course.checked.server.admin = Admin.MAINT
        course.checked.done(PASSED)
        assert course.ended == []  # what it found means nothing
        course.at(2000.0)
        assert course.begun == 1 and not course.due
        course.checked.server.admin = Admin.READY
        course.turns.hurry(course.checked)
        course.at(2000.0)
        assert course.begun == 2

    on_a_loop(scenario)


def test_who_is_removed_has_no_turn_and_no_result() -> None:
    def scenario() -> None:
        course = Course()
        course.turns.start([course.checked], 0.0)
        course.at(1.0)
        done = course.checked.done
        course.turns.remove(course.checked)
        done(PASSED)
        course.checked.done(PASSED)
        assert not course.due
        course.checked.timed_out()
        assert course.begun == 1

    on_a_loop(scenario)


def test_a_defect_is_reported_and_another_turn_comes() -> None:
    said: list[str] = []

    def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
        course = Course(fails=True)
        course.turns.start([course.checked], 0.0)
        course.at(1.0)
        assert course.due == 1001.0 and not course.checked.in_progress

    on_a_loop(scenario)
    assert said == ["health check of app/s1 broke"]
