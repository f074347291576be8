from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError, Location, Report
from headgate.config.cursor import Cursor, Word
from headgate.config.dump import _plain as shown
from headgate.config.expression import Criterion
from headgate.config.parse_condition import parse_acl, predefined_acls, read_condition


def cursor_of(line: str) -> Cursor:
    """A cursor behind the keyword of a line, cut at its spaces; nothing is unquoted."""
    found = re.finditer(r"[^ ]+", line)
    words = [Word(match[0], Location("test.cfg", 1, match.start() + 1, len(match[0]), line)) for match in found]
    return Cursor(words, Report(), 1)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("deny if a", "if a"),
        ("deny unless a b", "unless a b"),
        ("deny if a !b || ! c or d", "if a !b or !c or d"),
        ("deny if !!a", "if a"),
        ("deny if ! ! a", "if a"),
        ("deny if { path_beg /ghost/ } ! { ssl_c_used }", "if { path_beg /ghost/ } !{ ssl_c_used }"),
        ("deny if !{ src 10.0.0.0/8 }", "if !{ src 10.0.0.0/8 }"),
        ("deny if { hdr(host) -i -m end .x -- }", "if { hdr(host) -i -m end .x -- }"),
        ("deny if METH_GET HTTP_1.1", "if METH_GET HTTP_1.1"),
        ("deny if { nbsrv(dynamic) lt 2 } || { nbsrv(static) lt 2 }", "if { nbsrv(dynamic) lt 2 } or { nbsrv(static) lt 2 }"),
    ],
)
def test_conditions(line: str, meaning: str) -> None:
    assert shown(read_condition(cursor_of(line))) == meaning


def test_no_condition() -> None:
    assert read_condition(cursor_of("deny")) is None


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("deny if", 9, "expects a condition"),
        ("deny when a", 6, "does not take 'when'"),
        ("deny if or a", 9, "missing in front of 'or'"),
        ("deny if a ||", 14, "missing behind '||'"),
        ("deny if a || or b", 14, "missing in front of 'or'"),
        ("deny if !", 11, "missing behind '!'"),
        ("deny if !or", 10, "missing in front of 'or'"),
        ("deny if { src", 9, "brace is never closed"),
        ("deny if { }", 9, "nothing stands between"),
        ("deny if {src}", 9, "is not a test"),
        ("deny if path(/)", 9, "is not an ACL name"),
        ("deny if { src -m nonsense x }", 18, "unknown matching method"),
    ],
)
def test_wrong_conditions(line: str, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_condition(cursor_of(line))
    assert message in str(caught.value)
    assert caught.value.diagnostic.location is not None
    assert caught.value.diagnostic.location.column == column


def test_acl_with_all_flags() -> None:
    acl = parse_acl(cursor_of("acl my.acl:1 src -m ip -i -n -u 7 -f one.lst -M -f two.map -- -i 10.0.0.1"))
    test = acl.criterion
    assert acl.name == "my.acl:1"
    assert isinstance(test, Criterion)
    assert (test.match_method, test.ignore_case, test.no_resolve, test.identifier) == ("ip", True, True, 7)
    assert [file.text for file in test.pattern_files] == ["one.lst"]
    assert [file.text for file in test.map_files] == ["two.map"]
    assert [pattern.text for pattern in test.patterns] == ["-i", "10.0.0.1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("acl", "expects an ACL name"),
        ("acl a/b src", "may only have letters"),
        ("acl or src", "can't be called 'or'"),
        ("acl x", "expects a sample fetch"),
        ("acl x src -f", "expects a file name"),
        ("acl x src -m", "expects a matching method"),
        ("acl x src -m ip -m ip", "stands twice"),
        ("acl x src -f a -m ip", "must stand in front of '-f'"),
        ("acl x src -f a -i", "not yet supported"),
        ("acl x src -q a", "unknown ACL flag"),
        ("acl x src -u none", "whole number"),
    ],
)
def test_wrong_acls(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_acl(cursor_of(line))
    assert message in str(caught.value)


def test_negative_numbers_are_patterns() -> None:
    assert [p.text for p in parse_acl(cursor_of("acl x int(5) -5 -12")).criterion.patterns] == ["-5", "-12"]


def test_predefined() -> None:
    acls = predefined_acls()
    assert len(acls) == 23
    assert shown(acls["LOCALHOST"].criterion) == "{ src 127.0.0.1/8 ::1 }"
    assert shown(acls["HTTP_URL_STAR"].criterion) == "{ url * }"


_WORDS = st.sampled_from(["if", "unless", "{", "}", "!", "||", "or", "a", "!b", "src", "-i", "-f", "-m", "str", "--", "x(", "!{"])


@given(st.lists(_WORDS, max_size=12))
def test_anything_else_is_a_config_error(words: list[str]) -> None:
    for read in (read_condition, parse_acl):
        try:
            read(cursor_of(" ".join(["deny", *words])))
        except ConfigError as error:
            assert error.diagnostic.location is not None
