"""`headgate failover-config`: what it finds in a configuration, what it writes, what it refuses."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from headgate.base.diagnostics import Report
from headgate.cli.facts import build_facts
from headgate.cli.failover.command import failover_command
from headgate.cli.failover.interfaces import Interface, parse_interfaces
from headgate.cli.failover.plan import FailoverError, FailoverPlan, Wishes, plan_failover
from headgate.cli.failover.texts import check_script, keepalived_configuration
from headgate.cli.options import Options
from headgate.config.load import load

ETH0 = Interface("eth0", (ipaddress.ip_interface("192.0.2.1/24"), ipaddress.ip_interface("2001:db8::1/64")))
ETH1 = Interface("eth1", (ipaddress.ip_interface("198.51.100.1/24"),))


def write(directory: Path, *lines: str, stats: str = "stats socket /run/hg.sock") -> str:
    path = directory / "proxy.cfg"
    text = ["global", f"  {stats}" if stats else "", "defaults", "  mode http", "  timeout connect 1s", "  timeout client 1s"]
    path.write_text("\n".join([*text, "  timeout server 1s", "frontend web", *[f"  {line}" for line in lines], ""]))
    return str(path)


def planned(directory: Path, *lines: str, wishes: Wishes | None = None, stats: str = "stats socket /run/hg.sock") -> FailoverPlan:
    config = load([write(directory, *lines, stats=stats)], {}, build_facts(Options()), Report())
    assert config is not None
    return plan_failover(config, wishes or Wishes(), [ETH0, ETH1])


def hosts(plan: FailoverPlan) -> list[tuple[str, str]]:
    return [(str(one.host), one.interface) for one in plan.floating]


def test_addresses_that_are_not_this_machines_own_move(tmp_path: Path) -> None:
    plan = planned(tmp_path, "bind 192.0.2.10:80", "bind 192.0.2.1:81", "bind 127.0.0.1:82", "bind :83", "bind 198.51.100.7:84")
    assert hosts(plan) == [("192.0.2.10", "eth0"), ("198.51.100.7", "eth1")]
    assert plan.router_id == 10
    assert [bind.address.port for bind in plan.floating[0].binds] == [80, 83]


def test_an_address_that_keepalived_added_still_moves(tmp_path: Path) -> None:
    here = Interface("eth0", (*ETH0.addresses, ipaddress.ip_interface("192.0.2.10/32")))
    config = load([write(tmp_path, "bind 192.0.2.10:80")], {}, build_facts(Options()), Report())
    assert config is not None
    assert hosts(plan_failover(config, Wishes(), [here])) == [("192.0.2.10", "eth0")]


def test_wildcards_need_an_address(tmp_path: Path) -> None:
    with pytest.raises(FailoverError, match="--address"):
        planned(tmp_path, "bind :80")
    plan = planned(tmp_path, "bind :80", wishes=Wishes((ipaddress.ip_address("192.0.2.10"),)))
    assert hosts(plan) == [("192.0.2.10", "eth0")]
    assert not plan.remarks


@pytest.mark.parametrize(
    ("lines", "wishes", "expected"),
    [
        (["bind :80"], Wishes((ipaddress.ip_address("2001:db8::5"),)), "no bind line listens"),
        (["bind 203.0.113.5:80"], Wishes(), "--interface"),
        (["bind 192.0.2.10:80", "bind [2001:db8::10]:80"], Wishes(), "one keepalived instance each"),
    ],
)
def test_refused(tmp_path: Path, lines: list[str], wishes: Wishes, expected: str) -> None:
    with pytest.raises(FailoverError, match=expected):
        planned(tmp_path, *lines, wishes=wishes)


def test_without_a_stats_socket(tmp_path: Path) -> None:
    with pytest.raises(FailoverError, match="stats socket /run"):
        planned(tmp_path, "bind 192.0.2.10:80", stats="")


def test_says_which_lines_can_not_be_bound_on_the_other_machine(tmp_path: Path) -> None:
    plan = planned(tmp_path, "bind 192.0.2.10:80", "bind 192.0.2.10:81 transparent")
    assert [(remark.location.line if remark.location else 0) for remark in plan.remarks] == [9]
    assert "ip_nonlocal_bind" in (plan.remarks[0].remedy or "")


def test_texts(tmp_path: Path) -> None:
    wishes = Wishes(peers=(ipaddress.ip_address("192.0.2.2"),), priority=150, interval=0.5, preempt=True)
    plan = planned(tmp_path, "bind 192.0.2.10:80", wishes=wishes)
    text = keepalived_configuration(plan, "/etc/keepalived")
    expected = ("priority 150", "advert_int 0.5", "192.0.2.10/32 dev eth0", '"/etc/keepalived/check-headgate"', "unicast_peer {")
    assert [line for line in expected if line not in text] == []
    assert "nopreempt" not in text
    compile(check_script(plan), "check", "exec")
    assert "'/run/hg.sock'" in check_script(plan)


def test_a_stats_socket_on_tcp(tmp_path: Path) -> None:
    plan = planned(tmp_path, "bind 192.0.2.10:80", stats="stats socket ipv4@*:9999")
    assert "('127.0.0.1', 9999)" in check_script(plan)


def test_interfaces_leave_out_what_can_not_move() -> None:
    link = {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}, {"local": "fe80::1", "prefixlen": 64}]}
    other = {"ifname": "eth0", "addr_info": [{"local": "192.0.2.1", "prefixlen": 24}]}
    assert parse_interfaces([link, other]) == [
        Interface("lo", ()),
        Interface("eth0", (ipaddress.IPv4Interface("192.0.2.1/24"),)),
    ]


def test_both_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(tmp_path, "bind 192.0.2.10:80")
    words = ["-f", config, "--address", "192.0.2.10", "--interface", "eth7", "--directory", str(tmp_path)]
    assert failover_command(words) == 0
    assert "On the other machine: headgate failover-config" in capsys.readouterr().out
    assert "192.0.2.10/32 dev eth7" in (tmp_path / "keepalived.conf").read_text()
    assert (tmp_path / "check-headgate").stat().st_mode & 0o111


def test_a_wrong_configuration_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failover_command(["-f", write(tmp_path, "bind 192.0.2.10:80 crrt x")]) == 1
    assert "crrt" in capsys.readouterr().err
