"""Who has which session: found until it expires or makes room, never somebody who did not put it there."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.runtime.workers.session_table import OWNERS, SessionTable

LIFETIME = 300.0
NOW = 1000.5


@pytest.fixture
def table() -> Iterator[SessionTable]:
    made = SessionTable(1000, LIFETIME)
    yield made
    made.close()


def test_found_until_it_expires(table: SessionTable) -> None:
    held = os.urandom(32)
    assert table.is_empty(NOW) and table.find(held, NOW) == 0
    table.put(held, OWNERS - 1, NOW)
    assert not table.is_empty(NOW) and table.find(held, NOW) == table.find(held, NOW + LIFETIME - 1) == OWNERS - 1
    assert table.find(os.urandom(32), NOW) == 0
    assert table.is_empty(NOW + LIFETIME) and table.find(held, NOW + LIFETIME) == 0
    table.put(held, 7, NOW + 1)
    assert table.find(held, NOW + LIFETIME) == 7  # the last word counts


def test_it_holds_as_many_as_it_was_made_for(table: SessionTable) -> None:
    generator = random.Random(3)
    held = [generator.randbytes(32) for _ in range(1000)]
    for number, one in enumerate(held):
        table.put(one, number + 1, NOW)
    found = [table.find(one, NOW) for one in held]
    assert sum(owner == number + 1 for number, owner in enumerate(found)) > 990
    assert all(owner in (0, number + 1) for number, owner in enumerate(found))


def test_the_one_that_expires_first_makes_room() -> None:
    table = SessionTable(1, LIFETIME)  # one bucket
    held = [bytes([number]) * 32 for number in range(1, 6)]
    for number, one in enumerate(held):
        table.put(one, number + 1, NOW + number)
    assert [table.find(one, NOW + 5) for one in held] == [0, 2, 3, 4, 5]
    table.close()


@given(
    steps=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.floats(0, 200)), max_size=60),
    capacity=st.integers(1, 20), lifetime=st.floats(1, 300),
)
def test_answers_are_true_or_nothing(steps: list[tuple[int, int, float]], capacity: int, lifetime: float) -> None:
    table = SessionTable(capacity, lifetime)
    known: dict[bytes, tuple[int, float]] = {}
    now = 5.0
    for number, owner, later in steps:
        held = bytes([number]) * 32
        now += later
        table.put(held, owner, now)
        known[held] = owner, now
        assert table.find(held, now) == owner
        for one, (last, at) in known.items():
            assert table.find(one, now) in ((last, 0) if now < at + lifetime else (0,))
    table.close()


def _write(table: SessionTable, seed: int) -> None:
    generator = random.Random(seed)
    for _ in range(20_000):
        table.put(generator.randbytes(2) + bytes(30), seed, NOW)


def test_several_processes_write_at_once(table: SessionTable) -> None:
    """Whatever comes of it: an answer is one of theirs, and what is put when all is quiet is found."""
    processes = [multiprocessing.get_context("fork").Process(target=_write, args=(table, seed)) for seed in (1, 2)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        assert table.find(os.urandom(2) + bytes(30), NOW) in (0, 1, 2)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    held = os.urandom(32)
    table.put(held, 3, NOW)
    assert table.find(held, NOW) == 3
