"""Which files with server states are read for which backends."""

from __future__ import annotations

import pathlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headgate.app.server_states import read_state_files
from headgate.base.diagnostics import Location, Report
from headgate.config.model import Config, Global, Proxy, ProxyKind, Server

HERE = Location("test.cfg", 1, 1)


def read(report: Report, base: pathlib.Path | None, file: str | None, **sources: Any) -> list[tuple[str, set[str], str | None]]:
    """Texts for backends whose source, or source and file name, is given by name."""
    proxies = []
    for number, (name, source) in enumerate(sources.items()):
        load, own = source if isinstance(source, tuple) else (source, None)
        servers = (Server("s1", None, HERE, 1),)  # type: ignore[arg-type]
        options = {"servers": servers, "load_server_state": load, "server_state_file_name": own}
        proxies.append(Proxy(name, ProxyKind.BACKEND, number + 2, HERE, **options))
    settings = Global(server_state_base=str(base) if base else None, server_state_file=file)
    found = read_state_files(cast(Config, SimpleNamespace(global_=settings, proxies=tuple(proxies))), report)
    return [(text.origin, set(text.backends), text.text) for text in found]


def test_global_and_local_files(tmp_path: pathlib.Path) -> None:
    for name in ("all", "b", "other"):
        (tmp_path / name).write_text(f"1 {name}")
    report = Report()
    found = read(report, tmp_path, "all", a="global", b="local", c=("local", "other"), d="none", e="global")
    assert found == [
        (f"{tmp_path}/all", {"a", "e"}, "1 all"),
        (f"{tmp_path}/b", {"b"}, "1 b"),
        (f"{tmp_path}/other", {"c"}, "1 other"),
    ]
    assert not report.items


@pytest.mark.parametrize("file", ["gone", None])
def test_what_is_missing_is_warned_of(tmp_path: pathlib.Path, file: str | None) -> None:
    report = Report()
    ((_, names, text),) = read(report, tmp_path, file, a="global")
    assert (names, text) == ({"a"}, None)
    assert len(report.warnings) == 1 and report.warnings[0].location == HERE


def test_absolute_names_need_no_base(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x").write_text("1")
    assert read(Report(), pathlib.Path("/nowhere"), str(tmp_path / "x"), a="global")[0][2] == "1"


def test_nobody_asks(tmp_path: pathlib.Path) -> None:
    assert read(Report(), tmp_path, "gone", a="none") == []
