from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.diagnostics import Location
from headgate.config import spans
from headgate.config.cursor import Word
from headgate.config.spans import piece_of


@pytest.mark.parametrize(
    ("raw", "text", "piece", "column", "width"),
    [
        ("abcdef", "abcdef", (2, 4), 7, 2),
        ('"ab cd"', "ab cd", (3, 5), 9, 2),
        ("ab\\ cd", "ab cd", (3, 5), 9, 2),
        ("ab\\ cd", "ab cd", (2, 3), 7, 2),
        ('a"b c"\'d\'', "ab cd", (4, 5), 12, 1),
        ("'a\\x'", "a\\x", (1, 2), 7, 1),
        ("\\x41b", "Ab", (1, 2), 9, 1),
        ('"$X"', "expanded", (3, 5), 5, 4),
        ("ab", "ab", (2, 2), 7, 1),
    ],
)
def test_finds_a_piece_behind_quotes_and_escapes(raw: str, text: str, piece: tuple[int, int], column: int, width: int) -> None:
    word = Word(text, Location("test.cfg", 1, 5, len(raw), "log " + raw))
    place = piece_of(word, *piece)
    assert (place.column, place.width) == (column, width)


@given(st.text(max_size=12), st.text(max_size=12), st.integers(0, 14), st.integers(0, 14))
def test_stays_on_the_line_whatever_the_word_is(raw: str, text: str, start: int, stop: int) -> None:
    place = piece_of(Word(text, Location("test.cfg", 1, 1, len(raw), raw)), start, stop)
    assert place.column >= 1 and place.width >= 0


def test_a_long_word_is_read_once_for_all_of_its_pieces() -> None:
    text = "%[src]," * 500
    word = Word(text, Location("test.cfg", 1, 5, len(text) + 2, f'log "{text}"'))
    before = spans._columns.cache_info().misses
    assert [piece_of(word, at, at + 6).underlined for at in range(0, 3500, 7)] == ["%[src]"] * 500
    assert spans._columns.cache_info().misses == before + 1
