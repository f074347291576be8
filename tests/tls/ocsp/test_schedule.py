from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.tls.ocsp.agenda import AT_ONCE, AT_ONE_RESPONDER, Agenda
from headgate.tls.ocsp.certificate_id import CertificateId
from headgate.tls.ocsp.response import Response, Status
from headgate.tls.ocsp.schedule import SHORTEST, SPREAD, Delays, delay_after_failure, delay_after_success

NOW = 1_800_000_000.0
DELAYS = Delays()
WEEK, HOUR = 7 * 86400.0, 3600.0


def response(begun: float, ends: float | None) -> Response:
    """Valid since `begun` seconds, for `ends` more; None: open-ended."""
    number = CertificateId("30", b"", b"", 1)
    return Response(b"x", number, Status.GOOD, NOW - begun, NOW - begun, None if ends is None else NOW + ends)


def test_at_half_of_the_validity() -> None:
    delays = Delays(300, 10 * 86400)
    assert delay_after_success(response(0, WEEK), NOW, delays, 0.0) == WEEK / 2
    assert delay_after_success(response(WEEK / 4, WEEK * 3 / 4), NOW, delays, 0.0) == WEEK / 4


def test_half_of_the_rest_when_half_is_over() -> None:
    assert delay_after_success(response(WEEK, 4000.0), NOW, DELAYS, 0.0) == 2000.0


def test_the_longest_delay_is_held() -> None:
    assert delay_after_success(response(0, WEEK), NOW, DELAYS, 0.0) == 3600.0


def test_the_shortest_delay_is_held_where_the_response_lasts() -> None:
    assert delay_after_success(response(WEEK, 700.0), NOW, DELAYS, 0.0) == 350.0
    assert delay_after_success(response(0, None), NOW, DELAYS, 0.0) == 300.0


def test_the_shortest_delay_gives_way_before_stapling_does() -> None:
    assert delay_after_success(response(WEEK, 100.0), NOW, DELAYS, 0.0) == 50.0
    assert delay_after_success(response(0, 0.5), NOW, DELAYS, 0.0) == SHORTEST


@given(
    st.floats(0, 1e7), st.one_of(st.none(), st.floats(1e-3, 1e7)), st.floats(0, 0.999999), st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_bounds_hold_for_every_response(begun: float, ends: float | None, chance: float, shortest: int, more: int) -> None:
    delays = Delays(shortest, shortest + more)
    wait = delay_after_success(response(begun, ends), NOW, delays, chance)
    assert SHORTEST <= wait <= delays.longest * (1 + 1e-9)
    if ends is not None and ends > 2 * SHORTEST:
        assert wait < ends, "renewed before it ends"
    if ends is None or ends >= 2 * shortest:
        assert wait >= shortest * (1 - 1e-9)


def test_chance_spreads_renewals() -> None:
    rng = random.Random(1)
    waits = [delay_after_success(response(0, WEEK), NOW, DELAYS, rng.random()) for _ in range(1000)]
    minutes = Counter(int(wait // 60) for wait in waits)
    assert min(waits) >= 3600 * (1 - SPREAD) and max(waits) <= 3600
    assert len(minutes) == 12 and max(minutes.values()) < 130


# --- failures ---


def test_with_nothing_to_staple_tries_are_frequent_and_never_far_apart() -> None:
    waits = [delay_after_failure(number, None, NOW, DELAYS, 0.5) for number in range(1, 20)]
    assert waits[:4] == [5.0, 10.0, 20.0, 40.0] and max(waits) == 300.0


def test_where_clients_insist_the_first_wait_is_short() -> None:
    assert [delay_after_failure(number, None, NOW, DELAYS, 0.5, urgent=True) for number in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert delay_after_failure(1, response(0, WEEK), NOW, DELAYS, 0.5, urgent=True) == 60.0


def test_with_a_good_response_tries_are_rarer() -> None:
    waits = [delay_after_failure(number, response(0, WEEK), NOW, DELAYS, 0.5) for number in range(1, 20)]
    assert waits[:3] == [60.0, 120.0, 240.0] and max(waits) == 3600.0


def test_the_nearer_the_end_the_more_often() -> None:
    assert delay_after_failure(10, response(WEEK, 2000), NOW, DELAYS, 0.5) == 500.0
    assert delay_after_failure(10, response(WEEK, 20), NOW, DELAYS, 0.5) == 60.0


def test_what_the_responder_asks_for_is_heeded_within_bounds() -> None:
    assert delay_after_failure(1, None, NOW, DELAYS, 0.5, 120.0) == 120.0
    assert delay_after_failure(1, None, NOW, DELAYS, 0.5, 1e9) == 3600.0


@given(st.integers(1, 10**6), st.floats(0, 0.999999), st.one_of(st.none(), st.floats(0.1, 1e7)))
def test_waits_after_failures_have_bounds(number: int, chance: float, ends: float | None) -> None:
    on_hand = None if ends is None else response(10.0, ends)
    assert SHORTEST <= delay_after_failure(number, on_hand, NOW, DELAYS, chance) <= 3600 * (1 + SPREAD)


# --- a thousand certificates ---


@pytest.mark.parametrize("responders", [1, 40])
def test_a_thousand_certificates_with_a_clock_of_their_own(responders: int) -> None:
    """One day: never more at a time than may be, everybody has a turn each hour, and renewals are spread over time."""
    rng = random.Random(7)
    agenda = Agenda()
    ends: list[tuple[float, str]] = []
    begun: dict[str, list[float]] = {f"{number}": [] for number in range(1000)}
    busy: Counter[str] = Counter()
    for key in begun:
        agenda.put(key, 0.0, f"r{int(key) % responders}")
    now = 0.0
    while now < 86400:
        for at, key in [one for one in ends if one[0] <= now]:
            ends.remove((at, key))
            busy[f"r{int(key) % responders}"] -= 1
            agenda.done(key)
            agenda.put(key, now + delay_after_success(response(0, WEEK), NOW, DELAYS, rng.random()), f"r{int(key) % responders}")
        for key in agenda.start(now):
            begun[key].append(now)
            busy[f"r{int(key) % responders}"] += 1
            ends.append((now + rng.uniform(0.05, 0.5), key))
        assert agenda.running == sum(busy.values()) <= AT_ONCE
        assert max(busy.values(), default=0) <= AT_ONE_RESPONDER
        upcoming = [at for at, _ in ends] + [at for at in [agenda.next_at()] if at is not None and at > now]
        now = max(min(upcoming), now + 1e-6)
    assert all(23 <= len(times) <= 31 for times in begun.values())
    late = Counter(int(moment // 60) for times in begun.values() for moment in times if moment > 12 * 3600)
    assert max(late.values()) < 80, "a thousand an hour are 17 a minute, and chance"


def test_a_responder_that_hangs_leaves_places_to_others() -> None:
    agenda = Agenda(at_once=16, at_one_responder=6)
    for number in range(100):
        agenda.put(f"slow{number}", 0.0, "slow")
    agenda.put("good", 1.0, "good")
    assert len(agenda.start(0.5)) == 6
    assert agenda.start(1.0) == ["good"]


def test_what_is_put_again_has_its_new_time_only() -> None:
    agenda = Agenda()
    agenda.put("a", 5.0, "r")
    agenda.put("a", 2.0, "r")
    assert agenda.next_at() == 2.0 and agenda.start(2.0) == ["a"]
    assert agenda.start(9.0) == [], "it runs already"
    agenda.put("a", 10.0, "r")
    assert agenda.start(10.0) == []
    agenda.done("a")
    assert agenda.start(10.0) == ["a"]
    agenda.done("a")
    assert agenda.next_at() is None


def test_what_is_dropped_is_not_started() -> None:
    agenda = Agenda(at_once=1)
    for key in "abc":
        agenda.put(key, 0.0, "r")
    agenda.drop("b")
    started = agenda.start(0.0)
    agenda.drop("c")
    agenda.done(started[0])
    assert started == ["a"] and agenda.start(1.0) == [] and len(agenda) == 0
