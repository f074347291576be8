"""Both stores: they do the same under any operations, and counts are exact over processes."""

from __future__ import annotations

import os
import pathlib
import signal
import tempfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.base.diagnostics import NOWHERE
from headgate.config.stick_tables import KeyType, StickTable, Stored
from headgate.plan.table_layout import CONNECTION, REFS, REQUEST, Layout
from headgate.tables.opening import notices, open_tables
from headgate.tables.shared_store import SharedStore
from headgate.tables.store import LocalStore, Store

STORES = (
    Stored("server_id"), Stored("gpt0"), Stored("conn_cnt"), Stored("conn_rate", 1, 1000), Stored("conn_cur"),
    Stored("http_req_cnt"), Stored("http_req_rate", 1, 500), Stored("bytes_in_cnt"), Stored("server_key"), Stored("gpc", 2),
    Stored("gpc_rate", 2, 300),
)  # fmt: skip


def definition(size: int = 4, expire: float | None = 1.0, *, nopurge: bool = False, length: int = 8) -> StickTable:
    return StickTable("t", KeyType.STRING, size, NOWHERE, length, expire, nopurge, stores=STORES)


class Clock:
    """A clock that is set."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now


def shape(store: Store, layout: Layout, now: int) -> list[tuple[bytes, dict[str, object]]]:
    return sorted(
        (key, {"refs": row[REFS]} | {
            name: [column.read(row, now, i) for i in range(column.count)] for name, column in layout.columns.items()
        })
        for key, row in store.entries(now)
    )


KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b""])
OPERATIONS = st.one_of(
    st.tuples(st.just("count"), KEYS, st.booleans()),
    st.tuples(st.just("track"), KEYS, st.booleans()),
    st.tuples(st.just("release"), KEYS, st.booleans()),
    st.tuples(st.just("assign"), KEYS, st.booleans()),
    st.tuples(st.just("remove"), KEYS, st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 1500), st.booleans()),
    st.tuples(st.just("find"), KEYS, st.booleans()),
    st.tuples(st.just("used"), KEYS, st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATIONS, max_size=40), st.booleans(), st.booleans())
def test_both_stores_do_the_same(operations: list[tuple[str, object, bool]], expires: bool, nopurge: bool) -> None:
    layout = Layout(definition(4, 1.0 if expires else None, nopurge=nopurge))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        local, shared = LocalStore(layout), SharedStore(layout, os.path.join(directory, "t"))
        now, tracked = 10_000, []
        steps = layout.events[CONNECTION] + layout.events[REQUEST] + layout.steps(("gpc", "gpc_rate"), 3, 1)
        for verb, what, flag in operations:
            now += 1  # the order of use is told apart
            if verb == "wait":
                assert isinstance(what, int)
                now += what
                continue
            key = what
            assert isinstance(key, bytes)
            answers = []
            for store in (local, shared):
                if verb == "count":
                    answers.append(store.change(key, now, steps, create=flag) is None)
                elif verb == "track":
                    answers.append(store.change(key, now, steps, refs=1) is None)
                elif verb == "release" and key in tracked:
                    answers.append(store.change(key, now, create=False, refs=-1) is None)
                elif verb == "assign":
                    answers.append(store.change(key, now, (), [("gpt0", 0, 7), ("server_key", 0, b"s1"), ("gpc", 1, 9)]) is None)
                elif verb == "remove":
                    answers.append(store.remove(key, now))
                elif verb == "used":
                    answers.append(store.used(now))
                elif verb == "find":
                    row = store.find(key, now)
                    answers.append(None if row is None else row[4:])
            if answers:
                assert answers[0] == answers[1], verb
                if verb == "track" and not answers[0]:
                    tracked.append(key)
                if verb == "release":
                    tracked.remove(key)
            assert shape(local, layout, now) == shape(shared, layout, now)
            assert local.used(now) <= 4
        assert local.refused == shared.refused
        shared.close()


def test_four_processes_count_exactly(tmp_path: pathlib.Path) -> None:
    wanted = definition(100, None)
    clock = Clock()

    def work() -> None:
        tables = open_tables([wanted], str(tmp_path), clock)
        steps = tables[0].layout.steps(("http_req_cnt",), 1)
        for number in range(500):
            tables[0].count(b"key%d" % (number % 3), steps)
        tables.close()

    children = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    tables = open_tables([wanted], str(tmp_path), clock)
    column = tables[0].layout.columns["http_req_cnt"]
    assert sum(row[column.slot] for _, row in tables[0].entries()) == 2000
    tables.close()


def test_what_a_killed_process_held_is_given_back(tmp_path: pathlib.Path) -> None:
    wanted = definition(100, None)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        tables = open_tables([wanted], str(tmp_path), Clock())
        for _ in range(3):
            tables[0].track(b"k", ())
        os.write(writer, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    tables = open_tables([wanted], str(tmp_path), Clock())
    mine = tables[0].track(b"k", ())
    current = tables[0].layout.current
    row = tables[0].find(b"k")
    assert row is not None and row[REFS] == row[current] == 4
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    tables.forget_the_dead()
    row = tables[0].find(b"k")
    assert row is not None and row[REFS] == row[current] == 1
    assert mine is not None
    mine.release()
    row = tables[0].find(b"k")
    assert row is not None and row[REFS] == row[current] == 0
    tables.close()


def test_a_reload_keeps_tables_that_are_the_same_and_says_which_begin_empty(tmp_path: pathlib.Path) -> None:
    first = open_tables([definition()], str(tmp_path), Clock())
    first[0].count(b"k", ())
    first.close()
    assert not notices([definition(size=1000)], str(tmp_path))
    same = open_tables([definition(size=1000, expire=5.0)], str(tmp_path), Clock())
    assert same[0].used() == 1
    same.close()
    assert "begins empty" in notices([definition(length=9)], str(tmp_path))[0]
    other = open_tables([definition(length=9)], str(tmp_path), Clock())
    assert other[0].used() == 0
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".table")]) == 2
    other.discard_others()
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".table")]) == 1
    other.close()


@pytest.mark.parametrize("shared", [False, True])
def test_long_keys(tmp_path: pathlib.Path, shared: bool) -> None:
    tables = open_tables([definition(10, length=5000)], str(tmp_path) if shared else None, Clock())
    key = b"x" * 4999 + b"y"
    tables[0].count(key, ())
    assert [found for found, _ in tables[0].entries()] == [key]
    assert tables[0].remove(key) and tables[0].used() == 0
    tables.close()


def test_a_full_map_grows_within_bounds(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headgate.tables.shared_store.map_size", lambda layout: 400_000)
    store = SharedStore(Layout(definition(1_000_000, None)), str(tmp_path / "t"))
    for number in range(3000):
        assert store.change(b"%07d" % number, 1000 + number) is not None
    assert store.used(5000) == 3000
    for number in range(3000, 30_000):
        store.change(b"%07d" % number, 1000 + number)
    assert store.refused and 3000 < store.used(5000) < 30_000
    assert store.find(b"0000000", 5000) is not None
    store.close()


def test_who_follows_an_entry_is_noted_when_that_lasts(tmp_path: pathlib.Path) -> None:
    layout = Layout(StickTable("t", KeyType.STRING, 4, NOWHERE, 8, 60.0, stores=(Stored("http_req_cnt"),)))
    store = SharedStore(layout, str(tmp_path / "t"))
    steps, column = layout.events[REQUEST], layout.columns["http_req_cnt"]

    def followers() -> list[int]:
        return [row[REFS] for _, row in store.entries(10_000)]

    # A short request: counted, and gone before anybody had to be told.
    assert store.change(b"a", 1000, steps, refs=1) is not None
    store.settle(1500)
    assert followers() == [0]
    assert store.change(b"a", 1500, create=False, refs=-1) is None
    store.settle(5000)
    assert followers() == [0]
    # Two that stay are noted, and so is what becomes of them; the last one's end at once.
    for now in (2000, 2100):
        store.change(b"a", now, steps, refs=1)
    store.settle(3000)
    assert followers() == [2]
    assert not store.remove(b"a", 3000)
    store.change(b"a", 3100, create=False, refs=-1)
    store.settle(3200)
    assert followers() == [1]
    row = store.change(b"a", 3300, steps, create=False, refs=-1)
    assert row is not None and column.read(row, 3300) == 4
    assert followers() == [0]
    assert store.remove(b"a", 3400)
    store.close()


def test_followers_are_noted_at_once_where_a_rule_asks_for_them(tmp_path: pathlib.Path) -> None:
    counted = StickTable("t", KeyType.STRING, 4, NOWHERE, 8, 60.0, stores=(Stored("http_req_cnt"),), counts_trackers=True)
    store = SharedStore(Layout(counted), str(tmp_path / "t"))
    store.change(b"a", 1000, refs=1)
    assert [row[REFS] for _, row in store.entries(1000)] == [1]
    store.close()
