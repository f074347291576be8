"""The listening sockets of a frontend as the statistics see them: a row for each, with `option socket-stats`."""

from __future__ import annotations

from collections.abc import Iterable

from headgate.config.model import Bind
from headgate.observe.counters import ListenerCounters


class ListeningSocket:
    """One listening socket.

    Attributes:
        bind: its line.
        port: 0 for a unix socket.
        number: its `id`, unique in the frontend.
        counters: what its connections add up to.
    """

    __slots__ = ("bind", "counters", "number", "port")

    def __init__(self, bind: Bind, port: int, number: int) -> None:
        self.bind = bind
        self.port = port
        self.number = number
        self.counters = ListenerCounters()

    @property
    def name(self) -> str:
        """`name` of the bind line, or "sock-<id>"."""
        return self.bind.name or f"sock-{self.number}"


def listening_sockets(binds: Iterable[Bind]) -> dict[int, ListeningSocket]:
    """All sockets of these lines by number: a line with a range of ports has several."""
    made: dict[int, ListeningSocket] = {}
    for bind in binds:
        for index, port in enumerate(bind.address.ports or (0,)):
            number = (bind.id or 1) + index
            made[number] = ListeningSocket(bind, port, number)
    return made
