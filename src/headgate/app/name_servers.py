"""Connections of a process to name servers that are asked over a stream: with the TLS of their lines, failures told in the log.

Called by `resolving`, for the names of servers, and by `ocsp_updates`, for those of responders.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from headgate.base.addresses import Transport
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.name_server_streams import NameServerStreams

if TYPE_CHECKING:
    from headgate.app.process import App
    from headgate.config.resolvers import NameServer, Resolvers
    from headgate.runtime.checks.connection import TlsClient

_WARNING = 4


def streams_of(app: App, section: Resolvers) -> dict[str, NameServerStreams]:
    """To the name servers of a `resolvers` section that are asked over a stream, by their names; nothing is connected yet."""
    return {
        one.name: NameServerStreams(one, _tls_client(app, section.name, one), partial(_failed, app, section.name, one.name))
        for one in section.name_servers
        if one.address.transport is Transport.STREAM
    }


def _tls_client(app: App, section: str, server: NameServer) -> TlsClient | None:
    if server.tls is None:
        return None
    from headgate.runtime.checks.tls_connection import TlsDialler  # with OpenSSL: only where it is needed

    return TlsDialler(app.prepared.name_server_contexts[section, server.name], connections=app.live.shared.tls)


def _failed(app: App, section: str, server: str, why: str) -> None:
    log_event(app.logs.process, _WARNING, f"Name server {section}/{server} can't be asked: {why}")
