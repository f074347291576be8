"""Messages to the operator in the form that HAProxy's tools parse: `[ALERT]    (pid) : config : parsing [file:line] : ...`.

Only text is made here, out of diagnostics; `main` and `run` write it.
"""

from __future__ import annotations

from headgate.base.diagnostics import Diagnostic, Severity, render

_LABELS = {
    Severity.ALERT: "[ALERT]   ",
    Severity.WARNING: "[WARNING] ",
    Severity.NOTICE: "[NOTICE]  ",
    Severity.DIAG: "[DIAG]    ",
}


def message(severity: Severity, text: str, pid: int) -> str:
    """One message. Lines after the first are set off as HAProxy does it.

    Args:
        severity: decides the label.
        text: one or more lines.
        pid: process identifier.
    """
    first, *more = text.split("\n")
    return "\n".join([f"{_LABELS[severity]} ({pid}) : {first}", *(f"   | {line}" for line in more)])


def of_diagnostic(diagnostic: Diagnostic, pid: int) -> str:
    """A diagnostic about the configuration: its place as HAProxy writes it, the line with a caret, what is allowed there."""
    place = diagnostic.location
    lines = render(diagnostic).split("\n")
    explained = [line for line in lines[diagnostic.message.count("\n") + 1 :]]
    where = f"parsing [{place.short}] : " if place is not None and place.line else ""
    if place is not None and place.excerpt:
        # The caret shows the column to people, the number is for editors.
        explained[1] = f"{explained[1]} column {place.column}"
    return message(diagnostic.severity, "\n".join([f"config : {where}{diagnostic.message}", *explained]), pid)
