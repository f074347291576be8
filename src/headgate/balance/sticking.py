"""Stickiness by stick tables (manual 4.2 "stick"): which server an earlier request of the same key went to, and remembering it.

`match` is called by `BackendState.assign`, behind the persistence cookie; `store` by the proxy once a server has answered (HTTP)
or is connected (TCP).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from headgate.balance.server import ServerState
from headgate.plan.facts import Stream
from headgate.plan.sticking import StickPlan
from headgate.plan.table_layout import Layout, Row

#: "there is a limit of 8 simultaneous stores per request or response"
MOST_STORES: Final = 8


class Sticking:
    """The stick rules of one backend at work.

    Args:
        plan: the rules.
        servers: asks for the servers, which may come and go.
    """

    __slots__ = ("_plan", "_servers")

    def __init__(self, plan: StickPlan, servers: Callable[[], Sequence[ServerState]]) -> None:
        self._plan = plan
        self._servers = servers

    @property
    def looks_at_responses(self) -> bool:
        """Whether there are `store-response` rules."""
        return bool(self._plan.response)

    def match(self, stream: Stream, *, decided: bool, forced: bool) -> ServerState | None:
        """The server that a table remembers, if it may be used; what is to be remembered is put into `stream.stick_keys`.

        Args:
            stream: the request.
            decided: a rule or the cookie has chosen already: nothing is looked up.
            forced: a server that is down is used all the same (`option persist`, `force-persist`).
        """
        found: ServerState | None = None
        keys: list[tuple[int, bytes]] = []
        learned: set[int] = set()
        for step in self._plan.request:
            looks = step.match and not decided and found is None
            learns = step.store and step.table not in learned and len(keys) < MOST_STORES
            if not (looks or learns) or (step.test is not None and not step.test(stream)):
                continue
            key = step.key(stream)
            if key is None:
                continue
            if looks:
                found = self._remembered(stream, step.table, key, forced)
            if learns:
                learned.add(step.table)
                keys.append((step.table, key))
        stream.stick_keys = keys or None
        return found

    def _remembered(self, stream: Stream, number: int, key: bytes, forced: bool) -> ServerState | None:
        table = stream.session.world.tables[number]
        row = table.touch(key)
        if row is None:
            return None
        server = self._server_of(table.layout, row)
        return server if server is not None and (forced or server.usable()) else None

    def _server_of(self, layout: Layout, row: Row) -> ServerState | None:
        """By its name or address, else by its id (11.1 srvkey)."""
        columns = layout.columns
        name = row[columns["server_key"].slot] if "server_key" in columns else b""
        servers = self._servers()
        if name:
            for server in servers:
                if _designation(server, layout) == name:
                    return server
        number = row[columns["server_id"].slot] if "server_id" in columns else 0
        return next((server for server in servers if server.id == number), None) if number else None

    def store(self, stream: Stream, *, response: bool) -> None:
        """Remember which server the stream has.

        Args:
            stream: `server` is the one.
            response: there is a response, at which `store-response` rules look.
        """
        keys = stream.stick_keys or []
        server = stream.server
        if not isinstance(server, ServerState) or server.spec.non_stick:
            return
        stream.stick_keys = None
        if response and self._plan.response:
            keys = [*keys, *self._response_keys(stream)][:MOST_STORES]
        for number, key in keys:
            table = stream.session.world.tables[number]
            table.assign(key, [("server_id", 0, server.id), ("server_key", 0, _designation(server, table.layout))])

    def _response_keys(self, stream: Stream) -> list[tuple[int, bytes]]:
        keys: dict[int, bytes] = {}
        for step in self._plan.response:
            if step.table not in keys and (step.test is None or step.test(stream)):
                key = step.key(stream)
                if key is not None:
                    keys[step.table] = key
        return list(keys.items())


def _designation(server: ServerState, layout: Layout) -> bytes:
    if layout.definition.server_key == "name":
        return server.name.encode("utf-8", "surrogateescape")[:128]
    address = server.address
    return f"{address.host}:{address.port}".encode()[:128]
