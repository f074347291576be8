"""`set-dst`, `set-dst-port` (manual 4.4): what stands for the address that the client connected to, in rules and for servers.

Before there is a stream they change what is known of the connection; later on only what its one stream sees, so that the next
request of the connection begins with the real address again.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from headgate.base.diagnostics import Location
from headgate.config.actions import SetDestination
from headgate.plan.actions.registry import Act, action
from headgate.plan.expressions import compile_as
from headgate.plan.facts import Stream, destination_of
from headgate.plan.places import Place
from headgate.plan.samples import Type, address_text
from headgate.plan.scope import Scope

_BEFORE_STREAMS: Final = Place.FE_TCP_CONNECTION | Place.FE_TCP_SESSION
_MOST: Final = 65535
#: What a port is added to where the client used no address.
_NO_ADDRESS: Final = b"0.0.0.0"


@action(SetDestination)
def set_destination(rule: SetDestination, scope: Scope, location: Location) -> Act:
    early = bool(scope.place & _BEFORE_STREAMS)
    if rule.part == "address":
        address_of = compile_as(rule.value, Type.ADDR, scope)

        def set_address(stream: Stream) -> None:
            address = address_of(stream)
            if isinstance(address, (IPv4Address, IPv6Address)):
                _move(stream, address_text(address), destination_of(stream)[1], early=early)

        return set_address
    port_of = compile_as(rule.value, Type.SINT, scope)

    def set_port(stream: Stream) -> None:
        port = port_of(stream)
        if isinstance(port, int) and 0 <= port <= _MOST:
            _move(stream, destination_of(stream)[0] or _NO_ADDRESS, port, early=early)

    return set_port


def _move(stream: Stream, address: bytes, port: int, *, early: bool) -> None:
    if early:
        stream.session.destination, stream.session.destination_port = address, port
    else:
        stream.destination = address, port
