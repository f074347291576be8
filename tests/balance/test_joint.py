"""A backend over several workers: exact limits, one queue in the order of arrival, one order of turns, and death."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.balance.server import ServerState
from headgate.plan.facts import Stream
from tests.balance.balance_fixtures import NOW, backend, stream
from tests.balance.joint_fixtures import Workers

Make = Callable[..., Workers]


@pytest.fixture
def workers() -> Iterator[Make]:
    made: list[Workers] = []

    def make(*arguments: Any, **options: Any) -> Workers:
        made.append(Workers(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# --- turns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["roundrobin", "static-rr", "leastconn"])
@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (5, 1, 2), (10, 20, 30)])
def test_turns_are_those_of_a_single_process(workers: Make, algorithm: str, weights: tuple[int, ...]) -> None:
    servers = [{"weight": weight} for weight in weights]
    alone = backend(servers, algorithm)
    several = workers(3, servers, algorithm)
    expected, turns = [], []
    for turn in range(60):
        found = alone.assign(stream(), NOW)
        assert isinstance(found, ServerState)
        expected.append(found.name)
        turns.append(several.take(1 + turn * 7 % 3))
    assert turns == expected


def test_full_servers_are_passed_over_as_in_a_single_process(workers: Make) -> None:
    servers: list[dict[str, Any]] = [{"maxconn": 2}, {"maxconn": 4}, {}]
    alone, several = backend(servers), workers(2, servers)
    expected = [found.name for _ in range(12) if isinstance(found := alone.assign(stream(), NOW), ServerState)]
    assert [several.take(1 + turn % 2) for turn in range(12)] == expected
    assert several.take(1, avoid="s3") == "s3"


def test_a_weight_changed_in_all_workers_changes_their_common_order(workers: Make) -> None:
    several = workers(2, [{}, {}])
    for state in several.states:
        state.set_weight(state.servers[0], 3, NOW)
    turns = [several.take(1 + turn % 2) for turn in range(16)]
    assert turns.count("s1") == 12 and "s2" in turns[:4]


def test_a_server_that_comes_back_gets_no_burst(workers: Make) -> None:
    several = workers(2, [{}, {}])
    for state in several.states:
        state.set_operational(state.servers[1], False, NOW)
    assert {several.take(1 + turn % 2) for turn in range(50)} == {"s1"}
    for state in several.states:
        state.set_operational(state.servers[1], True, NOW)
    turns = [several.take(1 + turn % 2) for turn in range(8)]
    assert turns.count("s1") == 4


@pytest.mark.parametrize(("algorithm", "expected"), [("leastconn", "s2"), ("first", "s1"), ("random", "s2")])
def test_the_load_is_that_of_all_workers(workers: Make, algorithm: str, expected: str) -> None:
    several = workers(2, [{"maxconn": 3}, {"maxconn": 3}], algorithm)
    for state in several.states[:2]:
        state.set_operational(state.servers[1], False, NOW)
    assert [several.take(1) for _ in range(2)] == ["s1", "s1"]
    for state in several.states[:2]:
        state.set_operational(state.servers[1], True, NOW)
    assert several.take(2) == expected
    assert several.total("s1")[0] + several.total("s2")[0] == 3


# --- limits ----------------------------------------------------------------------------------------------------------


def test_maxconn_is_exact(workers: Make) -> None:
    several = workers(3, [{"maxconn": 2}])
    assert [several.take(1), several.take(2), several.take(3), several.take(1)] == ["s1", "s1", "queued", "queued"]
    assert several.total("s1") == (2, 0) and {state.queued for state in several.states} == {2}
    assert {state.sessions for state in several.states} == {4}


def test_maxqueue_counts_what_waits_in_all_workers(workers: Make) -> None:
    steer = {"use_server": lambda one: "s1"}
    several = workers(2, [{"maxconn": 1, "maxqueue": 2}, {"maxconn": 1}], **steer)
    assert [several.take(1), several.take(2), several.take(1)] == ["s1", "queued", "queued"]
    assert several.total("s1") == (1, 2)
    assert several.take(2) == "s2"


def test_the_ramp_follows_the_load_of_the_whole_backend(workers: Make) -> None:
    several = workers(2, [{"minconn": 1, "maxconn": 10}], fullconn=10)
    alone = backend([{"minconn": 1, "maxconn": 10}], fullconn=10)
    expected = [isinstance(alone.assign(stream(), NOW), ServerState) for _ in range(20)]
    assert [several.take(1 + turn % 2) == "s1" for turn in range(20)] == expected


# --- queues ----------------------------------------------------------------------------------------------------------


def test_who_came_first_is_served_first_whichever_worker_has_it(workers: Make) -> None:
    several = workers(3, [{"maxconn": 1}])
    assert several.take(1) == "s1"
    waiting = [(number, several.wait(number)) for number in (2, 1, 3, 3, 1, 2)]
    holder = 1
    for expected in waiting:
        several.release(holder, "s1")
        assert several.granted[-1] == expected and expected[1].server is several[expected[0]].servers[0]
        holder = expected[0]
        assert several.total("s1") == (1, 0)
    several.release(holder, "s1")
    assert several.total("s1") == (0, 0) and several[1].sessions == several[1].queued == 0
    assert sum(state.servers[0].counters.sessions_total for state in several.states) == 7


def test_those_who_wait_for_one_server_and_for_any_are_in_one_order(workers: Make) -> None:
    wants: list[str | None] = [None]
    several = workers(2, [{"maxconn": 1}, {"maxconn": 1}], use_server=lambda one: wants[0])
    assert {several.take(1), several.take(2)} == {"s1", "s2"}
    wants[0] = "s1"
    first = several.wait(2)
    wants[0] = None
    second = several.wait(1)
    wants[0] = "s1"
    third = several.wait(1)
    several.release(1, "s1")
    assert several.granted == [(2, first)]
    several.release(2, "s1")
    assert several.granted[1:] == [(1, second)]
    several.release(1, "s1")
    assert several.granted[2:] == [(1, third)]


def test_who_leaves_the_queue_is_not_served(workers: Make) -> None:
    several = workers(2, [{"maxconn": 1}])
    several.take(1)
    first, second, third = several.wait(2), several.wait(1), several.wait(2)
    assert several[1].dequeue(second) and not several[1].dequeue(second)
    assert several[2].dequeue(first)
    several.release(1, "s1")
    assert several.granted == [(2, third)]
    assert several[1].sessions == 1 and several[1].queued == 0


def test_a_slot_that_comes_too_late_goes_to_the_next_one(workers: Make) -> None:
    several = workers(2, [{"maxconn": 1}])
    several.take(1)
    gone, second, third = several.wait(2), several.wait(1), several.wait(2)
    server = several[1].servers[0]
    assert several[1].release(server) is None  # granted to worker 2, which has not read its mail
    assert several[2].dequeue(gone)
    several.deliver()
    assert several.granted == [(1, second)] and several.total("s1") == (1, 0)
    several.release(1, "s1")
    assert several.granted[1:] == [(2, third)]


def test_it_goes_to_another_one_of_the_same_worker_too(workers: Make) -> None:
    several = workers(2, [{"maxconn": 1}])
    several.take(1)
    gone, second = several.wait(2), several.wait(2)
    several[1].release(several[1].servers[0])
    assert several[2].dequeue(gone)
    several.deliver()
    assert several.granted == [(2, second)] and several.total("s1") == (1, 0)
    assert several[2].servers[0].counters.sessions_total == 1


def test_a_raised_limit_serves_those_who_wait_everywhere(workers: Make) -> None:
    several = workers(2, [{"maxconn": 1}])
    several.take(1)
    waiting = [several.wait(2), several.wait(1), several.wait(2)]
    server = several[0].servers[0]
    assert several[0].set_maxconn(server, 3, NOW) == []  # in the controller, which comes first
    several.deliver()
    assert sorted(number for number, _ in several.granted) == [1, 2] and waiting[2] not in dict(several.granted).values()
    for state in several.states[1:]:
        state.set_maxconn(state.servers[0], 3, NOW)
    assert several.total("s1") == (3, 0)


def test_a_server_that_goes_down_sends_away_who_waits_for_it_in_each_worker(workers: Make) -> None:
    several = workers(2, [{"maxconn": 1}, {"maxconn": 1}], use_server=lambda one: "s1")
    several.take(1)
    first, second = several.wait(1), several.wait(2)
    for state, expected in ((several[1], first), (several[2], second)):
        assert state.set_operational(state.servers[0], False, NOW) == [expected] and expected.server is None
    assert several.total("s1") == (1, 0) and several[1].sessions == 1 and several[1].queued == 0


# --- death -----------------------------------------------------------------------------------------------------------


def test_the_dead_give_back_slots_and_places_in_the_queue(workers: Make) -> None:
    several = workers(2, [{"maxconn": 2}])
    several.take(1), several.take(1)
    several.wait(1)
    second = several.wait(2)
    several.wait(1)
    fourth = several.wait(2)
    assert several.shared.recover(1)
    assert several.total("s1") == (0, 0) and several[2].queued == 2
    assert several[2].settle() == [second, fourth]
    assert several.total("s1") == (2, 0) and several[2].sessions == 2


def test_what_the_dead_were_granted_goes_to_others(workers: Make) -> None:
    several = workers(2, [{"maxconn": 1}])
    several.take(2)
    several.wait(1)
    mine = several.wait(2)
    assert several[2].release(several[2].servers[0]) is None
    several.shared.recover(1)
    assert several[2].settle() == [mine] and several.total("s1") == (1, 0)


def test_mail_of_the_living_is_kept(workers: Make) -> None:
    several = workers(2, [{"maxconn": 1}])
    several.take(1)
    mine = several.wait(2)
    several[1].release(several[1].servers[0])
    several.shared.recover(1)
    assert several[2].granted() == [mine] and several.total("s1") == (1, 0)


@pytest.mark.parametrize("writes", range(1, 60))
def test_a_death_at_any_moment_leaves_nothing_crooked(workers: Make, writes: int) -> None:
    """Worker 1 dies after so many writes of a release that grants its slot to worker 2."""
    several = workers(2, [{"maxconn": 1}])
    several.take(1)
    first, second = several.wait(2), several.wait(2)

    class Dead(Exception):
        pass

    class Fatal:
        def __init__(self, cells: Any) -> None:
            self.cells, self.left = cells, writes

        def __getitem__(self, at: int) -> int:
            return int(self.cells[at])

        def __setitem__(self, at: int, value: int) -> None:
            if not self.left:
                raise Dead
            self.left -= 1
            self.cells[at] = value

    state = several[1]
    server: Any = state.servers[0]
    state._cells = server._cells = Fatal(several.shared.cells)
    try:
        state.release(server)
    except Dead:
        pass
    several.states[1] = several[2]
    assert several.shared.recover(1)
    resumed = several[2].settle()
    assert resumed == [first]
    assert several.total("s1") == (1, 0) and several[2].sessions == 2 and several[2].queued == 1
    assert several[2].release(several[2].servers[0]) is second
    assert several[2].release(several[2].servers[0]) is None
    assert several[2].sessions == several[2].queued == 0


def test_a_successor_begins_with_nothing_and_sees_everything(workers: Make) -> None:
    several = workers(2, [{}, {}])
    several.take(1), several.take(2), several.take(2)
    several.shared.recover(1)
    several.states[1] = several.make(1)
    assert several.total("s1")[0] + several.total("s2")[0] == 2 == several[1].sessions
    turns = [several.take(1 + turn % 2) for turn in range(6)]
    assert turns[::2] == [turns[0]] * 3 and turns[1::2] == [turns[1]] * 3 and turns[0] != turns[1]


# --- anything at all -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    limits=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    steps=st.lists(st.tuples(st.sampled_from("abcrrxdk"), st.integers(1, 3), st.integers(0, 20)), max_size=80),
)
def test_the_limiter_is_exact(limits: list[int], steps: list[tuple[str, int, int]]) -> None:
    """Whatever several workers do: no limit is exceeded, no slot idle while somebody waits, arrival is the order."""
    several = Workers(3, [{"maxconn": limit} for limit in limits])
    serving: list[tuple[int, str, Stream]] = []
    queue: list[tuple[int, Stream]] = []

    def note_granted() -> None:
        several.deliver()
        for number, one in sorted(several.granted, key=lambda each: queue.index(each)):
            assert one.server is not None
            serving.append((number, one.server.name, one))
        for each in several.granted:
            queue.remove(each)
        several.granted.clear()

    for kind, number, choice in steps:
        if kind in "abc":
            made = stream()
            found = several[number].assign(made, NOW)
            if isinstance(found, ServerState):
                assert not queue
                serving.append((number, found.name, made))
            else:
                queue.append((number, made))
        elif kind == "r" and serving:
            worker, name, _ = serving.pop(choice % len(serving))
            head = queue[0] if queue else None
            several.release(worker, name)
            assert (several.granted[0] if several.granted else None) == head
            note_granted()
        elif kind == "x" and queue:
            worker, one = queue.pop(choice % len(queue))
            assert several[worker].dequeue(one)
        elif kind == "d" and serving:
            # The slot is on its way when its taker leaves.
            worker, name, _ = serving.pop(choice % len(serving))
            server = several[worker].server(name)
            assert server is not None
            resumed = several[worker].release(server)
            if resumed is not None:
                several.granted.append((worker, resumed))
            elif queue and several[queue[0][0]].dequeue(queue[0][1]):
                queue.pop(0)
            note_granted()
        elif kind == "k":
            several.shared.recover(number)
            serving = [each for each in serving if each[0] != number]
            queue = [each for each in queue if each[0] != number]
            several.states[number] = several.make(number)
            for other, state in enumerate(several.states):
                several.granted += [(other, one) for one in state.settle()]
            note_granted()
        for position, limit in enumerate(limits, 1):
            load = sum(1 for each in serving if each[1] == f"s{position}")
            assert several.total(f"s{position}") == (load, 0)
            assert not limit or load <= limit
            assert not queue or load == limit > 0
        assert {(state.sessions, state.queued) for state in several.states} == {(len(serving) + len(queue), len(queue))}
    several.close()
