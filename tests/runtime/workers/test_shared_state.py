"""Shared memory: rows, sections that survive the death of who is inside, what is given back, counters of several processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.balance.rows import ATTACHED, SESSIONS, share_of
from headgate.base.compiled import slots_of
from headgate.observe.cells import Sessions
from headgate.observe.counters import ListenerCounters, ProcessCounters, ProxyCounters, RateMeter, ServerCounters
from headgate.observe.tally import Tally
from headgate.runtime.workers import shared as module
from headgate.runtime.workers.sections import ProcessSection
from headgate.runtime.workers.shared import SharedState, TooManyProxies


@pytest.fixture
def state() -> Iterator[SharedState]:
    made = SharedState(rows=20, workers=3, connections=100)
    yield made
    made.close()


def forked(work: Callable[[], None]) -> int:
    """A child that does something and then stays until it is killed; returns once it has done it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            work()
            os.write(writer, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"."
    os.close(reader)
    return pid


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


# --- rows ------------------------------------------------------------------------------------------------------------


def test_all_processes_find_the_same_row(state: SharedState) -> None:
    boards = [state.enter(process) for process in range(3)]
    rows = {board.attach("server", "be/s1") for board in boards}
    assert len(rows) == 1 and boards[0].attach("backend", "be/s1") not in rows
    row = rows.pop()
    assert state.cells[row + ATTACHED] == 3
    assert boards[1].attach("server", "be/s1") == row and state.cells[row + ATTACHED] == 3


def test_a_row_is_free_when_nobody_uses_it_and_what_lies_behind_it_is_still_found(
    state: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_key", lambda kind, name: (7 << 3 | 5) + (len(name) << 40))  # all in one place
    board, other = state.enter(1), state.enter(2)
    first, second = board.attach("server", "a"), board.attach("server", "bb")
    other.attach("server", "a")
    board.detach(first)
    assert board.attach("server", "a") == first
    state.cells[first + SESSIONS] = 5
    board.detach(first)
    other.detach(first)
    assert state.find("server", "a") == 0 and state.find("server", "bb") == second
    assert board.attach("server", "ccc") == first and state.cells[first + SESSIONS] == 0


def test_rows_are_used_up_with_an_error_that_says_so(state: SharedState) -> None:
    board = state.enter(1)
    with pytest.raises(TooManyProxies, match="may be added while running"):
        for number in range(100_000):
            board.attach("server", f"be/s{number}")
    assert state.count_rows() >= 20 + 256 * 3 + 4096


def test_memory_of_rows_that_nobody_uses_is_not_real() -> None:
    before = _resident()
    state = SharedState(rows=10, workers=8, connections=100_000)
    state.enter(1).attach("server", "be/s1")
    state.recover(1)
    assert _resident() - before < 4 << 20
    state.close()


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


# --- sections --------------------------------------------------------------------------------------------------------


def test_a_process_killed_inside_a_section_does_not_lock_the_others_out(
    state: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.runtime.workers.sections._UNSAID", 60.0)  # its mark tells that it was inside: no need to wait
    monkeypatch.setattr("headgate.runtime.workers.sections._LONGEST", 60.0)
    row = state.enter(0).attach("backend", "be")

    def work() -> None:
        board = state.enter(1)
        board.section(row).enter()
        state.cells[share_of(row, 1) + SESSIONS - 1] += 1  # half of a change: the total follows later

    killed(forked(work))
    begun = time.monotonic()
    assert state.recover(1)
    assert time.monotonic() - begun < 30.0
    section = state.enter(2).section(row)
    section.enter()
    section.leave()
    assert state.cells[row + SESSIONS] == state.cells[share_of(row, 1) + SESSIONS - 1] == 0


def test_a_process_killed_before_it_could_say_that_it_is_inside(state: SharedState) -> None:
    row = state.enter(0).attach("backend", "be")

    def work() -> None:
        section = state.enter(1).section(row)
        section._cells[section._mark] = section._waits
        section._acquire()

    killed(forked(work))
    assert state.recover(1)
    section = state.enter(2).section(row)
    section.enter()
    section.leave()


def test_who_waits_for_the_section_of_a_dead_process_gets_it(state: SharedState) -> None:
    row = state.enter(0).attach("backend", "be")
    dead = forked(lambda: state.enter(1).section(row).enter())
    reader, writer = os.pipe()
    waiter = os.fork()
    if not waiter:
        section = state.enter(2).section(row)
        section.enter()
        state.cells[row + SESSIONS] = 77
        section.leave()
        os.write(writer, b"in")
        os._exit(0)
    killed(dead)
    assert state.recover(1)
    assert os.read(reader, 2) == b"in"
    os.waitpid(waiter, 0)
    os.close(reader)
    os.close(writer)


def test_a_living_process_in_a_section_is_not_disturbed(state: SharedState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.runtime.workers.sections._LONGEST", 0.2)
    row = state.enter(0).attach("backend", "be")
    pid = forked(lambda: state.enter(1).section(row).enter())
    assert not state.recover(2)
    assert state.cells[share_of(row, 0) + ATTACHED - 1] == 1
    killed(pid)
    assert state.recover(1)


def test_only_one_at_a_time(state: SharedState) -> None:
    row = state.enter(0).attach("backend", "be")
    pids = []
    for process in (1, 2, 3):
        pid = os.fork()
        if not pid:
            section: ProcessSection = state.enter(process).section(row)
            for _ in range(3000):
                section.enter()
                state.cells[row + SESSIONS] += 1
                section.leave()
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert state.cells[row + SESSIONS] == 9000


def test_wake_ups(state: SharedState) -> None:
    state.wake(2)
    state.wake(2)
    assert os.eventfd_read(state.event(2)) == 2
    state.heard(2)  # nothing there: no harm


# --- counters --------------------------------------------------------------------------------------------------------


class Fake:
    """What is counted of a process, as an App has it."""

    def __init__(self, state: SharedState, process: int) -> None:
        self.state = state
        self.board = state.enter(process)
        board = self.board
        self.counters = ProcessCounters()
        self.shared = SimpleNamespace(row=board.attach("process", ""))
        self.side = SimpleNamespace(row=board.attach("frontend", "fe"), counters=ProxyCounters(), sockets={})
        self.frontends = {"fe": self.side}
        self.server = SimpleNamespace(row=board.attach("server", "be/s1"), counters=ServerCounters())
        farm = SimpleNamespace(row=board.attach("backend", "be"), servers=(self.server,))
        self.backends = {"be": SimpleNamespace(state=farm, counters=ProxyCounters())}

    def publish(self) -> None:
        self.state.board = self.board
        self.state.publish(self)

    def collect(self) -> None:
        self.state.collect(self)


def test_counters_are_added_up_and_maxima_are_maxima(state: SharedState) -> None:
    controller, one, two = (Fake(state, process) for process in range(3))
    one.side.counters.requests, two.side.counters.requests = 3, 4
    one.side.counters.maximum_sessions, two.side.counters.maximum_sessions = 5, 9
    one.server.counters.responses[2] = 7
    two.server.counters.responses[2] = two.server.counters.responses[5] = 1
    one.counters.requests = 1 << 40
    for each in (one, two):
        each.publish()
    controller.collect()
    assert (controller.side.counters.requests, controller.side.counters.maximum_sessions) == (7, 9)
    assert controller.server.counters.responses == [0, 0, 8, 0, 0, 1]
    assert controller.counters.requests == 1 << 40


def test_rates_are_sums(state: SharedState) -> None:
    controller, one, two = (Fake(state, process) for process in range(3))
    for _ in range(4):
        one.side.counters.session_rate.tick(100.5)
    for _ in range(6):
        two.side.counters.session_rate.tick(101.2)
    one.publish()
    two.publish()
    controller.collect()
    meter = controller.side.counters.session_rate
    whole = RateMeter()
    for now in [100.5] * 4 + [101.2] * 6:
        whole.tick(now)
    assert meter.rate(101.5) == whole.rate(101.5) and meter.maximum == 6
    for _ in range(6):
        one.side.counters.session_rate.tick(101.3)
    one.publish()
    controller.collect()
    assert meter.maximum == 12


def test_sums_never_go_backwards_when_a_worker_dies(state: SharedState) -> None:
    controller, one, two = (Fake(state, process) for process in range(3))
    one.side.counters.requests, two.side.counters.requests = 30, 4
    one.side.counters.maximum_sessions = 8
    one.counters.tls_sessions = 5
    one.server.counters.note(1, 2, 3, 4)
    one.publish()
    two.publish()
    controller.collect()
    state.recover(1)
    controller.collect()
    assert (controller.side.counters.requests, controller.side.counters.maximum_sessions) == (34, 8)
    assert controller.counters.tls_sessions == 0 and controller.server.counters.samples == 0
    again = Fake(state, 1)
    again.side.counters.requests = 2
    again.publish()
    state.recover(1)
    controller.collect()
    assert controller.side.counters.requests == 36


def test_what_is_cleared_is_not_kept_of_the_dead_either(state: SharedState) -> None:
    controller, one, two = (Fake(state, process) for process in range(3))
    one.side.counters.requests, two.side.counters.requests = 30, 4
    one.side.counters.maximum_sessions = 8
    one.publish()
    two.publish()
    state.recover(1)
    controller.collect()
    for each in (controller, two):
        each.side.counters.clear()
    two.side.counters.requests = 1
    two.publish()
    controller.collect()
    assert (controller.side.counters.requests, controller.side.counters.maximum_sessions) == (1, 0)


@pytest.mark.parametrize("made", [ProxyCounters, ServerCounters, ListenerCounters, ProcessCounters])
def test_everything_that_is_counted_is_told(made: Callable[[], Any]) -> None:
    counters, other = made(), made()
    tally = Tally(counters)
    names = {*slots_of(type(counters))} - {*slots_of(Sessions)}  # one number over all workers as it is
    for number, name in enumerate(sorted(names), 1):
        value = getattr(counters, name)
        if isinstance(value, RateMeter):
            value._second, value._current, value.maximum = 50, number, number
        elif isinstance(value, list):
            value[:] = range(number, number + len(value))
        else:
            setattr(counters, name, number)
    tally.write(other, [tally.read(counters)])
    assert tally.read(other) == tally.read(counters)
    for name in names:
        mine, its = getattr(counters, name), getattr(other, name)
        assert mine == its or (isinstance(mine, RateMeter) and mine.rate(50.0) == its.rate(50.0) > 0), name
