"""The command line has precedence over the configuration."""

from __future__ import annotations

import pytest

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import NOWHERE
from headgate.cli.options import parse
from headgate.cli.overrides import apply_options
from headgate.config.log_options import Logging, LogTarget
from headgate.config.model import Config, Global, Proxy, ProxyKind, Server
from headgate.config.tls_options import ServerTls, Verify

NAMED = Address(Family.NAME, "app.example", 80, 80)


def overridden(line: str, **settings: object) -> Config:
    servers = (
        Server("plain", NAMED, NOWHERE, 1),
        Server("tls", Address(Family.INET, "192.0.2.1", 443, 443), NOWHERE, 2, tls=ServerTls(), init_addr=("libc", "none")),
    )
    frontend = Proxy("f", ProxyKind.FRONTEND, 2, NOWHERE, logging=Logging(targets=(LogTarget(NAMED, NOWHERE),)))
    limited = Proxy("l", ProxyKind.FRONTEND, 3, NOWHERE, maxconn=7)
    backend = Proxy("b", ProxyKind.BACKEND, 4, NOWHERE, servers=servers)
    config = Config(Global(**settings), (frontend, limited, backend), {}, {}, {})  # type: ignore[arg-type]
    return apply_options(config, parse(line.split()))


def test_without_options_nothing_changes() -> None:
    assert overridden("", maxconn=5, daemon=True) == overridden("-c", maxconn=5, daemon=True)
    assert overridden("").proxies[2].servers[0].init_addr == ("last", "libc")
    assert overridden("", maxconn=5, daemon=True).global_ == Global(maxconn=5, daemon=True)


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [
        ("-n 10", {"maxconn": 5}, {"maxconn": 10}),
        ("-D -W", {}, {"daemon": True, "master_worker": True}),
        ("-db", {"daemon": True, "master_worker": True}, {}),
        ("-d -D", {}, {}),
        ("-p /new", {"pidfile": "/old"}, {"pidfile": "/new"}),
        ("-q", {}, {"quiet": True}),
        ("-V", {"quiet": True}, {}),
        ("-q -V", {}, {}),
        ("-dW", {}, {"zero_warning": True}),
    ],
)
def test_settings_of_the_process(line: str, before: dict[str, object], after: dict[str, object]) -> None:
    assert overridden(line, **before).global_ == Global(**after)  # type: ignore[arg-type]


def test_the_default_maxconn_is_for_frontends_without_one() -> None:
    assert [proxy.maxconn for proxy in overridden("-N 50").proxies] == [50, 7, None]


def test_names_need_not_resolve() -> None:
    servers = overridden("-dr").proxies[2].servers
    assert [server.init_addr for server in servers] == [("last", "libc", "none"), ("libc", "none")]


def test_servers_are_not_verified() -> None:
    plain, tls = overridden("-dV").proxies[2].servers
    assert plain.tls is None
    assert tls.tls is not None
    assert tls.tls.verify is Verify.NONE


def test_names_resolve_to_ipv4_only() -> None:
    frontend, _, backend = overridden("-4").proxies
    assert backend.servers[0].address.prefer is Family.INET
    assert frontend.logging.targets[0].address.prefer is Family.INET
    assert backend.servers[1].address.prefer is None
    assert overridden("-4").global_.dns_accept_family == ("ipv4",)
    assert overridden("-db").global_.dns_accept_family == ("auto",)
