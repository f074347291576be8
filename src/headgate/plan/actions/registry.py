"""The table of actions: class in `config.actions` -> function that compiles one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from headgate.base.diagnostics import Location
from headgate.plan.facts import Stream
from headgate.plan.scope import Scope
from headgate.plan.verdicts import Verdict

#: A compiled action: edits the stream, and answers a verdict when the ruleset ends here.
Act = Callable[[Stream], Verdict | None]
F = TypeVar("F", bound=Callable[..., Act])

ACTIONS: Final[dict[type, Callable[[Any, Scope, Location], Act]]] = {}


def action(kind: type) -> Callable[[F], F]:
    """Register the decorated `(action, scope, location) -> Act` for a class."""

    def register(compile_: F) -> F:
        ACTIONS[kind] = compile_
        return compile_

    return register
