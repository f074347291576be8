"""When it is said that a server makes us do without its sessions, and when not (again)."""

from __future__ import annotations

from headgate.observe.full_handshakes import Cause
from headgate.observe.reuse_watch import AT_A_TIME, QUIET, Handshakes, ReuseWatch


def seen(resumed: int = 0, name: str = "s1", **causes: int) -> Handshakes:
    numbers = [0] * len(Cause)
    for word, count in causes.items():
        numbers[Cause[word.upper()]] = count
    return Handshakes("app", name, resumed, numbers)


def test_a_server_that_refuses_is_named_with_reason_and_remedy() -> None:
    watch = ReuseWatch()
    assert watch.look(0.0, [seen(first_contact=1, refused=3)]) == []  # too few to judge
    (warning,) = watch.look(5.0, [seen(2, first_contact=1, refused=17)])
    assert warning.backend == "app"
    assert warning.text.startswith(
        "Server app/s1: 17 of the last 20 TLS handshakes were full ones although sessions are reused: the server refused the "
        "session (17). Each costs a key exchange on both sides: look at the server's session cache and ticket keys"
    )


def test_said_once_in_an_hour_for_each_reason() -> None:
    watch = ReuseWatch()
    assert watch.look(0.0, [seen(refused=20)])
    assert not watch.look(5.0, [seen(refused=40)])
    assert not watch.look(10.0, [seen(refused=60)])
    assert watch.look(15.0, [seen(refused=60, no_session=20)])
    assert watch.look(QUIET + 20.0, [seen(refused=90, no_session=20)])


def test_what_is_as_it_should_be_is_not_said() -> None:
    watch = ReuseWatch()
    assert not watch.look(0.0, [seen(8, refused=2)])
    assert not watch.look(5.0, [seen(8, refused=2, first_contact=40, other_name=40, disabled=40)])


def test_old_numbers_do_not_hide_what_happens_now() -> None:
    watch = ReuseWatch()
    assert not watch.look(0.0, [seen(100_000)])
    assert watch.look(5.0, [seen(100_000, expired=10)])


def test_slow_servers_are_judged_over_a_longer_time() -> None:
    watch = ReuseWatch()
    assert not any(watch.look(20.0 * number, [seen(refused=number)]) for number in range(10))
    assert watch.look(200.0, [seen(refused=10)])


def test_cleared_counters_begin_anew() -> None:
    watch = ReuseWatch()
    assert not watch.look(0.0, [seen(100)])
    assert not watch.look(5.0, [seen(refused=9)])
    assert watch.look(10.0, [seen(refused=19)])


def test_no_flood() -> None:
    watch = ReuseWatch()
    many = [seen(name=f"s{number}", refused=20) for number in range(2 * AT_A_TIME + 1)]
    assert [len(watch.look(5.0 * turn, many)) for turn in range(4)] == [AT_A_TIME, AT_A_TIME, 1, 0]
