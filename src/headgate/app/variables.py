"""Process-wide variables of one process of several: what its rules set there, the other processes get to know."""

from __future__ import annotations

from collections.abc import Callable

from headgate.plan.facts import Value
from headgate.plan.variables import written


class RepeatedVariables(dict[bytes, Value]):
    """The variables, by full name. Changes by rules are repeated elsewhere; those by commands are not (`plan.variables.put`).

    Args:
        variables: what is set already.
        repeat: told an entry's key and the command that repeats its change; see `Repeater.repeat`.
    """

    __slots__ = ("_repeat",)

    def __init__(self, variables: dict[bytes, Value], repeat: Callable[[tuple[str, ...], str], None]) -> None:
        super().__init__(variables)
        self._repeat = repeat

    def __setitem__(self, key: bytes, value: Value) -> None:
        if key not in self or self[key] != value:
            super().__setitem__(key, value)
            self._tell(key, value)

    def pop(self, key: bytes, default: Value = None) -> Value:
        """See `dict`; the only way in which rules remove a variable."""
        if key not in self:
            return default
        value = super().pop(key)
        self._tell(key, None)
        return value

    def _tell(self, key: bytes, value: Value) -> None:
        name = key.decode("ascii")
        self._repeat(("variable", name), f"repeat var {name} {written(value)}")
