"""A late regular expression does what an early one does."""

from __future__ import annotations

import re

import pytest

from headgate.base.regex import regex


def test_it_matches_as_the_compiled_one_does() -> None:
    late = regex(r"([a-z]+)=(\d+)", re.IGNORECASE)
    for _ in range(2):
        found = late.fullmatch("Port=80")
        assert found is not None and found.groups() == ("Port", "80")
        assert late.sub(r"\2", "a=1 b=2") == "1 2"
    assert late.fullmatch("port:80") is None
    assert late.groups == 2


def test_a_wrong_expression_is_found_at_its_first_use() -> None:
    late = regex("(")
    with pytest.raises(re.error):
        late.match("")
