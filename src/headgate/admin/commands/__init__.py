"""All commands of the runtime API, one file for each family."""

from __future__ import annotations

from headgate.admin.commands import connection, information, limits, maps, servers, statistics, unsupported
from headgate.admin.registry import Registry


def all_commands() -> Registry:
    """The complete registry."""
    return Registry(
        (
            *connection.COMMANDS,
            *information.COMMANDS,
            *limits.COMMANDS,
            *maps.COMMANDS,
            *servers.COMMANDS,
            *statistics.COMMANDS,
            *unsupported.COMMANDS,
        )
    )
