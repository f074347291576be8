"""Servers that are added and removed while running (management manual 9.3 "add server", "del server")."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.admin import targets
from headgate.admin.commands.server_settings import is_referenced, is_static
from headgate.admin.context import Context
from headgate.admin.registry import Command, CommandError, Level, Scope
from headgate.balance.server import Admin
from headgate.base.diagnostics import ConfigError
from headgate.config.model import Mode
from headgate.config.runtime_lines import default_servers, dynamic_options, read_server


def add_server(words: Sequence[str], context: Context) -> str:
    """`add server <backend>/<server> <address>[:<port>] [options]`: in maintenance until it is enabled."""
    if list(words[:1]) == ["help"]:
        return "List of keywords supported for dynamic servers:\n" + "\n".join(dynamic_options())
    name, slash, server_name = (words[0] if words else "").partition("/")
    if not slash or not server_name:
        raise CommandError("Require 'backend/server'.")
    backend = targets.side(context.backends.values(), name)
    if backend is None:
        raise CommandError("No such backend.")
    if is_static(backend):
        raise CommandError("Backend must use a dynamic load balancing to support dynamic servers.")
    if backend.spec.mode not in (Mode.TCP, Mode.HTTP):
        raise CommandError("Dynamic servers are supported by TCP and HTTP backends only.")
    if backend.state.server(server_name) is not None:
        raise CommandError("Already exists a server with the same name in backend.")
    try:
        servers = [server.spec for server in backend.state.servers]
        server, enabled = read_server(context.config, backend.spec, [server_name, *words[1:]], servers)
        context.add_server(backend, server, Admin.READY if enabled else Admin.MAINT)
    except ConfigError as error:
        raise CommandError(error.diagnostic.message) from None
    return "New server registered."


def del_server(words: Sequence[str], context: Context) -> str:
    """`del server <backend>/<server>`: in maintenance, named by nothing in the configuration, and without connections."""
    backend, server = targets.server(words, context)
    if is_referenced(backend, server, context):
        raise CommandError("This server cannot be removed at runtime due to other configuration elements pointing to it.")
    if not context.catching_up:
        if not server.admin & Admin.MAINT:
            raise CommandError("Only servers in maintenance mode can be deleted.")
        if server.sessions or server.queued:
            raise CommandError("Server still has connections attached to it, cannot remove it.")
    context.remove_server(backend, server)
    return "Server deleted."


def show_default_server(words: Sequence[str], context: Context) -> str:
    """`show default-server [<backend>]`: what `add server ... from <origin>` can begin with, as it is written there."""
    backends = [targets.backend(words[0], context)] if words else targets.in_order(context.backends.values())
    return "\n".join(["# <origin>", *(origin for side in backends for origin in default_servers(context.config, side.name))])


def _added(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("server", words[0], "added") if words else None


def _removed(words: Sequence[str]) -> tuple[str, ...] | None:
    return ("server", words[0]) if words else None


COMMANDS = (
    Command(
        "add server", "<backend>/<server> <address>[:<port>] [opts] : create a new server", Level.ADMIN, add_server,
        Scope.EVERYWHERE, key=_added,
    ),
    Command(
        "del server", "<backend>/<server> : remove a server", Level.ADMIN, del_server, Scope.EVERYWHERE, key=_removed, looks=True
    ),
    Command("show default-server", "[<backend>] : list default-server settings", Level.USER, show_default_server),
)
