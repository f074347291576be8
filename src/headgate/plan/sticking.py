"""`stick` rules compiled (manual 4.2 "stick match" and its kin): what to look for, where, and what to remember."""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.diagnostics import ConfigError
from headgate.base.records import dataclass
from headgate.config.model import Proxy
from headgate.config.stick_tables import StickRule
from headgate.plan.facts import Stream
from headgate.plan.places import Place
from headgate.plan.scope import Scope, shield
from headgate.plan.tables import find_table


@dataclass(frozen=True, slots=True)
class StickStep:
    """One rule: when it applies, what its key is, in which of `World.tables`, and what is done with it."""

    match: bool
    store: bool
    table: int
    test: Callable[[Stream], bool] | None
    key: Callable[[Stream], bytes | None]


@dataclass(frozen=True, slots=True)
class StickPlan:
    """The rules of a backend: for requests, and for responses."""

    request: tuple[StickStep, ...]
    response: tuple[StickStep, ...]


def compile_sticking(proxy: Proxy, scope: Scope) -> StickPlan | None:
    """The rules of a backend; None when it has none. Errors go to the report, and the rule is left out."""
    if not proxy.stick_rules:
        return None
    request, response = [], []
    for rule in proxy.stick_rules:
        try:
            if rule.store_response:
                response.append(_step(rule, scope.at(Place.BE_HTTP_RESPONSE | Place.BE_TCP_RESPONSE)))
            else:
                request.append(_step(rule, scope.at(Place.BE_SERVER_CHOICE)))
        except ConfigError as error:
            shield(scope.report, error)
    return StickPlan(tuple(request), tuple(response))


def _step(rule: StickRule, scope: Scope) -> StickStep:
    from headgate.plan.actions.tables import compile_key

    number = find_table(scope.tables, rule.table or scope.proxy.name, rule.location, "the 'stick' rule")
    layout = scope.tables[number]
    run, key_of = compile_key(rule.expression, layout, scope, "stick"), layout.key_of
    test = None
    if rule.condition is not None:
        from headgate.plan.conditions import compile_condition

        test = compile_condition(rule.condition, scope)

    def key(stream: Stream) -> bytes | None:
        value = run(stream)
        return None if value is None else key_of(value)

    return StickStep(rule.match, rule.store_request or rule.store_response, number, test, key)
