"""The journal: order, replacement, bounds, clean-up, and what a second process reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.workers.journal import Entry, Journal, Key


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal()
    yield journal
    journal.close()


def what(journal: Journal) -> list[object]:
    return [entry.what[0] for entry in journal.entries()]


def test_changes_come_back_in_their_order(journal: Journal) -> None:
    assert journal.entries() == []
    assert [journal.append(None, ("a",)), journal.append(None, ("a",)), journal.append(("k",), ("b", 1, True))] == [1, 2, 3]
    assert journal.entries() == [Entry(1, None, ("a",)), Entry(2, None, ("a",)), Entry(3, ("k",), ("b", 1, True))]


def test_a_change_replaces_what_its_key_begins(journal: Journal) -> None:
    journal.append(("map", "x", "set", "1"), ("x1",))
    journal.append(("map", "y", "set", "1"), ("y1",))
    journal.append(("map", "x", "set", "1"), ("x1 again",))
    journal.append(("map", "x", "set", "2"), ("x2",))
    assert what(journal) == ["y1", "x1 again", "x2"]
    journal.append(("map", "x"), ("clear x",))
    assert what(journal) == ["y1", "clear x"]
    journal.append(("map", "x", "set", "1"), ("x1 at last",))
    assert what(journal) == ["y1", "clear x", "x1 at last"]


def test_a_full_journal_says_so_and_counts_on(journal: Journal) -> None:
    small = Journal(limit=200)
    numbers = [small.append((str(index),), ("x" * 40,)) for index in range(5)]
    assert numbers == [1, 2, 3, 4, 5]
    assert 0 < len(small.entries()) < 5
    assert small.lost == 5 - len(small.entries())
    small.append(("0",), ("y",))
    assert what(small)[-1] == "y"
    small.close()


def test_replaced_changes_do_not_stay_in_memory(journal: Journal) -> None:
    text = "x" * 10000
    for index in range(1000):
        journal.append(("only",), (index, text))
    assert [entry.what[0] for entry in journal.entries()] == [999]
    assert sum(os.fstat(file).st_size for file in journal._files) < 3 << 20


def test_the_next_writer_goes_on_where_the_last_one_was_killed(journal: Journal) -> None:
    pid = os.fork()
    if not pid:
        for index in range(2000):
            journal.append(("k", str(index % 3)), (index, "x" * 3000))
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert journal.last == 2000
    assert what(journal) == [1997, 1998, 1999]
    assert journal.append(("k", "1"), ("next",)) == 2001
    assert what(journal) == [1997, 1998, "next"]


@settings(max_examples=50)
@given(st.lists(st.one_of(st.none(), st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(tuple)), max_size=30))
def test_a_reader_and_a_new_writer_agree_with_a_plain_list(keys: list[Key]) -> None:
    journal = Journal()
    expected: list[tuple[Key, int]] = []
    for index, key in enumerate(keys):
        journal.append(key, (index,))
        if key is not None:
            expected = [each for each in expected if each[0] is None or each[0][: len(key)] != key]
        expected.append((key, index))
    assert [(entry.key, entry.what[0]) for entry in journal.entries()] == expected
    journal.close()
