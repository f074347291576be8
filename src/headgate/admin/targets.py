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


def _side(sides: Iterable[_S], text: str) -> _S | None:
    for side in sides:
        if side.name == text or text == f"#{side.spec.id}":
            return side
    return None


def frontend(words: Sequence[str], context: Context) -> Frontend:
    """The frontend that the first word names."""
    if not words:
        raise CommandError("A frontend name is expected.")
    found = _side(context.frontends.values(), words[0])
    if found is None:
        raise CommandError("No such frontend.")
    return found


def backend(text: str, context: Context) -> Backend:
    """The backend called `text`; a bare number is an id too."""
    found = _side(context.backends.values(), text) or _side(context.backends.values(), f"#{text}")
    if found is None:
        raise CommandError("No such backend.")
    return found


def server(words: Sequence[str], context: Context) -> tuple[Backend, ServerState]:
    """The server that the first word, `<backend>/<server>`, names."""
    name, slash, server_name = (words[0] if words else "").partition("/")
    if not slash or not server_name:
        raise CommandError("Require 'backend/server'.")
    side = _side(context.backends.values(), name)
    if side is None:
        raise CommandError("No such backend.")
    for candidate in side.state.servers:
        if candidate.name == server_name or server_name == f"#{candidate.id}":
            return side, candidate
    raise CommandError("No such server.")
