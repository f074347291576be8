"""`mailers` sections and the `email-alert` lines of proxies (manual 12.3, 4.2), resolved."""

from __future__ import annotations

from headgate.base.addresses import Address
from headgate.base.diagnostics import Location
from headgate.base.records import dataclass


@dataclass(frozen=True, slots=True)
class Mailer:
    """A mail server."""

    name: str
    address: Address
    location: Location


@dataclass(frozen=True, slots=True)
class Mailers:
    """A `mailers` section. `timeout`: seconds for one mail, from the connection to its end."""

    name: str
    mailers: tuple[Mailer, ...]
    location: Location
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class EmailAlert:
    """What a proxy's mails are: `email-alert mailers|from|to|level|myhostname`.

    Attributes:
        level: the highest level of syslog (the least urgent) that is mailed; 1 is alert.
        host_name: how we introduce ourselves, None for the machine's name.
    """

    mailers: Mailers
    sender: str
    recipient: str
    level: int = 1
    host_name: str | None = None
