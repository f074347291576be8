"""Fetches from internal states (manual 7.3.2): constants, the process, proxies, servers, the clock, variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.base.diagnostics import NOWHERE, config_error
from headgate.config.expression import AclReference, Condition, Term
from headgate.config.model import Server
from headgate.plan.facts import BackendFacts, ServerFacts, Stream, Value
from headgate.plan.places import ALWAYS, BACKEND, CLIENT, RUNNING, SERVER
from headgate.plan.registry import Argument, fetch, plain
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope
from headgate.plan.variables import check_name, reader

STRING, INTEGER = Argument.STRING, Argument.INTEGER


def _constant(value: Value) -> Run:
    return lambda stream: value


plain("always_true", result=Type.BOOL, places=ALWAYS, run=lambda stream: True)
plain("always_false", result=Type.BOOL, places=ALWAYS, run=lambda stream: False)


@fetch("str", result=Type.STR, arguments=(STRING,), required=0)
def str_(scope: Scope, text: bytes | None) -> Run:
    return _constant(text or b"")


@fetch("int", result=Type.SINT, arguments=(INTEGER,))
def int_(scope: Scope, number: int) -> Run:
    return _constant(number)


@fetch("bool", result=Type.BOOL, arguments=(STRING,))
def bool_(scope: Scope, text: bytes) -> Run:
    values = {b"true": True, b"yes": True, b"1": True, b"false": False, b"no": False, b"0": False}
    if text not in values:
        raise config_error(f"'bool' takes true or false, not '{text.decode('latin-1')}'", None)
    return _constant(values[text])


@fetch("bin", result=Type.BIN, arguments=(STRING,))
def bin_(scope: Scope, text: bytes) -> Run:
    try:
        return _constant(bytes.fromhex(text.decode("ascii")))
    except ValueError:
        raise config_error("'bin' takes an even number of hexadecimal digits", None) from None


@fetch("ipv4", result=Type.ADDR, arguments=(Argument.IPV4,))
@fetch("ipv6", result=Type.ADDR, arguments=(Argument.IPV6,))
def ip(scope: Scope, address: object) -> Run:
    return _constant(address)


@fetch("meth", result=Type.METH, arguments=(STRING,))
def meth(scope: Scope, name: bytes) -> Run:
    return _constant(name)


@fetch("env", result=Type.STR, arguments=(STRING,))
def env(scope: Scope, name: bytes) -> Run:
    value = scope.surroundings.environment.get(name.decode("utf-8", "surrogateescape"))
    return _constant(None if value is None else value.encode("utf-8", "surrogateescape"))


@fetch("hostname", result=Type.STR)
def hostname(scope: Scope) -> Run:
    return _constant(scope.surroundings.hostname.encode())


@fetch("pid", result=Type.SINT)
def pid(scope: Scope) -> Run:
    ask = scope.surroundings.process_id
    return lambda stream: ask()


@fetch("stopping", result=Type.BOOL, places=RUNNING)
def stopping(scope: Scope) -> Run:
    ask = scope.surroundings.stopping
    return lambda stream: ask()


@fetch("uptime", result=Type.SINT)
def uptime(scope: Scope) -> Run:
    ask = scope.surroundings.uptime
    return lambda stream: ask()


# HAProxy 2.5 removed nbproc: there is one process, and it has the number 1.
plain("proc", "nbproc", result=Type.SINT, places=ALWAYS, run=lambda stream: 1)
plain("quic_enabled", result=Type.BOOL, places=ALWAYS, run=lambda stream: False)
plain("act_conn", result=Type.SINT, places=RUNNING, run=lambda stream: stream.session.world.sessions)


@fetch("rand", result=Type.SINT, arguments=(INTEGER,), required=0)
def rand(scope: Scope, top: int | None) -> Run:
    draw, limit = scope.surroundings.draw, 2**32 if top is None else top
    if limit < 1:
        raise config_error("'rand' needs a positive integer", None)
    return lambda stream: draw(limit)


@fetch("uuid", result=Type.STR, arguments=(INTEGER,), required=0)
def uuid_(scope: Scope, version: int | None) -> Run:
    import uuid

    draw = scope.surroundings.draw_bytes
    if version in (None, 4):
        return lambda stream: str(uuid.UUID(bytes=draw(16), version=4)).encode()
    if version == 7:

        def time_ordered(stream: Stream) -> Value:
            milliseconds = int(stream.session.world.now() * 1000)
            raw = bytearray(milliseconds.to_bytes(6, "big") + draw(10))
            raw[6] = raw[6] & 0x0F | 0x70
            raw[8] = raw[8] & 0x3F | 0x80
            return str(uuid.UUID(bytes=bytes(raw))).encode()

        return time_ordered
    raise config_error(f"'uuid' makes versions 4 and 7, not {version}", None)


_UNITS: Final = {None: 1, b"": 1, b"s": 1, b"ms": 1000, b"us": 1000000}


def clock(name: str, unit: bytes | None, seconds: Callable[[Stream], float], offset: int = 0) -> Run:
    """A date in one of HAProxy's units. Rounded down to whole microseconds first: a float's last digits are noise."""
    if unit not in _UNITS:
        written = (unit or b"").decode("latin-1")
        raise config_error(f"'{name}': unit must be s, ms or us", None, allowed=("s", "ms", "us"), written=written)
    factor = _UNITS[unit]
    if factor == 1:
        return lambda stream: int(seconds(stream)) + offset
    shift = offset * factor
    return lambda stream: round(seconds(stream) * 1000000) * factor // 1000000 + shift


@fetch("date", result=Type.SINT, arguments=(INTEGER, STRING), required=0)
def date(scope: Scope, offset: int | None, unit: bytes | None) -> Run:
    # The offset is in seconds whatever the unit is (7.3.2 "date").
    return clock("date", unit, lambda stream: stream.session.world.now(), offset or 0)


plain(
    "date_us", result=Type.SINT, places=ALWAYS,
    run=lambda stream: round(stream.session.world.now() * 1000000) % 1000000,
)


@fetch("accept_date", result=Type.SINT, places=CLIENT, arguments=(STRING,), required=0)
def accept_date(scope: Scope, unit: bytes | None) -> Run:
    return clock("accept_date", unit, lambda stream: stream.session.accepted_at)


@fetch("request_date", result=Type.SINT, places=CLIENT, arguments=(STRING,), required=0)
def request_date(scope: Scope, unit: bytes | None) -> Run:
    return clock("request_date", unit, lambda stream: stream.started_at)


# --- variables and ACLs ----------------------------------------------------------------------------------------------


@fetch("var", result=Type.ANY, arguments=(STRING, STRING), required=1)
def var(scope: Scope, name: bytes, default: bytes | None) -> Run:
    place, key = check_name(name.decode("latin-1"), NOWHERE)
    return reader(place, key, default)


@fetch("acl", result=Type.BOOL, arguments=(STRING,) * 12, required=1)
def acl(scope: Scope, *names: bytes | None) -> Run:
    # Conditions compile expressions: the import at the top would be a circle.
    from headgate.plan.conditions import compile_condition

    terms = []
    for name in names:
        if name is not None:
            text = name.decode("latin-1")
            terms.append(Term(text.startswith("!"), AclReference(text.removeprefix("!"), NOWHERE)))
    return compile_condition(Condition(False, (tuple(terms),), NOWHERE), scope)


# --- proxies and servers ---------------------------------------------------------------------------------------------


@fetch("fe_name", result=Type.STR, places=CLIENT)
def fe_name(scope: Scope) -> Run:
    return lambda stream: stream.session.frontend.name.encode()


plain("fe_id", result=Type.SINT, places=CLIENT, run=lambda stream: stream.session.frontend.spec.id)
plain(
    "fe_defbe", result=Type.STR, places=CLIENT,
    run=lambda stream: name.encode() if (name := stream.session.frontend.spec.default_backend) is not None else None,
)
plain("be_name", result=Type.STR, places=BACKEND, run=lambda stream: (stream.backend or stream.session.frontend).name.encode())
plain("be_id", result=Type.SINT, places=BACKEND, run=lambda stream: None if (b := stream.backend) is None else b.spec.id)
plain("srv_name", result=Type.STR, places=SERVER, run=lambda stream: None if (s := stream.server) is None else s.name.encode())
plain("so_id", result=Type.SINT, places=CLIENT, run=lambda stream: stream.session.listener_id)
plain("so_name", result=Type.STR, places=CLIENT, run=lambda stream: stream.session.listener_name.encode())


@fetch("srv_id", result=Type.SINT, places=SERVER)
def srv_id(scope: Scope) -> Run:
    numbers = {
        (proxy.name, server.name): server.id for proxy in scope.config.proxies if proxy.is_backend for server in proxy.servers
    }

    def run(stream: Stream) -> Value:
        if stream.backend is None or stream.server is None:
            return None
        return numbers.get((stream.backend.name, stream.server.name))

    return run


def _of_backend(name: str, answer: Callable[[BackendFacts], int]) -> Run:
    def run(stream: Stream) -> Value:
        facts = stream.session.world.backends.get(name)
        return None if facts is None else answer(facts)

    return run


BACKEND_ARGUMENT: Final = (Argument.BACKEND,)


@fetch("nbsrv", result=Type.SINT, places=RUNNING, arguments=BACKEND_ARGUMENT, required=1)
def nbsrv(scope: Scope, name: str) -> Run:
    return _of_backend(name, lambda facts: facts.usable())


@fetch("be_conn", result=Type.SINT, places=RUNNING, arguments=BACKEND_ARGUMENT, required=1)
def be_conn(scope: Scope, name: str) -> Run:
    return _of_backend(name, lambda facts: facts.sessions)


@fetch("queue", result=Type.SINT, places=RUNNING, arguments=BACKEND_ARGUMENT, required=1)
def queue(scope: Scope, name: str) -> Run:
    return _of_backend(name, lambda facts: facts.queued)


@fetch("avg_queue", result=Type.SINT, places=RUNNING, arguments=BACKEND_ARGUMENT, required=1)
def avg_queue(scope: Scope, name: str) -> Run:
    def average(facts: BackendFacts) -> int:
        # Without a server the queue itself is the answer (7.3.2 "avg_queue": "dividing by the number of active servers").
        return -(-facts.queued // facts.usable()) if facts.usable() else facts.queued

    return _of_backend(name, average)


@fetch("connslots", result=Type.SINT, places=RUNNING, arguments=BACKEND_ARGUMENT, required=1)
def connslots(scope: Scope, name: str) -> Run:
    proxy = scope.config.proxy(name, backend=True)
    assert proxy is not None
    limits = [(server.name, server.maxconn, server.maxqueue) for server in proxy.servers]
    if any(not maxconn or not maxqueue for _, maxconn, maxqueue in limits):
        # One unlimited server or queue makes the whole unlimited: -1 (7.3.2 "connslots").
        return _constant(-1)

    def free(facts: BackendFacts) -> int:
        total = 0
        for server_name, maxconn, maxqueue in limits:
            server = facts.server(server_name)
            if server is not None:
                total += maxconn - server.sessions + maxqueue - server.queued
        return total

    return _of_backend(name, free)


@fetch("be_conn_free", result=Type.SINT, places=RUNNING, arguments=BACKEND_ARGUMENT, required=1)
def be_conn_free(scope: Scope, name: str) -> Run:
    proxy = scope.config.proxy(name, backend=True)
    assert proxy is not None
    limits = [(server.name, server.maxconn) for server in proxy.servers]
    if any(not maxconn for _, maxconn in limits):
        return _constant(-1)

    def free(facts: BackendFacts) -> int:
        servers = [(facts.server(server_name), maxconn) for server_name, maxconn in limits]
        return sum(max(maxconn - server.sessions, 0) for server, maxconn in servers if server is not None)

    return _of_backend(name, free)


@fetch("fe_conn", result=Type.SINT, places=RUNNING, arguments=(Argument.FRONTEND,), required=1)
def fe_conn(scope: Scope, name: str) -> Run:
    def run(stream: Stream) -> Value:
        facts = stream.session.world.frontends.get(name)
        return None if facts is None else facts.sessions

    return run


def _of_server(server: tuple[str, str], answer: Callable[[ServerFacts], int | bool]) -> Run:
    backend_name, server_name = server

    def run(stream: Stream) -> Value:
        backend = stream.session.world.backends.get(backend_name)
        facts = None if backend is None else backend.server(server_name)
        return None if facts is None else answer(facts)

    return run


@fetch("srv_conn", result=Type.SINT, places=RUNNING, arguments=(Argument.SERVER,))
def srv_conn(scope: Scope, server: tuple[str, str]) -> Run:
    return _of_server(server, lambda facts: facts.sessions)


@fetch("srv_queue", result=Type.SINT, places=RUNNING, arguments=(Argument.SERVER,))
def srv_queue(scope: Scope, server: tuple[str, str]) -> Run:
    return _of_server(server, lambda facts: facts.queued)


@fetch("srv_is_up", result=Type.BOOL, places=RUNNING, arguments=(Argument.SERVER,))
def srv_is_up(scope: Scope, server: tuple[str, str]) -> Run:
    return _of_server(server, lambda facts: facts.usable())


@fetch("srv_conn_free", result=Type.SINT, places=RUNNING, arguments=(Argument.SERVER,))
def srv_conn_free(scope: Scope, server: tuple[str, str]) -> Run:
    spec = _spec(scope, server)
    if not spec.maxconn:
        return _constant(-1)
    limit = spec.maxconn
    return _of_server(server, lambda facts: max(limit - facts.sessions, 0))


@fetch("srv_iweight", result=Type.SINT, places=RUNNING, arguments=(Argument.SERVER,))
def srv_iweight(scope: Scope, server: tuple[str, str]) -> Run:
    return _constant(_spec(scope, server).weight)


def _spec(scope: Scope, server: tuple[str, str]) -> Server:
    proxy = scope.config.proxy(server[0], backend=True)
    assert proxy is not None
    return next(spec for spec in proxy.servers if spec.name == server[1])


# --- timeouts and limits of the proxies ------------------------------------------------------------------------------


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _backend_timeout(field: str) -> Run:
    return lambda stream: None if (b := stream.backend) is None else _milliseconds(getattr(b.spec.timeouts, field))


def _frontend_timeout(field: str) -> Run:
    return lambda stream: _milliseconds(getattr(stream.session.frontend.spec.timeouts, field))


for _field in ("connect", "queue", "server", "tarpit", "tunnel"):
    plain(f"be_{_field}_timeout", result=Type.SINT, places=BACKEND, run=_backend_timeout(_field))
for _field in ("client", "tarpit"):
    plain(f"fe_{_field}_timeout", result=Type.SINT, places=CLIENT, run=_frontend_timeout(_field))
for _name, _field in (("cur_server_timeout", "server"), ("cur_tunnel_timeout", "tunnel")):

    def _current(stream: Stream, field: str = _field) -> Value:
        override: float | None = getattr(stream, f"{field}_timeout")
        if override is None and stream.backend is not None:
            override = getattr(stream.backend.spec.timeouts, field)
        return _milliseconds(override)

    plain(_name, result=Type.SINT, places=BACKEND, run=_current)


def _client_timeout(stream: Stream) -> Value:
    override = stream.client_timeout
    return _milliseconds(stream.session.frontend.spec.timeouts.client if override is None else override)


plain("cur_client_timeout", result=Type.SINT, places=CLIENT, run=_client_timeout)
plain(
    "be_max_retries", result=Type.SINT, places=BACKEND,
    run=lambda stream: None if (b := stream.backend) is None else b.spec.retries,
)


def _current_retries(stream: Stream) -> Value:
    if stream.max_retries is not None:
        return stream.max_retries
    return None if stream.backend is None else stream.backend.spec.retries


plain("cur_max_retries", result=Type.SINT, places=BACKEND, run=_current_retries)
