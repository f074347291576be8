"""Master and worker as real processes: a script runs a master whose worker does what the test asks for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_SCRIPT = """
import os, select, signal, sys
from headgate.runtime.process.master import Master

def work(readiness, alive):
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    {work}

def say(is_error, text):
    print("ALERT" if is_error else "WARNING", text, flush=True)

def ready(worker):
    print("ready", worker, flush=True)

sys.exit(Master(work, ready, lambda: print("stopping", flush=True), say).run())
"""

_SERVE = "readiness.ready(); select.select([alive], [], []); os._exit(9)"


class Running:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.worker = 0

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def until_ready(self) -> None:
        word, pid = self.line().split()
        assert word == "ready"
        self.worker = int(pid)

    def finish(self) -> tuple[int, list[str]]:
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out.splitlines()


@contextmanager
def master(work: str) -> Iterator[Running]:
    code = _SCRIPT.format(work=work)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 0)])
def test_stopping_signals_reach_the_worker_and_decide_the_exit_code(number: signal.Signals, code: int) -> None:
    with master(_SERVE) as running:
        running.until_ready()
        running.process.send_signal(number)
        returned, lines = running.finish()
    assert returned == code
    assert lines[0] == "stopping"
    assert lines[-1] == f"WARNING All workers exited. Exiting... ({code})"


def test_a_worker_that_is_killed_ends_the_master_with_128_and_the_signal() -> None:
    with master(_SERVE) as running:
        running.until_ready()
        os.kill(running.worker, signal.SIGKILL)
        returned, lines = running.finish()
    assert returned == 137
    assert lines[0] == f"ALERT Current worker ({running.worker}) exited with code 137"


def test_a_worker_that_cannot_start_ends_the_master() -> None:
    with master("return 1") as running:
        returned, lines = running.finish()
    assert returned == 1
    assert lines == ["ALERT Failed to load worker. Exiting."]


def test_a_worker_that_breaks_shows_where() -> None:
    with master("raise ValueError('broken')") as running:
        returned, lines = running.finish()
    assert returned == 1
    assert "ValueError: broken" in lines


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP])
def test_reloading_is_refused_with_a_message_and_nothing_stops(number: signal.Signals) -> None:
    with master(_SERVE) as running:
        running.until_ready()
        running.process.send_signal(number)
        assert running.line().startswith(f"WARNING {number.name} received: reloading is not yet supported")
        running.process.send_signal(signal.SIGTERM)
        assert running.finish()[0] == 143


def test_the_worker_notices_that_its_master_is_gone() -> None:
    with master(_SERVE.replace("os._exit(9)", "print('alone', flush=True); os._exit(9)")) as running:
        running.until_ready()
        running.process.kill()
        assert running.line() == "alone"
