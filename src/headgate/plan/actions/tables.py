"""Actions on entries of stick tables: `track-sc*`, `sc-inc-gpc*`, `sc-add-gpc`, `sc-set-gpt*` (manual 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.base.diagnostics import Location, config_error
from headgate.config.actions import ChangeCounter, TrackCounter
from headgate.plan.actions.registry import Act, action
from headgate.plan.expressions import compile_as, compile_expression
from headgate.plan.facts import Stream
from headgate.plan.places import RESPONSE_PLACES, Place
from headgate.plan.samples import Run, Type, castable
from headgate.plan.scope import Scope
from headgate.plan.table_layout import CONNECTION, REQUEST, SAMPLE_TYPES, TLS_FAILURE, Layout
from headgate.plan.table_values import change_steps, locate
from headgate.plan.tables import find_table, follow, tracked

_EARLY: Final = Place.FE_TCP_CONNECTION | Place.FE_TCP_SESSION


def compile_key(expression: object, layout: Layout, scope: Scope, what: str) -> Run:
    """The expression whose samples are keys of a table.

    Raises:
        ConfigError: its type can't be a key there.
    """
    wanted = SAMPLE_TYPES[layout.definition.key]
    compiled = compile_expression(expression, scope)  # type: ignore[arg-type]
    if not castable(compiled.type, wanted):
        definition = layout.definition
        raise config_error(
            f"stick-table '{definition.name}' uses a type incompatible with the '{what}' rule: its keys are of type"
            f" '{definition.key.value}', and '{expression.text}' gives {compiled.type.value}",  # type: ignore[attr-defined]
            expression.location,  # type: ignore[attr-defined]
        )
    return compiled.cast(wanted)


def _tracked_table(rule: TrackCounter, scope: Scope) -> tuple[int, Layout, Run]:
    """The number of the table, its layout, and what gives the keys."""
    what = f"track-sc{rule.slot}"
    number = find_table(scope.tables, rule.table or scope.proxy.name, rule.location, what)
    layout = scope.tables[number]
    return number, layout, compile_key(rule.expression, layout, scope, what)


@action(TrackCounter)
def track(rule: TrackCounter, scope: Scope, location: Location) -> Act:
    number, layout, run = _tracked_table(rule, scope)
    slot, key_of = rule.slot, layout.key_of
    first = layout.events[CONNECTION]
    early, response = bool(scope.place & _EARLY), bool(scope.place & RESPONSE_PLACES)
    with_request = first + layout.events[REQUEST]

    def act(stream: Stream) -> None:
        if tracked(stream, slot) is not None:
            return  # the first rule that is executed counts
        value = run(stream)
        key = None if value is None else key_of(value)
        if key is None:
            return
        steps = first if early or stream.request is None else with_request
        if response:
            steps = steps + layout.answered(stream.status)
        entry = stream.session.world.tables[number].track(key, steps)
        if entry is not None:
            follow(stream.session if early else stream, slot, entry)

    return act


def track_failure(rule: TrackCounter, scope: Scope) -> Act | None:
    """What a rule for sessions does where there will be no session, since the TLS handshake failed: the entry is followed, so
    that the failure is counted there, and nothing else is. None where the table counts no such failures.

    Raises:
        ConfigError: see `compile_key`; there is no such table.
    """
    number, layout, run = _tracked_table(rule, scope)
    if not layout.events[TLS_FAILURE]:
        return None
    slot, key_of = rule.slot, layout.key_of

    def act(stream: Stream) -> None:
        if tracked(stream, slot) is not None:
            return
        value = run(stream)
        key = None if value is None else key_of(value)
        entry = None if key is None else stream.session.world.tables[number].track(key, ())
        if entry is not None:
            follow(stream.session, slot, entry)

    return act


def _value(rule: ChangeCounter, scope: Scope) -> Callable[[Stream], int | None]:
    if isinstance(rule.value, int):
        number = rule.value
        return lambda stream: number
    run = compile_as(rule.value, Type.SINT, scope)

    def value(stream: Stream) -> int | None:
        found = run(stream)
        return found if isinstance(found, int) and 0 <= found <= 0xFFFFFFFF else None

    return value


@action(ChangeCounter)
def change_counter(rule: ChangeCounter, scope: Scope, location: Location) -> Act:
    value_of, slot, name, index = _value(rule, scope), rule.slot, rule.what, rule.index

    def add(stream: Stream) -> None:
        entry = tracked(stream, slot)
        value = value_of(stream)
        if entry is not None and value is not None:
            entry.count(change_steps(entry.table.layout, name, index, value))

    def put(stream: Stream) -> None:
        entry = tracked(stream, slot)
        value = value_of(stream)
        if entry is None or value is None:
            return
        found = locate(entry.table.layout, name, index)
        if found is not None:
            entry.assign([(found[0].name, found[1], value)])

    return put if rule.verb == "set" else add
