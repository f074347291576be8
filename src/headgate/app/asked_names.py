"""What the configuration says of names that rules ask for (`do-resolve`); who asks is in `lookups`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.config.actions import DoResolve
from headgate.runtime.lookups import AT_ONCE

if TYPE_CHECKING:
    from headgate.config.model import Config


def asked_sections(config: Config) -> set[str]:
    """The `resolvers` sections that rules ask."""
    return {
        rule.action.resolvers
        for proxy in config.proxies
        if not proxy.disabled
        for rules in proxy.rules.values()
        for rule in rules
        if isinstance(rule.action, DoResolve)
    }


def descriptors_needed(config: Config) -> int:
    """How many sockets towards name servers there can be for what rules ask."""
    sections = [config.resolvers[name] for name in asked_sections(config) if name in config.resolvers]
    return AT_ONCE * max((len(section.name_servers) for section in sections), default=0)
