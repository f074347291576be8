"""All commands of the runtime API, one file for each family."""

from __future__ import annotations

from headgate.admin.commands import (
    activity,
    anonymity,
    connection,
    debug,
    descriptors,
    dynamic_backends,
    dynamic_servers,
    errors,
    events,
    handshakes,
    info,
    information,
    limits,
    maps,
    ocsp,
    own,
    platform,
    rate_limits,
    resolvers,
    server_settings,
    servers,
    sessions,
    statistics,
    tables,
    tls,
    trace,
    unsupported,
    variables,
    waiting,
)
from headgate.admin.registry import Registry


def all_commands() -> Registry:
    """The complete registry."""
    return Registry(
        (
            *activity.COMMANDS,
            *anonymity.COMMANDS,
            *connection.COMMANDS,
            *debug.COMMANDS,
            *descriptors.COMMANDS,
            *errors.COMMANDS,
            *events.COMMANDS,
            *handshakes.COMMANDS,
            *dynamic_backends.COMMANDS,
            *dynamic_servers.COMMANDS,
            *info.COMMANDS,
            *information.COMMANDS,
            *limits.COMMANDS,
            *maps.COMMANDS,
            *ocsp.COMMANDS,
            *rate_limits.COMMANDS,
            *resolvers.COMMANDS,
            *server_settings.COMMANDS,
            *platform.COMMANDS,
            *own.COMMANDS,
            *servers.COMMANDS,
            *sessions.COMMANDS,
            *statistics.COMMANDS,
            *tables.COMMANDS,
            *tls.COMMANDS,
            *trace.COMMANDS,
            *unsupported.COMMANDS,
            *waiting.COMMANDS,
            *variables.COMMANDS,
        )
    )
