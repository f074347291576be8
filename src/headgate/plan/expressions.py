"""Sample expressions -> closures: a fetch, then converters, each type checked (manual 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from headgate.base.diagnostics import NOWHERE, ConfigError, config_error
from headgate.config.expression import Call, SampleExpression
from headgate.plan.facts import Stream, Value
from headgate.plan.places import CONTENT_RULES, name_of
from headgate.plan.registry import CONVERTERS, FETCHES, Converter, Fetch, Many, read_arguments
from headgate.plan.samples import TEXTUAL, Run, Type, cast, castable, then
from headgate.plan.scope import Scope


class Expression:
    """A compiled expression.

    Attributes:
        type: static type of the result.
        run: its value for a stream, or None.
        each: all values, where the fetch has several and none was chosen (`hdr(x)`): what ACLs look at; else None.
    """

    __slots__ = ("each", "run", "type")

    def __init__(self, type_: Type, run: Run, each: Callable[[Stream], Iterable[Value]] | None = None) -> None:
        self.type = type_
        self.run = run
        self.each = each

    def cast(self, wanted: Type) -> Run:
        """`run` with its result cast; ask `castable` first."""
        return then(self.run, cast(self.type, wanted))


def unknown_keyword(kind: str, call: Call, known: Iterable[str], haproxy_names: Collection[str]) -> ConfigError:
    """The error for a fetch or converter that has no row: HAProxy knows it and we don't yet, or nobody does."""
    if call.name in haproxy_names:
        return config_error(f"{kind} '{call.name}' is known but not yet supported", call.location)
    return config_error(f"there is no {kind} '{call.name}'", call.location, allowed=tuple(sorted(known)), written=call.name)


def haproxy_names(kind: str) -> Collection[str]:
    """Every name that HAProxy registers as a "fetch", a "converter" or an "acl"."""
    # Only needed for messages: a start without errors does not pay for the list.
    from headgate.config.known import known_names

    return known_names()[kind]


def find_fetch(call: Call) -> Fetch:
    """The row of a fetch.

    Raises:
        ConfigError: there is none.
    """
    row = FETCHES.get(call.name)
    if row is None:
        raise unknown_keyword("sample fetch", call, FETCHES, haproxy_names("fetch"))
    return row


def find_converter(call: Call) -> Converter:
    """The row of a converter.

    Raises:
        ConfigError: there is none.
    """
    row = CONVERTERS.get(call.name)
    if row is None:
        raise unknown_keyword("converter", call, CONVERTERS, haproxy_names("converter"))
    return row


def compile_expression(
    expression: SampleExpression, scope: Scope, *, fetch: Fetch | None = None, lenient: bool = False
) -> Expression:
    """Compile an expression for a place.

    Args:
        fetch: the row to use in place of the name's own, for ACL keywords.
        lenient: a fetch that has nothing to look at in this place is worth a warning only: HAProxy does that in conditions.

    Raises:
        ConfigError: an unknown name, a wrong argument, types that don't fit, or a fetch without data in this place.
    """
    row = fetch or find_fetch(expression.fetch)
    _check_place(row, expression, scope, lenient)
    compiled = _at(expression.fetch, lambda: row.compile(scope, *read_arguments(expression.fetch, row, scope)))
    one, each = (compiled.one, compiled.each) if isinstance(compiled, Many) else (compiled, None)
    if row.request and scope.place & CONTENT_RULES:
        one = _awaiting_request(one)
    type_, name = row.result, expression.fetch.name
    steps: list[Callable[[Stream, Value], Value]] = []
    for call in expression.converters:
        converter = find_converter(call)
        if not castable(type_, converter.takes):
            raise config_error(
                f"converter '{call.name}' takes {converter.takes.value}, '{name}' gives {type_.value}", call.location
            )
        step, type_ = _step(call, converter, type_, scope)
        one = _chain(one, step)
        steps.append(step)
        name = call.name
    if each is not None and steps:
        each = _convert_each(each, steps)
    return Expression(type_, one, each)


def compile_as(expression: SampleExpression, wanted: Type, scope: Scope) -> Run:
    """Compile an expression whose result must be of a type.

    Raises:
        ConfigError: as `compile_expression`; or the type doesn't fit.
    """
    compiled = compile_expression(expression, scope)
    if not castable(compiled.type, wanted):
        raise config_error(f"'{expression.text}' gives {compiled.type.value} where {wanted.value} is needed", expression.location)
    return compiled.cast(wanted)


def _at(call: Call, compile_: Callable[[], Any]) -> Any:
    """Run a compile function; its errors about arguments get the call's place where they have none."""
    try:
        return compile_()
    except ConfigError as error:
        place = error.diagnostic.location
        if place is None or place is NOWHERE:
            raise ConfigError(replace(error.diagnostic, location=call.location)) from None
        raise


def _check_place(row: Fetch, expression: SampleExpression, scope: Scope, lenient: bool) -> None:
    if row.places & scope.place:
        return
    message = f"'{expression.fetch.name}' has nothing to look at in {name_of(scope.place)}"
    if not lenient:
        raise config_error(message, expression.fetch.location)
    scope.report.warn(message + ": this never matches", expression.fetch.location)


def _awaiting_request(run: Run) -> Run:
    """In content rules the request may not have arrived: say that more is needed."""

    def awaiting(stream: Stream) -> Value:
        if stream.request is None:
            stream.need_more = True
            return None
        return run(stream)

    return awaiting


def _step(call: Call, row: Converter, have: Type, scope: Scope) -> tuple[Callable[[Stream, Value], Value], Type]:
    """One converter with the cast in front of it, and the type behind it."""
    convert = _at(call, lambda: row.compile(scope, *read_arguments(call, row, scope)))
    before = cast(have, row.takes)
    result = have if row.result is None else row.result
    if row.live:
        if before is None:
            return convert, result

        def live(stream: Stream, value: Value) -> Value:
            value = before(value)
            return None if value is None else convert(stream, value)

        return live, result
    if before is None:
        return (lambda stream, value: convert(value)), result

    def pure(stream: Stream, value: Value) -> Value:
        value = before(value)
        return None if value is None else convert(value)

    return pure, result


def _chain(run: Run, step: Callable[[Stream, Value], Value]) -> Run:
    def chained(stream: Stream) -> Value:
        value = run(stream)
        return None if value is None else step(stream, value)

    return chained


def _convert_each(
    each: Callable[[Stream], Iterable[Value]], steps: Sequence[Callable[[Stream, Value], Value]]
) -> Callable[[Stream], Iterable[Value]]:
    def converted(stream: Stream) -> Iterable[Value]:
        for value in each(stream):
            for step in steps:
                if value is None:
                    break
                value = step(stream, value)
            if value is not None:
                yield value

    return converted


def textual(type_: Type) -> bool:
    """Whether values of the type are bytes."""
    return type_ in TEXTUAL
