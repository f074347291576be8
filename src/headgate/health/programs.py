"""Which script checks a server: rules of the configuration, a protocol, or the connection alone. Pure; asked once a server."""

from __future__ import annotations

from headgate.base.records import dataclass
from headgate.config.checks import CheckSpec
from headgate.health.steps import Step
from headgate.plan.checks import CheckProgram


@dataclass(frozen=True, slots=True)
class Script:
    """A script and how its results are told.

    Attributes:
        spec: how it was configured.
        named: messages name the rule, as in ` at step 2 of tcp-check (connect)`.
        done: the text of a success that says nothing itself.
    """

    spec: CheckSpec
    steps: tuple[Step, ...] = ()
    named: bool = False
    done: str = ""


def script_of(spec: CheckSpec, program: CheckProgram | None) -> Script:
    """The script of a check.

    Args:
        spec: how it was configured.
        program: its rules, compiled; None where it has none.
    """
    if spec.kind in ("tcp", "http"):
        ruled = spec.kind == "tcp" and bool(spec.rules)
        return Script(spec, program.steps if program is not None else (), ruled, "(tcp-check)" if ruled else "")
    if spec.kind == "external":
        return Script(spec)
    from headgate.health.protocols import PROTOCOLS

    return Script(spec, PROTOCOLS[spec.kind](*spec.arguments))
