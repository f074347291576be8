"""The rise/fall machine as conversations: results in, transitions out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.config.model import ServerCheck
from headgate.health.results import CheckResult, CheckStatus
from headgate.health.state import Health, ServerStatus

UP, DOWN, NOLB = ServerStatus.UP, ServerStatus.DOWN, ServerStatus.NOLB
_RESULTS = {"+": CheckStatus.L4OK, "-": CheckStatus.L4CON, "4": CheckStatus.L7OKC}


def play(health: Health, results: str) -> list[ServerStatus | None]:
    return [health.count(CheckResult(_RESULTS[one]), float(index + 1)) for index, one in enumerate(results)]


@pytest.mark.parametrize(
    ("results", "transitions"),
    [
        ("-", [DOWN]),  # starts one failure short of being down
        ("+--", [None, None, None]),
        ("+---", [None, None, None, DOWN]),
        ("+--+--", [None] * 6),  # failures must be consecutive
        ("-+", [DOWN, None]),
        ("-++", [DOWN, None, UP]),
        ("-+-+", [DOWN, None, None, None]),  # so must successes
        ("-++---", [DOWN, None, UP, None, None, DOWN]),
        ("4", [NOLB]),
        ("44", [NOLB, None]),
        ("4+", [NOLB, UP]),
        ("4---", [NOLB, None, None, DOWN]),
        ("-4444", [DOWN, None, None, None, None]),  # a stopped server stays stopped
        ("-4++", [DOWN, None, None, UP]),
    ],
)
def test_transitions_with_rise_2_and_fall_3(results: str, transitions: list[ServerStatus | None]) -> None:
    assert play(Health(2, 3), results) == transitions


@given(st.integers(1, 5), st.integers(1, 5), st.text("+-4", max_size=60))
def test_status_and_level_always_agree(rise: int, fall: int, results: str) -> None:
    health = Health(rise, fall)
    status = health.status
    for index, one in enumerate(results):
        entered = health.count(CheckResult(_RESULTS[one]), float(index))
        assert entered is None or entered is not status
        status = entered or status
        assert health.status is status
        assert 0 <= health.level <= rise + fall - 1
        assert (health.level >= rise) == health.up


@pytest.mark.parametrize(
    ("results", "interval"),
    [("", 0.5), ("+", 2.0), ("+-", 0.5), ("-", 5.0), ("-+", 0.5), ("-++", 2.0), ("-+-", 5.0), ("4", 2.0)],
)
def test_interval_depends_on_the_state(results: str, interval: float) -> None:
    health = Health(2, 3)
    play(health, results)
    assert health.next_interval(ServerCheck(inter=2.0, fastinter=0.5, downinter=5.0)) == interval
    assert health.next_interval(ServerCheck(inter=2.0)) == 2.0
    assert health.next_interval(ServerCheck(inter=2.0), 0.25) == 2.5


def test_failures_falls_and_downtime_are_counted() -> None:
    health = Health(1, 2, now=0.0)
    play(health, "+--")  # down at 3
    assert (health.failures, health.falls, health.changed_at) == (2, 1, 3.0)
    assert health.downtime(10.0) == 7.0
    assert health.count(CheckResult(CheckStatus.L4OK), 10.0) is UP
    assert health.downtime(20.0) == 7.0
    assert health.failures == 2


def test_describe_counts_the_way_up_and_down() -> None:
    health = Health(2, 3)
    said = [health.describe()]
    for one in "+--+---++":
        play(health, one)
        said.append(health.describe())
    assert said == ["1/3 UP", "3/3 UP", "2/3 UP", "1/3 UP", "3/3 UP", "2/3 UP", "1/3 UP", "0/2 DOWN", "1/2 DOWN", "3/3 UP"]


def test_forced_states_and_restart_after_maintenance() -> None:
    health = Health(2, 3)
    assert health.force(DOWN, 1.0) is DOWN
    assert health.force(DOWN, 2.0) is None
    assert health.force(NOLB, 3.0) is NOLB
    assert health.force(DOWN, 4.0) is DOWN
    assert health.restart(6.0) is UP
    assert health.downtime(9.0) == 4.0
    assert play(health, "-") == [DOWN]


@pytest.mark.parametrize(
    ("init_state", "status", "level", "next_failed", "next_passed"),
    [
        ("none", ServerStatus.UP, 2, ServerStatus.DOWN, None),
        ("up", ServerStatus.UP, 2, ServerStatus.DOWN, None),
        ("fully-up", ServerStatus.UP, 4, None, None),
        ("down", ServerStatus.DOWN, 1, None, ServerStatus.UP),
        ("fully-down", ServerStatus.DOWN, 0, None, None),
    ],
)
def test_init_state(
    init_state: str, status: ServerStatus, level: int, next_failed: ServerStatus | None, next_passed: ServerStatus | None
) -> None:
    def fresh() -> Health:
        return Health(2, 3, 0.0, init_state)

    assert (fresh().status, fresh().level) == (status, level)
    assert fresh().failed(1.0) is next_failed
    assert fresh().passed(1.0) is next_passed
    left = fresh()
    left.force(ServerStatus.UP, 1.0)
    assert left.restart(2.0) is (status if status is ServerStatus.DOWN else None)
    assert (left.status, left.level, left.checked) == (status, level, False)


@pytest.mark.parametrize(
    ("mode", "entered", "level"),
    [("fastinter", None, 4), ("fail-check", None, 3), ("sudden-death", None, 2), ("mark-down", ServerStatus.DOWN, 0)],
)
def test_errors_of_the_traffic(mode: str, entered: ServerStatus | None, level: int) -> None:
    health = Health(2, 3, 0.0, "fully-up")
    health.checked = True
    timing = ServerCheck(inter=10.0, fastinter=1.0)
    assert health.next_interval(timing) == 10.0
    assert health.observed(CheckResult(CheckStatus.HANA, None, "x"), mode, 1.0) is entered
    assert (health.level, health.analyses) == (level, 1)
    assert health.next_interval(timing) == 1.0
    health.count(CheckResult(CheckStatus.L4OK), 2.0)
    assert not health.hurried
