"""Name resolution while running (5.3): a part of the resolved configuration, see `model`."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from headgate.base.addresses import Address
from headgate.base.diagnostics import Location
from headgate.base.records import dataclass
from headgate.config.tls_options import ServerTls

if TYPE_CHECKING:
    from headgate.config.model import SourceAddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The section that exists without being written.
DEFAULT_RESOLVERS = "default"


@dataclass(frozen=True, slots=True)
class NameServer:
    """A `nameserver` line, or one that `parse-resolv-conf` found.

    Attributes:
        maxconn: connections to it at a time, 0 for no limit; this and what follows only where it is asked over a stream.
        source: the address to connect from.
        tls: its options for TLS.
        sni: the name that its certificate is asked for and verified by.
    """

    name: str
    address: Address
    maxconn: int = 0
    source: SourceAddress | None = None
    tls: ServerTls | None = None
    sni: str | None = None


@dataclass(frozen=True, slots=True)
class HoldTimes:
    """`hold <status> <period>`, seconds: how long what was valid outlives an answer of that status."""

    nx: float = 30.0
    refused: float = 30.0
    timeout: float = 30.0
    other: float = 30.0
    valid: float = 10.0
    obsolete: float = 0.0


@dataclass(frozen=True, slots=True)
class Resolvers:
    """A `resolvers` section.

    Attributes:
        payload: `accepted_payload_size`, bytes.
        retries: `resolve_retries`: queries before a resolution is given up.
        timeout_resolve: seconds between two resolutions of a name.
        timeout_retry: seconds that a query may take.
    """

    name: str
    name_servers: tuple[NameServer, ...]
    hold: HoldTimes = HoldTimes()
    payload: int = 512
    retries: int = 3
    timeout_resolve: float = 1.0
    timeout_retry: float = 1.0
    location: Location | None = None

    @property
    def has_tls(self) -> bool:
        """Whether one of its name servers is asked over TLS."""
        return any(one.tls is not None for one in self.name_servers)

    @property
    def patience(self) -> float:
        """How long a resolution takes where no name server answers, seconds."""
        return self.retries * self.timeout_retry


@dataclass(frozen=True, slots=True)
class Resolution:
    """How the name of a server line is resolved (5.2 resolvers, resolve-prefer, resolve-net, resolve-opts).

    Attributes:
        resolvers: the section's name; `location`: where it stands.
        prefer: 4 or 6, where the name has addresses of both families.
        networks: addresses in these come first.
        allow_duplicates: servers of one backend may share an address.
        ignore_weight: weights of SRV records are not used.
    """

    resolvers: str
    prefer: int = 6
    networks: tuple[Network, ...] = ()
    allow_duplicates: bool = False
    ignore_weight: bool = False
    location: Location | None = None
