"""One check from the first packet to its result: connect, SOCKS, PROXY header, TLS, the conversation, each under its timeout.

`runner` begins one for every interval of every checked server, and for agents. What is said is `health.machine`'s; here are only
the connections. An exchange is a machine of the reactor as the data plane's are: it does what it can, then is called again when
the connection may go on, or when its time is over. As coroutines its waits cost half as much as all the rest of a plain check.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from typing import Final, cast

from headgate.base.addresses import Address
from headgate.config.checks import ConnectRule
from headgate.health.machine import Connect, Machine, Receive, Send
from headgate.health.results import CheckResult, CheckStatus, Outcome, printable
from headgate.plan.checks import CheckStream
from headgate.plan.facts import Session, World
from headgate.plan.frontends import FrontendPlan
from headgate.proxy.services import Reminder
from headgate.runtime.checks.connection import Connection, Located, TlsLayer, locate, look_up, open_socket
from headgate.runtime.checks.failures import LocalError, SocksFailure, TlsFailure
from headgate.runtime.checks.plans import CheckPlan, check_address, place_of
from headgate.runtime.loop import reactor_of
from headgate.runtime.reactor import Reactor
from headgate.wire import socks4

#: What a check waits at most for a server that asked for a certificate to take or refuse us, seconds.
VERDICT: Final = 1.0

#: What is to be done now; False: not before something happens.
_State = Callable[[], bool]


def _over() -> bool:
    return False


class Exchange:
    """One check under way. `begin` begins it, `done` is told its end.

    Args:
        reactor: that it runs on.
        plan: how the server is checked.
        address: the server's current address.
        stream: what samples of the check's rules look at.
        clock: monotonic seconds.
        done: told the result; or the exception, if one comes that nobody expects. Whatever else goes wrong is a result. It must
            raise none itself.

    Attributes:
        deadline, armed: the reactor's.
    """

    __slots__ = (
        "_began", "_clock", "_connection", "_data", "_done", "_found", "_has_tls", "_key", "_lookup", "_machine", "_now", "_plan",
        "_port", "_reactor", "_repeat", "_result", "_rule", "_said", "_socks", "_socks_reply", "_stale", "_target", "_then",
        "_timeout_status", "_tls", "address", "armed", "deadline", "stream",
    )  # fmt: skip

    def __init__(
        self,
        reactor: Reactor,
        plan: CheckPlan,
        address: Address,
        *,
        stream: CheckStream,
        clock: Callable[[], float],
        done: Callable[[CheckResult | Exception], None],
    ) -> None:
        script = plan.script
        stream.keeps = plan.pool is not None
        self.stream = stream
        self.address = address
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self._reactor = reactor
        self._plan = plan
        self._clock = clock
        self._done = done
        self._machine = Machine(script.steps, stream, os.urandom, limit=plan.limit, named=script.named, done=script.done)
        self._began = 0.0
        self._now: _State = self._next
        self._then: _State = self._next
        self._connection: Connection | None = None
        self._tls: TlsLayer | None = None  # the connection, where it is one of TLS
        #: of a timeout while a connection is made; None: the machine knows what is waited for
        self._timeout_status: CheckStatus | None = CheckStatus.L4TOUT
        #: how the connection is to be made: see `_choose`
        self._rule: ConnectRule | None = None
        self._port: int | None = None
        self._has_tls = False
        self._socks: Address | None = None
        self._target = address  # where it goes
        self._lookup: asyncio.Task[Located] | None = None
        self._found: Located | None = None
        self._socks_reply = b""
        self._data = b""  # to be sent
        self._said = b""  # what was sent last
        self._result: CheckResult | None = None
        self._key: object = None
        self._stale = False  # the connection is one of the pool, and has not answered yet
        self._repeat: _State | None = None  # it was, and another one is made in its place; then this goes on

    # --- its course --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin the check."""
        self._began = self._clock()
        self._reactor.arm(self, self._began + self._plan.connect_timeout)
        self._proceed()

    def abandon(self) -> None:
        """End it without a result."""
        self._now = self._then = _over  # and it refers to itself no more
        self._repeat = None
        self._reactor.retire(self)
        self._drop()

    def timed_out(self) -> None:
        """The reactor's call: its time is over."""
        self._now = self._late
        self._proceed()

    def _late(self) -> bool:
        status, tls = self._timeout_status, self._tls
        if status is None:
            self._conclude(self._machine.timed_out())
        else:
            why = tls.overdue(self._clock() - self._began) if tls is not None and status is CheckStatus.L6TOUT else ""
            self._conclude(CheckResult(status, None, printable(why + self._machine.place)))
        return False

    def _proceed(self) -> None:
        """What was waited for may be there. Exceptions end a check; while all is well there is none."""
        try:
            while self._now():
                pass
        except (OSError, TlsFailure) as failure:
            self._conclude(self._failed(failure))
        except Exception as error:
            self.abandon()
            self._done(error)

    def _conclude(self, result: CheckResult) -> None:
        self.abandon()
        self._done(CheckResult(result.status, result.code, result.info, max(0.0, self._clock() - self._began)))

    def _failed(self, failure: Exception) -> CheckResult:
        """What a failure of the connection says of the server."""
        place = self._machine.place
        if isinstance(failure, TlsFailure):
            return CheckResult(CheckStatus.L6RSP, None, printable(str(failure) + place))
        assert isinstance(failure, OSError)
        status, text = self._timeout_status, _strerror(failure)
        if isinstance(failure, LocalError):
            return CheckResult(CheckStatus.SOCKERR, None, printable((failure.strerror or str(failure)) + place))
        if failure.errno == errno.ETIMEDOUT:  # the network's own timeout means the same as ours
            return self._machine.timed_out() if status is None else CheckResult(status, None, printable(text + place))
        # A connection that breaks behind its beginning is a socket error, as in HAProxy.
        ours = failure.errno in _OUR_FAULT or status is None
        return CheckResult(CheckStatus.SOCKERR if ours else CheckStatus.L4CON, None, printable(text + place))

    def _drop(self) -> None:
        """Close the connection in order."""
        connection, self._connection = self._connection, None
        lookup, self._lookup = self._lookup, None
        self._tls = None
        if lookup is not None:
            lookup.cancel()
        if connection is not None:
            connection.close()

    # --- the machine -------------------------------------------------------------------------------------------------

    def _next(self) -> bool:
        effect = self._machine.next()
        if isinstance(effect, Send):
            self._said = effect.data
            return self._send(effect.data, self._next)
        if isinstance(effect, Receive):
            self._now = self._receiving
            return True
        if isinstance(effect, Connect):
            self._choose(effect)
            return self._accepted(self._reconnecting)
        self._result = effect
        return self._accepted(self._finishing) if effect.outcome is Outcome.PASSED else self._finishing()

    def _finishing(self) -> bool:
        result = self._result
        assert result is not None
        self._leave()
        self._conclude(result)
        return False

    def _accepted(self, then: _State) -> bool:
        """Let a server refuse us after the handshake, then go on."""
        if self._tls is None:
            self._now = then
        else:
            self._now, self._then = self._judged, then
        return True

    def _judged(self) -> bool:
        assert self._tls is not None
        # The check must not run out of time for that.
        if not self._tls.verdict(min(VERDICT, (self.deadline - self._clock()) / 2.0)):
            return False
        self._now = self._then
        return True

    def _send(self, data: bytes, then: _State) -> bool:
        self._data, self._then, self._now = data, then, self._sending
        return True

    def _sending(self) -> bool:
        connection, data = self._connection, self._data
        assert connection is not None
        try:
            sent = connection.send(data)
        except (OSError, TlsFailure):
            if not self._stale:
                raise
            return self._open_another(self._next)
        if sent < len(data):
            self._data = data[sent:]
            return False
        self._now = self._then
        return True

    def _receiving(self) -> bool:
        connection = self._connection
        assert connection is not None
        try:
            data = connection.receive()
        except (OSError, TlsFailure):
            if not self._stale:
                raise
            data = b""
        if data is None:
            return False
        if not data and self._stale:
            return self._open_another(self._receiving)
        self._stale = False
        self._now = self._next
        if not data:
            self._machine.closed()
        elif (result := self._machine.received(data)) is not None:
            self._result = result
            self._now = self._finishing
        return True

    # --- a connection ------------------------------------------------------------------------------------------------

    def _choose(self, connect: Connect) -> None:
        """How the next connection is to be made."""
        plan, step = self._plan, connect.step
        rule = self._rule = None if step is None else step.rule
        own = rule is None or rule.default  # as the server line says
        self._port = connect.port
        self._has_tls = (own and plan.over_tls) or (rule is not None and rule.ssl)
        through_socks = (own and plan.timing.via_socks4) or (rule is not None and rule.via_socks4)
        self._socks = plan.server.socks4 if through_socks else None

    def _reconnecting(self) -> bool:
        self._drop()
        self._machine.opening()
        self._repeat = None
        return self._opened() if self._reuses() else self._open()

    def _open(self) -> bool:
        """Find out where to connect to."""
        plan = self._plan
        self._timeout_status = CheckStatus.L4TOUT
        if plan.answer_timeout is not None:
            self._reactor.arm(self, self._clock() + plan.connect_timeout)
        self._target = check_address(self.address, plan.timing, self._rule, self._port)
        return self._locate(self._target if self._socks is None else self._socks, self._connecting)

    def _locate(self, address: Address, then: _State) -> bool:
        self._now = then
        self._found = locate(address)
        if self._found is not None:
            return True
        self._lookup = asyncio.get_running_loop().create_task(look_up(address))
        self._lookup.add_done_callback(self._looked_up)
        return False

    def _looked_up(self, lookup: asyncio.Task[Located]) -> None:
        if not lookup.cancelled():
            self._proceed()

    def _located(self) -> Located:
        lookup, self._lookup = self._lookup, None
        found = self._found if lookup is None else lookup.result()
        assert found is not None
        return found

    def _connecting(self) -> bool:
        family, target = self._located()
        sock = open_socket(family, self._plan.server.source)
        connection = self._connection = Connection(self._reactor, sock, self._proceed)
        self._now = self._connected
        return connection.connect(target) and self._connects()

    def _connected(self) -> bool:
        assert self._connection is not None
        self._connection.connected()
        return self._connects()

    def _connects(self) -> bool:
        """The socket is connected: to the server, or to the SOCKS4 proxy in front of it (5.2 socks4)."""
        return self._greet() if self._socks is None else self._locate(self._target, self._ask_proxy)

    def _ask_proxy(self) -> bool:
        _, target = self._located()
        host, port = target[:2] if isinstance(target, tuple) else ("", 0)
        if not isinstance(host, str) or not isinstance(port, int) or ":" in host or not host:
            raise LocalError(0, "SOCKS4 knows IPv4 addresses only")
        self._socks_reply = b""
        return self._send(socks4.connect_request(host, port), self._await_proxy)

    def _await_proxy(self) -> bool:
        assert self._connection is not None
        data = self._connection.receive(socks4.REPLY_SIZE - len(self._socks_reply))
        if data is None:
            return False
        if not data:
            raise SocksFailure(0, "SOCKS4 proxy closed the connection")
        reply = self._socks_reply = self._socks_reply + data
        if len(reply) < socks4.REPLY_SIZE:
            return True
        if why := socks4.refusal(reply):
            raise SocksFailure(0, why)
        return self._greet()

    def _greet(self) -> bool:
        """Send the PROXY header, where there is to be one."""
        plan, rule = self._plan, self._rule
        header = plan.prelude if rule is None or rule.default else b""
        if rule is not None and rule.send_proxy:
            header = header or plan.header
        then = self._secure if self._has_tls else self._opened
        return self._send(header, then) if header else then()

    def _secure(self) -> bool:
        plan, rule, plain = self._plan, self._rule, self._connection
        if plan.tls is None:
            raise LocalError(0, "nothing makes TLS connections to this server")
        assert plain is not None
        self._timeout_status = CheckStatus.L6TOUT
        protocols = rule.alpn if rule is not None else None
        sock = plain.hand_over()
        tls = plan.tls.open(self._reactor, sock, self._proceed, self._name(rule), place_of(self._target), protocols)
        self._connection = self._tls = tls
        self._now = self._shaking
        return True

    def _shaking(self) -> bool:
        assert self._tls is not None
        return self._tls.handshake() and self._opened()

    def _opened(self) -> bool:
        """The connection stands: the conversation has its own time."""
        self._timeout_status = None
        if self._plan.answer_timeout is not None:
            self._reactor.arm(self, self._clock() + self._plan.answer_timeout)
        if self._repeat is not None:
            return self._send(self._said, self._repeat)
        self._machine.opened(tls=self._has_tls)
        self._now = self._next
        return True

    def _name(self, rule: ConnectRule | None) -> bytes | None:
        """The server name for TLS: the rule's, else `check-sni`, else the host that an HTTP check asks for (check-sni-auto)."""
        if rule is not None and (rule.sni or not rule.default):
            return rule.sni.encode("utf-8", "surrogateescape") if rule.sni else None
        host = self._plan.script.host
        if self._plan.sni is not None or host is None or not self._plan.timing.sni_auto:
            return self._plan.sni
        return host(self.stream)

    # --- the pool ----------------------------------------------------------------------------------------------------

    def _reuses(self) -> bool:
        """Take the connection that the check before has left."""
        pool, plan = self._plan.pool, self._plan
        if pool is None:
            return False
        name = pool.name if pool.name is not None else self._name(None)
        policy = plan.tls.policy if plan.tls is not None else b""
        self._key = (place_of(check_address(self.address, plan.timing)), name, policy)
        self._connection = pool.take(self._key, self._proceed)
        self._stale = self._connection is not None
        return self._stale

    def _open_another(self, then: _State) -> bool:
        """The one of the pool was closed by the server, which says nothing of the server's health: say it all again."""
        self._stale = False
        self._repeat = then
        self._drop()
        return self._open()

    def _leave(self) -> None:
        """Leave the connection to the next check, where it can have it."""
        pool, answer = self._plan.pool, self._machine.answer
        if pool is None or self._connection is None or answer is None or answer.head is None:
            return
        connection, self._connection = self._connection, None
        pool.put(self._key, connection, answer, self._reactor)


#: Errors of a connection that our own system causes.
_OUR_FAULT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EACCES, errno.EPERM})


def _strerror(error: OSError) -> str:
    return printable(os.strerror(error.errno) if error.errno else error.strerror or str(error))


async def run_check(
    plan: CheckPlan, address: Address, *, clock: Callable[[], float], stream: CheckStream | None = None
) -> CheckResult:
    """Run one check, for those who wait for it; whatever goes wrong is a result.

    Args:
        plan, address, clock: see `Exchange`.
        stream: what samples of the check's rules look at; None for a script that evaluates none.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[CheckResult | Exception] = loop.create_future()

    def done(result: CheckResult | Exception) -> None:
        if not over.done():  # who waits may have been cancelled a moment ago
            over.set_result(result)

    if stream is None:
        stream = CheckStream(Session(cast(World, None), cast(FrontendPlan, None)))
    exchange = Exchange(reactor_of(loop), plan, address, stream=stream, clock=clock, done=done)
    exchange.begin()
    try:
        result = await over
    except asyncio.CancelledError:
        exchange.abandon()
        raise
    if isinstance(result, Exception):
        raise result
    return result
