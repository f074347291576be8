"""Converters of addresses, Host values, and names of proxies and servers (manual 7.3.1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from headgate.plan.facts import BackendFacts, ServerFacts, Stream, Value
from headgate.plan.registry import Argument, converter, pure
from headgate.plan.samples import Address, Convert, Type
from headgate.plan.scope import Scope


@converter("ipmask", takes=Type.ADDR, result=Type.ADDR, arguments=(Argument.MASK4, Argument.MASK6), required=1)
def ipmask(scope: Scope, mask4: int, mask6: int | None) -> Convert:
    def mask(value: Address) -> Value:
        if isinstance(value, ipaddress.IPv4Address):
            return ipaddress.IPv4Address(int(value) & mask4)
        return None if mask6 is None else ipaddress.IPv6Address(int(value) & mask6)

    return mask


def split_host(value: bytes) -> tuple[bytes, bytes]:
    """Host and port (b"" without one) of a Host field; brackets stay with the address."""
    host, colon, port = value.rpartition(b":")
    if colon and not port.endswith(b"]") and (port.isdigit() or not port):
        return host, port
    return value, b""


pure("host_only", takes=Type.STR, result=Type.STR, convert=lambda value: split_host(value)[0].lower())
pure("port_only", takes=Type.STR, result=Type.SINT, convert=lambda value: int(split_host(value)[1][:5] or b"0"))


@converter("fe_exists", takes=Type.STR, result=Type.BOOL)
def fe_exists(scope: Scope) -> Convert:
    names = frozenset(proxy.name.encode() for proxy in scope.config.proxies if proxy.is_frontend)
    return lambda value: value in names


@converter("nbsrv", takes=Type.STR, result=Type.SINT, live=True)
def nbsrv(scope: Scope) -> Callable[[Stream, bytes], Value]:
    def count(stream: Stream, value: bytes) -> Value:
        found: BackendFacts | None = stream.session.world.backends.get(value.decode("utf-8", "replace"))
        return None if found is None else found.usable()

    return count


def _of_server(answer: Callable[[ServerFacts], int | bool]) -> Callable[[Stream, bytes], Value]:
    """Facts of the server that the sample names, as `backend/server` or as one of the stream's backend."""

    def look_up(stream: Stream, value: bytes) -> Value:
        backend_name, slash, name = value.decode("utf-8", "replace").rpartition("/")
        if not slash:
            if stream.backend is None:
                return None
            backend_name = stream.backend.name
        backend = stream.session.world.backends.get(backend_name)
        server = None if backend is None else backend.server(name)
        return None if server is None else answer(server)

    return look_up


@converter("srv_queue", takes=Type.STR, result=Type.SINT, live=True)
def srv_queue(scope: Scope) -> Callable[[Stream, bytes], Value]:
    return _of_server(lambda server: server.queued)


@converter("srv_is_up", takes=Type.STR, result=Type.BOOL, live=True)
def srv_is_up(scope: Scope) -> Callable[[Stream, bytes], Value]:
    return _of_server(lambda server: server.usable())
