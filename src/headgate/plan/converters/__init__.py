"""Converters. Importing this package fills `registry.CONVERTERS`."""

from headgate.plan.converters import arithmetic, codecs, dates, hashes, maps, names, strings

__all__ = ["arithmetic", "codecs", "dates", "hashes", "maps", "names", "strings"]
