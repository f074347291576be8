"""Converters. Importing this package fills `registry.CONVERTERS`."""

from headgate.plan.converters import arithmetic, hashes, strings

__all__ = ["arithmetic", "hashes", "strings"]
