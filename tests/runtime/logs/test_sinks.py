"""Sinks against real sockets and pipes: what can't be delivered is dropped and counted, and nothing blocks."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.runtime.logs.sinks import PENDING_LIMIT, RETRY_EVERY, DatagramSink, DescriptorSink, open_without_blocking


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            continue


def listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    sock.settimeout(5)
    return sock


def test_udp_lines_arrive(receiver: socket.socket) -> None:
    sink = DatagramSink("udp", socket.AF_INET, receiver.getsockname())
    sink.write(b"one\n", 1.0)
    sink.write(b"two\n", 1.0)
    assert [receiver.recv(100), receiver.recv(100)] == [b"one\n", b"two\n"]
    assert sink.dropped == 0
    sink.close()


def test_a_refused_datagram_is_counted_and_the_next_line_still_goes_out() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
        first.bind(("127.0.0.1", 0))
        address = first.getsockname()
    sink = DatagramSink("udp", socket.AF_INET, address)
    sink.write(b"lost\n", 1.0)  # the kernel answers with ICMP "port unreachable", on the loopback at once
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
        second.bind(address)
        second.settimeout(5)
        sink.write(b"arrives\n", 1.0)
        assert second.recv(100) == b"arrives\n"
    assert sink.dropped == 1
    sink.close()


def test_a_line_too_long_for_a_datagram_is_dropped(receiver: socket.socket) -> None:
    sink = DatagramSink("udp", socket.AF_INET, receiver.getsockname())
    sink.write(b"x" * 70000, 1.0)
    assert sink.dropped == 1
    sink.close()


def test_an_absent_unix_socket_is_used_once_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = DatagramSink("unix", socket.AF_UNIX, str(path))
    sink.write(b"lost\n", 10.0)
    with listening(path) as daemon:
        sink.write(b"too early to try again\n", 10.0 + RETRY_EVERY / 2)
        assert sink.dropped == 2
        sink.write(b"arrives\n", 10.0 + RETRY_EVERY)
        assert daemon.recv(100) == b"arrives\n"
    assert sink.dropped == 2
    sink.close()


def test_a_restarted_syslog_daemon_gets_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with listening(path) as old:
        sink = DatagramSink("unix", socket.AF_UNIX, str(path))
        sink.write(b"one\n", 1.0)
        assert old.recv(100) == b"one\n"
    path.unlink()
    with listening(path) as new:
        sink.write(b"two\n", 2.0)
        assert new.recv(100) == b"two\n"
    assert sink.dropped == 0
    sink.close()


def test_a_full_unix_socket_drops_instead_of_blocking(tmp_path: Path) -> None:
    with listening(tmp_path / "log") as daemon:
        sink = DatagramSink("unix", socket.AF_UNIX, str(tmp_path / "log"))
        sent = 0
        while not sink.dropped:
            sink.write(b"line\n", 1.0)
            sent += 1
            assert sent < 1_000_000
        assert daemon.recv(100) == b"line\n"
        sink.write(b"room again\n", 1.0)
        assert sink.dropped == 1
    sink.close()


def test_descriptor_lines_are_batched_until_the_turn_ends(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(reader, False)
    sink = DescriptorSink("fd", writer)
    sink.write(b"one\n", 1.0)
    sink.write(b"two\n", 1.0)
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    sink.flush()
    assert os.read(reader, 100) == b"one\ntwo\n"
    sink.close()


def test_a_blocked_pipe_keeps_a_bounded_buffer_and_loses_whole_lines_only(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = DescriptorSink("fd", writer)
    line = b"x" * 99 + b"\n"
    for _ in range(3000):
        sink.write(line, 1.0)
        sink.flush()
    lost = sink.dropped
    assert 0 < lost < 3000
    received = b""
    while len(received) < (3000 - lost) * 100:
        received += os.read(reader, PENDING_LIMIT)
        sink.flush()
    assert received == line * (3000 - lost)
    assert sink.dropped == lost
    sink.close()


def test_a_blocked_pipe_is_watched_and_written_when_writable(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    watched: list[tuple[int, Callable[[], None]]] = []
    sink = DescriptorSink("fd", writer, lambda fd, call: watched.append((fd, call)))
    total = 0
    while not watched:
        sink.write(b"y" * 4095 + b"\n", 1.0)
        sink.flush()
        total += 4096
    sink.write(b"last\n", 1.0)
    sink.flush()
    assert len(watched) == 1
    received = b""
    while len(received) < total:
        received += os.read(reader, 1 << 20)
        watched[-1][1]()
    assert received.endswith(b"last\n") or os.read(reader, 100) == b"last\n"
    assert sink.dropped == 0
    sink.close()


def test_a_reader_that_left_costs_the_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    sink = DescriptorSink("fd", writer)
    os.close(reader)
    sink.write(b"one\n", 1.0)
    sink.write(b"two\n", 1.0)
    sink.flush()
    assert sink.dropped == 2
    sink.close()


def test_the_flags_of_an_inherited_pipe_stay_as_they_are(pipe: tuple[int, int]) -> None:
    fd, owned = open_without_blocking(pipe[1])
    assert owned
    assert fd != pipe[1]
    assert os.get_blocking(pipe[1])
    assert not os.get_blocking(fd)
    os.close(fd)


def test_files_are_written_where_their_offset_is(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"before\n")
    sink = DescriptorSink("fd", fd)
    sink.write(b"line\n", 1.0)
    sink.close()
    os.write(fd, b"after\n")
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == b"before\nline\nafter\n"


def test_a_closed_descriptor_is_an_error_at_the_start(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    with pytest.raises(OSError, match="Bad file descriptor"):
        DescriptorSink("fd", pipe[1])
