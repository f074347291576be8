"""Going to the background, seen from the shell: in processes of their own, since the parent exits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from headgate.runtime.process.daemon import Readiness, exit_code_of, wait_until_ready

_START = "from headgate.runtime.process.daemon import daemonize; import os, sys; readiness = daemonize(); "


def python(code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)


def test_the_parent_exits_with_zero_once_the_child_serves() -> None:
    # capture_output reads up to the end of both pipes: it returns while the child lives, so the child has left them.
    done = python(_START + "print('shown', file=sys.stderr); readiness.ready(); print('lost', file=sys.stderr); print('lost')")
    assert done.returncode == 0
    assert done.stderr == b"shown\n"
    assert done.stdout == b""


def test_a_child_that_fails_gives_the_parent_its_code_and_message() -> None:
    done = python(_START + "print('no such address', file=sys.stderr); sys.exit(3)")
    assert done.returncode == 3
    assert done.stderr == b"no such address\n"


def test_a_child_that_is_killed_gives_128_and_the_signal() -> None:
    assert python(_START + "import signal; os.kill(os.getpid(), signal.SIGKILL)").returncode == 137


def test_the_child_leads_its_own_session() -> None:
    done = python(_START + "print(os.getsid(0) == os.getpid(), file=sys.stderr); readiness.ready()")
    assert done.stderr == b"True\n"


def test_ready_can_be_said_twice_and_without_anybody_waiting() -> None:
    reader, writer = os.pipe()
    readiness = Readiness(writer)
    readiness.ready()
    readiness.ready()
    assert wait_until_ready(reader, os.getpid()) == 0
    os.close(reader)
    Readiness().ready()


@pytest.mark.parametrize(("status", "code"), [(0, 0), (1 << 8, 1), (int(signal.SIGTERM), 143), (int(signal.SIGKILL), 137)])
def test_wait_statuses_become_exit_codes_as_in_a_shell(status: int, code: int) -> None:
    assert exit_code_of(status) == code
