"""What is ready before a socket is opened: the TLS contexts of health checks, and what is said of sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.app.prepare import Prepared, prepare
from headgate.base.diagnostics import Report, Severity
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.tls import cached_sessions
from headgate.tls.authority import issue, make_authority


def prepared(directory: Path, line: str) -> tuple[Prepared | None, Report]:
    path = directory / "x.cfg"
    path.write_text(
        "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n mode http\n"
        f"listen l\n bind :1\n server s 127.0.0.1:80 {line}\n"
    )
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    assert config is not None, report.alerts
    return prepare(config, report), report


def contexts(directory: Path, line: str) -> tuple[object, object]:
    """Of the traffic and of the checks."""
    found, _ = prepared(directory, line)
    assert found is not None
    server = id(found.config.proxies[0].servers[0])
    return found.server_contexts.get(server), found.check_contexts.get(server)


def test_checks_share_the_context_of_the_traffic(tmp_path: Path) -> None:
    traffic, checks = contexts(tmp_path, "ssl verify none alpn http/1.1 check")
    assert traffic is not None
    assert checks is traffic


def test_check_alpn_makes_a_context_of_its_own(tmp_path: Path) -> None:
    traffic, checks = contexts(tmp_path, "ssl verify none alpn http/1.1 check check-alpn http/1.0")
    assert traffic is not None and checks is not None
    assert checks is not traffic


def test_only_the_checks_speak_tls(tmp_path: Path) -> None:
    traffic, checks = contexts(tmp_path, "check check-ssl verify none")
    assert traffic is None and checks is not None


def test_plain_checks_need_none(tmp_path: Path) -> None:
    assert contexts(tmp_path, "check") == (None, None)


def test_protocols_that_checks_can_not_speak_are_refused(tmp_path: Path) -> None:
    found, report = prepared(tmp_path, "check check-ssl verify none check-alpn h2")
    assert found is None
    assert "HTTP/2 to servers is not supported yet" in report.alerts[0].message


def test_a_ca_file_that_only_checks_read_is_read_before_the_start(tmp_path: Path) -> None:
    found, report = prepared(tmp_path, f"check check-ssl ca-file {tmp_path}/none.pem")
    assert found is None
    assert "cannot read CA file" in report.alerts[0].message


def test_a_bad_file_in_a_directory_of_authorities_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "cas").mkdir()
    (tmp_path / "cas" / "bad.pem").write_bytes(b"junk")
    (tmp_path / "cas" / "good.pem").write_bytes(make_authority("Good").certificate_pem)
    found, report = prepared(tmp_path, f"ssl ca-file {tmp_path}/cas verifyhost s.example")
    assert found is not None
    assert [item.severity for item in report.items] == [Severity.WARNING]
    assert "bad.pem" in report.items[0].message


@pytest.mark.parametrize(
    ("settings", "line", "reachable", "noticed"),
    [
        ("nbthread 4", "no-tls-tickets", False, True),
        ("nbthread 4", "no-tls-tickets", True, False),
        ("nbthread 4", "", False, False),
        ("nbthread 1", "no-tls-tickets", False, False),
        ("nbthread 4\n tune.ssl.cachesize 0", "no-tls-tickets", False, False),
    ],
)
def test_sessions_that_stay_with_their_worker_are_noticed(
    tmp_path: Path, settings: str, line: str, reachable: bool, noticed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_sessions, "sessions_can_be_shared", lambda: reachable)
    (tmp_path / "a.pem").write_bytes(issue(make_authority("CA"), ["a.example"]).pem)
    path = tmp_path / "x.cfg"
    path.write_text(
        f"global\n {settings}\ndefaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n mode http\n"
        f"frontend f\n bind :1 ssl crt {tmp_path}/a.pem {line}\n http-request return status 200\n"
    )
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    assert config is not None, report.alerts
    assert prepare(config, report) is not None
    found = [item for item in report.items if "stays with its worker" in item.message]
    assert [item.severity for item in found] == ([Severity.NOTICE] if noticed else [])
