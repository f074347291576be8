"""Actions of rules, compiled. Importing this package fills `actions.registry.ACTIONS`."""

from headgate.plan.actions import answers, destinations, handshakes, headers, names, patterns, services, settings, tables

__all__ = ["answers", "destinations", "handshakes", "headers", "names", "patterns", "services", "settings", "tables"]
