"""Framing of log lines. The expected bytes were recorded from HAProxy 2.6 with the same configuration."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.observe.syslog import (
    DEBUG,
    EMERG,
    FACILITIES,
    FORMATS,
    INFO,
    LEVELS,
    NOTICE,
    LineFramer,
    Origin,
    Sampler,
    head_of,
    iso_time,
    rfc3164_time,
)

#: 2026-11-21T01:31:35.355431Z
NOW = 1795224695.355431
LOCAL0 = FACILITIES.index("local0")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("format", "hostname", "expected"),
    [
        ("local", None, b"<134>Nov 21 01:31:35 haproxy[6626]: text"),
        ("local", "foo", b"<134>Nov 21 01:31:35 haproxy[6626]: text"),
        ("rfc3164", None, b"<134>Nov 21 01:31:35 localhost haproxy[6626]: text"),
        ("rfc3164", "foo", b"<134>Nov 21 01:31:35 foo haproxy[6626]: text"),
        ("rfc5424", None, b"<134>1 2026-11-21T01:31:35.355431+00:00 - haproxy 6626 - - text"),
        ("rfc5424", "foo", b"<134>1 2026-11-21T01:31:35.355431+00:00 foo haproxy 6626 - - text"),
        ("priority", None, b"<134>text"),
        ("short", None, b"<6>text"),
        ("timed", None, b"<6>2026-11-21T01:31:35.355431+00:00 text"),
        ("iso", None, b"2026-11-21T01:31:35.355431+00:00 text"),
        ("raw", None, b"text"),
    ],
)
def test_formats_are_those_of_haproxy(format: str, hostname: str | None, expected: bytes) -> None:
    framer = LineFramer(head_of(format, LOCAL0, Origin("haproxy", 6626, hostname)))
    assert framer.frame(INFO, b"text", NOW) == expected + b"\n"


def test_structured_data_stands_only_in_rfc5424() -> None:
    origin = Origin("haproxy", 6626)
    with_data = LineFramer(head_of("rfc5424", LOCAL0, origin)).frame(INFO, b"text", NOW, b'[ex@1234 b="217"]')
    assert with_data == b'<134>1 2026-11-21T01:31:35.355431+00:00 - haproxy 6626 - [ex@1234 b="217"] text\n'
    assert LineFramer(head_of("raw", LOCAL0, origin)).frame(INFO, b"text", NOW, b"[x]") == b"text\n"


def test_time_is_local_and_has_its_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-5:30")
    time.tzset()
    assert iso_time(int(NOW)) == (b"2026-11-21T07:01:35", b"+05:30")
    assert rfc3164_time(int(NOW)) == b"Nov 21 07:01:35"


def test_days_below_ten_are_padded_with_a_space() -> None:
    assert rfc3164_time(1_786_000_000) == b"Aug  6 07:06:40"


@given(st.lists(st.floats(min_value=0, max_value=4e9), min_size=1, max_size=8), st.sampled_from(FORMATS), st.integers(0, 7))
def test_a_cached_head_equals_a_fresh_one(times: list[float], format: str, level: int) -> None:
    origin = Origin("t", 1)
    cached = head_of(format, 3, origin)
    for now in times:
        assert cached(level, now, b"") == head_of(format, 3, origin)(level, now, b"")


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_written_as_their_number(name: str) -> None:
    level = LEVELS.index(name)
    assert LineFramer(head_of("short", 0, Origin("t", 1))).frame(level, b"x", NOW) == b"<%d>x\n" % level
    assert LineFramer(head_of("priority", 23, Origin("t", 1))).frame(level, b"x", NOW) == b"<%d>x\n" % (184 + level)


def test_less_severe_lines_are_filtered_and_more_severe_ones_capped() -> None:
    framer = LineFramer(head_of("short", 0, Origin("t", 1)), level=NOTICE, minlevel=NOTICE)
    assert framer.frame(INFO, b"x", NOW) is None
    assert framer.frame(EMERG, b"x", NOW) == b"<5>x\n"
    assert framer.frame(NOTICE, b"x", NOW) == b"<5>x\n"


@given(st.binary(max_size=300).map(lambda data: data.replace(b"\n", b" ")), st.integers(80, 200))
def test_no_message_is_longer_than_its_length(line: bytes, length: int) -> None:
    framer = LineFramer(head_of("iso", 0, Origin("t", 1)), length=length)
    whole = LineFramer(head_of("iso", 0, Origin("t", 1)), length=65535).frame(DEBUG, line, NOW)
    message = framer.frame(DEBUG, line, NOW)
    assert whole is not None
    assert message == (whole if len(whole) <= length else whole[: length - 1] + b"\n")


def test_sampling_takes_the_numbers_in_its_ranges() -> None:
    sampler = Sampler(((1, 1), (3, 4)), 5)
    assert [sampler.take() for _ in range(10)] == [True, False, True, True, False] * 2


def test_filtered_lines_are_not_counted_by_the_sample() -> None:
    framer = LineFramer(head_of("raw", 0, Origin("t", 1)), level=NOTICE, sampler=Sampler(((1, 1),), 2))
    assert framer.frame(INFO, b"a", NOW) is None
    assert [framer.frame(NOTICE, b"b", NOW) for _ in range(3)] == [b"b\n", None, b"b\n"]
