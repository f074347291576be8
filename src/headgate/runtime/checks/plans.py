"""How a server is checked: the options of its line and its backend's, taken together once.

`runner` makes a plan for each checked server, `checked` one for each agent; `exchange` follows it. Where a check goes depends on
the server's current address, so that is asked each time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from headgate.base.addresses import Address, Family
from headgate.base.records import dataclass
from headgate.config.checks import CheckSpec, ConnectRule
from headgate.config.model import Proxy, Server, ServerCheck
from headgate.health.programs import Script, script_of
from headgate.plan.checks import CheckProgram
from headgate.runtime.checks.connection import TlsClient
from headgate.runtime.checks.failures import LocalError
from headgate.runtime.checks.pool import CheckPool
from headgate.wire.proxy_protocol import encode_local, encode_v1

_PORTLESS: Final = frozenset({Family.UNIX, Family.ABNS, Family.ABNSZ})


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
    return server.tls is not None and _inherits(check)


def _inherits(check: ServerCheck) -> bool:
    """Whether a check connects as traffic does: another port or address may be another service."""
    return check.inherits and check.address is None and check.port is None


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
    second = server.send_proxy is not None and server.send_proxy.version == 2
    # A check is a connection of our own: LOCAL in version 2, UNKNOWN in version 1 (proxy-protocol.txt 2.1, 2.2).
    header = encode_local() if second else encode_v1(b"", 0, b"", 0)
    prelude = header if check.send_proxy or (_inherits(check) and server.send_proxy is not None) else b""
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
    if proxy.http_reuse == "never" or not (server.pool_max_conn and server.pool_purge_delay and server.max_reuse):
        return None
    name = None if check.pool_name is None else check.pool_name.encode("utf-8", "surrogateescape")
    longest = max(check.inter, check.fastinter or 0.0, check.downinter or 0.0)
    return CheckPool(name, 2.0 * longest + 1.0, server.max_reuse)


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


def place_of(target: Address) -> tuple[str, int] | str:
    """An address in the form that the connector has it in: sessions of traffic and checks at the same one are the same."""
    return target.host if target.family in _PORTLESS else (target.host, target.port)
