"""What `-c` finds of a `crt-state-dir` that can't be written to."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headgate.app.findings import add_findings
from headgate.base.diagnostics import Report
from headgate.config.load import load
from headgate.config.predicates import BuildFacts

NOBODY = 65534


def found(directory: Path, states: Path, settings: str = "") -> list[str]:
    """The findings about it."""
    path = directory / "x.cfg"
    path.write_text(f"global\n crt-state-dir {states}\n{settings}")
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    assert config is not None, report.alerts
    report = Report()
    add_findings(config, {}, report, datetime.now(UTC))
    return [item.message for item in report.warnings if item.code == "tls-state-directory"]


def test_one_that_can_be_used_or_made(tmp_path: Path) -> None:
    assert found(tmp_path, tmp_path) == []
    assert found(tmp_path, tmp_path / "a" / "b", f" uid {os.geteuid()}\n") == []


def test_what_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        (message,) = found(tmp_path, path)
        assert f"'{tmp_path}/file': not a directory" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("owner", "mode", "is_found"),
    [((0, 0), 0o700, True), ((NOBODY, 0), 0o700, False), ((0, NOBODY), 0o770, False), ((0, NOBODY), 0o750, True)],
)
def test_one_of_another_user(tmp_path: Path, owner: tuple[int, int], mode: int, is_found: bool) -> None:
    states = tmp_path / "states"
    states.mkdir()
    states.chmod(mode)
    os.chown(states, *owner)
    messages = found(tmp_path, states, f" uid {NOBODY}\n gid {NOBODY}\n")
    assert bool(messages) is is_found
    if is_found:
        assert f"'{states}': user {NOBODY} has no right to write to it" in messages[0]
