"""Proxies: whole configurations against what they mean: messages with their places, then the dump of the model.

`golden/NAME.cfg` must give `golden/NAME.txt`. UPDATE_GOLDEN=1 writes the expectations anew, to be reviewed as a difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headgate.base.diagnostics import Report, Severity, render
from headgate.config.dump import dump
from headgate.config.load import load
from headgate.config.model import Config
from headgate.config.predicates import BuildFacts

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(path.stem for path in GOLDEN.glob("*.cfg"))
TIMES = "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n mode http\n"


def read(path: str) -> tuple[Config | None, Report]:
    report = Report()
    return load([path], {}, BuildFacts(), report), report


def meaning(name: str) -> str:
    config, report = read(f"{name}.cfg")
    said = [f"{item.severity.name.lower()} {render(item)}\n" for item in report.items if item.severity is not Severity.DIAG]
    assert (config is None) == bool(report.alerts)
    return "\n".join(said) + ("" if config is None else f"--\n{dump(config)}")


@pytest.mark.parametrize("name", CASES)
def test_means_what_it_meant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    found = meaning(name)
    expected = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


def test_there_are_cases() -> None:
    assert len(CASES) > 10


@pytest.mark.parametrize("name", ["blog-modern", "demo", "ocsp-stapling"])
def test_examples_load_without_a_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN.parents[2] / "examples")
    config, report = read(f"{name}.cfg")
    assert config is not None
    assert not report.alerts and not report.warnings


def test_files_become_replies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "503.http").write_bytes(b"HTTP/1.0 503 Busy\r\n\r\nlater")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "body").write_bytes(b"text")
    (tmp_path / "x.cfg").write_text(
        TIMES + "http-errors mine\n errorfile 404 503.http\nfrontend a\n bind :80\n errorfiles mine\n errorfile 503 503.http\n"
        " errorfile 502 empty\n http-request return content-type text/plain file body\n errorfile 500 body\n"
    )
    config, report = read("x.cfg")
    assert config is None
    (wrong,) = report.alerts
    assert "does not hold an HTTP response" in wrong.message
    (tmp_path / "x.cfg").write_text((tmp_path / "x.cfg").read_text().replace(" errorfile 500 body\n", ""))
    config, _ = read("x.cfg")
    assert config is not None
    pages = config.proxies[0].error_pages
    assert {status: page.raw for status, page in pages.items()} == {
        404: b"HTTP/1.0 503 Busy\r\n\r\nlater", 503: b"HTTP/1.0 503 Busy\r\n\r\nlater", 502: b"",
    }


def test_ids_are_given_from_two_and_never_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(TIMES + "listen a\n bind :1\nlisten b\n bind :2\n id 2\nlisten c\n bind :3\nlisten d\n bind :4\n id 1\n")
    config, _ = read(str(path))
    assert config is not None
    assert [proxy.id for proxy in config.proxies] == [3, 2, 4, 1]


@pytest.mark.parametrize(
    ("line", "tls", "port"),
    [
        ("server a 10.0.0.1 check", False, 81),
        ("server a 10.0.0.1 check ssl verify none", True, 81),
        ("server a 10.0.0.1 check check-ssl verify none", True, 81),
        ("server a 10.0.0.1:99 check ssl verify none", None, None),
    ],
)
def test_a_check_without_port_follows_its_clients(tmp_path: Path, line: str, tls: bool | None, port: int | None) -> None:
    path = tmp_path / "x.cfg"
    path.write_text(f"{TIMES}frontend f\n bind :81\n default_backend b\nbackend b\n {line}\n")
    config, report = read(str(path))
    assert config is not None and not report.warnings
    check = config.proxies[1].servers[0].check
    assert check is not None
    assert (check.tls, check.port) == (tls, port)
