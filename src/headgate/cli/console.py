"""Where messages to the operator go while the process starts: standard error, unless it is quiet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from headgate.base.diagnostics import Diagnostic, Severity
from headgate.cli.messages import message, of_diagnostic


class Console:
    """Writes messages.

    Attributes:
        quiet: nothing is written (`-q`, `quiet`); `-V` ends it.
        diagnostics: what only `-dD` asks for is written too.
    """

    __slots__ = ("diagnostics", "quiet")

    def __init__(self, quiet: bool, diagnostics: bool) -> None:
        self.quiet = quiet
        self.diagnostics = diagnostics

    def say(self, severity: Severity, text: str) -> None:
        """Write one message."""
        if not self.quiet:
            self._write(message(severity, text, os.getpid()))

    def show(self, items: Iterable[Diagnostic]) -> None:
        """Write what was said about a configuration."""
        if self.quiet:
            return
        for item in items:
            if item.severity is not Severity.DIAG or self.diagnostics:
                self._write(of_diagnostic(item, os.getpid()))

    def _write(self, text: str) -> None:
        # Words of the configuration may hold any bytes; a message about them must not fail.
        sys.stderr.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stderr.flush()
