"""Backends that are added, published and removed while running (management manual 9.3 "add backend", "publish backend")."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin import targets
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Scope
from headgate.base.diagnostics import ConfigError
from headgate.config.model import Proxy
from headgate.config.runtime_lines import defaults_sections, read_backend
from headgate.proxy.sides import Backend


def add_backend(words: Sequence[str], context: Context) -> str:
    """`add backend <name> from <defproxy> [mode <mode>] [guid <guid>]`: without servers, and not published."""
    if len(words) < 3 or words[1] != "from":
        raise CommandError("Usage: add backend <name> from <defproxy> [mode <mode>] [guid <guid>].")
    name, defaults, mode = words[0], words[2], None
    rest = list(words[3:])
    while rest:
        option = rest.pop(0)
        if option == "guid":
            raise CommandError("'guid' is not supported: proxies have no GUID here.")
        if option != "mode" or not rest:
            raise CommandError(f"Unknown or incomplete argument '{option}'.")
        mode = rest.pop(0)
    if name in context.backends or name in context.frontends:
        raise CommandError(f"'{name}' is the name of another proxy.")
    taken = {side.spec.id for side in context.backends.values()} | {side.spec.id for side in context.frontends.values()}
    number = next(number for number in range(2, len(taken) + 3) if number not in taken)
    try:
        context.add_backend(read_backend(context.config, name, defaults, mode, number))
    except ConfigError as error:
        raise CommandError(error.diagnostic.message) from None
    return "New backend registered."


def publish_backend(words: Sequence[str], context: Context) -> str:
    backend = targets.named_backend(words, context)
    if backend.name not in context.plan.unpublished:
        return "No effect: backend is already published."
    context.plan.unpublished.discard(backend.name)
    return "Backend published."


def unpublish_backend(words: Sequence[str], context: Context) -> str:
    backend = targets.named_backend(words, context)
    if backend.name in context.plan.unpublished:
        return "No effect: backend is already unpublished."
    context.plan.unpublished.add(backend.name)
    return "Backend unpublished."


def obstacle(backend: Backend, context: Context) -> str | None:
    """Why a backend can never be removed as it is; None when only its streams could be in the way."""
    if backend.name not in context.plan.unpublished:
        return "Backend must be unpublished prior to its deletion."
    if backend.state.servers:
        return "Only a backend without servers can be deleted."
    if backend.spec.is_frontend:
        return "A 'listen' section can't be removed while running."
    if _is_referenced(backend, context):
        return "This backend cannot be removed at runtime due to other configuration elements pointing to it."
    return None


def _is_referenced(backend: Backend, context: Context) -> bool:
    """Whether a rule or an expression of the configuration names it."""
    return backend.name in context.references.backends or any(_switches_to(proxy, backend) for proxy in context.config.proxies)


def _switches_to(proxy: Proxy, backend: Backend) -> bool:
    return proxy.default_backend == backend.name or any(rule.name == backend.name for rule in proxy.use_backends)


def del_backend(words: Sequence[str], context: Context) -> str:
    """`del backend <name>`: unpublished, without servers and streams, and named by nothing in the configuration."""
    backend = targets.named_backend(words, context)
    reason = None if context.catching_up else obstacle(backend, context)
    if reason is not None:
        raise CommandError(reason)
    if not context.catching_up and backend.state.sessions:
        raise CommandError("Some streams are still attached to this backend.")
    context.remove_backend(backend)
    return "Backend deleted."


def show_defaults(_: Sequence[str], context: Context) -> str:
    """`show defaults`: what `add backend ... from` can start from."""
    return "\n".join(["# name", *[section.name for section in defaults_sections(context.config)]])


def _published(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("backend", words[0], "published") if words else None


def _added(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("backend", words[0], "added") if words else None


def _removed(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("backend", words[0]) if words else None


COMMANDS = (
    Command(
        "add backend", "<name> from <defproxy> [mode <mode>] : create a new backend", Level.ADMIN, add_backend,
        Scope.EVERYWHERE, key=_added,
    ),
    Command("del backend", "<backend> : remove a backend", Level.ADMIN, del_backend, Scope.EVERYWHERE, key=_removed, looks=True),
    Command(
        "publish backend", "<backend> : let content switching use a backend", Level.OPERATOR, publish_backend,
        Scope.EVERYWHERE, key=_published,
    ),
    Command(
        "unpublish backend", "<backend> : hide a backend from content switching", Level.OPERATOR, unpublish_backend,
        Scope.EVERYWHERE, key=_published,
    ),
    Command("show defaults", ": list the named defaults sections", Level.USER, show_defaults),
)
