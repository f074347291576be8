"""The form of messages: what HAProxy's tools look for, and what people need."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import Diagnostic, Location, Severity, render
from headgate.cli.messages import message, of_diagnostic


def test_labels_are_those_of_haproxy() -> None:
    assert message(Severity.ALERT, "a", 7) == "[ALERT]    (7) : a"
    assert message(Severity.WARNING, "a", 7) == "[WARNING]  (7) : a"
    assert message(Severity.NOTICE, "a", 7) == "[NOTICE]   (7) : a"
    assert message(Severity.DIAG, "a", 7) == "[DIAG]     (7) : a"


def test_further_lines_are_set_off() -> None:
    assert message(Severity.ALERT, "a\nb", 7) == "[ALERT]    (7) : a\n   | b"


def test_a_diagnostic_has_place_line_caret_column_and_advice() -> None:
    place = Location("a.cfg", 3, 3, 5, "  modee http")
    diagnostic = Diagnostic(Severity.ALERT, "unknown keyword 'modee'", place, ("mode", "maxconn"), "mode", "write mode")
    said = of_diagnostic(diagnostic, 7)
    assert said.splitlines() == [
        "[ALERT]    (7) : config : parsing [a.cfg:3] : unknown keyword 'modee'",
        "   |       modee http",
        "   |       ^^^^^ column 3",
        "   |   did you mean 'mode'?",
        "   |   allowed here: mode, maxconn",
        "   |   write mode",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "bind :1 ssl ca-sign-pass s3cret", "server s 192.0.2.1:1 tcp-md5sig s3cret", "user u insecure-password s3cret",
        "user u password s3cret", "stats  auth u:s3cret", "cluster-secret s3cret", "dynamic-cookie-key s3cret",
    ],
)  # fmt: skip
def test_lines_with_passwords_are_not_shown(line: str) -> None:
    place = Location("a.cfg", 3, 1, 4, line)
    said = of_diagnostic(Diagnostic(Severity.ALERT, "no", place, remedy="do this"), 7)
    assert said == "[ALERT]    (7) : config : parsing [a.cfg:3] : no\n   |   do this"
    assert render(Diagnostic(Severity.ALERT, "no", place)) == "a.cfg:3:1: no"


def test_a_diagnostic_without_a_place_says_only_what_it_says() -> None:
    said = of_diagnostic(Diagnostic(Severity.WARNING, "first\nsecond", None, remedy="do this"), 7)
    assert said == "[WARNING]  (7) : config : first\n   | second\n   |   do this"
