"""Scripts of checks made of configuration text, and a server that is bytes: what the tests of the machine have in common."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any, cast

from headgate.base.diagnostics import Report, render
from headgate.config.load import load
from headgate.config.predicates import BuildFacts
from headgate.health.machine import Connect, Machine, Receive, Send
from headgate.health.programs import Script, script_of
from headgate.health.results import CheckResult
from headgate.plan.checks import CheckStream
from headgate.plan.compiler import compile_plan
from headgate.plan.facts import Session
from headgate.plan.frontends import BackendPlan
from headgate.plan.scope import Surroundings


class World:
    """As much of one as samples in checks look at."""

    def __init__(self) -> None:
        self.process_variables: dict[bytes, object] = {}
        self.backends: dict[str, Any] = {}
        self.frontends: dict[str, Any] = {}
        self.sessions = 0

    def now(self) -> float:
        return 1233922454.655


class Named:
    """A server, as samples see it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sessions = self.queued = 0


class Nowhere:
    unique_id = None
    name = "app"
    spec = None


def backend_plan(*lines: str, sections: str = "", server: str = "server s1 10.0.0.1:80 check") -> BackendPlan:
    """A compiled backend `app` with these lines; AssertionError when the configuration has errors."""
    times = "timeout connect 5s\n    timeout server 5s"
    text = f"{sections}\nbackend app\n    {times}\n" + "".join(f"    {line}\n" for line in lines) + f"    {server}\n"
    report = Report()
    descriptor, name = tempfile.mkstemp(suffix=".cfg")
    try:
        with open(descriptor, "w") as file:
            file.write(text)
        config = load([name], {}, BuildFacts(), report)
    finally:
        os.unlink(name)
    assert config is not None, "\n".join(render(item) for item in report.alerts)
    plan = compile_plan(config, report, Surroundings(hostname="host.example"))
    assert not report.alerts, "\n".join(render(item) for item in report.alerts)
    return plan.backends["app"]


def script(*lines: str, sections: str = "") -> Script:
    """The script of such a backend's checks."""
    plan = backend_plan(*lines, sections=sections)
    return script_of(plan.spec.check, plan.check)


def stream(plan: BackendPlan | None = None) -> CheckStream:
    made = CheckStream(Session(cast(Any, World()), cast(Any, Nowhere())))
    made.backend = plan
    made.server = Named("s1")
    return made


class Server:
    """What a script is told, one answer for each time that it listens after it has sent something; all of it is recorded.

    Args:
        answers: for each connection: pieces, one for each turn of the server. Behind the last one it closes.
        step: bytes that come at a time, 0 for all.
        close: the server closes behind its last piece; else it stays silent.
    """

    def __init__(self, *answers: Sequence[bytes], step: int = 0, close: bool = True) -> None:
        self._answers = [list(pieces) for pieces in answers]
        self._step = step
        self._close = close
        self.sent: list[bytes] = []
        self.connections: list[Connect] = []
        self._now = b""

    def run(self, script: Script, plan: BackendPlan | None = None, *, seen: CheckStream | None = None) -> CheckResult | None:
        """Run a script to its end; None when it still waits for a server that stays silent."""
        seen = seen or stream(plan)
        seen.disable_on_404 = script.spec.disable_on_404
        self.machine = machine = Machine(
            script.steps, seen, lambda size: bytes(range(size)), named=script.named, done=script.done
        )
        pieces: list[bytes] = []
        while True:
            effect = machine.next()
            match effect:
                case CheckResult():
                    return effect
                case Connect():
                    self.connections.append(effect)
                    pieces = self._answers.pop(0) if self._answers else []
                    self._now = pieces.pop(0) if pieces else b""
                    machine.opening()
                    machine.opened(tls=False)
                case Send(data):
                    self.sent.append(data)
                    self._now += pieces.pop(0) if pieces else b""
                case Receive():
                    size = self._step or len(self._now)
                    data, self._now = self._now[:size], self._now[size:]
                    if data:
                        result = machine.received(data)
                        if result is not None:
                            return result
                    elif self._close:
                        machine.closed()
                    else:
                        return None


def outcome(script: Script, *answers: Sequence[bytes], step: int = 0, close: bool = True) -> tuple[str, int | None, str] | None:
    """Status word, code and text of one run, None while it waits."""
    result = Server(*answers, step=step, close=close).run(script)
    return None if result is None else (result.status.word, result.shown_code, result.info)


