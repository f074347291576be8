"""Every keyword of HAProxy is classified, and each is answered for when it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import headgate.config.known
from headgate.base.diagnostics import Location, Report
from headgate.config.cursor import Word
from headgate.config.known import OTHER_CLASSES, complaint, known_in, known_names
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.config.registry import KEYWORDS, Scope, Status
from headgate.config.sections import SECTIONS
from headgate.config.table import rows, to_markdown

LINE_SCOPES = {Scope.BIND, Scope.SERVER, Scope.STATS_SOCKET, Scope.CRT_LIST}


def words(line: str) -> list[Word]:
    found, column = [], 1
    for text in line.split(" "):
        found.append(Word(text, Location("t.cfg", 1, column, len(text), line)))
        column += len(text) + 1
    return found


def test_every_line_of_the_file_is_read() -> None:
    text = Path(headgate.config.known.__file__).with_name("known_keywords.txt").read_text(encoding="utf-8")
    classes: list[str] = []
    for line in text.splitlines():
        if line.startswith("["):
            classes = line.strip("[]").split(" ")
            assert classes
        elif not line.startswith("#"):
            for name in classes:
                assert line in known_names()[name]


def test_every_class_is_a_scope_or_listed() -> None:
    assert set(known_names()) <= {scope.value for scope in Scope}.union(OTHER_CLASSES)


def test_every_known_name_has_a_row() -> None:
    table = rows(fetches=["src"], converters=["lower"], filters=["trace"], commands=["show stat"])
    places = {(row.scope, row.name) for row in table}
    assert len(places) == len(table)
    for kind, names in known_names().items():
        for name in names:
            # A name that only begins longer ones (`http-request`) is answered for by those.
            assert (kind, name) in places or any(scope == kind and other.startswith(name + " ") for scope, other in places)


def test_no_effect_and_removed_say_why() -> None:
    for row in rows():
        if row.status in (Status.NO_EFFECT, Status.REMOVED):
            assert row.note, row


def test_implemented_names_are_taken_from_the_caller() -> None:
    table = {(row.scope, row.name): row.status for row in rows(fetches=["src"], converters=["lower"])}
    assert table["fetch", "src"] is Status.IMPLEMENTED
    assert table["fetch", "dst"] is Status.UNSUPPORTED
    assert table["converter", "lower"] is Status.IMPLEMENTED
    assert table["section", "global"] is Status.IMPLEMENTED
    assert table["section", "cache"] is Status.UNSUPPORTED


def test_each_section_is_known() -> None:
    assert set(SECTIONS) == known_names()["section"]


@pytest.mark.parametrize("scope", [scope for scope in Scope if scope not in LINE_SCOPES], ids=lambda scope: scope.value)
def test_no_known_keyword_is_ignored(scope: Scope) -> None:
    """Each is in the registry, where its row answers, or gets an error that says that it is not supported."""
    for name in known_in(scope):
        if KEYWORDS.find(scope, name.split(" ")) is not None:
            continue
        diagnostic = complaint(scope, words(name)).diagnostic
        opens_longer = any(other.startswith(name + " ") for other in known_in(scope).union(KEYWORDS.names(scope)))
        expected = "expects one more word" if opens_longer else "is known but not yet supported"
        assert expected in diagnostic.message, diagnostic.message


def test_rows_have_what_their_status_needs() -> None:
    for row in KEYWORDS:
        if row.status is Status.IMPLEMENTED:
            assert row.parse is not None, row.name
        if row.status in (Status.NO_EFFECT, Status.REMOVED):
            assert row.note, row.name


@pytest.mark.parametrize(
    ("scope", "line", "message"),
    [
        (Scope.GLOBAL, "maxcon 5", "unknown keyword 'maxcon' in section 'global'"),
        (Scope.GLOBAL, "server s 1.2.3.4", "'server' may not stand in section 'global'"),
        (Scope.GLOBAL, "lua-load x", "'lua-load' is known but not yet supported"),
        (Scope.FRONTEND, "http-request sc-inc-gpc0(1)", "'http-request sc-inc-gpc0' is known but not yet supported"),
        (Scope.FRONTEND, "tcp-request contnt accept", "unknown 'tcp-request contnt' in section 'frontend'"),
        (Scope.FRONTEND, "tcp-request content", "'tcp-request content' expects one more word"),
        (Scope.USERLIST, "frontend", "unknown keyword 'frontend' in section 'userlist'"),
    ],
)
def test_complaint(scope: Scope, line: str, message: str) -> None:
    assert complaint(scope, words(line)).diagnostic.message == message


_ANY_WORDS = ("description", "ssl-passphrase-cmd")


def test_implemented_keywords_of_global_look_at_their_arguments(tmp_path: Path) -> None:
    """`description` and `ssl-passphrase-cmd` take any words; the others refuse these."""
    for row in KEYWORDS:
        if Scope.GLOBAL not in row.scopes or row.status is not Status.IMPLEMENTED or row.name in _ANY_WORDS:
            continue
        assert row.parse is not None
        path = tmp_path / "a.cfg"
        path.write_text(f"global\n {row.name} ~ ~ ~ ~ ~ ~ ~\n")
        report = Report()
        load([str(path)], {}, BuildFacts(), report)
        assert report.alerts, row.name


def test_markdown_has_every_keyword() -> None:
    page = to_markdown(rows())
    for names in known_names().values():
        for name in names:
            assert f"`{name}`" in page or f"`{name} " in page
