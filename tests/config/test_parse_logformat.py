from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError, Location
from headgate.config.cursor import Word
from headgate.config.expression import Alias, Evaluated, Literal, LogFormat
from headgate.config.parse_logformat import ALIASES, parse_logformat


def word(text: str) -> Word:
    return Word(text, Location("test.cfg", 1, 1, len(text), text))


def shape(form: LogFormat) -> list[object]:
    shown: list[object] = []
    for item in form.items:
        if isinstance(item, Literal):
            shown.append(item.text)
        elif isinstance(item, Alias):
            shown.append((item.name, "".join(sorted(item.flags)), item.label))
        else:
            shown.append((f"[{item.expression.text}]", "".join(sorted(item.flags)), item.label))
    return shown


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("text", ["text"]),
        ("%ci:%cp", [("ci", "", None), ":", ("cp", "", None)]),
        ("100%% %ST", ["100% ", ("ST", "", None)]),
        ("%{+Q,-X}o%s %{-Q}r%b", [("s", "Q", None), " ", ("r", "", None), ("b", "Q", None)]),
        ("%{+X}[src,lower]%[dst]", [("[src,lower]", "X", None), ("[dst]", "", None)]),
        ("%(name)ST%(other)[str(])]", [("ST", "", "name"), ("[str(])]", "", "other")]),
        ("a  b", ["a  b"]),
    ],
)
def test_reads(text: str, items: list[object]) -> None:
    assert shape(parse_logformat(word(text))) == items


def test_log_lines_merge_spaces() -> None:
    assert shape(parse_logformat(word("%ci   %%  x"), merge_spaces=True)) == [("ci", "", None), " % x"]


def test_global_flags_are_known() -> None:
    assert parse_logformat(word("%{+json}o %(a)ST")).flags == {"json"}


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_every_alias_of_the_table(name: str) -> None:
    (item,) = parse_logformat(word(f"%{name}")).items
    assert isinstance(item, Alias)
    assert (item.name, item.location.column, item.location.width) == (name, 1, len(name) + 1)


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("ab %zz", 4, "unknown log format alias '%zz'"),
        ("ab %", 4, "begins neither"),
        ("ab % x", 4, "begins neither"),
        ("%{+Z}o", 3, "unknown log format flag"),
        ("%{Q}o", 3, "unknown log format flag"),
        ("%{+Q", 2, "brace of the flags is never closed"),
        ("x%[src", 3, "bracket is never closed"),
        ("x%[src,]", 8, "name of a converter"),
        ("%(a", 2, "item's name is never closed"),
        ("%(a:str)ST", 2, "not yet supported"),
    ],
)
def test_says_where_it_is_wrong(text: str, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_logformat(word(text))
    assert message in str(caught.value)
    assert caught.value.diagnostic.location is not None
    assert caught.value.diagnostic.location.column == column


@given(st.text(alphabet="%{}[]()+-QXciTo ,a\"'", max_size=30))
def test_anything_else_is_a_config_error(text: str) -> None:
    try:
        form = parse_logformat(word(text))
    except ConfigError:
        return
    assert form.text == text


@given(st.text(max_size=40))
def test_escaped_text_is_text(text: str) -> None:
    items = parse_logformat(word(text.replace("%", "%%"))).items
    assert "".join(item.text for item in items if isinstance(item, Literal)) == text
    assert not any(isinstance(item, Alias | Evaluated) for item in items)
