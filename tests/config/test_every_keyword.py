"""Every keyword of proxies, whatever stands behind it, either is understood or ends in a ConfigError with a place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.base.diagnostics import ConfigError, Location, Report
from headgate.config import keywords
from headgate.config.cursor import Cursor, Word
from headgate.config.drafts import ConfigDraft
from headgate.config.registry import KEYWORDS, NOT_DEFAULTS, Keyword, Scope, Status
from headgate.config.resolve import resolve

assert keywords is not None  # its import fills the registry

LINES = sorted({row.name for row in KEYWORDS if row.scopes & NOT_DEFAULTS and row.parse is not None})
OPTIONS = sorted({row.name for row in KEYWORDS if row.scopes & {Scope.BIND, Scope.SERVER}})

WORDS = st.one_of(
    st.sampled_from(
        "if unless { } ! || a :80 10.0.0.1:80 0 1 -1 65536 5s src src,lower %[src] %ci %{+Q}o global len id code 302 location / "
        "http HTTP/1.1 txn.x set-var(txn.x) set-var( (txn.x ^X:.* X-A:\\ b hdr( hdr(host) random(0) status string".split(" ")
    ),
    st.sampled_from(OPTIONS),
    st.text(max_size=6),
)


def cursor_of(texts: list[str], position: int) -> Cursor:
    line = " ".join(texts)
    words, column = [], 1
    for text in texts:
        words.append(Word(text, Location("test.cfg", 1, column, max(1, len(text)), line)))
        column += len(text) + 1
    return Cursor(words, Report(), position)


def row_of(scope: Scope, texts: list[str]) -> tuple[Keyword, int]:
    found = KEYWORDS.find(scope, texts)
    assert found is not None
    return found


@pytest.mark.parametrize("name", LINES)
@settings(max_examples=5, deadline=None)
@given(words=st.lists(WORDS, max_size=6))
def test_ends_well(name: str, words: list[str]) -> None:
    scope = next(scope for scope in (Scope.LISTEN, Scope.BACKEND, Scope.FRONTEND) if name in KEYWORDS.names(scope))
    config = ConfigDraft()
    draft = config.new_proxy(scope, "test", Location("test.cfg", 1))
    texts = [*name.split(" "), *words]
    row, count = row_of(scope, texts)
    assert row.parse is not None
    cursor = cursor_of(texts, min(count, len(texts)))
    try:
        row.parse(cursor, draft)
    except ConfigError as error:
        assert error.diagnostic.location is not None
        return
    report = Report()
    assert (resolve(config, report) is None) == bool(report.alerts)


@pytest.mark.parametrize("line", ["bind :80", "server s 10.0.0.1:80", "default-server"])
@settings(max_examples=200, deadline=None)
@given(words=st.lists(WORDS, max_size=5))
def test_options_end_well(line: str, words: list[str]) -> None:
    config = ConfigDraft()
    draft = config.new_proxy(Scope.LISTEN, "test", Location("test.cfg", 1))
    texts = [*line.split(" "), *words]
    row, count = row_of(Scope.LISTEN, texts)
    assert row.parse is not None
    try:
        row.parse(cursor_of(texts, count), draft)
    except ConfigError as error:
        assert error.diagnostic.location is not None
        return
    report = Report()
    assert (resolve(config, report) is None) == bool(report.alerts)


def test_every_row_says_what_it_needs_to() -> None:
    for row in KEYWORDS:
        if row.status is Status.IMPLEMENTED:
            assert row.parse is not None, row.name
        if row.status in (Status.NO_EFFECT, Status.REMOVED):
            assert row.note, row.name
