"""The pid file, and the signals to old processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.runtime.process.pidfile import PidFile, signal_old_processes


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])


def test_the_pid_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("99999999\n88888888\n")
    pidfile = PidFile(str(path))
    assert path.read_text() == ""
    pidfile.write(123)
    assert path.read_text() == "123\n"


def test_a_pidfile_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot create pidfile"):
        PidFile(str(tmp_path / "absent" / "pid"))


def test_old_processes_get_their_signal() -> None:
    finishing, terminating = sleeper(), sleeper()
    assert signal_old_processes([finishing.pid], [terminating.pid]) == []
    assert finishing.wait(30) == -10
    assert terminating.wait(30) == -15


def test_processes_that_are_gone_are_no_error() -> None:
    gone = sleeper()
    gone.kill()
    gone.wait(30)
    assert signal_old_processes([gone.pid], [gone.pid]) == []
