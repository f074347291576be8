"""Rings keep the newest lines and tell readers what they missed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.logs.rings import LogRing


def test_lines_are_read_from_a_sequence_number_on() -> None:
    ring = LogRing("r")
    ring.write(b"one\n", 0.0)
    ring.write(b"two\n", 0.0)
    assert ring.since(0) == ([b"one\n", b"two\n"], 2, 0)
    assert ring.since(1) == ([b"two\n"], 2, 0)
    assert ring.since(2) == ([], 2, 0)


def test_old_lines_make_room_and_the_reader_learns_how_many() -> None:
    ring = LogRing("r", size=8)
    for line in (b"one\n", b"two\n", b"six\n"):
        ring.write(line, 0.0)
    assert ring.since(0) == ([b"two\n", b"six\n"], 3, 1)


def test_a_long_line_is_cut() -> None:
    ring = LogRing("r", maxlen=5)
    ring.write(b"0123456789\n", 0.0)
    assert ring.since(0)[0] == [b"0123\n"]


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=60), st.integers(20, 200))
def test_a_ring_never_holds_more_than_its_size(lines: list[bytes], size: int) -> None:
    ring = LogRing("r", size=size)
    for line in lines:
        ring.write(line, 0.0)
    kept, following, lost = ring.since(0)
    assert ring.used == sum(map(len, kept)) <= size
    assert kept == lines[lost:]
    assert following == len(lines)


def test_watchers_are_called_until_they_leave() -> None:
    ring = LogRing("r")
    calls: list[int] = []
    watcher = lambda: calls.append(ring.written)  # noqa: E731
    ring.watch(watcher)
    ring.write(b"a\n", 0.0)
    ring.unwatch(watcher)
    ring.write(b"b\n", 0.0)
    assert calls == [1]
