"""How OCSP responses are kept fresh (3.1 `ocsp-update.*`), how the process fetches (3.4 `httpclient.*`): of `model.Global`."""

from __future__ import annotations

import enum

from headgate.base.addresses import Address, Family
from headgate.base.records import dataclass
from headgate.config.resolvers import DEFAULT_RESOLVERS

#: `ocsp-update.maxdelay` and `ocsp-update.mindelay` where they are not written, seconds.
LONGEST_DELAY, SHORTEST_DELAY = 3600, 300
#: The longest `ocsp-update.must-staple-wait`, seconds: a process that takes a minute to start is taken for one that hangs.
LONGEST_WAIT = 30.0


class WithoutStaple(enum.Enum):
    """What becomes of a client that asks for a response which a must-staple certificate does not have."""

    SERVE = "serve"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class OcspUpdate:
    """`ocsp-update.*` of the global section. Times in seconds.

    Attributes:
        disabled: nothing is updated, whatever else says so.
        mode: of certificates that don't say it themselves.
        mindelay, maxdelay: between two updates of one certificate.
        httpproxy: an HTTP proxy for updates.
        directory: where responses are kept, None for the default.
        fetch_issuer: an issuer that no file has is fetched from where the certificate says.
        must_staple: without a response.
        must_staple_wait: how long the start waits for responses of must-staple certificates.
    """

    disabled: bool = False
    mode: bool = False
    mindelay: int = SHORTEST_DELAY
    maxdelay: int = LONGEST_DELAY
    httpproxy: Address | None = None
    directory: str | None = None
    fetch_issuer: bool = False
    must_staple: WithoutStaple = WithoutStaple.SERVE
    must_staple_wait: float = 5.0


@dataclass(frozen=True, slots=True)
class HttpClient:
    """`httpclient.*` of the global section. Times in seconds.

    Attributes:
        names: host names are looked up.
        resolvers: whose name servers are asked: of this section, or the system's where nobody wrote it.
        prefer: the family whose addresses go first.
        retries: how often a request that failed is tried again.
        ca_file: who may have signed servers' certificates, None for those whom the system trusts.
        verify: whether servers' certificates are verified.
        connect_timeout: for each address.
    """

    names: bool = True
    resolvers: str = DEFAULT_RESOLVERS
    prefer: Family = Family.INET6
    retries: int = 3
    ca_file: str | None = None
    verify: bool = True
    connect_timeout: float = 5.0
