"""Arithmetic and boolean converters (manual 7.3.1). Integers are 64 bits signed; overflow is capped, as the manual says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.base.diagnostics import NOWHERE, config_error
from headgate.plan.facts import Stream, Value
from headgate.plan.registry import Argument, converter, pure
from headgate.plan.samples import Type, parse_integer
from headgate.plan.scope import Scope
from headgate.plan.variables import check_name, reader

_TOP: Final = (1 << 63) - 1
_BOTTOM: Final = -(1 << 63)


def capped(number: int) -> int:
    """A number within 64 bits signed."""
    return _TOP if number > _TOP else _BOTTOM if number < _BOTTOM else number


def _wrapped(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _div(a: int, b: int) -> int:
    """Towards zero, as in C; by zero it is the largest number (7.3.1 "div": the result is capped)."""
    if b == 0:
        return _TOP
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _mod(a: int, b: int) -> int:
    """With the sign of the dividend, as in C; by zero it is zero (7.3.1 "mod")."""
    if b == 0:
        return 0
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


_OPERATIONS: Final[dict[str, Callable[[int, int], int]]] = {
    "add": lambda a, b: capped(a + b),
    "sub": lambda a, b: capped(a - b),
    "mul": lambda a, b: capped(a * b),
    "div": _div,
    "mod": _mod,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: _wrapped(a ^ b),
}


def _register(name: str, operation: Callable[[int, int], int]) -> None:
    @converter(name, takes=Type.SINT, result=Type.SINT, arguments=(Argument.STRING,), live=True)
    def compile_(scope: Scope, text: bytes) -> Callable[[Stream, int], Value]:
        number = parse_integer(text)
        if number is not None and str(number) == text.decode("latin-1").removeprefix("+"):
            return lambda stream, value: operation(value, number)
        if b"." not in text:
            raise config_error(f"'{name}' takes an integer or a variable, not '{text.decode('latin-1')}'", None)
        place, key = check_name(text.decode("latin-1"), NOWHERE)
        read = reader(place, key)

        def with_variable(stream: Stream, value: int) -> Value:
            other = read(stream)
            if isinstance(other, bytes):
                other = parse_integer(other)
            return operation(value, other) if isinstance(other, int) else None

        return with_variable


for _name, _operation in _OPERATIONS.items():
    _register(_name, _operation)

pure("neg", takes=Type.SINT, result=Type.SINT, convert=lambda value: capped(-value))
pure("cpl", takes=Type.SINT, result=Type.SINT, convert=lambda value: ~value)
pure("odd", takes=Type.SINT, result=Type.BOOL, convert=lambda value: bool(value & 1))
pure("even", takes=Type.SINT, result=Type.BOOL, convert=lambda value: not value & 1)
pure("bool", takes=Type.SINT, result=Type.BOOL, convert=bool)
pure("not", takes=Type.SINT, result=Type.BOOL, convert=lambda value: not value)


@converter("iif", takes=Type.BOOL, result=Type.STR, arguments=(Argument.STRING, Argument.STRING))
def iif(scope: Scope, when_true: bytes, when_false: bytes) -> Callable[[bool], bytes]:
    return lambda value: when_true if value else when_false
