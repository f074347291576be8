"""docs/keywords.md says what the program does."""

from __future__ import annotations

from pathlib import Path

from headgate.cli.keywords import keywords_table
from headgate.config.table import to_markdown

PAGE = Path(__file__).parents[2] / "docs" / "keywords.md"


def test_page_is_up_to_date() -> None:
    found = PAGE.read_text(encoding="utf-8").splitlines()
    expected = to_markdown(keywords_table()).splitlines()
    stale = sorted(set(expected) ^ set(found))
    assert not stale, "write it anew: headgate keywords --markdown > docs/keywords.md"
