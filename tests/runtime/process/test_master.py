"""The master with generations that are scripts: no proxy, no sockets but its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SCRIPT = """
import os, signal, socket, sys, time
from headgate.runtime.process import master
from headgate.runtime.process.master import Master
from headgate.runtime.process.systemd import SystemdNotifier

{settings}

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def leave(number, frame):
    say("left", number_of_this, signal.Signals(number).name)
    os._exit(0 if number == signal.SIGUSR1 else 128 + number)

def serve(link):
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, leave)
    link.ready()
    while True:
        signal.pause()

def await_file(path):
    while not os.path.exists(path):
        time.sleep(0.01)

def generate(heritage, link, number, before):
    global number_of_this
    number_of_this = number
    link.settings({reloads}, {keeps}, False)
    say("generation", number, os.getpid(), "keys", *sorted(heritage.listeners), "reloads", heritage.reloads)
    {work}
    return 0

class Notifier(SystemdNotifier):
    def _send(self, state):
        say("systemd", *state.split("\\n"))

made = Master(generate, lambda severity, text: say("said", text), Notifier(None), lambda: say("first ready"),
              private={private!r})
say("exits", made.run(), "failed", made.failed, "records", len(made.records))
sys.exit(0)
"""
_SERVE = "serve(link)"


class Running:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, wanted: str) -> str:
        """The next line that has this in it."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            self.lines.append(line.rstrip("\n"))
            if wanted in line:
                return self.lines[-1]
        raise AssertionError(f"no line {wanted!r} in {self.lines}")

    def until_ready(self) -> int:
        """Until a generation serves; its pid."""
        self.until("said Loading success.")
        return int([line for line in self.lines if line.startswith("generation")][-1].split()[2])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self) -> int:
        """The exit code that the master answers with."""
        out, _ = self.process.communicate(timeout=30)
        self.lines += out.splitlines()
        return int(next(line for line in self.lines if line.startswith("exits")).split()[1])


@contextmanager
def supervised(
    directory: Path, work: str = _SERVE, *, reloads: int = 50, keeps: bool = False, settings: str = ""
) -> Iterator[Running]:
    code = _SCRIPT.format(work=work, reloads=reloads, keeps=keeps, settings=settings, private=str(directory))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        running = Running(process)
        try:
            yield running
        finally:
            process.kill()
            for line in running.lines:
                if line.startswith("generation"):
                    try:
                        os.kill(int(line.split()[2]), signal.SIGKILL)
                    except ProcessLookupError:
                        continue


@pytest.mark.parametrize(
    ("number", "sent", "code"),
    [(signal.SIGTERM, "SIGTERM", 143), (signal.SIGINT, "SIGTERM", 143), (signal.SIGUSR1, "SIGUSR1", 0)],
)
def test_stopping_signals_end_the_generation(tmp_path: Path, number: signal.Signals, sent: str, code: int) -> None:
    with supervised(tmp_path) as running:
        running.until_ready()
        running.until("first ready")
        running.signal(number)
        assert running.finish() == code
    assert f"left 1 {sent}" in running.lines
    assert "systemd STOPPING=1 STATUS=Stopping." in running.lines
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP])
def test_a_reload_lets_the_old_generation_finish_once_the_new_one_serves(tmp_path: Path, number: signal.Signals) -> None:
    with supervised(tmp_path) as running:
        first = running.until_ready()
        running.signal(number)
        assert running.until_ready() != first
        running.until("left 1 SIGUSR1")
        running.until(f"said Former worker ({first}) exited with code 0")
        running.signal(signal.SIGTERM)
        assert running.finish() == 143
    assert any(line.startswith("generation 2 ") and line.endswith("reloads 1") for line in running.lines)
    assert running.lines.count("first ready") == 1


def test_a_load_that_fails_keeps_the_old_generation(tmp_path: Path) -> None:
    work = "serve(link) if number in (1, 4) else sys.exit(5) if number == 2 else os._exit(7)"
    with supervised(tmp_path, work) as running:
        running.until_ready()
        for _ in range(2):
            running.signal(signal.SIGUSR2)
            running.until("said Loading failure! The generation before goes on serving.")
            running.until("systemd READY=1 STATUS=Reload failed!")
        assert not any(line.startswith("left") for line in running.lines)
        running.signal(signal.SIGUSR2)
        running.until_ready()
        running.until("left 1 SIGUSR1")
        running.signal(signal.SIGTERM)
        assert running.finish() == 143
    assert running.lines[-1].endswith("failed 0 records 0")


def test_a_load_that_takes_for_ever_is_ended(tmp_path: Path) -> None:
    work = "serve(link) if number == 1 else time.sleep(1000)"
    with supervised(tmp_path, work, settings="master.START_LIMIT = 2.0") as running:
        running.until_ready()
        running.signal(signal.SIGUSR2)
        running.until("said the new generation does not serve after 2 s: it is ended")
        running.until("said Loading failure!")
        running.signal(signal.SIGTERM)
        assert running.finish() == 143


@pytest.mark.parametrize(("work", "code"), [("return 3", 3), ("return 0", 1), ("os.kill(os.getpid(), 9)", 137)])
def test_a_first_load_that_fails_ends_the_master(tmp_path: Path, work: str, code: int) -> None:
    with supervised(tmp_path, work) as running:
        assert running.finish() == code
    assert "said Failed to load worker. Exiting." in running.lines
    assert "first ready" not in running.lines


def test_a_generation_that_crashes_takes_the_master_with_it(tmp_path: Path) -> None:
    with supervised(tmp_path) as running:
        os.kill(running.until_ready(), signal.SIGSEGV)
        assert running.finish() == 139
    assert "said exit-on-failure: killing every processes with SIGTERM" in running.lines


def test_or_is_followed_by_another_one(tmp_path: Path) -> None:
    with supervised(tmp_path, keeps=True, settings="master.CRASH_WAIT = 0.1") as running:
        first = running.until_ready()
        os.kill(first, signal.SIGSEGV)
        running.until("said no-exit-on-failure: a new generation follows in 0.1 s")
        assert running.until_ready() != first
        running.signal(signal.SIGUSR1)
        assert running.finish() == 0


def test_generations_survive_so_many_reloads_and_no_more(tmp_path: Path) -> None:
    work = "(signal.signal(signal.SIGUSR1, signal.SIG_IGN), signal.signal(signal.SIGTERM, leave), link.ready(), time.sleep(1000))"
    with supervised(tmp_path, work, reloads=1) as running:
        running.until_ready()
        running.signal(signal.SIGUSR2)
        running.until_ready()
        assert not any(line.startswith("left") for line in running.lines)
        running.signal(signal.SIGUSR2)
        running.until("left 1 SIGTERM")
        running.signal(signal.SIGTERM)
        running.finish()
    assert {"left 2 SIGTERM", "left 3 SIGTERM"} <= set(running.lines)


def test_reloads_that_come_while_one_is_under_way_become_one(tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    work = f"await_file({str(loaded)!r}) if number == 2 else None; serve(link)"
    with supervised(tmp_path, work) as running:
        running.until_ready()
        running.signal(signal.SIGUSR2)
        running.until("generation 2")
        for _ in range(3):
            running.signal(signal.SIGUSR2)
        loaded.touch()
        running.until_ready()
        running.until_ready()
        running.until("left 2 SIGUSR1")
        running.signal(signal.SIGTERM)
        assert running.finish() == 143
    assert sum(line.startswith("generation") for line in running.lines) == 3


def test_a_generation_that_does_not_leave_is_killed(tmp_path: Path) -> None:
    work = "(signal.signal(signal.SIGTERM, signal.SIG_IGN), link.ready(), time.sleep(1000))"
    with supervised(tmp_path, work, settings="master.STOP_LIMIT = 0.3") as running:
        running.until_ready()
        running.signal(signal.SIGTERM)
        assert running.finish() == 137


def test_sockets_that_a_generation_opened_are_inherited_and_those_it_drops_are_closed(tmp_path: Path) -> None:
    path = tmp_path / "listening"
    work = f"""
    if number == 1:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind({str(path)!r})
        sock.listen()
        link.opened({{"unix@{path}": sock}})
    else:
        link.opened(heritage.listeners if number == 2 else {{}})
    serve(link)"""
    with supervised(tmp_path, work) as running:
        running.until_ready()
        for number in (2, 3, 4):
            running.signal(signal.SIGUSR2)
            running.until_ready()
            keys = next(line for line in running.lines if line.startswith(f"generation {number} "))
            assert ("unix@" in keys) == (number < 4)
        assert not path.exists()  # nobody listens on it any more
        running.signal(signal.SIGTERM)
        running.finish()
