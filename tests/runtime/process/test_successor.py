"""Listening sockets over a stats socket (`-x`), and what else outlives a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headgate.runtime.process.capabilities import bits, names
from headgate.runtime.process.generation import GenerationRecord, MasterLink, uptime_text
from headgate.runtime.process.memory_directory import MemoryDirectory, clear_away
from headgate.runtime.process.successor import TakeoverFailed, send_listeners, take_listeners


def _serve_once(path: Path, answer: dict[str, socket.socket] | bytes) -> threading.Thread:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        with server, server.accept()[0] as client:
            assert client.recv(100) == b"_getsocks\n"
            if isinstance(answer, bytes):
                client.sendall(answer)
            else:
                send_listeners(client, answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_listening_sockets_change_hands(tmp_path: Path) -> None:
    given = {f"ipv4@127.0.0.1:{number}": socket.create_server(("127.0.0.1", 0)) for number in range(40)}
    given["unix@/a path/with spaces"] = socket.create_server(("127.0.0.1", 0))
    closed = socket.socket()
    closed.close()
    thread = _serve_once(tmp_path / "s", {**given, "closed": closed})
    taken = take_listeners(str(tmp_path / "s"))
    thread.join()
    assert list(taken) == list(given)
    for key, sock in taken.items():
        assert sock.getsockname() == given[key].getsockname()
        assert not sock.getblocking()
        sock.close()
        given[key].close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"Permission denied\n\n", "Permission denied"), (b"", "closed the connection"), (b"sockets a\nend\n", "names 1 sockets")],
)
def test_a_process_that_gives_nothing_is_said(tmp_path: Path, answer: bytes, said: str) -> None:
    thread = _serve_once(tmp_path / "s", answer)
    with pytest.raises(TakeoverFailed, match=said):
        take_listeners(str(tmp_path / "s"))
    thread.join()


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TakeoverFailed, match="No such file"):
        take_listeners(str(tmp_path / "absent"))


def test_a_generation_tells_its_master() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    kept, gone, fresh = (socket.create_server(("127.0.0.1", 0)) for _ in range(3))
    link = MasterLink(theirs, {"kept": kept, "gone": gone})
    record = GenerationRecord(1, os.getpid(), ours, "", time.monotonic())
    link.said("first\n")
    link.opened({"kept": kept, "fresh": fresh})
    link.settings(7, True, False)
    link.processes([12, 13])
    assert record.read()
    assert not record.is_ready
    link.ready()
    link.said("not part of the start")
    assert record.read()
    assert (record.is_ready, record.text, record.dropped) == (True, "first\n", ["gone"])
    assert (record.max_reloads, record.keeps_after_crash, record.controller, record.pids) == (7, True, 12, [12, 13])
    assert record.opened["fresh"].getsockname() == fresh.getsockname()
    assert not record.opened["fresh"].getblocking()
    theirs.close()
    assert not record.read()
    record.forget_sockets()
    for sock in (ours, kept, gone, fresh):
        sock.close()


def test_uptimes_are_written_as_show_proc_has_them() -> None:
    assert uptime_text(127) == "0d00h02m07s"
    assert uptime_text(86400 + 3661) == "1d01h01m01s"


def test_capabilities_have_numbers() -> None:
    assert bits(["cap_net_raw", "cap_net_bind_service"]) == 1 << 13 | 1 << 10
    assert names(1 << 13 | 1 << 10 | 1) == ["cap_net_bind_service", "cap_net_raw"]


def test_the_memory_directory_is_removed_by_its_maker_and_cleared_away_after_a_crash(tmp_path: Path) -> None:
    made = MemoryDirectory(parent=tmp_path)
    assert made.path is not None
    assert Path(made.path).stat().st_mode & 0o777 == 0o700
    code = f"from headgate.runtime.process.memory_directory import *; m = MemoryDirectory(parent=Path({str(tmp_path)!r})); " + (
        "print(m.path, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        other = Path(process.stdout.readline().strip())
        old = time.time() - 1000
        os.utime(other, (old, old))
        clear_away(tmp_path)
        assert other.is_dir()  # in use
        process.send_signal(signal.SIGKILL)
    clear_away(tmp_path)
    assert not other.exists()
    assert Path(made.path).is_dir()
    path = made.path
    made.remove()
    assert not Path(path).exists()


def test_without_shared_memory_there_is_no_directory(tmp_path: Path) -> None:
    assert MemoryDirectory(parent=tmp_path / "absent").path is None
