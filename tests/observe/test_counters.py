"""Rate meters, averages, and what is cleared."""

from __future__ import annotations

import pytest

from headgate.observe.counters import (
    WINDOW,
    ListenerCounters,
    ProcessCounters,
    ProxyCounters,
    RateMeter,
    ServerCounters,
)


def test_a_rate_is_that_of_the_last_second() -> None:
    meter = RateMeter()
    assert (meter.rate(10.0), meter.last, meter.maximum) == (0, 0, 0)
    for _ in range(10):
        meter.tick(10.5)
    assert (meter.rate(10.9), meter.last) == (10, 10)
    assert meter.rate(11.25) == 7  # three quarters of that second are in the last one
    meter.tick(11.5)
    assert meter.rate(11.5) == 6
    assert meter.rate(12.5) == 0 and meter.rate(50.0) == 0
    assert meter.maximum == 10


def test_reading_does_not_move_a_meter() -> None:
    meter = RateMeter()
    meter.tick(10.0)
    assert meter.rate(99.0) == 0 and meter.last == 10


def test_seconds_without_events_count() -> None:
    meter = RateMeter()
    meter.tick(10.0)
    meter.tick(13.0)
    assert meter.rate(13.0) == 1


def test_the_greatest_rate_is_cleared() -> None:
    meter = RateMeter()
    for _ in range(5):
        meter.tick(10.0)
    meter.tick(11.0)
    meter.maximum = 0
    assert meter.maximum == 1
    meter.clear()
    assert (meter.maximum, meter.last) == (0, 0)


def test_times_are_averaged_over_a_window() -> None:
    counters = ServerCounters()
    counters.note(0, 1, 10, 20)
    counters.note(4, 1, 20, 40)
    assert (counters.times_queue, counters.times_connect, counters.times_response, counters.times_total) == (4, 2, 30, 60)
    assert (counters.samples, counters.maximum_time_total, counters.maximum_time_queue) == (2, 40, 4)
    for _ in range(20 * WINDOW):
        counters.note(0, 0, 7, 100)
    assert counters.samples == WINDOW
    assert counters.times_response // WINDOW == 7 and 99 <= counters.times_total // WINDOW <= 100
    assert counters.times_queue < WINDOW


@pytest.mark.parametrize("kind", [ProxyCounters, ServerCounters, ListenerCounters])
def test_clearing_leaves_nothing_but_gauges(kind: type) -> None:
    counters, fresh = kind(), kind()
    for name in kind.__slots__:  # type: ignore[attr-defined]
        value = getattr(counters, name)
        if isinstance(value, int):
            setattr(counters, name, 7)
        elif isinstance(value, list):
            value[:] = [7] * len(value)
    counters.clear()
    for name in kind.__slots__:  # type: ignore[attr-defined]
        value = getattr(counters, name)
        if isinstance(value, int):
            assert value == (7 if name.startswith("idle_") else getattr(fresh, name)), name
        elif isinstance(value, list):
            assert value == getattr(fresh, name)


def test_what_is_cleared_are_not_sessions() -> None:
    counters = ListenerCounters()
    counters.sessions = 7
    counters.clear()
    assert counters.sessions == 7


def test_every_slot_is_set() -> None:
    for kind in (ProxyCounters, ServerCounters, ListenerCounters, ProcessCounters):
        made = kind()
        for name in kind.__slots__:
            getattr(made, name)
