"""What answers in place of servers in this process: the statistics page, the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.config.actions import UseService
from headgate.config.model import Config
from headgate.proxy.service import Services

if TYPE_CHECKING:
    from headgate.observe.service import Write
    from headgate.proxy.sides import Shared


def services_of(config: Config, shared: Shared) -> Services | None:
    """The services that a configuration uses, None when it uses none. Loaded now: later, files may be out of reach."""
    table: dict[str, Write] = {}
    if has_pages(config):
        from headgate.observe.page.pages import StatsPages

        table["stats"] = StatsPages().write
    used = {
        rule.action.name
        for proxy in config.proxies
        for rules in proxy.rules.values()
        for rule in rules
        if isinstance(rule.action, UseService)
    }
    if "prometheus-exporter" in used:
        from headgate.observe.prometheus import write_metrics

        table["prometheus-exporter"] = write_metrics
    return Services(table, lambda: shared.asker) if table else None


def has_pages(config: Config) -> bool:
    """Whether there is a statistics page."""
    return any(proxy.stats is not None for proxy in config.proxies)
