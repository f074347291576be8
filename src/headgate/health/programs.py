"""Which script checks a server: rules of the configuration, a protocol, or the connection alone. Pure; asked once a server."""

from __future__ import annotations

from headgate.base.records import dataclass
from headgate.config.checks import CheckSpec
from headgate.health.steps import Step
from headgate.plan.checks import CheckProgram, Make


@dataclass(frozen=True, slots=True)
class Script:
    """A script and how its results are told.

    Attributes:
        spec: how it was configured.
        named: messages name the rule, as in ` at step 2 of tcp-check (connect)`.
        done: the text of a success that says nothing itself.
        host: the host that is asked for, see `plan.checks.CheckProgram`.
    """

    spec: CheckSpec
    steps: tuple[Step, ...] = ()
    named: bool = False
    done: str = ""
    host: Make | None = None


def script_of(spec: CheckSpec, program: CheckProgram | None) -> Script:
    """The script of a check.

    Args:
        spec: how it was configured.
        program: its rules, compiled; None where it has none.
    """
    if spec.kind in ("tcp", "http"):
        ruled = spec.kind == "tcp" and bool(spec.rules)
        done = "(tcp-check)" if ruled else ""
        return Script(spec, program.steps, ruled, done, program.host) if program is not None else Script(spec, (), ruled, done)
    if spec.kind == "external":
        return Script(spec)
    from headgate.health.protocols import PROTOCOLS

    return Script(spec, PROTOCOLS[spec.kind](*spec.arguments))
