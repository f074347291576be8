"""Names of bind and server lines: found before anything is opened, in the order of `init-addr`, each problem with its line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from headgate.app.names import ServerAddress, resolve_names
from headgate.base.diagnostics import Report
from headgate.config.load import load
from headgate.config.predicates import BuildFacts

KNOWN = {"app.example": "192.0.2.7"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A C library that knows one name; what it was asked."""
    names = []

    def look_up(host: str, port: object, family: int, kind: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        names.append(host)
        if host not in KNOWN:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, kind, 0, "", (KNOWN[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


def resolved(directory: Path, *lines: str) -> tuple[list[ServerAddress], Report]:
    path = directory / "x.cfg"
    path.write_text(
        "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nlisten l\n bind :1\n"
        + "".join(f" {line}\n" for line in lines)
    )
    report = Report()
    config = load([str(path)], {}, BuildFacts(), report)
    assert config is not None, report.alerts
    report = Report()
    found = resolve_names(config, report)
    return [found[id(server)] for server in config.proxies[0].servers], report


def test_every_name_without_an_address_is_an_alert_at_its_line(tmp_path: Path, asked: list[str]) -> None:
    _, report = resolved(tmp_path, "server a nowhere.invalid:80", "bind nowhere.invalid:81", "server b app.example:80")
    messages = sorted(item.message for item in report.alerts)
    assert messages == [
        "bind: could not resolve address 'nowhere.invalid' (Name or service not known)",
        "server l/a: could not resolve address 'nowhere.invalid' (Name or service not known)",
    ]
    assert sorted(item.location.line for item in report.alerts if item.location) == [7, 8]


def test_names_that_checks_go_to_have_an_address(tmp_path: Path, asked: list[str]) -> None:
    found, report = resolved(
        tmp_path,
        "option tcp-check", "tcp-check connect addr nowhere.invalid",
        "server a 192.0.2.1:80 check addr nowhere.invalid",
        "server b 192.0.2.1:80 agent-check agent-port 7 agent-addr nowhere.invalid",
        "server c 192.0.2.1:80 check addr app.example agent-check agent-port 7 agent-addr app.example",
        "server d 192.0.2.1:80 addr nowhere.invalid agent-addr nowhere.invalid",
    )
    problem = "could not resolve address 'nowhere.invalid' (Name or service not known)"
    assert len(found) == 4
    assert sorted((item.message, item.location.line) for item in report.alerts if item.location) == [
        (f"'connect addr': {problem}", 8), (f"server l/a: 'addr': {problem}", 9), (f"server l/b: 'agent-addr': {problem}", 10),
    ]
    assert asked == ["nowhere.invalid", "app.example"]


def test_a_name_is_asked_for_once(tmp_path: Path, asked: list[str]) -> None:
    found, report = resolved(tmp_path, "server a app.example:80", "server b app.example:81", "server c 192.0.2.1:80")
    assert found == [(socket.AF_INET, "192.0.2.7"), (socket.AF_INET, "192.0.2.7"), (socket.AF_INET, "192.0.2.1")]
    assert (asked, report.items) == (["app.example"], [])


@pytest.mark.parametrize(
    ("ways", "address", "warned"),
    [
        ("last,libc,192.0.2.9", "192.0.2.9", False),
        ("192.0.2.9,libc", "192.0.2.9", False),
        ("last,libc,none", None, True),
        ("none", None, True),
    ],
)
def test_init_addr_is_tried_in_its_order(
    tmp_path: Path, asked: list[str], ways: str, address: str | None, warned: bool
) -> None:
    found, report = resolved(tmp_path, f"server a nowhere.invalid:80 init-addr {ways}")
    assert found == [(socket.AF_INET, address)]
    assert (len(report.alerts), len(report.warnings)) == (0, int(warned))


def test_init_addr_may_be_ipv6(tmp_path: Path, asked: list[str]) -> None:
    found, _ = resolved(tmp_path, "server a nowhere.invalid:80 init-addr 2001:db8::1")
    assert found == [(socket.AF_INET6, "2001:db8::1")]


def test_init_addr_without_libc_does_not_ask(tmp_path: Path, asked: list[str]) -> None:
    _, report = resolved(tmp_path, "server a app.example:80 init-addr last")
    (alert,) = report.alerts
    assert "leaves out 'libc'" in alert.message
    assert asked == []


def test_unix_and_literal_addresses_need_no_names(tmp_path: Path, asked: list[str]) -> None:
    found, report = resolved(tmp_path, "server a unix@/run/app", "server b [::1]:80", "server c abnsz@x")
    assert found == [(socket.AF_UNIX, "/run/app"), (socket.AF_INET6, "::1"), (socket.AF_UNIX, "\0x")]
    assert (asked, report.items) == ([], [])
