"""Where options were written: the word that stands there, and pieces of what stands behind it."""

from __future__ import annotations

from headgate.base.diagnostics import Location
from headgate.config.tls_options import TlsVersions
from headgate.config.version_limits import limits_in_words
from headgate.config.written_options import WrittenOptions

LINE = Location("x.cfg", 9, 10, 3, " bind :1 ssl crt A.pem ecdhe A:B")
ECDHE = Location("x.cfg", 9, 24, 5, LINE.text)
WRITTEN = WrittenOptions(LINE, {"curves": ECDHE})


def underlined(place: Location | None) -> str:
    assert place is not None
    return place.underlined


def test_the_word_that_stands_there() -> None:
    assert WRITTEN.of("curves") == ECDHE and WRITTEN.word("curves") == "ecdhe"
    assert WRITTEN.of("sigalgs") == LINE and WRITTEN.word("sigalgs") == "sigalgs"
    quoted = Location("x.cfg", 9, 24, 7, ' bind :1 ssl crt A.pem "ecdhe" A:B')
    assert WrittenOptions(LINE, {"curves": quoted}).word("curves") == "curves"


def test_pieces_stand_behind_it() -> None:
    piece = WRITTEN.of("curves", "A")
    assert piece is not None and piece.column == LINE.text.index("A:B") + 1
    assert underlined(WRITTEN.of("curves", "B")) == "B"
    assert WRITTEN.of("curves", "C") == ECDHE  # of a variable


def test_limits_of_versions_are_named_with_their_lines() -> None:
    options = Location("x.cfg", 2, 27, 11, " ssl-default-bind-options ssl-min-ver TLSv1.3")
    own = Location("x.cfg", 9, 14, 11, " bind :1 ssl ssl-max-ver TLSv1.2")
    written = WrittenOptions(LINE, {"ssl-min-ver": options, "ssl-max-ver": own})
    text, place = limits_in_words(TlsVersions("TLSv1.3", "TLSv1.2"), written)
    assert (text, place) == ("'ssl-min-ver TLSv1.3' in line 2 and 'ssl-max-ver TLSv1.2' in line 9", own)


def test_a_forced_version_is_one_limit() -> None:
    forced = Location("x.cfg", 9, 14, 12, " bind :1 ssl force-tlsv12 no-tlsv12")
    excluded = Location("x.cfg", 9, 27, 9, forced.text)
    places = {"ssl-min-ver": forced, "ssl-max-ver": forced, "no-tlsv12": excluded}
    limits = limits_in_words(TlsVersions("TLSv1.2", "TLSv1.2", frozenset({"TLSv1.2"})), WrittenOptions(LINE, places))
    assert limits == ("'force-tlsv12' in line 9 and 'no-tlsv12' in line 9", forced)


def test_what_was_not_written_has_no_limits() -> None:
    assert limits_in_words(TlsVersions(), WrittenOptions()) == ("", None)
    assert limits_in_words(TlsVersions("TLSv1.3"), WrittenOptions(LINE)) == ("", LINE)
