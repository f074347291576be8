from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError, Location
from headgate.config.cursor import Word
from headgate.config.parse_expression import parse_expression


def word(text: str) -> Word:
    return Word(text, Location("test.cfg", 1, 5, len(text), "acl " + text))


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("src", [("src", ())]),
        ("req.hdr(host,1),lower", [("req.hdr", ("host", "1")), ("lower", ())]),
        ("rand()", [("rand", ())]),
        ("x(,2)", [("x", ("", "2"))]),
        ("x(a b)", [("x", ("a b",))]),
        ('path,regsub("(foo|bar)",blah,g)', [("path", ()), ("regsub", ("(foo|bar)", "blah", "g"))]),
        (r'path,regsub("^/(here)(/|$)","my/\1",g)', [("path", ()), ("regsub", ("^/(here)(/|$)", r"my/\1", "g"))]),
        (r"str(\'foo\')", [("str", ("'foo'",))]),
        ("str('a,b)\\')", [("str", ("a,b)\\",))]),
        (r"str(a\,b\))", [("str", ("a,b)",))]),
        ('x("")', [("x", ("",))]),
    ],
)
def test_reads(text: str, calls: list[tuple[str, tuple[str, ...]]]) -> None:
    found = parse_expression(word(text))
    assert [(call.name, call.arguments) for call in (found.fetch, *found.converters)] == calls
    assert found.text == text


def test_each_call_knows_its_columns() -> None:
    found = parse_expression(word("req.hdr(host),lower"))
    assert (found.fetch.location.column, found.fetch.location.width) == (5, 13)
    assert (found.converters[0].location.column, found.converters[0].location.width) == (19, 5)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 5, "name of a sample fetch"),
        ("src,", 9, "name of a converter"),
        ("path, lower", 10, "name of a converter"),
        ("hdr(host", 8, "parenthesis is never closed"),
        ("hdr('host)", 9, "quote ' is never closed"),
        ("path,regsub((foo|bar))", 26, "unexpected ')'"),
        ("path,regsub((foo|bar),blah,g)", 33, "unexpected ')'"),
        ("src)", 8, "unexpected"),
        (",".join(["x"] * 300), 518, "more than 256"),
    ],
)
def test_says_where_it_is_wrong(text: str, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_expression(word(text))
    assert message in str(caught.value)
    assert caught.value.diagnostic.location is not None
    assert caught.value.diagnostic.location.column == column


@given(st.text(alphabet="ab.,()'\"\\ -%", max_size=30))
def test_anything_else_is_a_config_error(text: str) -> None:
    try:
        found = parse_expression(word(text))
    except ConfigError:
        return
    assert found.text == text


@given(st.lists(st.text(max_size=8), max_size=4))
def test_quoted_arguments_come_back(arguments: list[str]) -> None:
    quoted = ",".join('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in arguments)
    assert parse_expression(word(f"x({quoted})")).fetch.arguments == tuple(arguments)
