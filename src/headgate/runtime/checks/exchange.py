"""One check from the first packet to its result: connect, PROXY header, TLS, conversation, each under its timeout.

Called by `runner`, once for every interval of every checked server.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace

from headgate.base.addresses import Address, Family
from headgate.base.records import dataclass
from headgate.config.model import CheckSpec, Proxy, Server, ServerCheck
from headgate.health.results import CheckResult, CheckStatus, printable
from headgate.health.scripts import Script, script_for
from headgate.runtime.checks.connection import (
    Connection,
    LocalError,
    PlainConnection,
    TlsClient,
    TlsFailure,
    open_socket,
)
from headgate.wire.proxy_protocol import encode_local, encode_v1

_PORTLESS = frozenset({Family.UNIX, Family.ABNS, Family.ABNSZ})


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """How one server is checked; made once.

    Attributes:
        server: its line.
        timing: the check's options on that line.
        prelude: the PROXY header, b"" without one.
        tls: makes the TLS layer, None for plain checks.
        sni: the server name of the TLS layer, None for none (manual, check-sni, check-sni-auto: the traffic's `sni` is not used).
        script: makes the conversation, None when connecting is all.
        connect_timeout: seconds for connecting and the TLS handshake.
        answer_timeout: seconds for the conversation; None: it shares `connect_timeout`.
    """

    server: Server
    timing: ServerCheck
    prelude: bytes
    tls: TlsClient | None
    sni: bytes | None
    script: Callable[[bytes], Script] | None
    connect_timeout: float
    answer_timeout: float | None


def wants_tls(server: Server) -> bool:
    """Whether checks of this server run over TLS (5.2: check-ssl, and "check" for what is inherited)."""
    check = server.check
    if check is None:
        return False
    if check.tls is not None:
        return check.tls
    return server.tls is not None and check.address is None and check.port is None


def plan_check(proxy: Proxy, server: Server, check: ServerCheck, tls: TlsClient | None) -> CheckPlan:
    """Decide how `server` of `proxy` is checked.

    Args:
        tls: what makes TLS connections to it, None unless `wants_tls`.
    """
    inherits = check.address is None and check.port is None
    prelude = b""
    if check.send_proxy or (inherits and server.send_proxy is not None):
        second = server.send_proxy is not None and server.send_proxy.version == 2
        # A check is a connection of our own: LOCAL in version 2, UNKNOWN in version 1 (proxy-protocol.txt 2.1, 2.2).
        prelude = encode_local() if second else encode_v1(b"", 0, b"", 0)
    # manual, "timeout check": min("timeout connect", "inter") to connect when it is set, else "inter" for everything
    connect = check.inter
    if proxy.timeouts.check is not None and proxy.timeouts.connect is not None:
        connect = min(connect, proxy.timeouts.connect)
    name = check.sni or (_host(proxy.check) if check.sni_auto else "")
    sni = name.encode("utf-8", "surrogateescape") if name else None
    return CheckPlan(server, check, prelude, tls, sni, script_for(proxy.check), connect, proxy.timeouts.check)


def _host(spec: CheckSpec) -> str:
    """The name in the Host of HTTP checks, "" for none: their SNI where the line says none (5.2 check-sni-auto)."""
    if spec.kind != "http":
        return ""
    hosts = [value for header, value in spec.headers if header.lower() == "host"]
    return hosts[-1].partition(":")[0] if hosts else ""


def check_address(address: Address, check: ServerCheck) -> Address:
    """Where the check goes: the server's current address with `addr` and `port` put in place of its parts.

    Raises:
        LocalError: there is no port to connect to.
    """
    port = check.port if check.port is not None else address.port
    chosen = check.address if check.address is not None else address
    if chosen.family in _PORTLESS:
        return chosen
    if check.port is None and (not port or address.port_is_offset):
        raise LocalError(0, "no port to check: the server's port follows the client's, so 'port' must be set")
    return chosen if chosen.port == chosen.last_port == port else replace(chosen, port=port, last_port=port)


class _Progress:
    """Which layer a check has reached: it decides the word for a timeout."""

    __slots__ = ("timeout_status",)

    def __init__(self) -> None:
        self.timeout_status = CheckStatus.L4TOUT


async def run_check(
    plan: CheckPlan, address: Address, *, clock: Callable[[], float], entropy: Callable[[int], bytes] = os.urandom
) -> CheckResult:
    """Run one check.

    Args:
        plan: how.
        address: the server's current address.
        clock: monotonic seconds.
        entropy: makes random bytes.

    Returns:
        The result; whatever goes wrong is one, only cancellation escapes.
    """
    began = clock()
    progress = _Progress()
    try:
        async with asyncio.timeout(plan.connect_timeout) as limit:
            result = await _check(plan, address, limit, progress, entropy)
    except TimeoutError as error:
        # The network's own ETIMEDOUT is the same class; at layer 4 both mean the same.
        result = CheckResult(progress.timeout_status, None, "" if error.errno is None else _strerror(error))
    except LocalError as error:
        result = CheckResult(CheckStatus.SOCKERR, None, printable(error.strerror or str(error)))
    except TlsFailure as failure:
        result = CheckResult(CheckStatus.L6RSP, None, printable(str(failure)))
    except OSError as error:
        status = CheckStatus.SOCKERR if error.errno in _OUR_FAULT else CheckStatus.L4CON
        result = CheckResult(status, None, _strerror(error))
    return replace(result, duration=max(0.0, clock() - began))


#: Errors of a connection that our own system causes.
_OUR_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EACCES, errno.EPERM})


def _strerror(error: OSError) -> str:
    return printable(os.strerror(error.errno) if error.errno else error.strerror or str(error))


async def _check(
    plan: CheckPlan, address: Address, limit: asyncio.Timeout, progress: _Progress, entropy: Callable[[int], bytes]
) -> CheckResult:
    loop = asyncio.get_running_loop()
    target = check_address(address, plan.timing)
    sock = await open_socket(loop, target, plan.server.source)
    connection: Connection = PlainConnection(loop, sock)
    passed = CheckResult(CheckStatus.L4OK)
    try:
        if plan.prelude:
            await connection.send(plan.prelude)
        if plan.tls is not None:
            progress.timeout_status = CheckStatus.L6TOUT
            connection = tls = plan.tls.open(loop, sock, plan.sni, _place(target))
            await tls.handshake()
            passed = CheckResult(CheckStatus.L6OK)
        if plan.script is None:
            return passed
        if plan.answer_timeout is not None:
            limit.reschedule(loop.time() + plan.answer_timeout)
        script = plan.script(entropy(32))
        progress.timeout_status = script.timeout_status
        return await _converse(connection, script)
    finally:
        connection.close()


def _place(target: Address) -> tuple[str, int] | str:
    """An address in the form that the connector has it in: sessions of traffic and checks at the same one are the same."""
    return target.host if target.family in _PORTLESS else (target.host, target.port)


async def _converse(connection: Connection, script: Script) -> CheckResult:
    await connection.send(script.request)
    while True:
        data = await connection.receive()
        result = script.received(data) if data else script.closed()
        if result is not None:
            if script.farewell and data:
                await connection.send(script.farewell)
            return result
