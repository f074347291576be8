"""All commands of the runtime API, one file for each family."""

from __future__ import annotations

from headgate.admin.commands import (
    connection,
    dynamic_backends,
    dynamic_servers,
    information,
    limits,
    maps,
    server_settings,
    servers,
    statistics,
    unsupported,
    variables,
)
from headgate.admin.registry import Registry


def all_commands() -> Registry:
    """The complete registry."""
    return Registry(
        (
            *connection.COMMANDS,
            *dynamic_backends.COMMANDS,
            *dynamic_servers.COMMANDS,
            *information.COMMANDS,
            *limits.COMMANDS,
            *maps.COMMANDS,
            *server_settings.COMMANDS,
            *servers.COMMANDS,
            *statistics.COMMANDS,
            *unsupported.COMMANDS,
            *variables.COMMANDS,
        )
    )
