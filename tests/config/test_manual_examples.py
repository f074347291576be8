"""Lines as the manual's examples have them: each is taken, or refused as "known but not yet supported"; nothing else is right.

Short lines that once were refused for another reason, and the forms around them. The chapter stands beside each.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.base.diagnostics import Report
from headgate.config.load import load
from headgate.config.model import Config
from headgate.config.predicates import BuildFacts

TIMES = "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n mode http\n"

TAKEN = [
    ("listen", 'tcp-request session set-var(txn.ipport) "str(),concat(\'addr=(\',sess.ip),concat(\',\',sess.port,\')\')"'),
    ("listen", 'tcp-request session set-var-fmt(txn.ipport) "addr=(%[var(sess.ip)],%[var(sess.port)])"'),  # 7.3.1
    ("listen", "server apache01.lan check"),  # a host's name alone, as written for 1.5
    ("listen", "server app 127.0.0.1:+1000"),  # 5.2
    ("listen", "bind 10.0.0.1:10080,10.0.0.1:10443"),  # 4.2 bind
    ("listen", 'http-request set-header X-SSL-CN %{+Q}[ssl_c_s_dn(cn)]'),  # 4.4
    ("global", "nbproc 1"),
    ("listen", "stick-table type ip size 1m expire 10s store http_req_rate(10s)"),  # 11.1
    ("listen", "http-request track-sc0 base32+src table other"),
    ("listen", "stick on src table pop if !LOCALHOST"),  # 4.2
    ("listen", "stick store-response res.cook(JSESSIONID)"),
    ("listen", 'http-check set-var-fmt(check.port) "name=%H"'),  # 4.2 http-check set-var-fmt
    ("listen", 'tcp-check set-var-fmt(check.name) "%H"'),  # 4.2 tcp-check set-var-fmt
]
NOT_YET = [
    ("listen", "http-request lua.choose"),  # 4.4
    ("listen", "tcp-request content lua.choose"),
    ("listen", "http-request use-service lua.deny"),
]


def read(place: str, line: str, directory: Path) -> tuple[Config | None, Report]:
    path = directory / "x.cfg"
    path.write_text(
        f"global\n {line if place == 'global' else ''}\n{TIMES}listen l\n bind :1\n {line if place == 'listen' else ''}\n"
    )
    report = Report()
    return load([str(path)], {}, BuildFacts(), report), report


@pytest.mark.parametrize(("place", "line"), TAKEN, ids=[line for _, line in TAKEN])
def test_is_taken(place: str, line: str, tmp_path: Path) -> None:
    config, report = read(place, line, tmp_path)
    assert config is not None, [item.message for item in report.alerts]


@pytest.mark.parametrize(("place", "line"), NOT_YET, ids=[line for _, line in NOT_YET])
def test_is_known(place: str, line: str, tmp_path: Path) -> None:
    config, report = read(place, line, tmp_path)
    assert config is None
    (alert,) = report.alerts
    assert alert.message.endswith("known but not yet supported")


def test_a_variable_without_a_stream_is_warned_of(tmp_path: Path) -> None:
    _, report = read("listen", "tcp-request session set-var(txn.a) src", tmp_path)
    (warning,) = report.warnings
    assert "forgotten at once" in warning.message
    assert warning.remedy == "write 'sess.a' to keep it for the connection"


def test_nbproc_names_its_modern_form(tmp_path: Path) -> None:
    _, report = read("global", "nbproc 4", tmp_path)
    (alert,) = report.alerts
    assert alert.remedy == "write 'nbthread 4'"


def test_a_server_with_a_bad_option_is_not_called_undefined(tmp_path: Path) -> None:
    """One mistake, one message."""
    path = tmp_path / "x.cfg"
    path.write_text(f"{TIMES}listen l\n bind :1\n use-server s if {{ src ::1 }}\n server s 127.0.0.1:80 chek\n")
    report = Report()
    assert load([str(path)], {}, BuildFacts(), report) is None
    (alert,) = report.alerts
    assert alert.nearest == "check"


@pytest.mark.parametrize("ways", ["last,libc,192.0.2.1", "2001:db8::1", "none"])
def test_init_addr_takes_ways_and_addresses(ways: str, tmp_path: Path) -> None:
    assert read("listen", f"server a 127.0.0.1:80 init-addr {ways}", tmp_path)[0] is not None


@pytest.mark.parametrize("way", ["999.1.1.1", ":::", "cafe", "lib"])
def test_init_addr_takes_nothing_else(way: str, tmp_path: Path) -> None:
    config, report = read("listen", f"server a 127.0.0.1:80 init-addr libc,{way}", tmp_path)
    assert config is None
    assert report.alerts[0].message == f"unknown way '{way}' to find an address"
