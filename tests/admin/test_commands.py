"""Each command against a small process."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from headgate.admin.columns import COLUMNS, STATIC_COLUMNS
from headgate.admin.commands import all_commands
from headgate.admin.registry import Level
from headgate.balance.server import Admin
from headgate.health.results import CheckResult, CheckStatus
from headgate.health.state import ServerStatus
from tests.admin.talk import Talk

REGISTRY = all_commands()


def run(process: Any, line: str) -> str:
    answer = Talk(REGISTRY, process, Level.ADMIN).line(line)
    assert "\n\n" not in answer[:-2]  # manual: no command can emit an empty line
    return answer.removesuffix("\n").removesuffix("\n")


def stat(process: Any, line: str = "show stat") -> dict[str, dict[str, str]]:
    text = run(process, line).removeprefix("# ")
    return {f"{row['pxname']}/{row['svname']}": row for row in csv.DictReader(text.splitlines())}


def test_columns_stand_where_the_manual_has_them() -> None:
    names = [name for name, _, _ in COLUMNS]
    places = {0: "pxname", 17: "status", 36: "check_status", 56: "last_chk", 73: "addr", 79: "conn_tot", 88: "srv_icur"}
    places |= {94: "eint", 99: "uweight", 103: "srid", 112: "proto", 118: "cache_hint_hits"}
    for position, name in places.items():
        assert names[position] == name
    assert STATIC_COLUMNS == 119
    assert names[STATIC_COLUMNS:] == ["ssl_sess", "ssl_reused_sess", "ssl_failed_handshake"]


def test_show_stat(process: Any) -> None:
    process.frontends["web"].counters.bytes_in = 7
    process.frontends["web"].counters.responses[5] = 2
    process.checks.checked[process.backends["app"].state.servers[0]].health.count(
        CheckResult(CheckStatus.L7STS, 500, 'a, "b"', 0.003), 2000.0
    )
    rows = stat(process)
    assert list(rows) == ["web/FRONTEND", "app/s1", "app/b1", "app/BACKEND", "other/s1", "other/BACKEND"]
    web, server = rows["web/FRONTEND"], rows["app/s1"]
    assert (web["status"], web["slim"], web["bin"], web["hrsp_5xx"], web["qcur"], web["-"]) == ("OPEN", "500", "7", "2", "", "-")
    assert (server["check_status"], server["check_code"], server["check_duration"]) == ("L7STS", "500", "3")
    assert (server["last_chk"], server["addr"], server["cookie"]) == ('a, "b"', "127.0.0.1:8001", "c1")
    assert (server["weight"], server["act"], server["bck"], server["chkdown"]) == ("10", "1", "0", "1")
    assert rows["app/b1"]["status"] == "no check"
    assert (rows["other/s1"]["status"], rows["other/BACKEND"]["status"]) == ("MAINT", "DOWN")
    assert (rows["app/BACKEND"]["act"], rows["app/BACKEND"]["bck"], rows["app/BACKEND"]["lastchg"]) == ("1", "1", "90061")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("3 -1 -1", ["app/s1", "app/b1", "app/BACKEND"]),
        ("app 2 -1", ["app/BACKEND"]),
        ("-1 4 1", ["app/s1", "other/s1"]),
        ("-1 1 -1 no-maint", ["web/FRONTEND"]),
        ("no-maint", ["web/FRONTEND", "app/s1", "app/b1", "app/BACKEND", "other/BACKEND"]),
        ("domain proxy -1 4 -1 up", ["app/s1", "app/b1"]),
    ],
)
def test_show_stat_selects(process: Any, arguments: str, expected: list[str]) -> None:
    assert list(stat(process, f"show stat {arguments}")) == expected


def test_show_stat_typed_and_json(process: Any) -> None:
    lines = run(process, "show stat app 4 1 typed").splitlines()
    assert lines[0] == "S.3.1.0.pxname.1:KNSV:str:app"
    assert "S.3.1.73.addr.1:CGSV:str:127.0.0.1:8001" in lines
    (fields,) = json.loads(run(process, "show stat app 4 1 json"))
    assert fields[0]["field"] == {"pos": 0, "name": "pxname"}
    assert fields[0]["tags"] == {"origin": "Key", "nature": "Name", "scope": "Service"}


@pytest.mark.parametrize("arguments", ["nobody 1 -1", "app", "domain peers", "1 2 3 sideways"])
def test_show_stat_refuses(process: Any, arguments: str) -> None:
    assert not run(process, f"show stat {arguments}").startswith("#")


def test_status_shows_the_way_up_and_down(process: Any) -> None:
    backend = process.backends["app"]
    server = backend.state.servers[0]
    health = process.checks.checked[server].health
    said = []
    for status in (CheckStatus.L4OK, CheckStatus.L4CON, CheckStatus.L4CON, CheckStatus.L4CON, CheckStatus.L4OK):
        health.count(CheckResult(status), 1.0)
        backend.state.set_operational(server, health.up, 1.0)
        said.append(stat(process)["app/s1"]["status"])
    assert said == ["UP", "UP 2/3", "UP 1/3", "DOWN", "DOWN 1/2"]


def test_show_info(process: Any) -> None:
    process.tls_connections.limit = 100
    process.tls_connections.begin()
    lines = run(process, "show info").splitlines()
    assert "Pid: 4242" in lines and "Uptime: 1d 1h01m01s" in lines and "Uptime_sec: 90061" in lines and "node: node1" in lines
    assert not any(line.startswith("description") for line in lines)
    assert "6.Pid.1:SGPV:u32:4242" in run(process, "show info typed").splitlines()
    assert {"name": "Pid", "pos": 6} in [each["field"] for each in json.loads(run(process, "show info json"))]
    assert 'Pid: 4242:"Process to send signals to"' in run(process, "show info desc").splitlines()
    assert "knows no 'description'" in run(process, "show info description")
    assert "DroppedLogs: 7" in lines and "MaxSslConns: 100" in lines and "CurrSslConns: 1" in lines


def test_show_info_float_switches_times_to_floats(process: Any) -> None:
    process.time += 0.25
    assert "Uptime_sec: 90061.25" in run(process, "show info float").splitlines()
    assert "8.Uptime_sec.1:MDPV:flt:90061.25" in run(process, "show info typed float").splitlines()
    found = {each["field"]["name"]: each["value"] for each in json.loads(run(process, "show info json float"))}
    assert found["Uptime_sec"] == {"type": "flt", "value": 90061.25}
    assert "Uptime_sec: 90061" in run(process, "show info").splitlines()


def test_environment_and_backends(process: Any) -> None:
    assert run(process, "show env") == "HOME=/root\nX=1"
    assert run(process, "show env X") == "X=1"
    assert run(process, "show env Y") == "Variable not found"
    assert run(process, "show backend") == "# name\napp\nother"


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("disable server app/s1", Admin.MAINT),
        ("set server app/s1 state drain", Admin.DRAIN),
        ("set server #3/#1 state maint", Admin.MAINT),
        ("disable server app/s1;enable server app/s1", Admin.READY),
        ("set server app/s1 state drain;set server app/s1 state ready", Admin.READY),
    ],
)
def test_administrative_states(process: Any, line: str, state: Admin) -> None:
    assert run(process, line).strip() == ""
    server = process.backends["app"].state.servers[0]
    assert server.admin is state or server.admin == state
    assert process.happened[-1][0] == "admin"
    assert (server in process.backends["app"].state.selected) is (state is Admin.READY)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("disable server app", "Require 'backend/server'."),
        ("disable server nobody/s1", "No such backend."),
        ("show servers state nobody", "Can't find backend."),
        ("show servers conn nobody", "Can't find backend."),
        ("disable server app/nobody", "No such server."),
        ("set server app/s1 state sideways", "'set server <srv> state' expects 'ready', 'drain' and 'maint'."),
        ("set server app/s1 addr", "set server <b>/<s> addr requires an address and optionally a port."),
        ("set server app/s1 addr foo", "Invalid addr 'foo' by 'stats socket command'"),
        ("set server app/b1 check-port 80", "health checks are not enabled on this server"),
        ("set server app/s1 fqdn x", "set server <b>/<s> fqdn failed because no resolution is configured."),
        ("set server app/s1 agent up", "agent checks are not enabled on this server."),
        ("enable agent app/s1", "Agent was not configured on this server, cannot enable."),
        ("enable health app/b1", "Health check was not configured on this server, cannot enable."),
        ("set weight app/s1 257", "Absolute weight can only be between 0 and 256 inclusive."),
        ("set weight app/s1 -1", "Absolute weight can only be between 0 and 256 inclusive."),
        ("set weight app/s1 5x", "Trailing garbage in weight string"),
        ("set weight app/s1 x", "Empty weight string empty or preceded by garbage"),
        ("set weight app/s1", "Require <weight> or <weight%>."),
        ("set maxconn server app/s1 x", "maxconn string empty or preceded by garbage"),
        ("set maxconn server app/s1", "Require <maxconn>."),
        ("set rate-limit connections global", "Expects an integer value."),
        ("add server app", "Require 'backend/server'."),
        ("get var", "Missing process-wide variable identifier."),
        ("disable frontend nobody", "No such frontend."),
        ("enable frontend web", "All sockets are already enabled."),
        ("set maxconn global 2001", "Value out of range."),
    ],
)
def test_refusals(process: Any, line: str, answer: str) -> None:
    assert run(process, line) == answer


WEIGHTS = [("0", 0), ("256", 256), ("50%", 5), ("25%", 2), ("5%", 0), ("100%", 10), ("9999%", 256)]


@pytest.mark.parametrize(("weight", "result"), WEIGHTS)
def test_weights(process: Any, weight: str, result: int) -> None:
    run(process, f"set weight app/s1 {weight}")
    assert run(process, "get weight app/s1") == f"{result} (initial 10)"
    run(process, "set server app/s1 weight 7")
    assert process.backends["app"].state.servers[0].weight == 7


def test_changes_are_made_on_the_clock_of_the_backend(process: Any) -> None:
    backend = process.backends["app"].state
    server = backend.servers[0]
    server.slowstart = 100.0
    backend.set_operational(server, False, process.wall() - 60.0)
    backend.set_operational(server, True, process.wall() - 50.0)
    run(process, "set weight app/s1 200")
    assert server.effective == 100  # half of the slowstart is over


def test_health_is_forced(process: Any) -> None:
    run(process, "set server app/s1 health stopping;disable health app/s1;enable health app/s1")
    assert process.happened == [("force", "s1", ServerStatus.NOLB), ("health", "s1", False), ("health", "s1", True)]


def test_limits_and_frontends(process: Any) -> None:
    assert run(process, "set maxconn global 100;set maxconn frontend web 50;set maxconn server app/s1 9").strip() == ""
    assert (process.maxconn, process.frontends["web"].maxconn) == (100, 50)
    assert process.backends["app"].state.servers[0].maxconn == 9
    run(process, "set maxconn global 0")
    assert process.maxconn == 2000
    run(process, "disable frontend #2")
    assert stat(process)["web/FRONTEND"]["status"] == "PAUSED"
    run(process, "enable frontend web;shutdown frontend web;shutdown sessions server app/s1")
    assert process.happened[-2:] == [("shut", "web"), ("shutdown", "app", "s1")]


def test_clear_counters_clears_the_maxima_only(process: Any) -> None:
    counters = process.frontends["web"].counters
    counters.maximum_sessions, counters.requests = 9, 8
    assert run(process, "clear counters") == ""
    assert (counters.maximum_sessions, counters.requests) == (0, 8)
    assert run(process, "clear counters all") == ""
    assert counters.requests == 0


def test_show_servers_state(process: Any) -> None:
    lines = run(process, "show servers state").splitlines()
    assert lines[0] == "1"
    header = lines[1].removeprefix("# ").split()
    rows = [dict(zip(header, line.split(), strict=True)) for line in lines[2:]]
    assert [(row["be_name"], row["srv_name"], row["srv_op_state"], row["srv_admin_state"]) for row in rows] == [
        ("app", "s1", "2", "0"), ("app", "b1", "2", "0"), ("other", "s1", "0", "5"),
    ]  # fmt: skip
    assert (rows[0]["srv_check_state"], rows[0]["srv_check_health"], rows[0]["srv_port"]) == ("6", "2", "8001")
    assert len(run(process, "show servers state other").splitlines()) == 3


def test_show_servers_conn(process: Any) -> None:
    lines = run(process, "show servers conn app").splitlines()
    assert len({len(line.removeprefix("# ").split()) for line in lines}) == 1
    assert lines[1].startswith("app/s1 3/1 127.0.0.1 8001 - 5000 0 ")
