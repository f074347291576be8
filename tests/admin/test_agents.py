"""Agents and tracking in the runtime API: commands, columns, states (management manual 9.3, 9.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headgate.admin.server_states import HEADER, state_line
from headgate.balance.server import Admin
from headgate.base.addresses import Address, Family
from headgate.config.model import AgentCheck
from headgate.health.results import CheckResult, CheckStatus
from headgate.health.state import Health
from tests.admin.test_commands import run, stat


class FakeAgent:
    def __init__(self) -> None:
        self.health = Health(1, 1)
        self.enabled, self.in_progress, self.drained = True, False, False


@pytest.fixture
def agent(process: Any) -> FakeAgent:
    """Of server app/s1."""
    server = process.backends["app"].state.servers[0]
    server.agent = AgentCheck(7777)
    made = process.checks.agents[server] = FakeAgent()
    return made


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("set server app/s1 agent-addr 10.0.0.9", AgentCheck(7777, address=Address(Family.INET, "10.0.0.9"))),
        ("set server app/s1 agent-addr agent.lan port 99", AgentCheck(99, address=Address(Family.NAME, "agent.lan"))),
        ("set server app/s1 agent-port 98", AgentCheck(98)),
        ("set server app/s1 agent-send hello", AgentCheck(7777, send=b"hello")),
    ],
)
def test_changes(process: Any, agent: FakeAgent, command: str, expected: AgentCheck) -> None:
    assert run(process, command).strip() == ""
    assert process.backends["app"].state.servers[0].agent == expected
    assert process.happened[-1] == ("retarget", "s1")


@pytest.mark.parametrize(
    ("command", "happened"),
    [
        ("set server app/s1 agent up", ("force agent", "s1", True)),
        ("set server app/s1 agent down", ("force agent", "s1", False)),
        ("enable agent app/s1", ("agent", "s1", True)),
        ("disable agent app/s1", ("agent", "s1", False)),
    ],
)
def test_states(process: Any, agent: FakeAgent, command: str, happened: tuple[object, ...]) -> None:
    assert run(process, command).strip() == ""
    assert process.happened[-1] == happened


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("set server app/s1 agent maybe", "'set server <srv> agent' expects 'up' or 'down'."),
        ("set server app/b1 agent up", "agent checks are not enabled on this server."),
        ("set server app/b1 agent-port 9", "agent checks are not enabled on this server"),
        ("set server app/s1 agent-addr", "set server <b>/<s> agent-addr requires an address and optionally a port."),
        ("set server app/s1 agent-addr 1.2.3.4 port", "provided port is not an integer"),
        ("set server app/s1 agent-addr a_b!", "invalid addr 'a_b!'"),
        ("set server app/s1 agent-port 0", "provided port is invalid"),
        ("set server app/s1 agent-port x", "provided port is not an integer"),
        ("set server app/s1 agent-send", "set server <b>/<s> agent-send requires a string."),
        ("enable agent app/b1", "Agent was not configured on this server, cannot enable."),
        ("disable agent app/b1", ""),
    ],
)
def test_refusals(process: Any, agent: FakeAgent, command: str, answer: str) -> None:
    assert run(process, command).strip() == answer


def test_columns(process: Any, agent: FakeAgent) -> None:
    row = stat(process)["app/s1"]
    assert (row["agent_status"], row["agent_rise"], row["agent_fall"], row["agent_health"]) == ("INI", "1", "1", "1")
    assert row["agent_duration"] == ""
    agent.health.count(CheckResult(CheckStatus.L7STS, None, "via agent : down (tired)", 0.0125), 1.0)
    agent.in_progress = True
    backend = process.backends["app"]
    server = backend.state.servers[0]
    backend.state.set_operational(server, False, 1.0)
    row = stat(process)["app/s1"]
    assert (row["status"], row["agent_status"], row["agent_code"], row["agent_duration"], row["last_agt"], row["agent_desc"]) == (
        "DOWN (agent)", "* L7STS", "0", "12", "via agent : down (tired)", "Layer7 wrong status",
    )
    assert stat(process)["app/b1"]["agent_status"] == ""


def test_drained_by_the_agent(process: Any, agent: FakeAgent) -> None:
    backend = process.backends["app"]
    backend.state.set_admin(backend.state.servers[0], Admin.DRAIN, 1.0)
    assert stat(process)["app/s1"]["status"] == "DRAIN"
    agent.drained = True
    assert stat(process)["app/s1"]["status"] == "DRAIN (agent)"


def test_state_columns(process: Any, agent: FakeAgent) -> None:
    backend = process.backends["app"]
    server = backend.state.servers[0]
    server.agent = AgentCheck(7777, address=Address(Family.INET, "10.0.0.9"))
    columns = dict(zip(HEADER[2:].split(), state_line(backend.spec, server, None, 1, agent).split(), strict=True))  # type: ignore[arg-type]
    assert (columns["srv_agent_state"], columns["srv_agent_addr"], columns["srv_agent_port"]) == ("22", "10.0.0.9", "7777")


def test_a_server_that_tracks(process: Any) -> None:
    backend = process.backends["app"]
    tracking = backend.state.servers[1]
    tracking.spec = replace(tracking.spec, track=("app", "s1"))
    row = stat(process)["app/b1"]
    assert (row["tracked"], row["status"]) == ("app/s1", "UP")
    backend.state.set_admin(backend.state.servers[0], Admin.MAINT, 1.0)
    refused = "This server cannot be removed at runtime due to other configuration elements pointing to it."
    assert run(process, "del server app/s1").strip() == refused


def test_a_server_that_tracks_one_in_maintenance(process: Any) -> None:
    backend = process.backends["app"]
    tracked, tracking = backend.state.servers
    tracking.spec = replace(tracking.spec, track=("app", "s1"))
    backend.state.set_operational(tracking, False, 1.0)
    assert stat(process)["app/b1"]["status"] == "DOWN"
    backend.state.set_admin(tracked, Admin.MAINT, 1.0)
    assert stat(process)["app/b1"]["status"] == "MAINT (via app/s1)"
