"""One check from the first packet to its result: connect, SOCKS, PROXY header, TLS, the conversation, each under its timeout.

Called by `runner`, once for every interval of every checked server, and for agents. What is said is `health.machine`'s; here are
only the connections.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from headgate.base.addresses import Address, Family
from headgate.base.records import dataclass
from headgate.config.checks import CheckSpec, ConnectRule
from headgate.config.model import Proxy, Server, ServerCheck
from headgate.health.machine import Connect, Machine, Receive, Send
from headgate.health.programs import Script, script_of
from headgate.health.results import CheckResult, CheckStatus, Outcome, printable
from headgate.plan.checks import CheckProgram, CheckStream
from headgate.plan.facts import Session, World
from headgate.plan.frontends import FrontendPlan
from headgate.runtime.checks.connection import (
    Connection,
    PlainConnection,
    TlsClient,
    TlsLayer,
    open_socket,
    through_socks4,
)
from headgate.runtime.checks.failures import LocalError, TlsFailure
from headgate.runtime.checks.pool import CheckPool
from headgate.runtime.checks.waiting import TimeLimit
from headgate.runtime.loop import reactor_of
from headgate.wire.proxy_protocol import encode_local, encode_v1

#: What a check waits at most for a server that asked for a certificate to take or refuse us, seconds.
VERDICT = 1.0
_PORTLESS = frozenset({Family.UNIX, Family.ABNS, Family.ABNSZ})


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """How one server is checked; made once.

    Attributes:
        server: its line.
        timing: the check's options on that line.
        prelude: the PROXY header, b"" without one; `header` is what `connect send-proxy` sends.
        tls: makes the TLS layer, None where no connection of the check has one.
        over_tls: connections have it unless a `connect` rule says otherwise.
        sni: the server name of the TLS layer, None for none (manual, check-sni: the traffic's `sni` is not used).
        script: what is said once the connection stands.
        connect_timeout: seconds for connecting and the TLS handshake.
        answer_timeout: seconds for the conversation; None: it shares `connect_timeout`.
        limit: bytes of an answer that are looked at (`tune.bufsize`).
        pool: keeps the connection for the next check; None: each check opens its own.
    """

    server: Server
    timing: ServerCheck
    prelude: bytes
    header: bytes
    tls: TlsClient | None
    over_tls: bool
    sni: bytes | None
    script: Script
    connect_timeout: float
    answer_timeout: float | None
    limit: int = 16384
    pool: CheckPool | None = None


def spec_of(proxy: Proxy, server: Server) -> CheckSpec:
    """How a server is checked: by its own `healthcheck` section, else as its backend says."""
    return server.check_spec or proxy.check


def wants_tls(server: Server) -> bool:
    """Whether checks of this server run over TLS (5.2: check-ssl, and "check" for what is inherited)."""
    check = server.check
    if check is None:
        return False
    if check.tls is not None:
        return check.tls
    return server.tls is not None and check.address is None and check.port is None


def needs_tls(proxy: Proxy, server: Server) -> bool:
    """Whether any connection of this server's checks is made over TLS: also one of a rule, `connect ssl`."""
    if server.check is None:
        return False
    return wants_tls(server) or any(isinstance(rule, ConnectRule) and rule.ssl for rule in spec_of(proxy, server).rules)


def plan_check(
    proxy: Proxy,
    server: Server,
    check: ServerCheck,
    tls: TlsClient | None,
    program: CheckProgram | None = None,
    limit: int = 16384,
) -> CheckPlan:
    """Decide how `server` of `proxy` is checked.

    Args:
        tls: what makes TLS connections to it, None unless `needs_tls`.
        program: the compiled rules of the check.
        limit: `tune.bufsize`.
    """
    inherits = check.address is None and check.port is None
    second = server.send_proxy is not None and server.send_proxy.version == 2
    # A check is a connection of our own: LOCAL in version 2, UNKNOWN in version 1 (proxy-protocol.txt 2.1, 2.2).
    header = encode_local() if second else encode_v1(b"", 0, b"", 0)
    prelude = header if check.send_proxy or (inherits and server.send_proxy is not None) else b""
    # manual, "timeout check": min("timeout connect", "inter") to connect when it is set, else "inter" for everything
    connect = check.inter
    if proxy.timeouts.check is not None and proxy.timeouts.connect is not None:
        connect = min(connect, proxy.timeouts.connect)
    sni = check.sni.encode("utf-8", "surrogateescape") if check.sni else None
    script = script_of(spec_of(proxy, server), program)
    over_tls = tls is not None and (wants_tls(server) or not needs_tls(proxy, server))
    return CheckPlan(
        server, check, prelude, header, tls, over_tls, sni, script, connect, proxy.timeouts.check, limit,
        _pool(proxy, server, check, script.spec),
    )


def _pool(proxy: Proxy, server: Server, check: ServerCheck, spec: CheckSpec) -> CheckPool | None:
    """5.2 check-reuse-pool: only for http-check rules without `connect`, where the backend reuses connections at all."""
    if not check.reuse_pool or spec.kind != "http" or any(isinstance(rule, ConnectRule) for rule in spec.rules):
        return None
    if proxy.http_reuse == "never" or not server.pool_max_conn or not server.pool_purge_delay:
        return None
    name = None if check.pool_name is None else check.pool_name.encode("utf-8", "surrogateescape")
    longest = max(check.inter, check.fastinter or 0.0, check.downinter or 0.0)
    return CheckPool(name, 2.0 * longest + 1.0)


def check_address(address: Address, check: ServerCheck, rule: ConnectRule | None = None, port: int | None = None) -> Address:
    """Where a check goes: the server's current address with `addr` and `port` put in place of its parts.

    Args:
        rule, port: a `connect` rule and the port that it names: both come before the server line.

    Raises:
        LocalError: there is no port to connect to.
    """
    port = port if port is not None else check.port
    chosen = check.address if check.address is not None else address
    if rule is not None and rule.address is not None:
        chosen = rule.address
        port = port or chosen.port or None
    if chosen.family in _PORTLESS:
        return chosen
    if port is None and (not address.port or address.port_is_offset):
        raise LocalError(0, "no port to check: the server's port follows the client's, so 'port' must be set")
    number = port if port is not None else address.port
    if chosen.port == chosen.last_port == number and not chosen.port_is_offset:
        return chosen
    return replace(chosen, port=number, last_port=number, port_is_offset=False)


class _Run:
    """One check under way: its machine, its connection, and which layer it has reached."""

    __slots__ = (
        "_key", "_said", "_shaking", "_stale", "_tls", "address", "connection", "limit", "loop", "machine", "plan",
        "timeout_status",
    )

    def __init__(self, plan: CheckPlan, address: Address, machine: Machine, limit: TimeLimit) -> None:
        self.plan = plan
        self.address = address
        self.machine = machine
        self.limit = limit
        self.loop = asyncio.get_running_loop()
        self.connection: Connection | None = None
        #: of a timeout while a connection is made; None: the machine knows what is waited for
        self.timeout_status: CheckStatus | None = CheckStatus.L4TOUT
        self._shaking: TlsLayer | None = None  # the connection, while its handshake runs
        self._tls: TlsLayer | None = None  # the connection, where it is one of TLS
        self._key: object = None
        self._said = b""
        self._stale = False  # the connection is one of the pool, and has not answered yet

    async def drive(self) -> CheckResult:
        machine = self.machine
        while True:
            effect = machine.next()
            if isinstance(effect, CheckResult):
                if effect.outcome is Outcome.PASSED:
                    await self._accepted()
                return effect
            if isinstance(effect, Connect):
                await self._accepted()
                self.drop()
                machine.opening()
                if not self._reuses():
                    await self._open(effect)
                machine.opened(tls=self._has_tls(effect))
                self._begin()
                continue
            if isinstance(effect, Send):
                await self._send(effect.data)
            elif isinstance(effect, Receive):
                data = await self._receive()
                if not data:
                    machine.closed()
                elif (result := machine.received(data)) is not None:
                    return result

    def _begin(self) -> None:
        """The connection stands: the conversation has its own time."""
        self.timeout_status = None
        if self.plan.answer_timeout is not None:
            self.limit.move(self.loop.time() + self.plan.answer_timeout)

    async def _accepted(self) -> None:
        """Let a server refuse us after the handshake; the check must not run out of time for that."""
        end = self.limit.deadline
        if self._tls is not None and end:
            await self._tls.verdict(min(VERDICT, (end - self.loop.time()) / 2.0))

    # --- the conversation ---

    async def _send(self, data: bytes) -> None:
        assert self.connection is not None
        self._said = data
        try:
            await self.connection.send(data)
        except (OSError, TlsFailure):
            if not self._stale:
                raise
            await self._open_another()

    async def _receive(self) -> bytes:
        assert self.connection is not None
        try:
            data = await self.connection.receive()
        except (OSError, TlsFailure):
            if not self._stale:
                raise
            data = b""
        if data or not self._stale:
            self._stale = False
            return data
        await self._open_another()
        return await self._receive()

    # --- the pool ---

    def _reuses(self) -> bool:
        """Take the connection that the check before has left."""
        pool, plan = self.plan.pool, self.plan
        if pool is None:
            return False
        name = pool.name if pool.name is not None else self._name(None)
        policy = plan.tls.policy if plan.tls is not None else b""
        self._key = (_place(check_address(self.address, plan.timing)), name, policy)
        self.connection = pool.take(self._key)
        self._stale = self.connection is not None
        return self._stale

    async def _open_another(self) -> None:
        """The one of the pool was closed by the server, which says nothing of the server's health: say it all again."""
        self._stale = False
        self.drop()
        await self._open(Connect())
        self._begin()
        assert self.connection is not None
        await self.connection.send(self._said)

    def leave(self) -> None:
        """Leave the connection to the next check, where it can have it."""
        pool, answer = self.plan.pool, self.machine.answer
        if pool is None or self.connection is None or answer is None or answer.head is None:
            return
        connection, self.connection = self.connection, None
        pool.put(self._key, connection, answer)

    def drop(self) -> None:
        """Close the connection in order."""
        connection, self.connection = self.connection, None
        self._tls = None
        if connection is not None:
            connection.close()

    def overdue(self, seconds: float) -> str:
        """What the handshake that ran when the time was over waited for; "" when none did."""
        return self._shaking.overdue(seconds) if self._shaking is not None else ""

    def _has_tls(self, effect: Connect) -> bool:
        plan, rule = self.plan, effect.step.rule if effect.step is not None else None
        if rule is None:
            return plan.over_tls
        return rule.ssl or (rule.default and plan.over_tls)

    async def _open(self, effect: Connect) -> None:
        plan, rule = self.plan, effect.step.rule if effect.step is not None else None
        own = rule is None or rule.default
        self.timeout_status = CheckStatus.L4TOUT
        if plan.answer_timeout is not None:
            self.limit.move(self.loop.time() + plan.connect_timeout)
        target = check_address(self.address, plan.timing, rule, effect.port)
        source = plan.server.source
        socks = plan.server.socks4 if (own and plan.timing.via_socks4) or (rule is not None and rule.via_socks4) else None
        sock = await open_socket(self.loop, socks if socks is not None else target, source)
        plain = PlainConnection(self.loop, sock)
        self.connection = plain
        if socks is not None:
            await through_socks4(self.loop, plain, target)
        if own and plan.prelude:
            await self.connection.send(plan.prelude)
        elif rule is not None and rule.send_proxy:
            await self.connection.send(plan.header)
        if self._has_tls(effect):
            if plan.tls is None:
                raise LocalError(0, "nothing makes TLS connections to this server")
            self.timeout_status = CheckStatus.L6TOUT
            protocols = rule.alpn if rule is not None else None
            tls = plan.tls.open(self.loop, sock, self._name(rule), _place(target), protocols)
            self.connection = self._shaking = tls
            await tls.handshake()
            self._shaking = None
            self._tls = tls

    def _name(self, rule: ConnectRule | None) -> bytes | None:
        """The server name for TLS: the rule's, else `check-sni`, else the host that an HTTP check asks for (check-sni-auto)."""
        if rule is not None and (rule.sni or not rule.default):
            return rule.sni.encode("utf-8", "surrogateescape") if rule.sni else None
        host = self.plan.script.host
        if self.plan.sni is not None or host is None or not self.plan.timing.sni_auto:
            return self.plan.sni
        return host(self.machine.stream)


async def run_check(
    plan: CheckPlan,
    address: Address,
    *,
    clock: Callable[[], float],
    stream: CheckStream | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> CheckResult:
    """Run one check.

    Args:
        plan: how.
        address: the server's current address.
        clock: monotonic seconds.
        stream: what samples of the check's rules look at; None for a script that evaluates none.
        entropy: makes random bytes.

    Returns:
        The result; whatever goes wrong is one, only cancellation escapes.
    """
    began = clock()
    script = plan.script
    if stream is None:
        stream = CheckStream(Session(cast(World, None), cast(FrontendPlan, None)))
    stream.disable_on_404 = script.spec.disable_on_404
    stream.keeps = plan.pool is not None
    machine = Machine(script.steps, stream, entropy, limit=plan.limit, named=script.named, done=script.done)
    run: _Run | None = None
    try:
        loop = asyncio.get_running_loop()
        with TimeLimit(reactor_of(loop), loop.time() + plan.connect_timeout) as limit:
            run = _Run(plan, address, machine, limit)
            result = await run.drive()
        run.leave()
    except TimeoutError as error:
        # The network's own ETIMEDOUT is the same class; at layer 4 both mean the same.
        status = run.timeout_status if run is not None else CheckStatus.L4TOUT
        if status is None:
            result = machine.timed_out()
        else:
            why = run.overdue(clock() - began) if run is not None and error.errno is None else _strerror(error)
            result = CheckResult(status, None, printable(why + machine.place))
    except LocalError as error:
        result = CheckResult(CheckStatus.SOCKERR, None, printable((error.strerror or str(error)) + machine.place))
    except TlsFailure as failure:
        result = CheckResult(CheckStatus.L6RSP, None, printable(str(failure) + machine.place))
    except OSError as error:
        result = CheckResult(_blame(error, run), None, printable(_strerror(error) + machine.place))
    finally:
        if run is not None:
            run.drop()
    return CheckResult(result.status, result.code, result.info, max(0.0, clock() - began))


#: Errors of a connection that our own system causes.
_OUR_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EACCES, errno.EPERM})


def _blame(error: OSError, run: _Run | None) -> CheckStatus:
    """A connection that breaks behind its beginning is a socket error, as in HAProxy."""
    if error.errno in _OUR_FAULT or (run is not None and run.timeout_status is None):
        return CheckStatus.SOCKERR
    return CheckStatus.L4CON


def _strerror(error: OSError) -> str:
    return printable(os.strerror(error.errno) if error.errno else error.strerror or str(error))


def _place(target: Address) -> tuple[str, int] | str:
    """An address in the form that the connector has it in: sessions of traffic and checks at the same one are the same."""
    return target.host if target.family in _PORTLESS else (target.host, target.port)
