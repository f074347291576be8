"""The state of servers as text: written, read, refused, applied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headgate.admin import server_states
from headgate.admin.server_states import (
    HEADER,
    LONGEST_TEXT,
    StateError,
    Times,
    apply_server_states,
    keep_addresses,
    read_states,
    state_line,
)
from headgate.balance.server import Admin
from headgate.base.addresses import Address, Family
from headgate.config.model import AgentCheck
from headgate.config.resolvers import Resolution
from headgate.health.results import CheckStatus
from headgate.health.state import ServerStatus

NOW = Times(5000.0, 1_700_000_000.0)
COLUMNS = HEADER[2:].split()


def line(**given: object) -> str:
    """A line for app/s1, which is up; columns by name without `srv_`."""
    values: dict[str, object] = dict.fromkeys(COLUMNS, "0") | {
        "be_id": 3, "be_name": "app", "srv_id": 1, "srv_name": "s1", "srv_addr": "127.0.0.1", "srv_op_state": 2,
        "srv_uweight": 10, "srv_iweight": 10, "srv_time_since_last_change": 100, "srv_check_status": 6, "srv_check_result": 3,
        "srv_check_health": 4, "srv_check_state": 6, "srv_fqdn": "-", "srv_port": 8001, "srvrecord": "-", "srv_check_addr": "-",
        "srv_agent_addr": "-",
    }  # fmt: skip
    values |= {name if name in COLUMNS else f"srv_{name}": value for name, value in given.items()}
    return " ".join(str(values[name]) for name in COLUMNS)


def text(*lines: str) -> str:
    return "\n".join(["1", HEADER, *lines, ""])


def apply(process: Any, *lines: str, checks: bool = True, wanted: tuple[str, ...] = ("app", "other")) -> list[str]:
    moved: list[object] = []
    process.moved = moved

    def move(backend: Any, server: Any, address: Address) -> None:
        moved.append((server.name, address.host, address.port))

    return apply_server_states(
        text(*lines), process.backends, process.checks if checks else None, NOW, wanted=wanted, move=move
    )


def s1(process: Any) -> Any:
    return process.backends["app"].state.servers[0]


def test_what_is_written_is_read(process: Any) -> None:
    backend = process.backends["app"]
    server = s1(process)
    written = state_line(backend.spec, server, process.checks.checked[server], 7)
    (saved,) = read_states(text(written))
    assert (saved.backend, saved.server, saved.weight, saved.age, saved.port) == ("app", "s1", "10", "7", "8001")
    assert apply(process, written) == [] and server.weight == 10 and server.admin is Admin.READY


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        ("", "version"), ("2\n", "version"), ("1\nx y z\n", "columns"), ("1\n" + line() + " more\n", "columns"),
        ("1\n" + line(fqdn="\x01") + "\n", "columns"), ("1\n" + "x" * 5000 + "\n", "longer than 4096"),
        ("1" + "\n" * LONGEST_TEXT, "longer than"),
    ],
)  # fmt: skip
def test_a_text_of_another_form_is_refused_as_a_whole(process: Any, damaged: str, why: str) -> None:
    with pytest.raises(StateError, match=why):
        read_states(damaged)
    (warning,) = apply_server_states(damaged, process.backends, process.checks, NOW, wanted=("app",))
    assert "refused" in warning


@pytest.mark.parametrize(
    "given",
    [
        {"op_state": 4}, {"op_state": "x"}, {"admin_state": 128}, {"uweight": 257}, {"uweight": -1}, {"iweight": "1e3"},
        {"time_since_last_change": 10**12}, {"check_status": "²"}, {"check_state": 999}, {"port": 65536},
    ],
)  # fmt: skip
def test_a_wrong_number_leaves_its_server_alone(process: Any, given: dict[str, object]) -> None:
    (warning,) = apply(process, line(**({"admin_state": 8, "uweight": 3} | given)))
    assert "app/s1" in warning and "invalid srv_" in warning
    assert (s1(process).weight, s1(process).admin) == (10, Admin.READY)


def test_weights_follow_unless_the_configuration_changed(process: Any) -> None:
    apply(process, line(uweight=3, iweight=9))
    assert s1(process).weight == 10
    apply(process, line(uweight=3))
    assert s1(process).weight == 3


@pytest.mark.parametrize(
    ("server", "mask", "admin"),
    [
        ("app/s1", 0, Admin.READY), ("app/s1", 1, Admin.MAINT), ("app/s1", 8, Admin.DRAIN),
        ("app/s1", 9, Admin.MAINT | Admin.DRAIN),
        ("app/s1", 5, Admin.READY),  # it was disabled in the configuration, and is not any more
        ("other/s1", 0, Admin.MAINT),  # it is disabled in the configuration now
        ("other/s1", 4, Admin.READY),  # it was enabled at run time
        ("other/s1", 5, Admin.MAINT), ("app/s1", 0x60, Admin.READY),
    ],
)  # fmt: skip
def test_administrative_states(process: Any, server: str, mask: int, admin: Admin) -> None:
    backend, name = server.split("/")
    assert apply(process, line(be_name=backend, srv_name=name, admin_state=mask)) == []
    assert process.backends[backend].state.server(name).admin is admin


def test_health_goes_on_where_it_was(process: Any) -> None:
    server = s1(process)
    health = process.checks.checked[server].health
    apply(process, line(op_state=0, check_status=8, check_health=1))
    assert (health.status, health.level, server.up, health.result.status) == (ServerStatus.DOWN, 1, False, CheckStatus.L4CON)
    assert health.downtime(5000.0) == 100 and server.changed_at == NOW.wall - 100
    apply(process, line(op_state=2, check_health=99))
    assert (health.status, health.level, server.up) == (ServerStatus.UP, health.full, True)
    apply(process, line(check_state=2))
    assert ("health", "s1", False) in process.happened


def test_maintenance_is_no_failure(process: Any) -> None:
    apply(process, line(op_state=0, admin_state=1, check_health=0))
    assert s1(process).up and process.checks.checked[s1(process)].health.status is ServerStatus.UP


def test_a_worker_without_checks_has_the_states_too(process: Any) -> None:
    assert apply(process, line(op_state=0, uweight=4), checks=False) == []
    assert (s1(process).up, s1(process).weight) == (False, 4)


def test_ports_follow_and_addresses_only_of_names(process: Any) -> None:
    apply(process, line(addr="127.0.0.9", port=9999))
    assert process.moved == [("s1", "127.0.0.1", 9999)]


def test_where_checks_and_agents_were_sent(process: Any) -> None:
    server = s1(process)
    server.agent = AgentCheck(7, address=Address(Family.INET, "10.0.0.7"))
    apply(process, line(check_addr="2001:db8::5", check_port=99, agent_port=0, agent_addr="-", agent_state=0x12))
    assert (server.check.address, server.check.port) == (Address(Family.INET6, "2001:db8::5"), 99)
    assert server.agent == AgentCheck(7, address=Address(Family.INET, "10.0.0.7"))
    assert {("retarget", "s1"), ("agent", "s1", False)} <= set(process.happened)
    apply(process, line(agent_port=8, agent_addr="10.0.0.8"))
    assert server.agent == AgentCheck(8, address=Address(Family.INET, "10.0.0.8"))
    assert apply(process, line(check_addr="nohost"))[0].endswith("invalid srv_check_addr 'nohost'")


def test_a_port_that_follows_the_client_s_is_written_as_none(process: Any) -> None:
    server = s1(process)
    server.address = replace(server.address, port=-100, last_port=-100, port_is_offset=True)
    written = state_line(process.backends["app"].spec, server, process.checks.checked[server], 7)
    assert apply(process, written) == [] and process.moved == []


def test_only_what_was_asked_for(process: Any) -> None:
    assert apply(process, line(uweight=3), wanted=("other",)) == []
    assert apply(process, line(be_name="gone"), line(srv_name="gone")) == []
    assert s1(process).weight == 10


def test_warnings_are_bounded(process: Any) -> None:
    assert len(apply(process, *[line(op_state=9)] * 100)) == server_states._MOST_WARNINGS


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        ({"fqdn": "web.example", "addr": "192.0.2.9"}, True),
        ({"srvrecord": "web.example", "addr": "2001:db8::9"}, True),
        ({"fqdn": "other.example", "addr": "192.0.2.9"}, False),
        ({"fqdn": "web.example", "addr": "-"}, False),
        ({"fqdn": "web.example", "addr": "192.0.2.9", "admin_state": 0x20}, False),
    ],
)  # fmt: skip
def test_a_resolved_server_begins_where_it_was(process: Any, given: dict[str, object], moved: bool) -> None:
    server = s1(process)
    server.admin = Admin.UNRESOLVED
    server.spec = replace(server.spec, address=Address(Family.NAME, "web.example", 80, 80), resolution=Resolution("dns"))
    moves: list[str] = []
    keep_addresses(text(line(**given)), process.backends, NOW, lambda _backend, _server, address: moves.append(address.host))
    assert moves == ([given["addr"]] if moved else [])
    assert server.admin is (Admin.READY if moved else Admin.UNRESOLVED)


def test_a_server_whose_name_is_not_resolved_is_left_alone(process: Any) -> None:
    moves: list[str] = []
    keep_addresses(text(line(addr="192.0.2.9")), process.backends, NOW, lambda *_: moves.append(""))
    keep_addresses("2\n", process.backends, NOW, lambda *_: moves.append(""))
    assert moves == []
