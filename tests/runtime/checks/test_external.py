"""External checks with real programs: arguments, environment, exit codes, and that nothing is left of one that hangs."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from pathlib import Path

import pytest

from headgate.balance.server import ServerState
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Location
from headgate.config.checks import CheckSpec
from headgate.config.model import Bind, Mode, Proxy, ProxyKind, Server
from headgate.health.results import CheckResult, CheckStatus
from headgate.plan.frontends import ServerPlan
from headgate.runtime.checks.external import arguments, environment, run_external
from headgate.runtime.loop import run as run_loop

HERE = Location("test.cfg", 1, 1)


def inet(host: str, port: int) -> Address:
    return Address(Family.INET, host, port, port)


def proxy_of(command: str = "/bin/true", *addresses: Address, mode: Mode = Mode.TCP) -> Proxy:
    binds = tuple(Bind(address, HERE) for address in addresses)
    check = CheckSpec("external", command=command, path="/usr/bin:/bin")
    return Proxy("app", ProxyKind.LISTEN, 7, HERE, mode=mode, binds=binds, check=check)


def server_of(address: Address | None = None) -> ServerState:
    return ServerState(ServerPlan(Server("s1", address or inet("10.0.0.1", 80), HERE, 3, maxconn=44)))


def script(directory: Path, text: str) -> str:
    path = directory / "probe.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def check(command: str, seconds: float = 20.0, inherited: dict[str, str] | None = None) -> CheckResult:
    async def run() -> CheckResult:
        return await run_external(proxy_of(command), server_of(), seconds, inherited=inherited or {}, clock=time.monotonic)

    return run_loop(run())


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], ["NOT_USED", "NOT_USED"]),
        ([inet("", 8080), inet("10.0.0.9", 1)], ["0.0.0.0", "8080"]),
        ([Address(Family.INET6, "::1", 8080, 8080)], ["::1", "8080"]),
        ([Address(Family.UNIX, "/run/x")], ["/run/x", "NOT_USED"]),
    ],
)
def test_arguments(addresses: list[Address], expected: list[str]) -> None:
    assert arguments(proxy_of("x", *addresses), server_of()) == [*expected, "10.0.0.1", "80"]
    assert arguments(proxy_of("x"), server_of(Address(Family.UNIX, "/run/s")))[2:] == ["/run/s", "NOT_USED"]


def test_environment() -> None:
    found = environment(proxy_of("x", inet("10.0.0.9", 81), mode=Mode.HTTP), server_of(), {})
    assert found == {
        "HAPROXY_PROXY_ADDR": "10.0.0.9", "HAPROXY_PROXY_ID": "7", "HAPROXY_PROXY_NAME": "app", "HAPROXY_PROXY_PORT": "81",
        "HAPROXY_SERVER_ADDR": "10.0.0.1", "HAPROXY_SERVER_CURCONN": "0", "HAPROXY_SERVER_ID": "3",
        "HAPROXY_SERVER_MAXCONN": "44", "HAPROXY_SERVER_NAME": "s1", "HAPROXY_SERVER_PORT": "80", "HAPROXY_SERVER_PROTO": "h1",
        "HAPROXY_SERVER_SSL": "0", "PATH": "/usr/bin:/bin",
    }


def test_a_program_sees_these_and_nothing_else(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = script(tmp_path, f'(echo "$@"; env; ls /proc/self/fd) > {seen}')
    assert check(command).status is CheckStatus.PROCOK
    lines = seen.read_text().splitlines()
    assert lines[0] == "NOT_USED NOT_USED 10.0.0.1 80"
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names - {"PWD", "_", "SHLVL", "OLDPWD"} == set(environment(proxy_of(command), server_of(), {}))
    assert sum(1 for line in lines if line.isdecimal()) <= 4  # stdin, stdout, stderr, and what `ls` itself opens
    assert check(command, inherited={"EXTRA": "1"}).status is CheckStatus.PROCOK
    assert "EXTRA=1" in seen.read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "status", "code", "info"),
    [
        ("exit 0", CheckStatus.PROCOK, 0, ""),
        ("exit 3", CheckStatus.PROCERR, 3, ""),
        ("kill -TERM $$", CheckStatus.PROCERR, 15, "killed by signal 15"),
    ],
)
def test_exit_codes(tmp_path: Path, text: str, status: CheckStatus, code: int, info: str) -> None:
    result = check(script(tmp_path, text))
    assert (result.status, result.shown_code, result.info) == (status, code, info)


def test_a_program_that_is_not_there() -> None:
    result = check("/nonexistent/probe")
    assert (result.status, result.code) == (CheckStatus.PROCERR, 255)
    assert result.info == "/nonexistent/probe: No such file or directory"


def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = script(tmp_path, f"sleep 1000 &\necho $$ $! > {pids}.new && mv {pids}.new {pids}\nwait")

    async def run() -> CheckResult:
        task = asyncio.ensure_future(
            run_external(proxy_of(command), server_of(), 0.3, inherited={}, clock=time.monotonic)
        )
        async with asyncio.timeout(20):
            return await task

    result = run_loop(run())
    assert result.status is CheckStatus.PROCTOUT
    assert result.reason.startswith("External check timeout, code: 0, check duration: ")
    if pids.exists():  # it may have been killed before it came so far
        shell, _ = map(int, pids.read_text().split())
        with pytest.raises(ProcessLookupError):
            os.kill(shell, 0)
