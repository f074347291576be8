"""Quoting, escaping, comments and variables (manual 2.1, 2.2, 2.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError
from headgate.config.words import quote_word, split_line

ENVIRONMENT = {"A": "one", "LIST": "x y  z", "EMPTY": "", "_U1": "under"}


def texts(line: str) -> list[str]:
    return [word.text for word in split_line(line, "t.cfg", 7, ENVIRONMENT, "www")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("   \t ", []),
        ("# comment", []),
        ("global#this is the global section", ["global"]),
        ("    mode             http   # or tcp", ["mode", "http"]),
        ("a\tb  c ", ["a", "b", "c"]),
        (r"a\ b c\#d", ["a b", "c#d"]),
        (r"\' \" \\ \$", ["'", '"', "\\", "$"]),
        (r"\n\r\t \x41\x7e", ["\n\r\t", "A~"]),
        (r"^/a\.png$ \d+", [r"^/a\.png$", r"\d+"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("'it \\is' \"a'b\" 'a\"b#'", ["it \\is", "a'b", 'a"b#']),
        (r'"a\"b\\c\ d\#e\$f\x20g"', ['a"b\\c d#e$f g']),
        ("''", [""]),
        ('a "" b', ["a", "", "b"]),
        ("a'b c'd\"e f\"g", ["ab cde fg"]),
        # section 2.2: "those are all strictly equivalent"
        (r"log-format %{+Q}o\ %t\ %s\ %{-Q}r", ["log-format", "%{+Q}o %t %s %{-Q}r"]),
        ('log-format "%{+Q}o %t %s %{-Q}r"', ["log-format", "%{+Q}o %t %s %{-Q}r"]),
        ("log-format '%{+Q}o %t %s %{-Q}r'", ["log-format", "%{+Q}o %t %s %{-Q}r"]),
        ("log-format \"%{+Q}o %t\"' %s %{-Q}r'", ["log-format", "%{+Q}o %t %s %{-Q}r"]),
        ("log-format \"%{+Q}o %t\"' %s'\\ %{-Q}r", ["log-format", "%{+Q}o %t %s %{-Q}r"]),
        # the second level of quoting stays
        (r"set-path %[path,regsub(\"(foo|bar)\",blah,g)]", ["set-path", '%[path,regsub("(foo|bar)",blah,g)]']),
        (r"x str(\\\'foo\\\')", ["x", r"str(\'foo\')"]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert texts(line) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('"$A" $A \'$A\'', ["one", "$A", "$A"]),
        ('"${A}b" "$A.b"', ["oneb", "one.b"]),
        ('"fd@${_U1}"', ["fd@under"]),
        ('"${NONE}" x', ["", "x"]),
        ('"${NONE-127.0.0.1}:514"', ["127.0.0.1:514"]),
        ('"${EMPTY-default}"', [""]),
        ('"${NONE-}"', [""]),
        ('"${LIST}"', ["x y  z"]),
        ('"${LIST[*]}" end', ["x", "y", "z", "end"]),
        ('a"${LIST[*]}"b', ["ax", "y", "zb"]),
        ('a "${NONE[*]}" b', ["a", "b"]),
        ('a "${EMPTY[*]}" b', ["a", "b"]),
        ('"${NONE[*]-1 2}"', ["1", "2"]),
        ('"${NONE-1 2[*]}"', ["1", "2"]),
        ('"${.FILE}:${.LINE} $.SECTION"', ["t.cfg:7 www"]),
        (r'"\$A"', ["$A"]),
    ],
)
def test_variables(line: str, words: list[str]) -> None:
    assert texts(line) == words


def test_places() -> None:
    line = '  server "a b" \'c\'d  # comment'
    words = split_line(line, "t.cfg", 7, {})
    assert [(word.location.column, word.location.width) for word in words] == [(3, 6), (10, 5), (16, 4)]
    assert all(word.location.text == line and word.location.line == 7 for word in words)


def test_bytes_that_spell_a_character() -> None:
    assert texts(r"\xc3\xa9") == ["é"]
    assert texts(r"\xff")[0].encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    ("line", "message", "column", "width"),
    [
        ("a 'b c", "single quote is not closed", 3, 4),
        ('a "b c', "double quote is not closed", 3, 4),
        ('a "b \\"', "double quote is not closed", 3, 5),
        ("a b\\", "backslash at the end of the line", 4, 1),
        (r"a \xZ1", "'\\x' must be followed by two hexadecimal digits", 3, 4),
        (r"a \x4", "'\\x' must be followed by two hexadecimal digits", 3, 3),
        (r"a \x00", "'\\x00' can't be part of a word", 3, 4),
        ('a "$1"', "a variable name must begin with a letter or '_'", 4, 2),
        ('a "b$"', "a variable name must begin with a letter or '_'", 5, 2),
        ('a "${A"', "'}' is missing behind variable 'A'", 4, 3),
        ('a "${A[1]}"', "'[1]' is not allowed behind variable 'A'", 7, 3),
        ('a "${.FLIE}"', "unknown pseudo-variable '.FLIE'", 4, 8),
    ],
)
def test_error(line: str, message: str, column: int, width: int) -> None:
    with pytest.raises(ConfigError) as caught:
        texts(line)
    diagnostic = caught.value.diagnostic
    assert diagnostic.message == message
    assert diagnostic.location is not None
    assert (diagnostic.location.column, diagnostic.location.width) == (column, width)


@given(st.text(alphabet=st.characters(blacklist_characters="\n\0"), max_size=80))
def test_only_config_errors(line: str) -> None:
    try:
        words = split_line(line, "t.cfg", 1, ENVIRONMENT)
    except ConfigError as error:
        assert error.diagnostic.location is not None
        return
    for word in words:
        assert 1 <= word.location.column <= len(line)
        assert word.location.column + word.location.width - 1 <= len(line)


@given(st.text(alphabet="ab \t\\\"'#${}[*]-x0.A", max_size=30))
def test_dense_syntax_raises_only_config_errors(line: str) -> None:
    try:
        split_line(line, "t.cfg", 1, ENVIRONMENT)
    except ConfigError:
        pass


@given(st.lists(st.text(alphabet=st.characters(blacklist_characters="\0"), max_size=20), max_size=6))
def test_quoting_round_trips(words: list[str]) -> None:
    # What a file can hold: text, or bytes that are not UTF-8.
    words = [word.encode("utf-8", "replace").decode() for word in words]
    line = " ".join(quote_word(word) for word in words)
    assert texts(line) == words


@given(st.binary(min_size=1, max_size=20).filter(lambda data: b"\0" not in data))
def test_any_bytes_can_be_quoted(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    assert texts(quote_word(text)) == [text]


@pytest.mark.parametrize("piece", ["'", '"', "'a'", '"a"', 'a"b"', "a\\ ", '"$A"', "a'b'\\", '"${LIST[*]}"'])
def test_long_lines_take_linear_time(piece: str) -> None:
    """A quadratic reader would need minutes for these, far beyond the test's time limit."""
    line = piece * (65536 // len(piece)) + "end"
    try:
        texts(line)
    except ConfigError:
        pass
