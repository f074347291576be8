"""The address forms of haproxy.cfg (manual 2.9) as one typed value.

Only the form is known here: names are resolved and sockets opened in `runtime`.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from headgate.base.records import dataclass


class Family(enum.Enum):
    """What kind of socket an address names."""

    INET = "inet"  # IPv4 literal, or '*' (0.0.0.0)
    INET6 = "inet6"
    NAME = "name"  # a host name, resolved at start
    UNIX = "unix"
    ABNS = "abns"  # abstract namespace, name padded as HAProxy pads it
    ABNSZ = "abnsz"  # abstract namespace, zero-terminated
    FD = "fd"  # an inherited file descriptor
    SOCKPAIR = "sockpair"  # connections arrive as descriptors over this one
    RING = "ring"  # a named ring, for log lines
    STDIO = "stdio"  # "stdout" or "stderr", for log lines
    BACKEND = "backend"  # a log backend, for log lines


class Transport(enum.Enum):
    """Stream or datagram; for `log` lines and the prefixes of 2.9.2."""

    STREAM = "stream"
    DATAGRAM = "dgram"


#: Hosts that stand for any address: to listen on all, to connect to the one that the client connected to (4.2 bind, server).
WILDCARDS: Final = frozenset({"", "*", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Address:
    """One address.

    Attributes:
        family: the kind of socket.
        host: IP literal, host name, path, abstract name, descriptor number or ring name; "" for a bare `:port`.
        port: first port, 0 when none was written.
        last_port: last port of a range, equal to `port` without one.
        port_is_offset: the port was written `+N` or `-N`: added to the port that the client connected to (5.2).
        transport: stream or datagram.
        prefer: Family.INET or INET6 when a prefix (`ipv4@`) restricts what a host name may resolve to.
        mptcp: the address asked for Multipath TCP.
    """

    family: Family
    host: str
    port: int = 0
    last_port: int = 0
    port_is_offset: bool = False
    transport: Transport = Transport.STREAM
    prefer: Family | None = None
    mptcp: bool = False

    @property
    def ports(self) -> range:
        return range(self.port, self.last_port + 1)

    def __str__(self) -> str:
        if self.family is Family.INET6:
            return f"[{self.host}]:{self.port}"
        if self.family in (Family.INET, Family.NAME):
            return f"{self.host}:{self.port}"
        return self.host if self.family is Family.UNIX else f"{self.family.value}@{self.host}"


def ip_text(address: IPv4Address | IPv6Address) -> str:
    """An IP address as inet_ntop(3) writes it: an IPv4 one that is in an IPv6 one can be seen.

    >>> ip_text(IPv6Address("::ffff:102:304")), ip_text(IPv6Address("::102:304")), ip_text(IPv6Address("::1"))
    ('::ffff:1.2.3.4', '::1.2.3.4', '::1')
    """
    if isinstance(address, IPv4Address):
        return str(address)
    number = int(address)
    if number >> 32 == 0xFFFF:
        return f"::ffff:{IPv4Address(number & 0xFFFFFFFF)}"
    return f"::{IPv4Address(number)}" if 0xFFFF < number <= 0xFFFFFFFF else str(address)
