from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from headgate.runtime.ocsp.store import ResponseStore
from headgate.tls.ocsp.response import LONGEST

KEY = "30" * 40


def opened(path: Path, uid: int | None = None, gid: int | None = None) -> ResponseStore:
    store = ResponseStore(str(path))
    assert store.open(uid, gid) is None
    return store


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = opened(tmp_path / "a" / "b")
    assert store.read(KEY) is None and store.written_at(KEY) == 0
    store.write(KEY, b"one")
    store.write(KEY, b"two")
    assert store.read(KEY) == b"two" and store.written_at(KEY) > 0
    assert os.listdir(tmp_path / "a" / "b") == [f"{KEY}.der"]
    assert ResponseStore(str(tmp_path / "a" / "b")).read(KEY) == b"two", "before it is opened too"
    store.close()
    store.close()


def test_long_keys_fit_into_a_file_name(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.write("30" * 4000, b"x")
    assert store.read("30" * 4000) == b"x"
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_belongs_to_whom_we_become(tmp_path: Path) -> None:
    store = opened(tmp_path / "new", 65534, 65534)
    found = (tmp_path / "new").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o750)
    store.close()
    (tmp_path / "root").mkdir(mode=0o755)
    closed = ResponseStore(str(tmp_path / "root"))
    assert closed.open(65534, 65534) == "user 65534 has no right to write to it"
    closed.close()


def test_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ResponseStore(str(tmp_path / "file"))
    assert store.open(None, None) is not None and not store.is_open
    store.write(KEY, b"x")  # nobody minds
    assert store.read(KEY) is None


def test_what_is_no_response_is_not_read(tmp_path: Path) -> None:
    store = opened(tmp_path)
    path = tmp_path / f"{KEY}.der"
    for data in (b"", b"x" * (LONGEST + 1)):
        path.write_bytes(data)
        assert store.read(KEY) is None
    path.unlink()
    os.mkfifo(path)
    assert store.read(KEY) is None
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"secret")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.read(KEY) is None, "nobody makes us read other files"
    store.close()


def test_readers_never_see_half_a_response(tmp_path: Path) -> None:
    store = opened(tmp_path)
    one, two = b"1" * 30_000, b"2" * 30_000
    store.write(KEY, one)
    seen = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(store.read(KEY))

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(100):
        store.write(KEY, two)
        store.write(KEY, one)
    done.set()
    thread.join()
    assert seen <= {one, two}
    store.close()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    store.write(KEY, b"one")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        store.write(KEY, b"two")
    assert store.read(KEY) == b"one" and os.listdir(tmp_path) == [f"{KEY}.der"]
    store.close()


def test_sweep(tmp_path: Path) -> None:
    store = opened(tmp_path)
    other, over = "31" * 40, "32" * 40
    for key, data in ((KEY, b"over"), (other, b"good"), (over, b"over")):
        store.write(key, data)
    (tmp_path / "README").write_text("of somebody")
    (tmp_path / ".new-0123456789abcdef").write_text("")
    (tmp_path / ".new-0123456789abcdee").write_text("")
    os.utime(tmp_path / ".new-0123456789abcdef", (1, 1))
    assert store.sweep([KEY], lambda der: der == b"over") == 2
    assert sorted(os.listdir(tmp_path)) == sorted([f"{KEY}.der", f"{other}.der", "README", ".new-0123456789abcdee"])
    store.close()
