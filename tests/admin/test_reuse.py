"""`show ssl reuse` and what of it is in `show info` and `show headgate`."""

from __future__ import annotations

import json
from typing import Any

from headgate.admin.commands.own import _with_servers
from headgate.observe.full_handshakes import Cause
from headgate.observe.key_exchanges import count_traffic
from tests.admin.test_commands import run


def counted(process: Any) -> Any:
    server = process.backends["app"].state.servers[0]
    for cause in (Cause.FIRST_CONTACT, None, None, Cause.REFUSED):
        count_traffic(server.counters, cause)
    for checked in (Cause.FIRST_CONTACT, None):
        server.check_exchanges.count(checked)
    process.check_keys.connections += 2
    process.check_keys.keys.tick(process.time)
    process.counters.tls_server_key_rate.tick(process.time)
    return server


def test_nothing_over_tls(process: Any) -> None:
    assert run(process, "show ssl reuse") == "No server is connected to over TLS."
    assert run(process, "show ssl reuse json") == "[]"


def test_traffic_and_checks_apart(process: Any) -> None:
    counted(process)
    assert run(process, "show ssl reuse").splitlines() == [
        "# backend/server kind connections resumed full failed",
        "app/s1 traffic 4 2 2 0",
        "         1 first_contact: first contact: there was no session yet",
        "         1 refused: the server refused the session",
        "app/s1 checks 2 1 1 0",
        "         1 first_contact: first contact: there was no session yet",
    ]
    traffic, checks = json.loads(run(process, "show ssl reuse json"))
    assert traffic == {
        "backend": "app", "server": "s1", "kind": "traffic", "connections": 4, "resumed": 2, "full": 2, "failed": 0,
        "causes": {"first_contact": 1, "refused": 1},
    }  # fmt: skip
    for line in (traffic, checks):
        assert sum(line["causes"].values()) == line["full"] == line["connections"] - line["resumed"]


def test_wrong_words(process: Any) -> None:
    assert run(process, "show ssl reuse xml") == "'show ssl reuse' knows no 'xml': it takes json, or nothing."


def test_checks_are_in_the_sums(process: Any) -> None:
    counted(process)
    info = dict(line.split(": ", 1) for line in run(process, "show info").splitlines() if ": " in line)
    assert info["SslBackendKeyRate"] == info["SslBackendMaxKeyRate"] == "2" and info["CumSslConns"] == "2"
    assert _with_servers(process) == {"server_reused": 3, "server_full": 3, "server_key_rate": 2}


def test_clear_counters(process: Any) -> None:
    server = counted(process)
    run(process, "clear counters all")
    assert not server.check_exchanges.full and not sum(server.counters.tls_causes)
    assert process.check_keys.keys.maximum <= 1
