"""The launcher with real processes: a script runs one whose children do what the test asks for."""

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
import os, select, signal, socket, sys, time
from headgate.runtime.process import launcher
from headgate.runtime.process.launcher import Launcher
from headgate.runtime.process.place import Heritage, Role

{settings}

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def serve(place):
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, lambda *_: say("hup", place.index))
    place.ready()
    while True:
        data, descriptors, _, _ = socket.recv_fds(place.supervision, 100, 1)
        if not data:
            say("orphan", place.index)
            os._exit(0)
        link = socket.socket(fileno=descriptors[0])
        say(place.index, data.decode())
        try:
            link.send(b"%d" % place.index)
            say(place.index, "hears", link.recv(10).decode())
        except OSError as error:  # the other end was killed by the test
            say(place.index, "lost", error)

def await_file(path):
    while not os.path.exists(path):
        time.sleep(0.01)

def work(place):
    {work}
    return 0

def told(pids):
    say("pids", *pids)

made = Launcher(work, {workers}, Heritage({{}}), log=lambda level, text: say("log", text), on_ready=lambda: say("ready"),
                on_children=told)
sys.exit(made.run())
"""


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

    def until_ready(self) -> list[int]:
        """The pids, the controller's first."""
        while True:
            self.until("ready")
            pids = [line for line in self.lines if line.startswith("pids")][-1]
            return [int(pid) for pid in pids.split()[1:]]

    def until_linked(self, links: int) -> None:
        """Until so many ends of links have heard the other, so that no line of the start comes later."""
        while sum("hears" in line for line in self.lines) < links:
            self.until("")

    def finish(self) -> int:
        out, _ = self.process.communicate(timeout=30)
        self.lines += out.splitlines()
        return self.process.returncode


@contextmanager
def launched(work: str = "serve(place)", workers: int = 2, settings: str = "") -> Iterator[Running]:
    code = _SCRIPT.format(work=work, workers=workers, settings=settings)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_stopping_signals_reach_everybody(number: signal.Signals) -> None:
    with launched() as running:
        running.until_ready()
        running.process.send_signal(number)
        assert running.finish() == 0
    assert running.lines[-1] == "pids 0"


def test_controller_and_workers_are_linked() -> None:
    with launched() as running:
        running.until_ready()
        running.until_linked(4)
        running.process.terminate()
        running.finish()
    heard = sorted(line for line in running.lines if "hears" in line)
    assert heard == ["0 hears 1", "0 hears 2", "1 hears 0", "2 hears 0"]
    assert {"0 link 1", "0 link 2", "1 link 0", "2 link 0"} <= set(running.lines)


@pytest.mark.parametrize(
    ("victim", "name", "links"), [(1, "worker 1", ["0 link 1"]), (0, "controller", ["1 link 0", "2 link 0"])]
)
def test_who_dies_is_replaced_and_linked_again(victim: int, name: str, links: list[str]) -> None:
    with launched() as running:
        pids = running.until_ready()
        running.until_linked(4)
        os.kill(pids[victim], signal.SIGKILL)
        line = running.until(f"log {name} (pid {pids[victim]}) was killed by signal 9 (SIGKILL); replaced by ")
        successor = int(line.split()[-1])
        for link in links:
            if link not in running.lines[running.lines.index(line) :]:
                running.until(link)
        os.kill(successor, 0)
        running.process.terminate()
        assert running.finish() == 0


def test_a_process_that_can_not_start_ends_the_launcher_with_its_code() -> None:
    with launched("os._exit(7) if place.index == 2 else serve(place)") as running:
        assert running.finish() == 7
    assert any("worker 2" in line and "exited with code 7 before it served" in line for line in running.lines)


def test_who_served_and_dies_while_others_still_start_is_replaced(tmp_path: Path) -> None:
    """As long as the controller reads a large configuration, say; but a start that crashes all the time fails."""
    read = tmp_path / "read"
    code = f"[await_file({str(read)!r}), serve(place)] if place.index == 0 else serve(place)"
    with launched(code, workers=1, settings="launcher.FIRST_WAIT = 0.05") as running:
        running.until("1 link 0")
        while len(pids := [line for line in running.lines if line.startswith("pids")][-1].split()) < 3:
            running.until("pids")  # the worker may be heard before the launcher tells of it
        os.kill(int(pids[2]), signal.SIGKILL)
        running.until(f"log worker 1 (pid {pids[2]}) was killed by signal 9 (SIGKILL); replaced by ")
        read.touch()
        running.until_ready()
        running.process.terminate()
        assert running.finish() == 0
    code = "[time.sleep(1000)] if place.index == 0 else [place.ready(), os._exit(3)]"
    with launched(code, workers=1, settings="launcher.FIRST_WAIT = 0.01") as running:
        assert running.finish() == 3
    assert "before it served" in running.lines[-2] or any("exited with code 3" in line for line in running.lines)


def test_who_dies_again_and_again_is_replaced_with_longer_and_longer_waits() -> None:
    work = "serve(place) if place.index != 1 else [place.ready(), time.sleep(0.1), os._exit(3)]"
    with launched(work, workers=1, settings="launcher.FIRST_WAIT = 0.05") as running:
        running.until_ready()
        running.until("soon after its start, as 2 others before it; the next one starts in 0.1 s")
        running.until("soon after its start, as 3 others before it; the next one starts in 0.2 s")
        running.process.terminate()
        assert running.finish() == 0


def test_who_hangs_leaves_a_trace_and_is_replaced() -> None:
    settings = "launcher.HANG_LIMIT = 1.0; launcher.TRACE_TIME = 30.0"
    work = "serve(place) if place.index != 1 else [place.alive(), place.ready(), time.sleep(1000)]"
    with launched(work, workers=1, settings=settings) as running:
        running.until_ready()
        running.until("hangs and is killed")
        running.until("Fatal Python error: Aborted")
        running.until("was killed by signal 6 (SIGABRT), since it gave no sign of life for 1 s; replaced by")
        running.process.terminate()
        assert running.finish() == 0


def test_sighup_goes_to_the_controller_alone() -> None:
    with launched() as running:
        running.until_ready()
        running.process.send_signal(signal.SIGHUP)
        running.until("hup 0")
        running.process.terminate()
        running.finish()
    assert "hup 1" not in running.lines


def test_children_notice_that_the_launcher_is_gone() -> None:
    with launched() as running:
        running.until_ready()
        running.process.kill()
        assert running.finish() == -9
    assert {"orphan 0", "orphan 1", "orphan 2"} <= set(running.lines)


def test_a_soft_stop_that_takes_too_long_becomes_a_hard_one() -> None:
    work = "signal.signal(signal.SIGUSR1, signal.SIG_IGN); place.ready(); time.sleep(1000)"
    with launched(work, settings="import functools; Launcher = functools.partial(Launcher, hard_stop_after=0.2)") as running:
        running.until_ready()
        running.process.send_signal(signal.SIGUSR1)
        running.until("log soft-stop running for too long, performing a hard-stop")
        assert running.finish() == 0
