"""`do-resolve` (manual 4.4): the address of a name that a request brings along, for the rules behind it.

What is an address already needs no name server, and what can't be a name is not asked for: the variable stays as it was.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.base.diagnostics import Location
from headgate.config.actions import DoResolve
from headgate.plan.actions.registry import Act, Suspending, action
from headgate.plan.expressions import compile_as
from headgate.plan.facts import Stream
from headgate.plan.samples import Run, Type, parse_address
from headgate.plan.scope import Scope
from headgate.plan.variables import Setter, check_name, setter
from headgate.plan.verdicts import Kind, Question, Verdict

#: Labels of at most 63 characters; all together fit into a query (RFC 1035 section 3.1). Underscores are found in real names.
_NAME: Final = re.compile(rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_LONGEST: Final = 253


def query_name(value: bytes) -> str | None:
    """A host's name as name servers are asked for it; None for what can't be one."""
    if value.endswith(b"."):
        value = value[:-1]
    if len(value) > _LONGEST or _NAME.fullmatch(value) is None:
        return None
    return value.decode("ascii").lower()


class _Resolve(Suspending):
    __slots__ = ("_name_of", "_patience", "_prefer", "_put", "_section")

    def __init__(self, name_of: Run, section: str, prefer: int, patience: float, put: Setter) -> None:
        super().__init__()
        self._name_of = name_of
        self._section = section
        self._prefer = prefer
        self._patience = patience
        self._put = put

    def __call__(self, stream: Stream) -> Verdict | None:
        value = self._name_of(stream)
        if not isinstance(value, bytes) or not 0 < len(value) <= _LONGEST + 2:
            return None
        address = parse_address(value)
        if address is not None:
            self._put(stream, address)
            return None
        name = query_name(value)
        if name is None:
            return None
        question = Question(self._section, name, self._prefer, self._patience, self._put)
        return Verdict(Kind.RESOLVE, rest=self.rest, question=question, content=self.content)


@action(DoResolve)
def do_resolve(rule: DoResolve, scope: Scope, location: Location) -> Act:
    place, key = check_name(f"{rule.scope}.{rule.name}", location)
    name_of = compile_as(rule.value, Type.STR, scope)
    return _Resolve(name_of, rule.resolvers, rule.prefer, scope.config.resolvers[rule.resolvers].patience, setter(place, key))
