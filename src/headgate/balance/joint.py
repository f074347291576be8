"""A backend whose load, limits, turns and queues are one over all workers.

The streams themselves stay with the worker that has them; shared memory has their places in the queues, in the order of arrival.
Who frees a slot gives it to the oldest place, takes the session in the name of the worker that the place belongs to, puts the
place into that worker's mail and wakes it.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.balance.backend import QUEUED as WAITS
from headgate.balance.backend import BackendState, Waiting
from headgate.balance.joint_turns import JointRoundRobin, joint
from headgate.balance.rows import (
    ARRIVALS,
    BACKEND,
    GRANT,
    HEAD,
    MAIL,
    NEXT,
    OWNER,
    PREVIOUS,
    QUEUE,
    QUEUED,
    SECOND_TURN,
    SESSIONS,
    TAIL,
    TICKET,
    WAITING,
    Board,
    share_of,
)
from headgate.balance.server import ServerState
from headgate.plan.facts import Stream
from headgate.plan.frontends import BackendPlan, ServerPlan


class JointBackend(BackendState):
    """See `BackendState`.

    Attributes:
        board: the shared memory.
    """

    __slots__ = (
        "_by_row", "_joined", "_nodes", "_section", "_share", "_streams", "_to_wake", "board",
    )

    def __init__(self, plan: BackendPlan, randomness: Callable[[], float], board: Board, fullconn: int = 0) -> None:
        self.board = board
        row = board.attach("backend", plan.name)
        self._section = board.section(row)
        self._share = share_of(row, board.process)
        self._joined = False
        self._streams: dict[int, Stream | None] = {}  # by place in a queue; None: it left after it was granted a server
        self._nodes: dict[Stream, int] = {}
        self._by_row: dict[int, ServerState] = {}
        self._to_wake: list[int] = []
        super().__init__(plan, randomness, fullconn)
        self.keep(board.cells, row, self._share)
        self._joined = True
        self._selector = joint(self._selector, board.cells, row)
        self._fallback = JointRoundRobin(board.cells, row, SECOND_TURN)
        self._select()

    def _make_server(self, plan: ServerPlan, position: int) -> ServerState:
        """Its errors are counted by who is in no section: that two at a time count as one does no harm."""
        board = self.board
        server = ServerState(plan, position)
        row = board.attach("server", f"{self.plan.name}/{plan.spec.name}")
        server.keep(board.cells, row, share_of(row, board.process))
        self._by_row[row] = server
        return server

    def remove_server(self, server: ServerState) -> None:
        """See `BackendState`."""
        super().remove_server(server)
        if self._by_row.pop(server.row, None) is not None:
            self.board.detach(server.row)

    def close(self) -> None:
        """See `BackendState`."""
        self.board.detach(self.row)

    # --- totals ---

    def _add(self, row: int, gauge: int, count: int, process: int = -1) -> None:
        """Change a total and a process's share of it, ours by default."""
        cells = self._cells
        cells[share_of(row, self.board.process if process < 0 else process) + gauge - 1] += count
        cells[row + gauge] += count

    def _leave(self) -> None:
        self._section.leave()
        if self._to_wake:
            woken, self._to_wake = self._to_wake, []
            for process in woken:
                self.board.wake(process)

    # --- the data plane ---

    def assign(self, stream: Stream, now: float, avoid: ServerState | None = None) -> ServerState | Waiting | None:
        """See `BackendState`. Rules and keys are read before the section is entered: they may take their time."""
        steered: ServerState | None = None
        if self._steered and avoid is None:
            steered = self._steer(stream, now)
        elif avoid is not None and self.persistence is not None:
            self.persistence.redispatched(stream)
        key_of = self._key_of
        key = key_of(stream) if key_of is not None and steered is None else None
        selector = self._selector if key_of is None or key is not None else self._fallback
        number = None if key is None else self._hash(key)
        self._section.enter()
        try:
            if self._dynamic:
                self._update_limits()
            if steered is not None:
                return self._take_or_wait(stream, steered)
            server = selector.choose(number, avoid)
            if server is None:
                return self._wait_for_any(stream) if self.selected else None
            if server.limit and (self._cells[self._queued] or server.sessions >= server.limit):
                found = self._take_or_wait(stream, server)
            else:
                found = self._take(stream, server)
            if found is server:
                server.counters.picks += 1
            return found
        finally:
            self._leave()

    def _take(self, stream: Stream, server: ServerState) -> ServerState:
        cells = self._cells
        at = server._sessions
        sessions = cells[at] + 1
        cells[server._mine] += 1
        cells[at] = sessions
        cells[self._mine] += 1
        cells[self._sessions] += 1
        counters = server.counters
        counters.sessions_total += 1
        if sessions > counters.maximum_sessions:
            counters.maximum_sessions = sessions
        stream.server = server
        return server

    def release(self, server: ServerState) -> Stream | None:
        """See `BackendState`; a stream of another worker that gets the slot is told by that worker."""
        self._section.enter()
        try:
            return self._give_back(server)
        finally:
            self._leave()

    def _give_back(self, server: ServerState) -> Stream | None:
        cells = self._cells
        cells[server._mine] -= 1
        cells[server._sessions] -= 1
        cells[self._mine] -= 1
        cells[self._sessions] -= 1
        if not cells[self._queued]:
            return None
        if self._dynamic:
            self._update_limits()
        return self._next_for(server)

    def dequeue(self, stream: Stream) -> bool:
        """See `BackendState`. When it was granted a server meanwhile, that goes to the next one."""
        node = self._nodes.pop(stream, 0)
        if not node:
            return False
        self._section.enter()
        try:
            row = self._cells[node + GRANT]
            stream.server = None
            if row:
                self._streams[node] = None  # its place is in our mail still
                server = self._by_row[row]
                next_one = self._give_back(server)
                if next_one is not None:
                    self._post_own(next_one, server)
            else:
                self._unlink(node, self.board.process)
                self._add(self.row, SESSIONS, -1)
                self._forget(node)
        finally:
            self._leave()
        return True

    def granted(self) -> list[Stream]:
        """Streams of ours that other workers gave a server to; to be resumed as those of `set_operational`."""
        cells = self._cells
        mail = self._share + MAIL
        if not cells[mail]:
            return []
        resumed: list[Stream] = []
        self._section.enter()
        try:
            node = cells[mail]
            cells[mail] = 0
            while node:
                following = cells[node + NEXT]
                row = cells[node + GRANT]
                stream = self._streams.get(node)
                self._forget(node)
                if stream is not None:
                    self._nodes.pop(stream, None)
                    stream.server = server = self._by_row.get(row)
                    if server is None:
                        self._add(row, SESSIONS, -1)
                        self._add(self.row, SESSIONS, -1)
                    else:
                        server.counters.sessions_total += 1
                    resumed.append(stream)
                node = following
        finally:
            self._leave()
        resumed.reverse()  # the last granted lies on top
        return resumed

    def settle(self) -> list[Stream]:
        """Streams of ours that go on, by mail or since a slot is free that nobody gave them, as that of a process that died."""
        if not self._streams:
            return []
        resumed = self.granted()
        self._section.enter()
        try:
            if self._dynamic:
                self._update_limits()
            for server in self.servers:
                while self._cells[self._queued] and (stream := self._next_for(server)) is not None:
                    resumed.append(stream)
        finally:
            self._leave()
        return resumed

    # --- changes ---

    def _select(self) -> None:
        if self._joined:
            self._section.enter()
            try:
                super()._select()
            finally:
                self._leave()

    def _changed(self, server: ServerState, now: float) -> list[Stream]:
        server.warm_up(now)
        server.update_limit(self.sessions, self.fullconn)
        self._select()
        moved: list[Stream] = []
        self._section.enter()
        try:
            if not server.usable():
                moved = self._flushed(server)
            for each in self.servers:
                while self.queued and (resumed := self._next_for(each)) is not None:
                    moved.append(resumed)
        finally:
            self._leave()
        return moved

    def _flushed(self, server: ServerState) -> list[Stream]:
        """Take our streams out of a server's queue; other workers do so with theirs."""
        cells = self._cells
        row = server.row
        flushed: list[Stream] = []
        for node, stream in list(self._streams.items()):
            if stream is not None and cells[node + QUEUE] == row and not cells[node + GRANT]:
                self._unlink(node, self.board.process)
                self._add(self.row, SESSIONS, -1)
                self._forget(node)
                del self._nodes[stream]
                stream.server = None
                flushed.append(stream)
        return flushed

    # --- queues; the caller is in the section ---

    def _take_or_wait(self, stream: Stream, server: ServerState) -> ServerState | Waiting:
        if server.limit:
            if server.sessions >= server.limit or server.queued:
                if 0 < server.maxqueue <= server.queued:
                    return self._redirected(stream, server)
                return self._wait_for(stream, server)
            if self._cells[self.row + WAITING] and server in self.selected:
                return self._wait_for(stream, server)
        return self._take(stream, server)

    def _wait_for(self, stream: Stream, server: ServerState) -> Waiting:
        stream.queue_position_server = server.queued
        stream.server = server
        return self._append(stream, server.row)

    def _wait_for_any(self, stream: Stream) -> Waiting:
        stream.queue_position_backend = self._cells[self.row + WAITING]
        stream.server = None
        return self._append(stream, self.row)

    def _append(self, stream: Stream, queue: int) -> Waiting:
        cells = self._cells
        node = self.board.take_node()
        ticket = cells[self.row + ARRIVALS] = cells[self.row + ARRIVALS] + 1
        tail = cells[queue + TAIL]
        cells[node + TICKET] = ticket
        cells[node + NEXT] = 0
        cells[node + PREVIOUS] = tail
        cells[node + GRANT] = 0
        cells[node + BACKEND] = self.row
        cells[node + QUEUE] = queue
        if tail:
            cells[tail + NEXT] = node
        else:
            cells[queue + HEAD] = node
        cells[queue + TAIL] = node
        self._streams[node] = stream
        self._nodes[stream] = node
        self._add(self.row, QUEUED, 1)
        self._add(self.row, SESSIONS, 1)
        self._add(queue, WAITING if queue == self.row else QUEUED, 1)
        return WAITS

    def _unlink(self, node: int, owner: int) -> None:
        """Take a place out of its queue; `_streams` still has it."""
        cells = self._cells
        queue = cells[node + QUEUE]
        before, behind = cells[node + PREVIOUS], cells[node + NEXT]
        if before:
            cells[before + NEXT] = behind
        else:
            cells[queue + HEAD] = behind
        if behind:
            cells[behind + PREVIOUS] = before
        else:
            cells[queue + TAIL] = before
        self._add(self.row, QUEUED, -1, owner)
        self._add(queue, WAITING if queue == self.row else QUEUED, -1, owner)

    def _forget(self, node: int) -> None:
        self._streams.pop(node, None)
        self.board.free_node(node)

    def _next_for(self, server: ServerState) -> Stream | None:
        """See `BackendState`; streams of other workers are given theirs on the way."""
        cells = self._cells
        row = server.row
        while not server.full:
            node = cells[row + HEAD] if server.usable() else 0
            anyone = cells[self.row + HEAD] if server in self.selected else 0
            if not node or (anyone and cells[anyone + TICKET] < cells[node + TICKET]):
                node = anyone
            if not node:
                return None
            owner = cells[node + OWNER]
            self._unlink(node, owner)
            self._take_for(node, owner, row)
            counters = server.counters
            if server.sessions > counters.maximum_sessions:
                counters.maximum_sessions = server.sessions
            if owner == self.board.process:
                stream = self._streams[node]
                self._forget(node)
                if stream is not None:
                    del self._nodes[stream]
                    counters.sessions_total += 1
                    stream.server = server
                    return stream
            else:
                self._post(node, owner, row)
        return None

    def _take_for(self, node: int, owner: int, row: int) -> None:
        """A session for the worker that a place belongs to. Should we die here, `undo` says what to put right."""
        cells = self._cells
        share = share_of(row, owner) + SESSIONS - 1
        undo = self.board.undo
        cells[undo + 1] = cells[share]
        cells[undo + 2] = node
        cells[undo] = share
        cells[share] += 1
        cells[row + SESSIONS] += 1
        if owner != self.board.process:
            cells[node + GRANT] = row
        cells[undo] = 0

    def _post(self, node: int, owner: int, row: int) -> None:
        """Put a place that was granted a server into the mail of its worker."""
        cells = self._cells
        mail = share_of(self.row, owner) + MAIL
        cells[node + GRANT] = row
        cells[node + NEXT] = cells[mail]
        cells[mail] = node
        if owner not in self._to_wake:
            self._to_wake.append(owner)

    def _post_own(self, stream: Stream, server: ServerState) -> None:
        """A stream of ours got a server where nobody can be told at once: by mail."""
        node = self.board.take_node()
        server.counters.sessions_total -= 1  # counted when the mail is read
        self._streams[node] = stream
        self._nodes[stream] = node
        self._cells[node + BACKEND] = self.row
        self._cells[node + QUEUE] = server.row
        self._post(node, self.board.process, server.row)
