"""Which stats socket of a configuration other programs, and other commands of ours, ask."""

from __future__ import annotations

from headgate.base.addresses import Address, Family
from headgate.config.model import Config

_USABLE = (Family.INET, Family.INET6, Family.UNIX)


def stats_socket(config: Config) -> Address | None:
    """The stats socket to ask: a unix socket where there is one, else an address; None where there is neither."""
    usable = [line.address for line in config.global_.stats_sockets if line.address.family in _USABLE]
    return next((address for address in usable if address.family is Family.UNIX), usable[0] if usable else None)
