"""A backend at work: who is usable, exact limits, fair queues, and what changes of state move."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.balance.backend import QUEUED, BackendState
from headgate.balance.server import Admin, ServerState
from headgate.config.model import CookiePersistence, HashType, Options
from headgate.plan.facts import Stream
from tests.balance.balance_fixtures import NOW, backend, stream


def taken(state: BackendState, **cookies: Any) -> str | None:
    made = state.assign(stream(**cookies), NOW)
    return made.name if isinstance(made, ServerState) else made.value if made is not None else None


def test_assign_and_release_count() -> None:
    state = backend([{}, {}])
    made = stream()
    chosen = state.assign(made, NOW)
    assert isinstance(chosen, ServerState) and made.server is chosen
    assert (chosen.sessions, state.sessions, chosen.counters.sessions_total, chosen.counters.maximum_sessions) == (1, 1, 1, 1)
    assert state.release(chosen) is None
    assert (chosen.sessions, state.sessions, chosen.counters.sessions_total) == (0, 0, 1)


def test_facts() -> None:
    state = backend([{}, {"disabled": True}, {"weight": 0}, {"backup": True}])
    assert state.usable() == 1 and state.server("s2") is state.servers[1] and state.server("x") is None
    assert [server.state for server in state.servers] == ["UP", "MAINT", "DRAIN", "UP"]


def test_no_usable_server() -> None:
    assert taken(backend([])) is None
    assert taken(backend([{"disabled": True}])) is None
    assert taken(backend([{"weight": 0}])) is None


def test_backups() -> None:
    servers: list[dict[str, Any]] = [{}, {"backup": True}, {"backup": True}]
    for all_of_them, expected in ((False, {"s2"}), (True, {"s2", "s3"})):
        state = backend(servers, options=Options(allbackups=all_of_them))
        assert {taken(state) for _ in range(6)} == {"s1"}
        state.set_operational(state.servers[0], False, NOW)
        assert {taken(state) for _ in range(6)} == expected
        state.set_operational(state.servers[0], True, NOW)
        assert {taken(state) for _ in range(6)} == {"s1"}


def test_admin_states() -> None:
    state = backend([{}, {}])
    first = state.servers[0]
    for admin in (Admin.DRAIN, Admin.MAINT):
        state.set_admin(first, admin, NOW)
        assert {taken(state) for _ in range(4)} == {"s2"} and first.usable() is (admin is Admin.DRAIN)
    state.set_admin(first, Admin.READY, NOW)
    assert {taken(state) for _ in range(4)} == {"s1", "s2"}
    state.set_stopping(first, True, NOW)
    assert {taken(state) for _ in range(4)} == {"s2"} and first.state == "NOLB"
    state.set_stopping(first, False, NOW)
    state.set_weight(first, 0, NOW)
    assert {taken(state) for _ in range(4)} == {"s2"}


def test_redispatch_avoids_the_failed_server() -> None:
    state = backend([{}, {}])
    for _ in range(4):
        made = state.assign(stream(), NOW, avoid=state.servers[0])
        assert made is state.servers[1]


def test_keys_decide_and_without_one_round_robin_applies() -> None:
    keys = iter([b"k"] * 5 + [None] * 4)
    state = backend([{}, {}], "uri", balance_key=lambda made: next(keys))
    assert len({taken(state) for _ in range(5)}) == 1
    assert [taken(state) for _ in range(4)] == ["s1", "s2", "s1", "s2"]


def test_a_full_server_of_a_hash_is_waited_for() -> None:
    state = backend([{"maxconn": 1}, {"maxconn": 1}], "uri", balance_key=lambda made: b"k", hash_type=HashType("consistent"))
    first, second = stream(), stream()
    chosen = state.assign(first, NOW)
    assert isinstance(chosen, ServerState)
    assert state.assign(second, NOW) is QUEUED and second.server is chosen and chosen.queued == 1
    assert state.release(chosen) is second and chosen.queued == 0 and chosen.sessions == 1


def test_waiting_in_order_of_arrival() -> None:
    state = backend([{"maxconn": 1}, {"maxconn": 1}])
    assert [taken(state), taken(state)] == ["s1", "s2"]
    waiting = [stream() for _ in range(3)]
    assert [state.assign(each, NOW) for each in waiting] == [QUEUED] * 3
    assert [each.queue_position_backend for each in waiting] == [0, 1, 2]
    assert state.queued == 3 and state.sessions == 5
    assert state.dequeue(waiting[1]) and not state.dequeue(waiting[1])
    second = state.servers[1]
    assert state.release(second) is waiting[0] and waiting[0].server is second and second.sessions == 1
    assert state.release(state.servers[0]) is waiting[2]
    assert state.release(second) is None and second.sessions == 0 and state.queued == 0 and state.sessions == 1


def test_newcomers_do_not_overtake() -> None:
    wish: list[str | None] = [None]
    state = backend([{"maxconn": 1}], use_server=lambda made: wish[0])
    only = state.servers[0]
    assert state.assign(stream(), NOW) is only
    anywhere, steered = stream(), stream()
    assert state.assign(anywhere, NOW) is QUEUED
    wish[0] = "s1"
    assert state.assign(steered, NOW) is QUEUED and steered.server is only
    assert state.release(only) is anywhere, "who waits for any server came first"
    assert state.release(only) is steered


def test_maxqueue_sends_on_to_others() -> None:
    state = backend([{"maxconn": 1, "maxqueue": 1}, {"maxconn": 1}], use_server=lambda made: "s1")
    assert taken(state) == "s1"
    assert taken(state) == "queued" and state.servers[0].queued == 1
    assert taken(state) == "s2"
    assert taken(state) == "queued" and state.servers[0].queued == 1, "now for any server"


def test_use_server() -> None:
    wish: list[str | None] = ["s2"]
    state = backend([{}, {"weight": 0}], use_server=lambda made: wish[0])
    assert taken(state) == "s2", "weight 0 is no obstacle to a rule"
    state.set_operational(state.servers[1], False, NOW)
    assert taken(state) == "s1"
    wish[0] = "unknown"
    assert taken(state) == "s1"
    forced = backend([{}, {}], use_server=lambda made: "s2", force_persist=lambda made: True)
    forced.set_operational(forced.servers[1], False, NOW)
    assert taken(forced) == "s2"


def test_a_dead_server_gives_its_queue_back() -> None:
    state = backend([{"maxconn": 1}, {"maxconn": 1}], use_server=lambda made: "s1")
    assert taken(state) == "s1"
    waiting = [stream(), stream()]
    for each in waiting:
        assert state.assign(each, NOW) is QUEUED
    moved = state.set_operational(state.servers[0], False, NOW)
    assert moved == waiting and all(each.server is None for each in moved)
    assert (state.queued, state.servers[0].queued, state.sessions) == (0, 0, 1)
    assert state.assign(moved[0], NOW) is state.servers[1]


def test_a_server_that_comes_up_takes_who_waits() -> None:
    state = backend([{"maxconn": 1}, {"maxconn": 2}])
    second = state.servers[1]
    state.set_operational(second, False, NOW)
    assert taken(state) == "s1"
    waiting = [stream() for _ in range(3)]
    for each in waiting:
        assert state.assign(each, NOW) is QUEUED
    assert state.set_operational(second, True, NOW) == waiting[:2]
    assert second.sessions == 2 and all(each.server is second for each in waiting[:2]) and state.queued == 1


def test_a_raised_limit_takes_who_waits() -> None:
    state = backend([{"maxconn": 1}])
    assert taken(state) == "s1"
    waiting = stream()
    assert state.assign(waiting, NOW) is QUEUED
    assert state.set_maxconn(state.servers[0], 2, NOW) == [waiting]
    assert state.servers[0].sessions == 2


def test_dynamic_limit_is_a_ramp() -> None:
    state = backend([{"minconn": 2, "maxconn": 10}], fullconn=16)
    server = state.servers[0]
    limits = []
    for load in (0, 4, 8, 16, 100):
        server.update_limit(load, state.fullconn)
        limits.append(server.limit)
    assert limits == [2, 4, 6, 10, 10]
    answers = [state.assign(stream(), NOW) for _ in range(20)]
    assert server.sessions <= 10 and QUEUED in answers
    assert backend([{"minconn": 5}]).servers[0].limit == 5


def test_slowstart() -> None:
    state = backend([{"weight": 100, "slowstart": 10.0, "maxconn": 100}, {"weight": 100}])
    server = state.servers[0]
    assert server.effective == 100 and server.limit == 100, "never at the start"
    state.set_operational(server, False, NOW)
    state.set_operational(server, True, NOW + 5)
    assert server.effective == 1 and server.limit == 1
    state.warm_up(NOW + 10)
    assert server.effective == 50 and server.limit == 50
    state.warm_up(NOW + 15)
    assert server.effective == 100 and server.limit == 100 and server.up_since == 0.0


def test_cookie_goes_before_the_algorithm_and_after_use_server() -> None:
    cookie = CookiePersistence("SRV", "insert")
    servers = [{"cookie": "a"}, {"cookie": "b"}, {"cookie": "c", "backup": True}]
    state = backend(servers, cookie=cookie)
    assert {taken(state, cookies=b"SRV=b") for _ in range(4)} == {"s2"}
    assert taken(state, cookies=b"SRV=c") == "s3", "a backup server serves those who hold its cookie"
    state.set_admin(state.servers[1], Admin.DRAIN, NOW)
    assert taken(state, cookies=b"SRV=b") == "s2"
    state.set_operational(state.servers[1], False, NOW)
    assert taken(state, cookies=b"SRV=b") == "s1"
    for persistent in (backend(servers, cookie=cookie, options=Options(persist=True)),
                       backend(servers, cookie=cookie, force_persist=lambda made: True)):
        persistent.set_operational(persistent.servers[1], False, NOW)
        assert taken(persistent, cookies=b"SRV=b") == "s2"
    ignoring = backend(servers, cookie=cookie, ignore_persist=lambda made: True)
    assert {taken(ignoring, cookies=b"SRV=b") for _ in range(4)} == {"s1", "s2"}
    ruled = backend(servers, cookie=cookie, use_server=lambda made: "s1")
    made = stream(b"SRV=b")
    assert ruled.assign(made, NOW) is ruled.servers[0] and made.cookie_states[:1] == b"U"


def test_redispatch_from_the_server_of_the_cookie_is_marked() -> None:
    state = backend([{"cookie": "a"}, {"cookie": "b"}], cookie=CookiePersistence("SRV", "insert"))
    made = stream(b"SRV=a")
    assert state.assign(made, NOW) is state.servers[0] and made.cookie_states[:1] == b"V"
    state.release(state.servers[0])
    assert state.assign(made, NOW, avoid=state.servers[0]) is state.servers[1] and made.cookie_states[:1] == b"D"


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from(["roundrobin", "static-rr", "leastconn", "first", "random", "uri"]))
def test_limits_are_exact_and_nobody_is_lost(seed: int, algorithm: str) -> None:
    """Random traffic, aborts and failures: never above maxconn, all that wait are served, all counters end at zero."""
    rng = random.Random(seed)
    key = None if algorithm != "uri" else lambda made: b"%d" % rng.randrange(5)
    servers: list[dict[str, Any]] = [{"maxconn": 2, "maxqueue": 2}, {"maxconn": 1}, {"maxconn": 3}]
    state = backend(servers, algorithm, randomness=rng.random, balance_key=key)
    serving: list[tuple[Stream, ServerState]] = []
    waiting: list[Stream] = []

    def resume(made: Stream) -> None:
        waiting.remove(made)
        begin(made, made.server if made.server is not None else state.assign(made, NOW))

    def begin(made: Stream, answer: object) -> None:
        if isinstance(answer, ServerState):
            serving.append((made, answer))
        elif answer is QUEUED:
            waiting.append(made)

    for _ in range(80):
        action = rng.random()
        if action < 0.5:
            made = stream()
            begin(made, state.assign(made, NOW))
        elif action < 0.75 and serving:
            _, server = serving.pop(rng.randrange(len(serving)))
            freed = state.release(server)
            if freed is not None:
                resume(freed)
        elif action < 0.85 and waiting:
            assert state.dequeue(waiting.pop(rng.randrange(len(waiting))))
        elif action > 0.9:
            server = rng.choice(state.servers)
            for moved in state.set_operational(server, not server.up, NOW):
                resume(moved)
        assert all(each.sessions <= each.limit for each in state.servers)
        assert state.queued == len(waiting) and state.sessions == len(serving) + len(waiting)
    for server in state.servers:
        for moved in state.set_operational(server, True, NOW):
            resume(moved)
    while serving:
        freed = state.release(serving.pop(0)[1])
        if freed is not None:
            resume(freed)
    assert not waiting and state.sessions == state.queued == 0
    assert all(server.sessions == server.queued == 0 for server in state.servers)


def test_setters_and_repr_hold_no_secrets() -> None:
    state = backend([{}], cookie=CookiePersistence("SRV", "insert", dynamic=True), dynamic_cookie_key="secret")
    assert "secret" not in repr(state.servers[0]) + repr(state.plan)


@pytest.mark.parametrize("algorithm", ["roundrobin", "leastconn", "first", "random", "static-rr"])
def test_all_full_waits(algorithm: str) -> None:
    state = backend([{"maxconn": 1}, {"maxconn": 1}], algorithm)
    assert {taken(state), taken(state)} == {"s1", "s2"}
    assert taken(state) == "queued"
