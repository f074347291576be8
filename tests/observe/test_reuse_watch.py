"""When it is said that a server makes us do without its sessions, and when not (again)."""

from __future__ import annotations

from headgate.observe.full_handshakes import Cause
from headgate.observe.reuse_watch import AT_A_TIME, QUIET, Handshakes, ReuseWatch


def seen(resumed: int = 0, name: str = "s1", processes: int = 1, **causes: int) -> Handshakes:
    numbers = [0] * len(Cause)
    for word, count in causes.items():
        numbers[Cause[word.upper()]] = count
    return Handshakes("app", name, resumed, numbers, processes)


def test_a_server_that_refuses_is_named_with_reason_and_remedy() -> None:
    watch = ReuseWatch()
    assert watch.look(0.0, [seen(first_contact=1, refused=3)]) == []  # too few to judge
    assert watch.look(5.0, [seen(1, first_contact=1, refused=9)]) == []  # those of one restart may come in two looks
    (warning,) = watch.look(10.0, [seen(2, first_contact=1, refused=17)])
    assert warning.backend == "app"
    assert warning.text.startswith(
        "Server app/s1: 17 of the last 20 TLS handshakes were full ones although sessions are reused: the server refused the "
        "session (17). Each costs a key exchange on both sides: look at the server's session cache and ticket keys"
    )


def test_said_once_in_an_hour_for_each_reason() -> None:
    watch = ReuseWatch()
    refused = [len(watch.look(5.0 * number, [seen(number, refused=20 * number)])) for number in range(int(QUIET / 5.0) + 10)]
    assert [number for number, said in enumerate(refused) if said] == [3, 3 + QUIET / 5.0]
    expired = [len(watch.look(QUIET + 100.0 + number, [seen(0, expired=20 * number)])) for number in range(20)]
    assert [number for number, said in enumerate(expired) if said] == [3]


def test_what_is_as_it_should_be_is_not_said() -> None:
    watch = ReuseWatch()
    for number in range(1, 30):
        assert not watch.look(5.0 * number, [seen(8 * number, refused=2 * number)])
    watch = ReuseWatch()
    for number in range(1, 30):
        other = {"first_contact": 20 * number, "other_name": 20 * number, "disabled": 20 * number}
        assert not watch.look(5.0 * number, [seen(refused=number, **other)])


def test_old_numbers_do_not_hide_what_happens_now() -> None:
    watch = ReuseWatch()
    assert not watch.look(0.0, [seen(100_000)])
    assert [len(watch.look(5.0 * number, [seen(100_000 + number, expired=10 * number)])) for number in range(1, 4)] == [0, 0, 1]


def test_slow_servers_are_judged_over_a_longer_time() -> None:
    """One that resumes now and then is no clear case: enough of them decide."""
    watch = ReuseWatch()
    assert not any(watch.look(20.0 * number, [seen(number // 3, refused=number - number // 3)]) for number in range(10))
    assert watch.look(200.0, [seen(3, refused=7)])


def looks(watch: ReuseWatch, *numbers: Handshakes, every: float = 10.0) -> list[float]:
    """When something is said, when `numbers` are those after each handshake: `every` seconds one, a look every five."""
    said = []
    for number, at in enumerate(numbers):
        for look in range(int(every / 5.0)):
            now = number * every + look * 5.0
            said += [now for _ in watch.look(now, [at])]
    return said


def test_a_check_every_ten_seconds_is_enough_to_tell_within_a_minute() -> None:
    for cause in ("refused", "no_session", "expired", "unclean_by_server"):
        assert looks(ReuseWatch(), *[seen(first_contact=1, **{cause: number}) for number in range(12)]) == [40.0]


def test_a_server_that_begins_to_refuse_is_told_of_as_fast() -> None:
    before = [seen(number, first_contact=1) for number in range(100)]
    after = [seen(99, first_contact=1, refused=number) for number in range(1, 6)]
    assert looks(ReuseWatch(), *before, *after) == [(100 + 3) * 10.0]


def test_a_server_that_restarts_or_a_session_that_expires_is_no_reason() -> None:
    watch = ReuseWatch()
    numbers = [seen(0, first_contact=1)]
    for restart in range(1, 20):  # each refuses once, and then resumes
        full, resumed = {"first_contact": 1, "refused": restart, "expired": restart // 2}, numbers[-1].resumed
        numbers += [seen(resumed + more, **full) for more in range(20)]
    assert not looks(watch, *numbers)


def test_what_is_refused_at_a_time_is_no_row() -> None:
    """Tickets that were used side by side when the server restarted."""
    watch = ReuseWatch()
    after = [seen(40 + more, refused=20) for more in range(99)]
    assert not looks(watch, seen(40), seen(40, refused=8), seen(40, refused=20), *after)


def test_each_worker_may_be_refused_once() -> None:
    watch = ReuseWatch()
    restarted = [seen(20, processes=9, refused=number) for number in range(10)]
    assert not looks(watch, seen(20, processes=9), *restarted, seen(21, processes=9, refused=9))
    assert not looks(ReuseWatch(), *[seen(processes=9, refused=number) for number in range(12)])
    assert looks(ReuseWatch(), *[seen(processes=9, refused=number) for number in range(13)]) == [120.0]


def test_a_row_ends_when_it_takes_too_long() -> None:
    assert not looks(ReuseWatch(), *[seen(refused=number) for number in range(9)], every=250.0)


def test_a_row_that_was_told_of_is_told_of_again_in_an_hour_only() -> None:
    assert looks(ReuseWatch(), *[seen(refused=number) for number in range(400)]) == [40.0, 3640.0]


def test_cleared_counters_begin_anew() -> None:
    watch = ReuseWatch()
    assert not watch.look(0.0, [seen(100)])
    said = [len(watch.look(5.0 * number, [seen(number, refused=9 * number)])) for number in range(1, 6)]
    assert said == [0, 0, 0, 1, 0]


def test_no_flood() -> None:
    watch = ReuseWatch()
    said = []
    for turn in range(1, 7):
        many = [seen(name=f"s{number}", refused=20 * turn) for number in range(2 * AT_A_TIME + 1)]
        said.append(len(watch.look(5.0 * turn, many)))
    assert said == [0, 0, AT_A_TIME, AT_A_TIME, 1, 0]
