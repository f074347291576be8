"""What of an `alpn` list is offered, and what is said of the rest."""

from __future__ import annotations

import pytest

from headgate.base.diagnostics import Location, Report, Severity
from headgate.config.alpn import SPOKEN, offered
from headgate.config.written_options import WrittenOptions


@pytest.mark.parametrize(
    ("value", "spoken", "said", "word", "near"),
    [
        ("http1.1", (), "alpn: there is no protocol 'http1.1', and nothing else is offered", "http1.1", "http/1.1"),
        ("h3", (), "alpn h3: not supported yet, and nothing else is offered", "h3", None),
        ("h2,http/1.1", ("http/1.1",), "alpn h2: not supported yet, clients get http/1.1", "h2", None),
        ("http/1.0,HTTP", ("http/1.0",), "alpn: there is no protocol 'HTTP', clients get http/1.0", "HTTP", "http/1.1"),
    ],
)  # fmt: skip
def test_what_is_left_out(value: str, spoken: tuple[str, ...], said: str, word: str, near: str | None) -> None:
    text = f" bind :1 ssl alpn {value}"
    report = Report()
    written = WrittenOptions(None, {"alpn": Location("x.cfg", 1, 14, 4, text)})
    assert offered(value.split(","), written, report) == spoken
    (one,) = report.items
    place = one.location
    assert one.message == said and one.nearest == near and place is not None
    assert place.underlined == word
    assert (one.severity, one.allowed) == ((Severity.WARNING, ()) if spoken else (Severity.ALERT, SPOKEN))


def test_a_misspelling_and_a_protocol_that_we_do_not_speak() -> None:
    report = Report()
    assert offered(("h3", "http"), WrittenOptions(), report) == ()
    assert len(report.alerts) == 2


def test_what_we_speak() -> None:
    report = Report()
    assert offered(SPOKEN, WrittenOptions(), report) == SPOKEN and offered((), WrittenOptions(), report) == ()
    assert report.items == []
