"""What hash-based balancing looks at (manual 4.2 "balance"): from a stream to the bytes to hash, or None for round robin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.base.diagnostics import Location, config_error
from headgate.config.model import Balance
from headgate.plan.expressions import compile_as
from headgate.plan.facts import Stream, Value
from headgate.plan.fetches.http_fields import nth, parameters, query_of, split_target, values_of
from headgate.plan.samples import Run, Type, parse_address
from headgate.plan.scope import Scope

Key = Callable[[Stream], bytes | None]


def compile_balance_key(balance: Balance, scope: Scope, location: Location) -> Key | None:
    """The key of a hash-based algorithm; None for algorithms that need none.

    Raises:
        ConfigError: an option that is not supported yet, or a wrong expression.
    """
    make = _KEYS.get(balance.algorithm)
    return None if make is None else make(balance, scope, location)


def _source(balance: Balance, scope: Scope, location: Location) -> Key:
    def key(stream: Stream) -> bytes | None:
        address = parse_address(stream.session.source)
        return None if address is None else address.packed

    return key


def _uri(balance: Balance, scope: Scope, location: Location) -> Key:
    whole, path_only = "whole" in balance.options, "path-only" in balance.options
    length, depth = balance.length, balance.depth

    def key(stream: Stream) -> bytes | None:
        head = stream.request
        if head is None:
            return None
        uri = split_target(head.target)[1] if path_only else head.target
        if length is not None:
            uri = uri[:length]
        if not whole:
            uri = uri.partition(b"?")[0]
        if depth is not None:
            uri = _to_depth(uri, depth)
        return uri or None

    return key


def _to_depth(uri: bytes, depth: int) -> bytes:
    """The first `depth` directories: one level for each slash, the leading one included."""
    position = -1
    for _ in range(depth + 1):
        position = uri.find(b"/", position + 1)
        if position < 0:
            return uri
    return uri[:position]


def _url_param(balance: Balance, scope: Scope, location: Location) -> Key:
    if "check_post" in balance.options:
        raise config_error("'check_post' of 'balance url_param' is known but not yet supported", location)
    name = (balance.argument or "").encode("utf-8", "surrogateescape")

    def key(stream: Stream) -> bytes | None:
        head = stream.request
        query = None if head is None else query_of(head.target)
        if query is None:
            return None
        return next((value for found, value in parameters(query) if found == name), None)

    return key


def _header(balance: Balance, scope: Scope, location: Location) -> Key:
    name = (balance.argument or "").lower().encode("utf-8", "surrogateescape")
    domain_only = "use_domain_only" in balance.options and name == b"host"

    def key(stream: Stream) -> bytes | None:
        head = stream.request
        value = None if head is None else nth(values_of(head.fields, name), 1)
        if not value:
            return None
        return _main_domain(value) if domain_only else value

    return key


def _main_domain(host: bytes) -> bytes:
    """The label in front of the top level domain: `haproxy` of www.haproxy.org (4.2 "balance hdr")."""
    labels = host.partition(b":")[0].split(b".")
    return labels[-2] if len(labels) > 1 else labels[0]


def _rdp_cookie(balance: Balance, scope: Scope, location: Location) -> Key:
    from headgate.plan.fetches.payload import rdp_cookie

    name = (balance.argument or "mstshash").lower().encode("utf-8", "surrogateescape")
    return lambda stream: rdp_cookie(stream, name)


def _hash(balance: Balance, scope: Scope, location: Location) -> Key:
    assert balance.expression is not None
    run: Run = compile_as(balance.expression, Type.BIN, scope)

    def key(stream: Stream) -> bytes | None:
        value: Value = run(stream)
        return value if isinstance(value, bytes) else None

    return key


_KEYS: Final[dict[str, Callable[[Balance, Scope, Location], Key]]] = {
    "source": _source,
    "uri": _uri,
    "url_param": _url_param,
    "hdr": _header,
    "rdp-cookie": _rdp_cookie,
    "hash": _hash,
}
