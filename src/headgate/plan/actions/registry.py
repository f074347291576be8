"""The table of actions: class in `config.actions` -> function that compiles one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from headgate.base.diagnostics import Location
from headgate.plan.facts import Stream
from headgate.plan.frontends import Rules
from headgate.plan.scope import Scope
from headgate.plan.verdicts import Verdict

#: A compiled action: edits the stream, and answers a verdict when the ruleset ends here.
Act = Callable[[Stream], Verdict | None]
F = TypeVar("F", bound=Callable[..., Act])


class Suspending:
    """An act that may make the rules behind it wait.

    Attributes:
        rest: these rules, None where there are none; `compile_rules` sets it.
        content: they are `tcp-request content` rules.
    """

    __slots__ = ("content", "rest")

    def __init__(self) -> None:
        self.rest: Rules | None = None
        self.content = False

    def __call__(self, stream: Stream) -> Verdict | None:
        """See `Act`."""
        raise NotImplementedError


ACTIONS: Final[dict[type, Callable[[Any, Scope, Location], Act]]] = {}


def action(kind: type) -> Callable[[F], F]:
    """Register the decorated `(action, scope, location) -> Act` for a class."""

    def register(compile_: F) -> F:
        ACTIONS[kind] = compile_
        return compile_

    return register
