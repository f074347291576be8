"""Names of servers that are resolved while running (5.3), in the process that answers for all: asks, decides, tells the others.

Servers that share a name, a `resolvers` section and a preferred family share its resolution, over all backends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headgate.app.name_servers import streams_of
from headgate.balance.resolution import Change, Group, Status
from headgate.base.addresses import Family
from headgate.runtime.accepted_families import AcceptedFamilies
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.resolvers import Answer, Resolver

if TYPE_CHECKING:
    from headgate.app.process import App
    from headgate.config.model import Config, Server
    from headgate.config.resolvers import Resolvers

_WARNING = 4
#: Names that are resolved at the same time: each may have a query to every name server under way.
_AT_ONCE = 64

#: What makes servers share a resolution: section, name and preferred family.
_Key = tuple[str, str, int]


def resolved_servers(config: Config) -> list[tuple[str, Server]]:
    """The servers whose names are resolved while running, with their backends' names."""
    return [
        (proxy.name, server)
        for proxy in config.proxies
        if not proxy.disabled
        for server in proxy.servers
        if server.resolution is not None
    ]


def _key(server: Server) -> _Key:
    how = server.resolution
    assert how is not None
    return how.resolvers, server.address.host, how.prefer


class Resolving:
    """Keeps the addresses of servers up to date.

    Args:
        app: the process.

    Attributes:
        resolvers: by the names of their sections.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        accepted = AcceptedFamilies(app.config.global_.dns_accept_family)
        self.resolvers = {
            name: Resolver(section, accepted, streams_of(app, section)) for name, section in app.config.resolvers.items()
        }
        self._keys = {(backend, server.name): _key(server) for backend, server in resolved_servers(app.config)}
        self._groups = self._grouped()
        self._hastened = {key: asyncio.Event() for key in self._groups}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: list[asyncio.Task[None]] = []

    def _grouped(self) -> Mapping[_Key, Sequence[tuple[str, Group]]]:
        members: dict[_Key, dict[str, list[Server]]] = {}
        for backend, server in resolved_servers(self._app.config):
            members.setdefault(_key(server), {}).setdefault(backend, []).append(server)
        return {key: [self._group(key[0], *item) for item in backends.items()] for key, backends in members.items()}

    def _group(self, section: str, backend: str, servers: Sequence[Server]) -> tuple[str, Group]:
        state = self._app.backends[backend].state
        seats = []
        for spec in servers:
            assert spec.resolution is not None
            # Where it is by now: changes that were made before this process was there have been repeated.
            server = state.server(spec.name)
            known = server is not None and server.address.family in (Family.INET, Family.INET6)
            seats.append((spec.name, spec.resolution, server.address.host if server is not None and known else None))
        return backend, Group(self.resolvers[section].section.hold, seats)

    def start(self) -> None:
        """Resolve from now on."""
        self._tasks = [asyncio.ensure_future(self._keep(key)) for key in self._groups]

    async def stop(self) -> None:
        """Resolve no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for resolver in self.resolvers.values():
            await resolver.close()

    async def _keep(self, key: _Key) -> None:
        section, name, prefer = key
        resolver = self.resolvers[section]
        while True:
            try:
                async with self._places:
                    answer = await resolver.resolve(name, prefer, [group.demand() for _, group in self._groups[key]])
                self._heard(key, answer)
            except Exception as error:
                self._app.bug(error)
            await self._pause(key, resolver.section)

    async def _pause(self, key: _Key, section: Resolvers) -> None:
        """Until it is time for the next resolution, or somebody wants it before; `timeout retry` goes by in any case."""
        at_least = min(section.timeout_retry, section.timeout_resolve)
        await asyncio.sleep(at_least)
        hastened = self._hastened[key]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hastened.wait(), section.timeout_resolve - at_least)
        hastened.clear()

    def hasten(self, backend: str, server: str) -> None:
        """Resolve the name of a server soon, if it has one: a check got no connection there, so it may have moved (5.3)."""
        key = self._keys.get((backend, server))
        if key is not None:
            self._hastened[key].set()

    def _heard(self, key: _Key, answer: Answer) -> None:
        now = time.monotonic()
        for backend, group in self._groups[key]:
            if answer.status is Status.VALID:
                changes = group.answered(answer.candidates, now)
            else:
                changes = group.failed(answer.status, now)
            for change in changes:
                self._put_into_effect(key[0], backend, change)
            if changes and answer.by is not None and answer.status is Status.VALID:
                answer.by.update += 1

    def _put_into_effect(self, section: str, backend_name: str, change: Change) -> None:
        backend = self._app.backends.get(backend_name)
        server = backend.state.server(change.server) if backend is not None else None
        if backend is None or server is None:
            return  # it was renamed or removed
        before = server.address
        self._app.control.resolve_server(backend, server, change.address, change.port, change.weight, change.reason)
        if change.address is not None and server.address.host != before.host:
            text = f"{backend_name}/{server.name} changed its IP from {before.host} to {change.address} by {section}."
            log_event(self._app.emitters[backend_name], _WARNING, text)
        if self._app.controller is not None:
            self._app.controller.server_resolved(backend_name, change)
