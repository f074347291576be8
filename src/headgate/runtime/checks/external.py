"""`option external-check`: a program says whether a server is well (manual 4.2 external-check command).

It runs as the user of this process, in a session of its own, with nothing of ours open, and is bounded in time: what is left
of it is killed and reaped. Its output goes nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from headgate.base.addresses import Address, Family
from headgate.config.model import Mode, Proxy, Server
from headgate.health.results import CheckResult, CheckStatus, printable

_UNIX = (Family.UNIX, Family.ABNS, Family.ABNSZ)
_INTERFACES = (Family.INET, Family.INET6)
_NOT_USED = "NOT_USED"
#: Exit code of a program that could not even be started.
_NOT_STARTED = 255


class Checked(Protocol):
    """A server's live state; `balance.server.ServerState`."""

    address: Address
    maxconn: int
    name: str
    sessions: int
    spec: Server


def _listener(proxy: Proxy) -> tuple[str, str] | None:
    """Address and port of the first listener that is IPv4, IPv6 or a unix socket; a unix socket has no port."""
    for bind in proxy.binds:
        if bind.address.family in _INTERFACES:
            host = bind.address.host
            return ("0.0.0.0" if host in ("", "*") else host), str(bind.address.port)
        if bind.address.family is Family.UNIX:
            return bind.address.host, ""
    return None


def arguments(proxy: Proxy, server: Checked) -> list[str]:
    """`<proxy_address> <proxy_port> <server_address> <server_port>`."""
    address, port = _listener(proxy) or (_NOT_USED, _NOT_USED)
    local = server.address.family in _UNIX
    return [address, port or _NOT_USED, server.address.host, _NOT_USED if local else str(server.address.port)]


def environment(proxy: Proxy, server: Checked, inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables that the manual lists.

    Args:
        inherited: our own environment, where the global section says `preserve-env`; else empty.
    """
    address, port = _listener(proxy) or ("", "")
    return {
        **inherited,
        "HAPROXY_PROXY_ADDR": address,
        "HAPROXY_PROXY_ID": str(proxy.id),
        "HAPROXY_PROXY_NAME": proxy.name,
        "HAPROXY_PROXY_PORT": port,
        "HAPROXY_SERVER_ADDR": server.address.host,
        "HAPROXY_SERVER_CURCONN": str(server.sessions),
        "HAPROXY_SERVER_ID": str(server.spec.id),
        "HAPROXY_SERVER_MAXCONN": str(server.maxconn),
        "HAPROXY_SERVER_NAME": server.name,
        "HAPROXY_SERVER_PORT": "" if server.address.family in _UNIX else str(server.address.port),
        "HAPROXY_SERVER_PROTO": "h1" if proxy.mode is Mode.HTTP else "tcp",
        "HAPROXY_SERVER_SSL": "1" if server.spec.tls is not None else "0",
        "PATH": proxy.check.path,
    }


async def run_external(
    proxy: Proxy, server: Checked, seconds: float, *, inherited: Mapping[str, str], clock: Callable[[], float]
) -> CheckResult:
    """Run the command once.

    Args:
        seconds: how long it may take.
        inherited: see `environment`.

    Returns:
        PROCOK for exit code 0, PROCERR with the code (or the signal's number) for another, PROCTOUT when it took too long.
    """
    began = clock()
    result = await _run(proxy, server, seconds, inherited)
    return replace(result, duration=max(0.0, clock() - began))


async def _run(proxy: Proxy, server: Checked, seconds: float, inherited: Mapping[str, str]) -> CheckResult:
    command = proxy.check.command or ""
    try:
        # Not the event loop's own way, which lets children inherit descriptors: a listening socket is nothing for them.
        process = subprocess.Popen(  # noqa: ASYNC220 -- it returns when the program runs, and nothing waits for its end
            [command, *arguments(proxy, server)], env=environment(proxy, server, inherited), start_new_session=True,
            close_fds=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    except OSError as error:
        text = f"{command}: {error.strerror or error}"
        return CheckResult(CheckStatus.PROCERR, _NOT_STARTED, printable(text))
    try:
        async with asyncio.timeout(seconds):
            await _ended(process)
    except TimeoutError:
        return CheckResult(CheckStatus.PROCTOUT)
    finally:
        code = _reap(process)
    if code == 0:
        return CheckResult(CheckStatus.PROCOK)
    if code < 0:
        return CheckResult(CheckStatus.PROCERR, -code, f"killed by signal {-code}")
    return CheckResult(CheckStatus.PROCERR, code)


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Wait until the program is over, without reaping it: its number is still its own then."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    handle = os.pidfd_open(process.pid)
    loop.add_reader(handle, lambda: None if over.done() else over.set_result(None))
    try:
        await over
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _reap(process: subprocess.Popen[bytes]) -> int:
    """Kill what is left, also what it started itself in its session, and reap it; its exit code."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()  # at once: it is over, or was just killed
