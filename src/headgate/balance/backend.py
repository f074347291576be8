"""The live state of a backend: which servers may be used, who gets the next stream, who waits, and in what order.

Pure: time and randomness are arguments. Called by the data plane for every stream (`assign`, `release`, `dequeue`) and by health
checks and the runtime API for changes (`set_operational`, `set_admin`, `set_weight`).
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from headgate.balance.algorithms import ALGORITHMS
from headgate.balance.hashes import hash_function
from headgate.balance.load import Load
from headgate.balance.persistence import Persistence
from headgate.balance.roundrobin import RoundRobin
from headgate.balance.selector import Selector
from headgate.balance.server import Admin, ServerState
from headgate.base.addresses import Address
from headgate.plan.facts import Stream
from headgate.plan.frontends import BackendPlan, ServerPlan

if TYPE_CHECKING:
    from headgate.balance.sticking import Sticking


class Waiting(enum.Enum):
    """The answer of `assign` that is neither a server nor None."""

    QUEUED = "queued"


#: The stream waits; `release` or one of the setters will hand it out.
QUEUED: Final = Waiting.QUEUED


class BackendState(Load):
    """A backend at work (implements plan.facts.BackendFacts).

    Attributes:
        plan, name: as compiled.
        servers: all, in configuration order.
        sessions: streams in this backend: being served or waiting.
        queued: streams that wait, for any server or for one.
        fullconn: load at which servers reach their maxconn.
    """

    __slots__ = (
        "_arrivals", "_by_name", "_dynamic", "_fallback", "_hash", "_key_of", "_queue", "_selector", "_slow", "_steered",
        "_sums_up", "fullconn", "name", "persistence", "plan", "selected", "servers", "sticking",
    )

    def __init__(self, plan: BackendPlan, randomness: Callable[[], float], fullconn: int = 0) -> None:
        """Build the state at start.

        Args:
            plan: the compiled backend.
            randomness: numbers in [0, 1), for `balance random`.
            fullconn: where the configuration has none: 10% of the maxconn of the frontends that lead here (4.2 fullconn);
                0 when that is not known either: the ramp then ends at the sum of the servers' maxconn.
        """
        super().__init__()
        spec = plan.spec
        self.plan = plan
        self.name = plan.name
        self.servers = tuple(self._make_server(server, position) for position, server in enumerate(plan.servers))
        self._by_name = {server.name: server for server in self.servers}
        self._sums_up = not (spec.fullconn or fullconn)
        self.fullconn = spec.fullconn or fullconn or sum(server.maxconn for server in self.servers)
        self._dynamic = tuple(server for server in self.servers if server.minconn < server.maxconn)
        self._slow = tuple(server for server in self.servers if server.slowstart)
        self._queue: OrderedDict[Stream, int] = OrderedDict()
        self._arrivals = 0
        self._key_of = plan.balance_key
        self._hash = hash_function(spec.hash_type.function, spec.hash_type.avalanche)
        self._selector: Selector = ALGORITHMS[spec.balance.algorithm](spec, randomness)
        self._fallback: Selector = RoundRobin()  # 4.2 balance: without a key, round robin applies
        self.persistence = (
            Persistence(plan.cookie, self.servers, spec.dynamic_cookie_key) if plan.cookie is not None else None
        )
        self.sticking: Sticking | None = None
        if plan.stick is not None:
            from headgate.balance.sticking import Sticking

            self.sticking = Sticking(plan.stick, lambda: self.servers)
        self._steered = plan.use_server is not None or self.persistence is not None or self.sticking is not None
        self.selected: tuple[ServerState, ...] = ()
        self._select()

    # --- facts -------------------------------------------------------------------------------------------------------

    def usable(self) -> int:
        """How many servers load balancing uses now (`nbsrv`)."""
        return len(self.selected)

    def server(self, name: str) -> ServerState | None:
        """The server called `name`."""
        return self._by_name.get(name)

    # --- the data plane ----------------------------------------------------------------------------------------------

    def assign(self, stream: Stream, now: float, avoid: ServerState | None = None) -> ServerState | Waiting | None:
        """Find a server for a stream: `use-server`, the persistence cookie, stick rules, then the algorithm.

        Args:
            stream: its request is edited where the cookie mode asks for it (only at the first attempt, see below).
            now: wall clock, seconds.
            avoid: the server that just failed (redispatch): persistence is set aside and another one is taken if there is one.

        Returns:
            The server, with a session of it taken: every one must be given back with `release`. QUEUED: the stream waits and
            will be handed out by `release` or a setter, or must be taken out with `dequeue`. None: no server is usable (503).
        """
        if self._dynamic:
            self._update_limits()
        if self._steered and avoid is None:
            server = self._steer(stream, now)
            if server is not None:
                return self._take_or_wait(stream, server)
        elif avoid is not None and self.persistence is not None:
            self.persistence.redispatched(stream)
        key_of = self._key_of
        if key_of is None:
            server = self._selector.choose(None, avoid)
        else:
            key = key_of(stream)
            if key is None:
                server = self._fallback.choose(None, avoid)
            else:
                server = self._selector.choose(self._hash(key), avoid)
        if server is None:
            return self._wait_for_any(stream) if self.selected else None
        if 0 < server.limit and (server.sessions >= server.limit or self.queued):
            found = self._take_or_wait(stream, server)
            if isinstance(found, ServerState):
                found.counters.picks += 1
            return found
        server.sessions += 1
        self.sessions += 1
        counters = server.counters
        counters.sessions_total += 1
        counters.picks += 1
        if server.sessions > counters.maximum_sessions:
            counters.maximum_sessions = server.sessions
        stream.server = server
        return server

    def release(self, server: ServerState) -> Stream | None:
        """A session of `server` is over.

        Returns:
            The stream that has waited longest for it, with the freed session already taken and `stream.server` set: the
            caller resumes it. None when nobody waits or no slot is free.
        """
        server.sessions -= 1
        self.sessions -= 1
        if not self.queued:
            return None
        if self._dynamic:
            self._update_limits()
        return self._next_for(server)

    def dequeue(self, stream: Stream) -> bool:
        """Take a waiting stream out (timeout queue, or its client left); whether it was waiting."""
        waiting_for = stream.server
        if isinstance(waiting_for, ServerState) and waiting_for.queue.pop(stream, None) is not None:
            waiting_for.queued -= 1
            stream.server = None
        elif self._queue.pop(stream, None) is None:
            return False
        self.queued -= 1
        self.sessions -= 1
        return True

    # --- changes -----------------------------------------------------------------------------------------------------

    def set_operational(self, server: ServerState, up: bool, now: float) -> list[Stream]:
        """A server went up or down.

        Returns:
            Streams that waited and shall go on: with `stream.server` set they have a session of it, and are to be resumed;
            with None they are out of the queue and are to be assigned again.
        """
        if up and not server.up and server.slowstart:
            server.up_since = now
        if up is not server.up:
            server.changed_at = now
        server.up = up
        return self._changed(server, now)

    def set_admin(self, server: ServerState, state: Admin, now: float) -> list[Stream]:
        """Change the administrative state; returns as `set_operational`."""
        if (state ^ server.admin) & Admin.OUT:
            server.changed_at = now
        server.admin = state
        return self._changed(server, now)

    def set_stopping(self, server: ServerState, stopping: bool, now: float) -> list[Stream]:
        """A check said that the server takes no new work, or takes it again; returns as `set_operational`."""
        server.stopping = stopping
        return self._changed(server, now)

    def set_weight(self, server: ServerState, weight: int, now: float) -> list[Stream]:
        """Change the user weight, 0 to 256; returns as `set_operational`."""
        server.weight = weight
        return self._changed(server, now)

    def set_maxconn(self, server: ServerState, maxconn: int, now: float) -> list[Stream]:
        """Change the connection limit, 0 for none; returns as `set_operational`."""
        server.maxconn = maxconn
        server.minconn = min(server.spec.minconn or maxconn, maxconn)
        self._dynamic = tuple(each for each in self.servers if each.minconn < each.maxconn)
        return self._changed(server, now)

    def set_address(self, server: ServerState, address: Address, now: float) -> list[Stream]:
        """Give a server another address: its place among hashes and its dynamic cookie follow; returns as `set_operational`."""
        server.address = address
        if self.persistence is not None:
            self.persistence.address_changed(server, address.host, address.port)
        return self._changed(server, now)

    def rename(self, server: ServerState, name: str) -> None:
        """Give a server another name, which no other one has."""
        del self._by_name[server.name]
        server.name = name
        self._by_name[name] = server

    def add_server(self, plan: ServerPlan, admin: Admin, now: float) -> ServerState:
        """Add a server while running.

        Args:
            plan: its name and id are no other server's.
            admin: what it begins with; in maintenance, nobody waits for it.
        """
        taken = {server.position for server in self.servers}
        position = next(number for number in range(len(taken) + 1) if number not in taken)
        server = self._make_server(plan, position)
        server.dynamic = True
        server.admin = admin
        self._by_name[server.name] = server
        self._set_servers((*self.servers, server))
        self._changed(server, now)
        return server

    def remove_server(self, server: ServerState) -> None:
        """Forget a server that is in maintenance and serves nobody."""
        del self._by_name[server.name]
        self._set_servers(tuple(other for other in self.servers if other is not server))
        self._select()

    def close(self) -> None:
        """Give up what it holds: it is removed while running."""

    def warm_up(self, now: float) -> list[Stream]:
        """Let the weights and limits of servers in slowstart follow the time; called with each health check (5.2 slowstart).

        Returns as `set_operational`.
        """
        resumed: list[Stream] = []
        for server in self._slow:
            if server.up_since:
                resumed += self._changed(server, now)
        return resumed

    # --- inside ------------------------------------------------------------------------------------------------------

    def _make_server(self, plan: ServerPlan, position: int) -> ServerState:
        return ServerState(plan, position)

    def _set_servers(self, servers: tuple[ServerState, ...]) -> None:
        self.servers = servers
        self._dynamic = tuple(server for server in servers if server.minconn < server.maxconn)
        self._slow = tuple(server for server in servers if server.slowstart)
        if self._sums_up:
            self.fullconn = sum(server.maxconn for server in servers)
        if self.persistence is not None:
            self.persistence.set_servers(servers)

    def _select(self) -> None:
        """Choose the set that load balancing uses: the active servers, or else one backup, or all with `option allbackups`."""
        chosen = [server for server in self.servers if server.eligible and not server.backup]
        if not chosen:
            chosen = [server for server in self.servers if server.eligible and server.backup]
            if not self.plan.spec.options.allbackups:
                del chosen[1:]
        self.selected = tuple(chosen)
        self._selector.rebuild(chosen)
        if self._key_of is not None:
            self._fallback.rebuild(chosen)

    def _changed(self, server: ServerState, now: float) -> list[Stream]:
        server.warm_up(now)
        server.update_limit(self.sessions, self.fullconn)
        self._select()
        moved: list[Stream] = []
        if not server.usable():
            moved.extend(server.queue)
            for stream in moved:
                stream.server = None
            self.queued -= len(moved)
            self.sessions -= len(moved)
            server.queue.clear()
            server.queued = 0
        # More than one server may have become free for those who wait: a backup that is needed now, for instance.
        for each in self.servers:
            while self.queued and (resumed := self._next_for(each)) is not None:
                moved.append(resumed)
        return moved

    def _update_limits(self) -> None:
        for server in self._dynamic:
            server.update_limit(self.sessions, self.fullconn)

    def _steer(self, stream: Stream, now: float) -> ServerState | None:
        """The server that a rule, the client's cookie or a stick table asks for, if it may be used."""
        plan = self.plan
        forced = plan.spec.options.persist or (plan.force_persist is not None and plan.force_persist(stream))
        server: ServerState | None = None
        if plan.use_server is not None:
            name = plan.use_server(stream)
            server = self._by_name.get(name) if name is not None else None
            if server is not None and not (server.usable() or forced):
                server = None
        if self.persistence is not None:
            ignored = plan.ignore_persist is not None and plan.ignore_persist(stream)
            by_cookie = self.persistence.read_request(stream, now, ignored=ignored, decided=server is not None, forced=forced)
            if server is None:
                server = by_cookie
        if self.sticking is not None:
            by_table = self.sticking.match(stream, decided=server is not None, forced=forced)
            if server is None:
                server = by_table
        return server

    def _take_or_wait(self, stream: Stream, server: ServerState) -> ServerState | Waiting:
        """Take a session of this very server, or wait for one; a full queue (maxqueue) sends the stream to any other server."""
        if server.limit:
            if server.sessions >= server.limit or server.queued:
                if 0 < server.maxqueue <= server.queued:
                    return self._redirected(stream, server)
                return self._wait_for(stream, server)
            if self._queue and server in self.selected:
                # A slot came free without `release` (a raised limit): those who wait for any server were first.
                return self._wait_for(stream, server)
        return self._take(stream, server)

    def _take(self, stream: Stream, server: ServerState) -> ServerState:
        server.sessions += 1
        self.sessions += 1
        counters = server.counters
        counters.sessions_total += 1
        if server.sessions > counters.maximum_sessions:
            counters.maximum_sessions = server.sessions
        stream.server = server
        return server

    def _redirected(self, stream: Stream, full: ServerState) -> ServerState | Waiting:
        """5.2 maxqueue: "next requests will be redispatched to other servers"."""
        others = [server for server in self.selected if server is not full and not server.full and not server.queued]
        if others:
            return self._take(stream, min(others, key=lambda server: server.sessions / server.effective))
        return self._wait_for_any(stream)

    def _wait_for(self, stream: Stream, server: ServerState) -> Waiting:
        stream.queue_position_server = server.queued
        self._arrivals += 1
        server.queue[stream] = self._arrivals
        server.queued += 1
        self.queued += 1
        self.sessions += 1
        stream.server = server
        return QUEUED

    def _wait_for_any(self, stream: Stream) -> Waiting:
        stream.queue_position_backend = len(self._queue)
        self._arrivals += 1
        self._queue[stream] = self._arrivals
        self.queued += 1
        self.sessions += 1
        stream.server = None
        return QUEUED

    def _next_for(self, server: ServerState) -> Stream | None:
        """Who has waited longest for `server` or for any, if it has a free slot; the session is taken."""
        if server.full:
            return None
        own = next(iter(server.queue.items())) if server.queue and server.usable() else None
        anyone = next(iter(self._queue.items())) if self._queue and server in self.selected else None
        if own is not None and (anyone is None or own[1] < anyone[1]):
            stream = own[0]
            del server.queue[stream]
            server.queued -= 1
        elif anyone is not None:
            stream = anyone[0]
            del self._queue[stream]
        else:
            return None
        self.queued -= 1
        self.sessions -= 1  # `_take` counts it again
        self._take(stream, server)
        return stream
