"""sd_notify datagrams, to a real socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from headgate.runtime.process.systemd import SystemdNotifier


@pytest.mark.parametrize("abstract", [False, True])
def test_states_arrive(tmp_path: Path, abstract: bool) -> None:
    name = f"@headgate-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name[1:] if abstract else name)
        systemd.settimeout(5)
        notifier = SystemdNotifier(name)
        notifier.ready(42)
        assert systemd.recv(200) == b"READY=1\nSTATUS=Ready.\nMAINPID=42"
        notifier.status("3 workers")
        assert systemd.recv(200) == b"STATUS=3 workers"
        notifier.stopping()
        assert systemd.recv(200) == b"STOPPING=1\nSTATUS=Stopping."


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    SystemdNotifier(None).ready(1)
    SystemdNotifier(str(tmp_path / "absent")).ready(1)
