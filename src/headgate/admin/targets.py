"""The things that commands name: `<backend>/<server>`, `<frontend>`, by name or as `#<id>` (management manual 9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from headgate.admin.context import Context
from headgate.admin.registry import CommandError
from headgate.balance.server import ServerState
from headgate.config.model import Proxy
from headgate.proxy.sides import Backend, Frontend


class _Side(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> Proxy: ...


_S = TypeVar("_S", bound=_Side)


def side(sides: Iterable[_S], text: str) -> _S | None:
    """The one that is called `text`, or `#` and its id; None when there is none."""
    for one in sides:
        if one.name == text or text == f"#{one.spec.id}":
            return one
    return None


def in_order(sides: Iterable[_S]) -> list[_S]:
    """By their ids, as lists show them."""
    return sorted(sides, key=lambda one: one.spec.id)


def frontend(words: Sequence[str], context: Context) -> Frontend:
    """The frontend that the first word names."""
    if not words:
        raise CommandError("A frontend name is expected.")
    found = side(context.frontends.values(), words[0])
    if found is None:
        raise CommandError("No such frontend.")
    return found


def backend(text: str, context: Context, *, missing: str = "No such backend.") -> Backend:
    """The backend called `text`; a bare number is an id too. `missing` is said without one: HAProxy's words differ by command."""
    found = side(context.backends.values(), text) or side(context.backends.values(), f"#{text}")
    if found is None:
        raise CommandError(missing)
    return found


def named_backend(words: Sequence[str], context: Context) -> Backend:
    """The backend that the first word names."""
    if not words:
        raise CommandError("A backend name is expected.")
    return backend(words[0], context)


def server(words: Sequence[str], context: Context) -> tuple[Backend, ServerState]:
    """The server that the first word, `<backend>/<server>`, names."""
    name, slash, server_name = (words[0] if words else "").partition("/")
    if not slash or not server_name:
        raise CommandError("Require 'backend/server'.")
    backend = side(context.backends.values(), name)
    if backend is None:
        raise CommandError("No such backend.")
    for candidate in backend.state.servers:
        if candidate.name == server_name or server_name == f"#{candidate.id}":
            return backend, candidate
    raise CommandError("No such server.")
