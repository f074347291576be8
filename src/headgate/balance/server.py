"""The live state of one server: who serves, how much, and whether it may.

Plain slots, read and written by `BackendState` and the algorithms; nothing here decides. Logs and rules see it as
`plan.facts.ServerFacts`.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Final, Protocol

from headgate.balance.load import Load
from headgate.balance.rows import ERRORS, PICKS
from headgate.config.model import Server
from headgate.observe.cells import Cells
from headgate.observe.counters import ServerCounters
from headgate.observe.key_exchanges import KeyExchanges
from headgate.plan.facts import Stream
from headgate.plan.frontends import ServerPlan

#: The most that a weight may be.
HEAVIEST: Final = 256


def relative_weight(initial: int, percent: int) -> int:
    """So many percent of the weight that a server began with (management manual 9.3 set weight). Parts of one are none."""
    return min(HEAVIEST, initial * percent // 100)


class Admin(enum.Flag):
    """What the administrator wants of a server (management manual, `set server ... state`), and what follows from its name.

    DRAIN: out of load balancing, but persistent connections are still accepted. MAINT: no traffic and no checks. UNRESOLVED: the
    same, since its name has no address (5.3); only resolution sets and clears it. OUT: either of these two.
    """

    READY = 0
    DRAIN = 1
    MAINT = 2
    UNRESOLVED = 4
    OUT = 6


class Observer(Protocol):
    """Who counts what the traffic shows of a server's health (5.2 observe); `health.observation` has it."""

    def connected(self, success: bool) -> None:
        """A connection was opened, or could not be."""

    def answered(self, status: int) -> None:
        """A response with this status came."""

    def broken(self, what: str) -> None:
        """There was no valid response."""


class ServerState(Load):
    """One server of a backend.

    Attributes:
        spec, plan, name, id, backup: as configured.
        address: where it is now: numeric once a name was resolved; changes with `set server ... addr`.
        check: how it is checked now, None when it is not; agent: the same of its agent.
        observer: told of what the traffic shows, None without `observe`; errors: how many there were in a row.
        tls: connections to it are made over TLS now.
        dynamic: it was added while running.
        position: place in the backend's list, from 0.
        cookie: the value that designates this server in the persistence cookie, None when it has none.
        weight: what the user set, 0 to 256; 0 takes the server out of load balancing.
        effective: the weight that dynamic algorithms use; below `weight` while the server warms up (slowstart).
        admin: what the administrator wants.
        up: what health checks found (True without checks).
        stopping: a check said that it takes no new work (`http-check disable-on-404`): only persistent connections.
        limit: how many it may serve now (maxconn, or the dynamic limit between minconn and maxconn); 0: no limit.
        queue: streams that wait for this very server, with their arrival numbers.
        idle: idle connections in the pool; for statistics, kept by the pool.
        changed_at: when it became usable or ceased to be (seconds, the wall clock); 0.0 when it never did.
        up_since: when it last came back (seconds, the caller's clock) while it warms up, else 0.0. See slowstart (5.2).
        warmth: how far it has warmed up, 0 to 1.
        counters: for statistics.
        check_exchanges: TLS handshakes of its health checks, in the process that makes them.
        picked: when an algorithm chose it last, counted in choices; the algorithm's own.
    """

    __slots__ = (
        "_errors", "_picks", "address", "admin", "agent", "backup", "changed_at", "check", "check_exchanges", "cookie",
        "counters", "dynamic", "effective", "id", "idle", "limit", "maxconn", "maxqueue", "minconn", "name", "observer", "plan",
        "position", "queue", "slowstart", "spec", "stopping", "tls", "up", "up_since", "warmth", "weight",
    )

    def __init__(self, plan: ServerPlan, position: int = 0) -> None:
        super().__init__()
        spec: Server = plan.spec
        self.plan = plan
        self.spec = spec
        self.address = spec.address
        self.check = spec.check
        self.agent = spec.agent
        self.observer: Observer | None = None
        self.tls = spec.tls is not None
        self.dynamic = False
        self.name = spec.name
        self.id = spec.id
        self.position = position
        self.backup = spec.backup
        self.cookie = spec.cookie.encode("latin-1") if spec.cookie is not None else None
        self.weight = spec.weight
        self.effective = spec.weight
        self.admin = Admin.MAINT if spec.disabled else Admin.READY
        # 5.2 init-state: a server that is to be checked first is not used before.
        self.up = spec.check is None or spec.init_state not in ("down", "fully-down")
        self.stopping = False
        # A minconn without a maxconn, or above it, is the limit itself: the ramp between them has no length.
        self.maxconn = max(spec.maxconn, spec.minconn)
        self.minconn = spec.minconn or self.maxconn
        self.maxqueue = spec.maxqueue
        self.limit = self.maxconn
        self.queue: OrderedDict[Stream, int] = OrderedDict()
        self.idle = 0
        self.slowstart = spec.slowstart
        self.changed_at = 0.0
        self.up_since = 0.0
        self.warmth = 1.0
        self.counters = ServerCounters()
        self.check_exchanges = KeyExchanges()

    def keep(self, cells: Cells, row: int, share: int) -> None:
        """See `Load.keep`."""
        super().keep(cells, row, share)
        self._picks = row + PICKS
        self._errors = row + ERRORS

    @property
    def picked(self) -> int:
        return self._cells[self._picks]

    @picked.setter
    def picked(self, value: int) -> None:
        self._cells[self._picks] = value

    @property
    def errors(self) -> int:
        return self._cells[self._errors]

    @errors.setter
    def errors(self, value: int) -> None:
        self._cells[self._errors] = value

    def usable(self) -> bool:
        """Whether it can be reached at all: persistent and explicitly directed traffic may go there."""
        return self.up and not self.admin & Admin.OUT

    @property
    def eligible(self) -> bool:
        """Whether load balancing may choose it."""
        return self.up and self.admin is Admin.READY and not self.stopping and self.weight > 0

    @property
    def full(self) -> bool:
        """Whether it serves as much as it may."""
        return 0 < self.limit <= self.sessions

    @property
    def state(self) -> str:
        """In the words of the statistics: MAINT, MAINT (resolution), DRAIN, NOLB, DOWN or UP."""
        if self.admin & Admin.OUT:
            return "MAINT" if self.admin & Admin.MAINT else "MAINT (resolution)"
        if not self.up:
            return "DOWN"
        if self.admin & Admin.DRAIN or self.weight == 0:
            return "DRAIN"
        return "NOLB" if self.stopping else "UP"

    def warm_up(self, now: float) -> bool:
        """Set the effective weight for `now`; whether the server is still warming up.

        Manual 5.2 slowstart: the weight grows linearly from 1 to 100% in the time given, after the server has come back.
        """
        if self.up_since:
            elapsed = now - self.up_since
            if elapsed < self.slowstart:
                self.warmth = max(elapsed, 0.0) / self.slowstart
                self.effective = max(1, int(self.weight * self.warmth)) if self.weight else 0
                return True
        self.up_since = 0.0
        self.warmth = 1.0
        self.effective = self.weight
        return False

    def update_limit(self, load: int, fullconn: int) -> None:
        """Set the dynamic limit: on the ramp from minconn to maxconn that follows the backend's load (4.2 fullconn, 5.2 minconn).

        Args:
            load: streams in the backend.
            fullconn: load at which maxconn is reached.

        A server that warms up gets a part of the limit only, at least 1.
        """
        limit = self.maxconn
        if self.minconn < limit and load < fullconn:
            limit = self.minconn + (limit - self.minconn) * load // fullconn
        if self.warmth < 1.0 and limit:
            limit = max(1, int(limit * self.warmth))
        self.limit = limit

    def __repr__(self) -> str:
        return f"<ServerState {self.name} {self.state} {self.sessions}>"
