"""What answers a request in place of a server: the statistics page (`stats ...`) and what `use-service` names.

Only which it is, with its settings; `proxy.service` runs them.
"""

from __future__ import annotations

from headgate.config.model import StatsPage


class Service:
    """One service, as rules choose it. In logs it takes the place of the server, so it is a `plan.facts.ServerFacts`.

    Attributes:
        kind: key of the table of services (`proxy.sides.Shared.services`).
        name: what stands for the server's name in logs.
        page: settings of the statistics page.
        admin: the client may change servers there.
    """

    __slots__ = ("admin", "kind", "name", "page", "queued", "sessions")

    def __init__(self, kind: str, name: str, page: StatsPage | None = None, *, admin: bool = False) -> None:
        self.kind = kind
        self.name = name
        self.page = page
        self.admin = admin
        self.sessions = 0
        self.queued = 0

    def usable(self) -> bool:
        """It always is."""
        return True
