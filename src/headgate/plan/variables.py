"""Variables (manual 2.8): where each scope keeps them, read and written through closures made once.

A variable's key is its full name with the scope, so that one dictionary can serve `req` and `res`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from headgate.base.diagnostics import Location, config_error
from headgate.plan.facts import Stream, Value
from headgate.plan.samples import Run

SCOPES: Final = ("proc", "sess", "txn", "req", "res", "check")
_NAME: Final = re.compile(r"[A-Za-z0-9_.]+")

Setter = Callable[[Stream, Value], None]


def check_name(full: str, location: Location) -> tuple[str, bytes]:
    """Split and check `scope.name`: the scope and the key.

    Raises:
        ConfigError: no scope, an unknown one, or characters that HAProxy does not allow.
    """
    scope, dot, name = full.partition(".")
    if not dot or scope not in SCOPES:
        raise config_error(
            f"variable '{full}' must begin with its scope and a dot", location, allowed=[f"{word}." for word in SCOPES]
        )
    if _NAME.fullmatch(name) is None:
        raise config_error(f"variable name '{full}' may only hold letters, digits, '_' and '.'", location)
    return scope, full.encode()


def reader(scope: str, key: bytes, default: Value = None) -> Run:
    """A closure that answers the variable, or `default` while it is not set."""

    def proc(stream: Stream) -> Value:
        return stream.session.world.process_variables.get(key, default)

    def sess(stream: Stream) -> Value:
        variables = stream.session.variables
        return default if variables is None else variables.get(key, default)

    def txn(stream: Stream) -> Value:
        variables = stream.variables
        return default if variables is None else variables.get(key, default)

    def request(stream: Stream) -> Value:
        variables = stream.request_variables
        return default if variables is None else variables.get(key, default)

    # What belongs to a check lives where a transaction has its own: no stream is both.
    return {"proc": proc, "sess": sess, "txn": txn, "check": txn}.get(scope, request)


def setter(scope: str, key: bytes) -> Setter:
    """A closure that sets the variable; None removes it."""

    def proc(stream: Stream, value: Value) -> None:
        _put(stream.session.world.process_variables, key, value)

    def sess(stream: Stream, value: Value) -> None:
        session = stream.session
        if session.variables is None:
            session.variables = {}
        _put(session.variables, key, value)

    def txn(stream: Stream, value: Value) -> None:
        if stream.variables is None:
            stream.variables = {}
        _put(stream.variables, key, value)

    def request(stream: Stream, value: Value) -> None:
        if stream.request_variables is None:
            stream.request_variables = {}
        _put(stream.request_variables, key, value)

    return {"proc": proc, "sess": sess, "txn": txn, "check": txn}.get(scope, request)


def written(value: Value) -> str:
    """A value as one word, for those who repeat it elsewhere; `read_back` is the opposite."""
    from urllib.parse import quote_from_bytes

    if value is None:
        return "unset"
    if isinstance(value, bool):
        return f"bool={int(value)}"
    if isinstance(value, int):
        return f"sint={value}"
    if isinstance(value, bytes):
        return f"str={quote_from_bytes(value, safe='')}"
    return f"addr={value}"


def read_back(word: str) -> Value:
    """What `written` was given.

    Raises:
        ValueError: it was given nothing like this.
    """
    import ipaddress
    from urllib.parse import unquote_to_bytes

    kind, _, text = word.partition("=")
    readers: dict[str, Callable[[str], Value]] = {
        "unset": lambda _: None,
        "bool": lambda text: text == "1",
        "sint": int,
        "str": unquote_to_bytes,
        "addr": ipaddress.ip_address,
    }
    if kind not in readers:
        raise ValueError(word)
    return readers[kind](text)


def put(variables: dict[bytes, Value], key: bytes, value: Value) -> None:
    """Set (or, with None, remove) a variable as a command does, which reaches all processes by itself."""
    if value is None:
        dict.pop(variables, key, None)
    else:
        dict.__setitem__(variables, key, value)


def _put(variables: dict[bytes, Value], key: bytes, value: Value) -> None:
    if value is None:
        variables.pop(key, None)
    else:
        variables[key] = value
