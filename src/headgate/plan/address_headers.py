"""`option forwardfor` and `option originalto` (manual 4.2): the field line to add for a stream, or None."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import ConfigError, Location
from headgate.config.model import AddressHeader
from headgate.plan.facts import Stream, destination_of
from headgate.plan.samples import parse_address
from headgate.plan.scope import Scope, shield

Line = Callable[[Stream], bytes | None]


def compile_address_header(header: AddressHeader | None, scope: Scope, location: Location, *, original: bool) -> Line | None:
    """The closure of one option.

    Args:
        header: None: the option is off.
        original: the address that the client connected to (originalto), not the client's own.
    """
    if header is None:
        return None
    from headgate.plan.actions.headers import header_name
    from headgate.plan.matchers import Networks, parse_network

    try:
        name = header_name(header.name, location)
        networks = [parse_network(text, location) for text in header.except_networks]
    except ConfigError as error:
        shield(scope.report, error)
        return None
    excepted = Networks(networks) if networks else None
    prefix = name + b": "
    only_if_none = name.lower() if header.if_none else None

    def simple(stream: Stream) -> bytes | None:
        address = destination_of(stream)[0] if original else stream.session.source
        return prefix + address if address else None

    if excepted is None and only_if_none is None:
        return simple

    def careful(stream: Stream) -> bytes | None:
        if only_if_none is not None and stream.request is not None and stream.request.first(only_if_none) is not None:
            return None
        line = simple(stream)
        if line is None or excepted is None:
            return line
        address = parse_address(line[len(prefix) :])
        return None if address is not None and address in excepted else line

    return careful
