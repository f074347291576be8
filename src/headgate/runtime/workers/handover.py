"""A worker's part in resuming sessions that another worker holds in memory: it gives the connection to that one.

OpenSSL's cache of sessions can't be filled from outside, so the connection goes where its session is. The ClientHello, which
`runtime.arrival` has peeked, names the session before there is a TLS object; `session_table` says who has it; the socket goes
into that worker's box (`mailboxes`) with all that is known of it. Whatever is in the way, the connection is served here, with a
full handshake. docs/decisions has why, and what it costs.

A connection is given once at most. It was accepted and counted here; whoever takes it counts what comes then, and moves its place
among the connections from the giver's share to its own, so that no limit is exceeded on the way.
"""

from __future__ import annotations

import marshal
import os
import socket
from typing import TYPE_CHECKING, Final

from headgate.runtime.reactor import READ, Reactor
from headgate.runtime.workers.mailboxes import LONGEST, MOST_BOXES, Mailboxes, named
from headgate.runtime.workers.session_table import SessionTable
from headgate.wire.session_ids import psk_identities, session_id

if TYPE_CHECKING:
    from headgate.proxy.joint import JointFrontend, JointShared
    from headgate.runtime.arrival import Arrival
    from headgate.runtime.workers.listener import JointListener

#: Connections that are taken for one event: others must have their turn.
_AT_ONCE: Final = 16

#: What names a listening socket in all workers: the frontend, which of its bind lines, which socket of that.
ListenerKey = tuple[str, int, int]
#: A connection on its way: its listener, who gives it (see `Mailboxes`), when it was accepted (monotonic and Unix time),
#: source with port, destination with port.
Parcel = tuple[ListenerKey, int, float, float, bytes, int, bytes, int]


class LineHandover:
    """`Handover` as one listening socket uses it; `runtime.listener.Giver`.

    Args:
        handover: of the process.
        table: who has which session.
        side: the frontend.
        key: names the listening socket.
        tickets: the line gives tickets: then TLS 1.3 has no sessions in memory.
    """

    __slots__ = ("_handover", "_key", "_side", "_table", "_tickets")

    def __init__(
        self, handover: Handover, table: SessionTable, side: JointFrontend, key: ListenerKey, *, tickets: bool
    ) -> None:
        self._handover = handover
        self._table = table
        self._side = side
        self._key = key
        self._tickets = tickets

    def give(self, arrival: Arrival, hello: bytes) -> bool:
        """See `runtime.listener.Giver`."""
        table, now = self._table, arrival.reactor.now
        if table.is_empty(now):
            return False
        named = session_id(hello)
        owner = table.find(named, now) if named else 0
        if not owner and not self._tickets:
            for identity in psk_identities(hello):
                owner = table.find(identity, now)
                if owner:
                    break
        if not owner or not self._handover.send(arrival, owner, self._key, self._side.joint):
            return False
        self._side.give_away(arrival.session)
        return True


class Handover:
    """See the module.

    Args:
        table: who has which session.
        boxes: of all workers.
        process: the number of this one.

    Attributes:
        given, taken: connections so far.
        kept: connections whose session another worker has, which is gone, or busy, or leaves: they were served here.
        lost: connections that came without their socket, for want of descriptors, or for a listener that is not there.
    """

    __slots__ = (
        "_boxes", "_closing", "_listeners", "_me", "_process", "_reactor", "_table", "given", "kept", "lost", "taken",
    )  # fmt: skip

    def __init__(self, table: SessionTable, boxes: Mailboxes, process: int) -> None:
        self._table = table
        self._boxes = boxes
        self._process = process
        self._me = 0
        self._closing = True
        self._listeners: dict[ListenerKey, JointListener] = {}
        self._reactor: Reactor | None = None
        self.given = self.taken = self.kept = self.lost = 0

    def attach(self, listener: JointListener) -> None:
        """A listener is made: its connections may go to others, and come from them.

        Not where there are `tcp-request connection` rules: they have run where the connection was accepted, and what they track
        stays there.
        """
        if listener.tls is None or listener.side.plan.tcp_request_connection is not None:
            return
        line = next(number for number, bind in enumerate(listener.side.plan.binds) if bind is listener.bind)
        key = listener.side.name, line, listener.number
        self._listeners[key] = listener
        tls = listener.bind.tls
        listener.giver = LineHandover(self, self._table, listener.joint_side, key, tickets=tls is None or tls.tickets)
        listener.tls.tell_held(self.held)

    # --- its life ---

    def start(self, reactor: Reactor) -> None:
        """Give and take from now on."""
        self._reactor = reactor
        self._closing = False
        self._me = self._boxes.open(self._process, reactor.now)
        reactor.watch(self._boxes.descriptor(self._process), READ, self._readable)

    def renew(self) -> None:
        """Once a second: we are still there."""
        if self._reactor is not None and not self._closing:
            self._boxes.renew(self._process, self._reactor.now)

    def close(self) -> None:
        """Give no more, and say that we leave; what others put into our box meanwhile is still taken."""
        self._closing = True
        self._boxes.close(self._process)

    def is_through(self) -> bool:
        """Behind `close`: whether nothing is left in our box, and nothing will come any more. What there is is taken."""
        if self._boxes.is_expecting(self._process):
            return False
        before = self.taken
        self._readable(READ)
        return self.taken == before

    def stop(self) -> None:
        """Look into the box no more."""
        self.close()
        if self._reactor is not None:
            self._reactor.unwatch(self._boxes.descriptor(self._process))

    # --- giving ---

    def held(self, session: bytes) -> None:
        """A handshake left a session in this process's memory; its ID."""
        if self._reactor is not None and session:
            self._table.put(session, self._me, self._reactor.now)

    def send(self, arrival: Arrival, owner: int, key: ListenerKey, loads: JointShared) -> bool:
        """Give a connection to the worker that has its session; False when it is to be served here.

        As it is when that one has too many: a crowd with one session must not be the work of one worker while others are idle.
        """
        if owner == self._me or self._closing:
            return False
        if loads.is_loaded(owner & MOST_BOXES):
            self.kept += 1
            return False
        session = arrival.session
        parcel: Parcel = (
            key, self._me, arrival.started, session.accepted_at,
            session.source, session.source_port, session.destination, session.destination_port,
        )  # fmt: skip
        message = marshal.dumps(parcel)
        if len(message) <= LONGEST and self._boxes.give(
            self._process, owner, message, arrival.sock.fileno(), arrival.reactor.now
        ):
            self.given += 1
            return True
        self.kept += 1
        return False

    # --- taking ---

    def _readable(self, events: int) -> None:
        for _ in range(_AT_ONCE):
            message = self._boxes.look(self._process)
            if message is None:
                return
            parcel: Parcel | None = None
            listener: JointListener | None = None
            try:
                parcel = marshal.loads(message)
                listener = self._listeners.get(parcel[0])
                if listener is not None:
                    # Behind `take` it is nobody's for a moment, and the system may take its time: should we be killed then, it
                    # must be known.
                    self._boxes.announce(self._process, message, parcel[1], listener.joint_side.rows_of(listener.counters))
            except Exception as error:
                self._say_bug(error)
            found = self._boxes.take(self._process)
            try:
                self._take(listener, parcel, found[1] if found is not None else -1)
            except Exception as error:
                # Ours, and only this connection's: the box must go on being looked into.
                self._say_bug(error)

    def _say_bug(self, error: Exception) -> None:
        self._settle()
        if self._reactor is not None:
            self._reactor.on_bug(error)

    def _take(self, listener: JointListener | None, parcel: Parcel | None, descriptor: int) -> None:
        if listener is None or parcel is None or descriptor < 0:
            self.lost += 1
            if listener is not None and parcel is not None:
                listener.never_came(*named(parcel[1]), self._settle)
            if descriptor >= 0:
                os.close(descriptor)
            return
        self.taken += 1
        listener.take_over(socket.socket(fileno=descriptor), parcel, *named(parcel[1]), self._settle)

    def _settle(self) -> None:
        self._boxes.settle(self._process)
