"""Lines of crt-lists: what they mean, and that nothing but an error message comes of any other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import headgate.config.keywords  # noqa: F401 - fills the registry
from headgate.base.diagnostics import ConfigError, Report
from headgate.config.crt_list import parse_crt_list_line, read_crt_list


@pytest.mark.parametrize(
    ("text", "written", "filters", "is_default"),
    [
        ("a.pem", "", (), False),
        ("  a.pem\t", "", (), False),
        ("a.pem *", "", ("*",), True),
        ("a.pem x.example *.y.example !no.y.example", "", ("x.example", "*.y.example", "!no.y.example"), False),
        ("a.pem [alpn h2,http/1.1]", "alpn h2,http/1.1", (), False),
        ("a.pem [ verify none  ssl-min-ver TLSv1.2 ] x", "verify none  ssl-min-ver TLSv1.2", ("x",), False),
        ("a.pem [verify none]x y", "verify none", ("x", "y"), False),
        ("a.pem []", "", (), False),
    ],
)
def test_line(text: str, written: str, filters: tuple[str, ...], is_default: bool) -> None:
    report = Report()
    draft = parse_crt_list_line(text, "a.list", 7, report)
    assert draft is not None and not report.items
    assert (draft.path, draft.written, draft.filters, draft.is_default, draft.line) == ("a.pem", written, filters, is_default, 7)


@pytest.mark.parametrize("text", ["", "  ", "# a.pem", "\t# comment"])
def test_no_line(text: str) -> None:
    assert parse_crt_list_line(text, "a.list", 1, Report()) is None


def test_options_are_those_of_bind_lines() -> None:
    draft = parse_crt_list_line("a.pem [curves X25519 no-alpn key k.pem ocsp-update on]", "a.list", 1, Report())
    assert draft is not None
    assert {name: setting.value for name, setting in draft.settings.items()} == {
        "curves": "X25519", "alpn": (), "key": "k.pem", "ocsp-update": True,
    }  # fmt: skip
    assert draft.settings.place("curves").column == 8


def test_wrong_lines_are_left_out() -> None:
    report = Report()
    found = read_crt_list([(1, "a.pem"), (2, "b.pem [nonsense]"), (3, "c.pem")], "a.list", report)
    assert [draft.path for draft in found] == ["a.pem", "c.pem"]
    assert [alert.location.line for alert in report.alerts if alert.location] == [2]


@given(text=st.text(st.sampled_from("a.pem []!*#x \tverify none"), max_size=40))
def test_anything_else_is_an_error_message(text: str) -> None:
    try:
        parse_crt_list_line(text, "a.list", 1, Report())
    except ConfigError:
        pass
