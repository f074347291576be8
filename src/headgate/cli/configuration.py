"""The configuration of commands that only want to know what is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from headgate.base.diagnostics import Report
from headgate.cli.console import Console
from headgate.cli.facts import build_facts
from headgate.cli.options import Options
from headgate.config.load import load
from headgate.config.model import Config


def configuration_of(files: Sequence[str]) -> Config | None:
    """Load these files; None when they are wrong, after saying so."""
    report = Report()
    config = load(files, dict(os.environ), build_facts(Options()), report)
    if report.alerts or config is None:
        Console(quiet=False, diagnostics=False).show(report.alerts)
        return None
    return config
