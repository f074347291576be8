"""Actions of rules, compiled. Importing this package fills `actions.registry.ACTIONS`."""

from headgate.plan.actions import answers, headers, settings

__all__ = ["answers", "headers", "settings"]
