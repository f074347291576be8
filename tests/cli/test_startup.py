"""What a start loads and what it costs: tools start the program often, so what is seldom needed must be imported late.

CPU time is compared with that of Python itself, in the same minute on the same machine: seconds mean nothing on a busy one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cpu = Callable[..., float]

_PLAIN = """
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend f
    bind {address}
    default_backend b
backend b
    server s 127.0.0.1:9{check}
"""

#: Answers at once: nothing of the configuration's keywords, no event loop, no standard modules that load half of the library.
_NOT_FOR_ANSWERS = {"asyncio", "dataclasses", "headgate.app", "headgate.config.load", "headgate.plan", "inspect", "socket", "ssl"}
#: One frontend and one server over plain HTTP: none of these is asked for.
_NOT_FOR_PLAIN_HTTP = {
    "OpenSSL", "cryptography", "google_crc32c", "hashlib", "json", "uuid", "xxhash",
    "headgate.admin.commands", "headgate.plan.actions", "headgate.plan.conditions", "headgate.plan.converters",
    "headgate.plan.passwords",
    "headgate.plan.fetches.http_request", "headgate.plan.rules",
    "headgate.runtime.checks", "headgate.runtime.stats_socket", "headgate.runtime.tls_channel", "headgate.tls",
}  # fmt: skip


@pytest.fixture
def address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def _write(path: Path, address: str, check: str = "", extra: str = "") -> str:
    path.write_text(_PLAIN.format(address=address, check=check) + extra)
    return str(path)


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Cpu:
    """Measures the CPU seconds of a Python process, the least of four: the first of them writes the bytecode for the others."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("bytecode"))

    def measure(*arguments: str) -> float:
        least = float("inf")
        for _ in range(4):
            command = [sys.executable, *arguments]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            least = min(least, usage.ru_utime + usage.ru_stime)
        return least

    return measure


#: Runs the command and stops it in place of waiting for the first connection: everything before that is the start.
_UNTIL_IT_SERVES = """
import sys
from headgate.cli.main import main
import asyncio, gc
class Serving(BaseException): pass
def served(*_):
    print(gc.isenabled(), gc.get_freeze_count(), *sys.modules)
    raise Serving
asyncio.Event.wait = served
try:
    main(sys.argv[1:])
except Serving:
    sys.exit(0)
sys.exit("did not serve")
"""


def _python(*arguments: str) -> list[str]:
    """What a Python process prints in its last line, in words."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("arguments", [["-v"], ["-cc", "version_atleast(3.0) && streq(a,a)"]])
def test_quick_answers_load_little(arguments: list[str]) -> None:
    code = "import sys; from headgate.cli.main import main; code = main(sys.argv[1:]); print(*sys.modules); sys.exit(code)"
    assert _NOT_FOR_ANSWERS & set(_python("-c", code, *arguments)) == set()


def test_plain_http_loads_what_it_needs(tmp_path: Path, address: str) -> None:
    loaded = set(_python("-c", _UNTIL_IT_SERVES, "-f", _write(tmp_path / "a.cfg", address)))
    assert "headgate.proxy.http_session" in loaded
    assert _NOT_FOR_PLAIN_HTTP & loaded == set()


def test_what_is_configured_is_loaded_before_privileges_are_dropped(tmp_path: Path, address: str) -> None:
    settings = f"global\n    stats socket {tmp_path}/socket\n"
    loaded = set(_python("-c", _UNTIL_IT_SERVES, "-f", _write(tmp_path / "a.cfg", address, " check", settings)))
    assert {"headgate.admin.commands", "headgate.runtime.checks.runner", "headgate.runtime.stats_socket"} <= loaded
    assert "OpenSSL" not in loaded


@pytest.mark.parametrize(("arguments", "times"), [(["-v"], 3), (["-cc", "streq(a,a)"], 5)])
def test_quick_answers_cost_little_more_than_python(cpu: Cpu, arguments: list[str], times: float) -> None:
    assert cpu("-m", "headgate", *arguments) < times * cpu("-c", "pass")


def test_a_small_configuration_starts_in_few_times_what_its_event_loop_takes(cpu: Cpu, tmp_path: Path, address: str) -> None:
    path = _write(tmp_path / "a.cfg", address)
    assert cpu("-c", _UNTIL_IT_SERVES, "-f", path) < 5 * cpu("-c", "import asyncio")


def test_the_collector_works_again_when_it_serves(tmp_path: Path, address: str) -> None:
    enabled, frozen, *_ = _python("-c", _UNTIL_IT_SERVES, "-f", _write(tmp_path / "a.cfg", address))
    assert enabled == "True"
    assert int(frozen) > 10_000
