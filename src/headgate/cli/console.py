"""Where messages to the operator go while the process starts: standard error, unless it is quiet."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable

from headgate.base.diagnostics import Diagnostic, Severity
from headgate.cli.messages import message, of_diagnostic

#: How much of what is written is kept, characters.
_LONGEST_KEPT = 256 * 1024


class Console:
    """Writes messages.

    Attributes:
        quiet: nothing is written (`-q`, `quiet`); `-V` ends it.
        diagnostics: what only `-dD` asks for is written too.
        on_text: is told what is written, None while nobody is.
    """

    __slots__ = ("_kept", "_kept_size", "diagnostics", "on_text", "quiet")

    def __init__(self, quiet: bool, diagnostics: bool) -> None:
        self.quiet = quiet
        self.diagnostics = diagnostics
        self.on_text: Callable[[str], None] | None = None
        self._kept: list[str] = []
        self._kept_size = 0

    @property
    def text(self) -> str:
        """What was written so far, from the beginning to a limit (`show startup-logs`)."""
        return "".join(self._kept)

    def forget(self) -> None:
        """Begin anew to keep what is written."""
        self._kept.clear()
        self._kept_size = 0

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
        text = text.encode("utf-8", "backslashreplace").decode() + "\n"
        if self._kept_size < _LONGEST_KEPT:
            self._kept.append(text)
            self._kept_size += len(text)
        if self.on_text is not None:
            self.on_text(text)
        with contextlib.suppress(OSError):  # a terminal or pipe that is gone must not end what serves
            sys.stderr.write(text)
            sys.stderr.flush()
