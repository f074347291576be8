"""Finding and reading files."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.config.source import LONGEST_LINE, find_files, read_lines


def test_file_stands_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "anything.txt"
    path.write_text("x")
    assert list(find_files([str(path)])) == [str(path)]


def test_directory_without_cfg_files(tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text("")
    with pytest.raises(ConfigError, match=r"has no file that ends in '\.cfg'"):
        list(find_files([str(tmp_path)]))


def test_lines_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(b"one\n\ntwo \r\n\xff\nlast")
    assert list(read_lines(str(path))) == [(1, "one"), (2, ""), (3, "two "), (4, "\udcff"), (5, "last")]


def test_directory_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        list(read_lines(str(tmp_path)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(ConfigError, match="Permission denied"):
        list(read_lines(str(path)))


def test_binary_junk_names_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(b"global\n  x\0y\n")
    lines = read_lines(str(path))
    assert next(lines) == (1, "global")
    with pytest.raises(ConfigError, match="NUL byte") as caught:
        next(lines)
    location = caught.value.diagnostic.location
    assert location is not None
    assert (location.line, location.column) == (2, 4)


@pytest.mark.parametrize("length", [LONGEST_LINE, LONGEST_LINE + 1])
def test_longest_line(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.cfg"
    path.write_bytes(b"x" * length + b"\n")
    if length == LONGEST_LINE:
        assert [len(text) for _, text in read_lines(str(path))] == [length]
    else:
        with pytest.raises(ConfigError, match="longer than 65536 bytes"):
            list(read_lines(str(path)))


def test_giant_line_takes_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)  # a hole: 100 MB of NUL bytes without a line end
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError):
            list(read_lines(str(path)))
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_100_mb_of_comments_take_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    line = b"# " + b"x" * 60000 + b"\n"
    with path.open("wb") as file:
        for _ in range(1700):
            file.write(line)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines(str(path))) == 1700
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()
