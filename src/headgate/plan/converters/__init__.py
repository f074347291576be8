"""Converters. `registry.CONVERTERS` imports these files when it looks for a name."""
