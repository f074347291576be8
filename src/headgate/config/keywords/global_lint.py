"""`lint-ignore <code>...` of the global section: kinds of findings that nobody wants to hear. HAProxy has no such keyword."""

from __future__ import annotations

from headgate.base.findings import CODES
from headgate.config.cursor import Cursor
from headgate.config.keywords.global_rows import implemented
from headgate.config.registry import KEYWORDS
from headgate.config.section_drafts import GlobalSection


def parse_lint_ignore(cursor: Cursor, section: GlobalSection) -> None:
    """`lint-ignore <code> [<code>...]`; a second line adds to the first."""
    first = cursor.next("the code of a finding, as it stands in brackets behind it")
    codes = set(section.settings.value("lint-ignore", frozenset()))
    for word in (first, *cursor.take_all()):
        if word.text not in CODES:
            raise cursor.wrong(word, f"there is no kind of finding '{word.text}'", allowed=tuple(CODES))
        codes.add(word.text)
    section.settings.put("lint-ignore", frozenset(codes), cursor.keyword.location)


KEYWORDS.add(implemented("lint-ignore", parse_lint_ignore))
