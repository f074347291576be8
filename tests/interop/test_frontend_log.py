"""What an operator did to a frontend is said once in its log, whatever the number of workers."""

from __future__ import annotations

import pathlib

import pytest

from tests.interop.backends import LogReceiver
from tests.interop.conftest import StartProxy
from tests.interop.programs import ask_socket


@pytest.mark.parametrize("workers", [1, 4])
def test_a_frontend_that_is_disabled_and_enabled_says_so(
    proxy: StartProxy, logs: LogReceiver, subject: str, tmp_path: pathlib.Path, workers: int
) -> None:
    path = tmp_path / "stats.sock"
    proxy(f"""
        global
            nbthread {workers}
            stats socket {path} level admin
        frontend web
            bind 127.0.0.1:{{port}}
            mode http
            timeout client 5s
            log 127.0.0.1:{logs.port} local0
            http-request deny\n""")
    ask_socket(path, "disable frontend web")
    assert "Paused frontend web." in logs.line("Paused")
    ask_socket(path, "enable frontend web")
    assert "Resumed frontend web." in logs.line("Resumed")
    assert sum("Paused" in line for line in logs.lines) == 1
