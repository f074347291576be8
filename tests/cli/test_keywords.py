"""`headgate keywords` and `-dK`."""

from __future__ import annotations

import re

import pytest

from headgate.cli.keywords import CLASSES, classes_text, dump_text, keywords_command, keywords_table
from headgate.cli.main import main
from headgate.cli.options import CommandLineError
from headgate.config.registry import Status


def test_the_table_knows_sections_lines_fetches_and_commands() -> None:
    found = {(row.scope, row.name): row.status for row in keywords_table()}
    assert found["section", "frontend"] is Status.IMPLEMENTED
    assert found["backend", "balance"] is Status.IMPLEMENTED
    assert found["fetch", "path"] is Status.IMPLEMENTED
    assert found["acl", "path_beg"] is Status.IMPLEMENTED
    assert ("fetch", "path_beg") not in found
    assert found["converter", "lower"] is Status.IMPLEMENTED
    assert found["cli", "show info"] is Status.IMPLEMENTED
    assert found["global", "lua-load"] is Status.UNSUPPORTED


def test_each_keyword_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keywords"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(keywords_table())
    assert any(re.fullmatch(r"backend +balance +implemented", line) for line in lines)


def test_the_page_for_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keywords", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("# Keywords\n")


def test_other_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandLineError):
        keywords_command(["--html"])
    assert main(["keywords", "--html"]) == 1
    assert "'--html'" in capsys.readouterr().err


def test_classes_are_listed_and_dumped() -> None:
    for name in CLASSES:
        assert f"{name}\n" in classes_text()
        assert dump_text(name).startswith(f"# List of registered {name} keywords:\n")
    whole = dump_text("all")
    assert whole.count("# List of registered") == len(CLASSES)
    assert whole.count("\n") == len(keywords_table()) + len(CLASSES)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(CommandLineError, match="unknown keyword class 'foo'"):
        dump_text("smp,foo")
