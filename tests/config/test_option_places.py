"""Where an option stands: on its line, behind a default of the global section, or nowhere that can be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.base.diagnostics import Location, Report
from headgate.config.load import load
from headgate.config.model import Config, Global
from headgate.config.option_places import OptionPlaces
from headgate.config.predicates import BuildFacts

TEXT = "  bind :443 ssl crt ciphers.pem ciphers HIGH:!aNULL ca-file ca.pem"
LINE = Location("x.cfg", 4, 13, 3, TEXT)
BARE = OptionPlaces(Config(Global(), (), {}, {}, {}))


def underlined(place: Location | None) -> str:
    assert place is not None
    return place.underlined


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("ciphers", "HIGH:!aNULL", "HIGH:!aNULL"), ("ciphers", "aNULL", "aNULL"), ("ciphers", "", "ciphers"),
        ("ciphers", "LOW", "ciphers"), ("ca-file", "ca.pem", "ca.pem"), ("crt", "ciphers.pem", "ciphers.pem"),
        ("curves", "X25519", "ssl"),
    ],
)  # fmt: skip
def test_on_the_line(option: str, value: str, word: str) -> None:
    assert underlined(BARE.find(LINE, option, value)) == word


def test_a_piece_of_another_word_is_not_it() -> None:
    line = Location("x.cfg", 1, 1, 4, "bind :1 ssl ciphers ECDHE-RSA-AES128-SHA256:AES128-SHA")
    place = BARE.find(line, "ciphers", "AES128-SHA")
    assert place is not None and place.column == line.text.rindex("AES128-SHA") + 1


def test_without_a_line_there_is_no_place() -> None:
    assert BARE.find(None, "ciphers") is None


def test_behind_the_defaults_of_the_global_section(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(
        "global\n ssl-default-bind-ciphers HIGH:MEDIUN\n ssl-default-server-ciphers LOW\n quiet\n"
        "defaults\n timeout client 1s\nfrontend f\n bind :1 ssl strict-sni\n"
    )
    config = load([str(path)], {}, BuildFacts(), Report())
    assert config is not None
    places = OptionPlaces(config)
    line = Location(str(path), 8, 10, 3, " bind :1 ssl strict-sni")
    found = places.find(line, "ciphers", "MEDIUN")
    assert found is not None and found.line == 2 and underlined(found) == "MEDIUN"
    found = places.find(line, "ciphers", side="server")
    assert found is not None and found.line == 3
    assert places.find(line, "curves") == line
    assert places.is_on("quiet") and not places.is_on("zero-warning")


def test_between_the_brackets_of_a_crt_list() -> None:
    line = Location("a.list", 1, 1, 5, "x.pem [ciphers FOO no-ca-names] *.example")
    assert underlined(BARE.find(line, "ciphers")) == "ciphers" and underlined(BARE.find(line, "no-ca-names")) == "no-ca-names"
