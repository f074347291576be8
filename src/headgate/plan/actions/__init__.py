"""Actions of rules, compiled. Importing this package fills `actions.registry.ACTIONS`."""

from headgate.plan.actions import answers, destinations, headers, patterns, services, settings, tables

__all__ = ["answers", "destinations", "headers", "patterns", "services", "settings", "tables"]
