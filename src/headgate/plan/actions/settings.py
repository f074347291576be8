"""Actions that decide or set something: `accept`, `reject`, variables, captures, timeouts, log level, retries (manual 4.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.base.diagnostics import Location, config_error
from headgate.config.actions import (
    Accept,
    Capture,
    DisableL7Retry,
    Reject,
    SetLogLevel,
    SetRetries,
    SetTimeout,
    SetVar,
    SilentDrop,
    UnsetVar,
)
from headgate.config.expression import LogFormat
from headgate.plan import verdicts
from headgate.plan.actions.registry import Act, action
from headgate.plan.expressions import compile_as, compile_expression
from headgate.plan.facts import Stream, Value
from headgate.plan.logformat import Use, compile_format
from headgate.plan.places import RESPONSE_PLACES
from headgate.plan.samples import Run, Type
from headgate.plan.scope import Scope
from headgate.plan.variables import SCOPES, check_name, reader, setter


@action(Accept)
def accept(rule: Accept, scope: Scope, location: Location) -> Act:
    return lambda stream: verdicts.ACCEPT


@action(Reject)
def reject(rule: Reject, scope: Scope, location: Location) -> Act:
    return lambda stream: verdicts.REJECT


@action(SilentDrop)
def silent_drop(rule: SilentDrop, scope: Scope, location: Location) -> Act:
    return lambda stream: verdicts.SILENT_DROP


def value_of(expression: object, scope: Scope) -> Run:
    """What `set-var` and `set-var-fmt` store."""
    if isinstance(expression, LogFormat):
        return compile_format(expression, scope, Use.PLAIN)
    return compile_expression(expression, scope).run  # type: ignore[arg-type]


#: `set-var(name,cond,...)`: when the variable is set, from whether it exists, whether there is a value, and both values.
_CONDITIONS: Final[dict[str, Callable[[Value, Value], bool]]] = {
    "ifexists": lambda old, new: old is not None,
    "ifnotexists": lambda old, new: old is None,
    "ifempty": lambda old, new: new is not None and new == b"",
    "ifnotempty": lambda old, new: new is not None and new != b"",
    "ifset": lambda old, new: new is not None,
    "ifnotset": lambda old, new: new is None,
    "ifgt": lambda old, new: _greater(old, new),
    "iflt": lambda old, new: _greater(new, old),
}


def _greater(first: Value, second: Value) -> bool:
    """`ifgt`: the variable is greater than the value; only integers compare."""
    return isinstance(first, int) and isinstance(second, int) and first > second


def conditions_of(names: tuple[str, ...], location: Location) -> tuple[Callable[[Value, Value], bool], ...]:
    """The tests of `set-var`'s conditions.

    Raises:
        ConfigError: an unknown one.
    """
    for name in names:
        if name not in _CONDITIONS:
            raise config_error(f"there is no condition '{name}' of set-var", location, allowed=tuple(_CONDITIONS), written=name)
    return tuple(_CONDITIONS[name] for name in names)


@action(SetVar)
def set_var(rule: SetVar, scope: Scope, location: Location) -> Act:
    if rule.scope not in SCOPES:
        raise config_error(f"there is no variable scope '{rule.scope}'", location, allowed=SCOPES, written=rule.scope)
    place, key = check_name(f"{rule.scope}.{rule.name}", location)
    run, put = value_of(rule.value, scope), setter(place, key)
    tests = conditions_of(rule.conditions, location)
    if not tests:

        def assign(stream: Stream) -> None:
            value = run(stream)
            if value is not None:
                put(stream, value)

        return assign
    read = reader(place, key)

    def assign_if(stream: Stream) -> None:
        old, new = read(stream), run(stream)
        if new is not None and all(test(old, new) for test in tests):
            put(stream, new)

    return assign_if


@action(UnsetVar)
def unset_var(rule: UnsetVar, scope: Scope, location: Location) -> Act:
    place, key = check_name(f"{rule.scope}.{rule.name}", location)
    put = setter(place, key)
    return lambda stream: put(stream, None)


@action(SetLogLevel)
def set_log_level(rule: SetLogLevel, scope: Scope, location: Location) -> Act:
    level = rule.level

    def act(stream: Stream) -> None:
        stream.log_level = level

    return act


def store_capture(stream: Stream, slot: int, value: bytes, *, response: bool) -> None:
    """Put a value into a capture slot, making the slots on first use."""
    slots = stream.captures_response if response else stream.captures_request
    if slots is None:
        slots = []
        if response:
            stream.captures_response = slots
        else:
            stream.captures_request = slots
    if slot >= len(slots):
        slots.extend([None] * (slot + 1 - len(slots)))
    slots[slot] = value


def capture_lengths(scope: Scope, *, response: bool) -> list[int]:
    """Lengths of the slots of one side: `capture ... header` first, then `declare capture`."""
    logging = scope.proxy.logging
    headers = logging.response_captures if response else logging.request_captures
    side = "response" if response else "request"
    return [header.length for header in headers] + [length for where, length in logging.declared_captures if where == side]


@action(Capture)
def capture(rule: Capture, scope: Scope, location: Location) -> Act:
    response = bool(scope.place & RESPONSE_PLACES)
    run = compile_as(rule.expression, Type.STR, scope)
    lengths = capture_lengths(scope, response=response)
    slot = rule.slot
    if slot is None:
        # `capture <sample> len <n>` has a slot of its own: the resolver declares one for each such rule.
        slot, length = len(lengths), rule.length or 0
    elif slot >= len(lengths):
        raise config_error(
            f"there is no capture slot {slot}", location, remedy="declare one with 'declare capture request len <n>'"
        )
    else:
        length = lengths[slot]

    def act(stream: Stream) -> None:
        value = run(stream)
        if isinstance(value, bytes):
            store_capture(stream, slot, value[:length], response=response)

    return act


_TIMEOUTS: Final = {"client": "client_timeout", "server": "server_timeout", "tunnel": "tunnel_timeout"}


@action(SetTimeout)
def set_timeout(rule: SetTimeout, scope: Scope, location: Location) -> Act:
    attribute = _TIMEOUTS.get(rule.which)
    if attribute is None:
        raise config_error(f"set-timeout can't set '{rule.which}'", location, allowed=tuple(_TIMEOUTS), written=rule.which)
    if isinstance(rule.value, float | int):
        seconds = float(rule.value)
        return lambda stream: setattr(stream, attribute, seconds)
    run = compile_as(rule.value, Type.SINT, scope)

    def act(stream: Stream) -> None:
        value = run(stream)
        if isinstance(value, int) and value > 0:
            setattr(stream, attribute, value / 1000)

    return act


@action(SetRetries)
def set_retries(rule: SetRetries, scope: Scope, location: Location) -> Act:
    if isinstance(rule.value, int):
        number = rule.value

        def fixed(stream: Stream) -> None:
            stream.max_retries = number

        return fixed
    run = compile_as(rule.value, Type.SINT, scope)

    def computed(stream: Stream) -> None:
        value = run(stream)
        if isinstance(value, int):
            stream.max_retries = max(0, value)

    return computed


@action(DisableL7Retry)
def disable_l7_retry(rule: DisableL7Retry, scope: Scope, location: Location) -> Act:
    def act(stream: Stream) -> None:
        stream.l7_retry_disabled = True

    return act
