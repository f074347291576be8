"""The cache of clients' sessions: bounds, order, what is left of it when there is no room or it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from headgate.base.diagnostics import ConfigError
from headgate.tls.client_sessions import SESSION_MOST, ClientSessions

CAPACITY, LIFETIME = 8, 100.0


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ClientSessions]:
    cache = ClientSessions(str(tmp_path), CAPACITY, LIFETIME)
    yield cache
    cache.close()


def key(number: int) -> bytes:
    return b"line" + number.to_bytes(32, "big")


def test_what_is_put_is_found_until_it_is_forgotten(cache: ClientSessions) -> None:
    cache.put(key(1), b"session", 1.0)
    assert cache.find(key(1)) == b"session"
    cache.forget(key(1))
    assert cache.find(key(1)) is None and cache.count() == 0


def test_the_one_that_expires_first_goes_when_there_is_no_room(cache: ClientSessions) -> None:
    for number in range(CAPACITY + 3):
        cache.put(key(number), b"x", float(number))
    assert [cache.find(key(number)) is not None for number in range(CAPACITY + 3)] == [False] * 3 + [True] * CAPACITY
    assert cache.count() == CAPACITY


def test_what_is_forgotten_makes_room(cache: ClientSessions) -> None:
    for number in range(CAPACITY):
        cache.put(key(number), b"x", float(number))
    cache.forget(key(3))
    cache.forget(key(99))
    cache.put(key(100), b"x", 50.0)
    assert cache.find(key(0)) == b"x" and cache.count() == CAPACITY


def test_expired_ones_go_without_need(cache: ClientSessions) -> None:
    for number in range(3):
        cache.put(key(number), b"x", 0.0)
    cache.put(key(3), b"x", LIFETIME + 1)
    assert cache.count() == 1


def test_one_that_is_put_again(cache: ClientSessions) -> None:
    cache.put(key(1), b"old", 0.0)
    cache.put(key(1), b"new", 1.0)
    assert cache.find(key(1)) == b"new" and cache.count() == 1


def test_the_longest_have_room_and_longer_ones_are_refused(cache: ClientSessions) -> None:
    for number in range(4 * CAPACITY):
        cache.put(key(number), b"x" * SESSION_MOST, float(number))
    assert cache.count() == CAPACITY and not cache.refused
    cache.put(key(99), b"x" * (SESSION_MOST + 1), 50.0)
    assert cache.find(key(99)) is None and cache.refused == 1


def test_no_memory_left(cache: ClientSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full /dev/shm is an error of LMDB's, and costs a handshake."""

    class Broken:
        def begin(self, **options: object) -> object:
            raise lmdb.DiskError("No space left on device")

        def close(self) -> None:
            real.close()

    real = cache._env
    monkeypatch.setattr(cache, "_env", Broken())
    cache.put(key(1), b"x", 1.0)
    assert cache.refused == 1
    assert cache.find(key(1)) is None
    cache.forget(key(1))


def test_no_place_for_it() -> None:
    with pytest.raises(ConfigError, match="can't be shared"):
        ClientSessions("/nowhere", CAPACITY, LIFETIME)
