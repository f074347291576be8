"""Process-wide variables that rules of one worker set and all workers see."""

from __future__ import annotations

import ipaddress

import pytest

from headgate.app.variables import RepeatedVariables
from headgate.plan.facts import Value
from headgate.plan.variables import put, read_back, written


@pytest.mark.parametrize("value", [None, True, False, 0, -5, 1 << 40, b"", b"a b;\\\xff=%", ipaddress.ip_address("2001:db8::1")])
def test_values_come_back(value: Value) -> None:
    word = written(value)
    assert not set(word) & set(" ;\\\n\"'#")
    back = read_back(word)
    assert back == value and type(back) is type(value)


def test_what_is_no_value() -> None:
    for word in ("", "float=1.5", "sint=x", "addr=x"):
        with pytest.raises(ValueError):
            read_back(word)


def test_rules_tell_and_commands_do_not() -> None:
    told: list[tuple[tuple[str, ...], str]] = []
    variables = RepeatedVariables({b"proc.a": 1}, lambda key, command: told.append((key, command)))
    variables[b"proc.a"] = 1
    put(variables, b"proc.b", 2)
    put(variables, b"proc.b", None)
    assert variables.pop(b"proc.b", None) is None
    assert told == []
    variables[b"proc.a"] = b"x y"
    assert variables.pop(b"proc.a", None) == b"x y"
    assert told == [
        (("variable", "proc.a"), "repeat var proc.a str=x%20y"),
        (("variable", "proc.a"), "repeat var proc.a unset"),
    ]
