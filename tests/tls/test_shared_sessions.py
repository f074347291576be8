"""The store of sessions that processes share: bounds, order, what is left of it when it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.tls import shared_sessions
from headgate.tls.shared_sessions import SharedSessions


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SharedSessions]:
    store = SharedSessions(str(tmp_path))
    yield store
    store.close()


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_several_are_taken_newest_first_and_the_last_stays(store: SharedSessions) -> None:
    for number in range(3):
        store.give(key(1), float(number), b"%d" % number, several=True)
    assert [store.take(key(1), 9.0) for _ in range(4)] == [
        (2.0, b"2", False), (1.0, b"1", False), (0.0, b"0", True), (0.0, b"0", True),
    ]  # fmt: skip
    assert store.take(key(2), 9.0) is None


def test_one_takes_the_place_of_the_one_before(store: SharedSessions) -> None:
    store.give(key(1), 1.0, b"old", several=False)
    store.give(key(1), 2.0, b"new", several=False)
    assert store.take(key(1), 9.0) == (2.0, b"new", True)
    store.forget(key(1))
    assert store.take(key(1), 9.0) is None


def test_bounds(store: SharedSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_sessions, "KEYS_MOST", 3)
    monkeypatch.setattr(shared_sessions, "TICKETS_MOST", 2)
    for number in range(5):
        store.give(key(number), float(number), b"x", several=True)
    assert [store.take(key(number), 9.0) is not None for number in range(5)] == [False, False, True, True, True]
    for number in range(5):
        store.give(key(4), float(number), b"%d" % number, several=True)
    assert [store.take(key(4), 9.0) for _ in range(2)] == [(4.0, b"4", False), (3.0, b"3", True)]


def test_the_last_key_of_a_server(store: SharedSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_sessions, "KEYS_MOST", 2)
    fields = (b"a" * 8, b"b" * 8)
    for number in range(2):
        store.note_key(key(number), fields)
    assert store.last_key(key(0)) == store.last_key(key(1)) == fields
    store.note_key(key(2), fields)
    assert store.last_key(key(0)) is None and store.last_key(key(2)) == fields


def test_full(store: SharedSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(70):
        store.give(key(number), float(number), b"x" * (1 << 20), several=False)
    assert store.refused
    store.forget(key(0))


def test_no_place_for_it() -> None:
    with pytest.raises(ConfigError, match="can't be shared"):
        SharedSessions("/nowhere")
