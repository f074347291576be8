"""Backends, servers and streams for the tests of `balance`, made without a configuration file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headgate.balance.backend import BackendState
from headgate.balance.server import ServerState
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import NOWHERE
from headgate.config.model import Balance, CookiePersistence, HashType, Options, Proxy, ProxyKind, Server
from headgate.plan.facts import Stream
from headgate.plan.frontends import BackendPlan, ServerPlan
from headgate.wire.http1.heads import parse_request_head, parse_response_head

NOW = 1_700_000_000.0


def server_plan(name: str, id: int, **options: Any) -> ServerPlan:
    address = options.pop("address", Address(Family.INET, f"192.0.2.{id}", 80, 80))
    return ServerPlan(Server(name=name, address=address, location=NOWHERE, id=id, **options))


def server(name: str = "s1", id: int = 1, **options: Any) -> ServerState:
    return ServerState(server_plan(name, id, **options), id - 1)


def weighted(*weights: int) -> list[ServerState]:
    return [server(f"s{number}", number, weight=weight) for number, weight in enumerate(weights, 1)]


def backend(
    servers: Sequence[dict[str, Any]],
    algorithm: str = "roundrobin",
    *,
    cookie: CookiePersistence | None = None,
    hash_type: HashType | None = None,
    options: Options | None = None,
    draws: int = 2,
    randomness: Callable[[], float] = lambda: 0.0,
    use_server: Callable[[Stream], str | None] | None = None,
    force_persist: Callable[[Stream], bool] | None = None,
    ignore_persist: Callable[[Stream], bool] | None = None,
    balance_key: Callable[[Stream], bytes | None] | None = None,
    **proxy: Any,
) -> BackendState:
    plans = tuple(server_plan(f"s{number}", number, **each) for number, each in enumerate(servers, 1))
    spec = Proxy(
        name="app", kind=ProxyKind.BACKEND, id=1, location=NOWHERE, servers=tuple(plan.spec for plan in plans), cookie=cookie,
        balance=Balance(algorithm, draws=draws), hash_type=hash_type or HashType(), options=options or Options(), **proxy,
    )
    plan = BackendPlan(
        spec=spec, name="app", servers=plans, tcp_request_content=None, tcp_response_content=None, http_request=None,
        http_response=None, http_after_response=None, use_server=use_server, force_persist=force_persist,
        ignore_persist=ignore_persist, balance_key=balance_key, cookie=cookie, error_replies={}, forwardfor=None,
        originalto=None,
    )
    return BackendState(plan, randomness)


def stream(cookies: bytes | None = None, method: bytes = b"GET") -> Stream:
    made = Stream(None)  # type: ignore[arg-type]  # balancing never looks at the session
    head = method + b" / HTTP/1.1\r\nHost: a"
    made.request = parse_request_head(head if cookies is None else head + b"\r\nCookie: " + cookies)
    return made


def answered(made: Stream, *lines: bytes) -> Stream:
    made.response = parse_response_head(b"\r\n".join([b"HTTP/1.1 200 OK", *lines]))
    return made
