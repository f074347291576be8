"""The closed list of causes: codes and numbers are stable, and the page is what the list says."""

from __future__ import annotations

import re
from pathlib import Path

from headgate.base.handshake_causes import BY_CODE, BY_NUMBER, CAUSES, MOST, Cause, causes_page


def test_codes_and_numbers_are_unique_and_bounded() -> None:
    assert len(BY_CODE) == len(BY_NUMBER) == len(CAUSES) == len(Cause.__members__)
    assert all(0 <= one.number < MOST for one in CAUSES)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one.code) for one in CAUSES)


def test_what_others_rely_on() -> None:
    """Rules and dashboards hold these: they never change."""
    assert BY_CODE["no-common-version"].number == 10
    assert BY_CODE["client-rejected-certificate-unknown-ca"].number == 20
    assert [one.code for one in CAUSES if one.probe] == [
        "closed-before-any-byte", "closed-without-request", "reset-before-any-byte",
    ]  # fmt: skip


def test_the_page_has_every_cause() -> None:
    page = causes_page()
    assert all(f"| `{one.code}` | {one.number} |" in page for one in CAUSES[1:])
    assert "none" not in re.findall(r"^\| `([^`]+)`", page, re.M)


def test_the_page_is_up_to_date() -> None:
    kept = (Path(__file__).parents[2] / "docs" / "handshake-causes.md").read_text(encoding="utf-8")
    assert kept == causes_page(), "write it anew: headgate handshake-causes --markdown > docs/handshake-causes.md"
