"""What sessions of either kind have in common, for their listener, their frontend, and those who stop the process.

A class and not a protocol: compiled code finds what a class declares without looking it up by name.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from headgate.balance.server import ServerState
from headgate.base.termination import Outcome
from headgate.observe.counters import ListenerCounters
from headgate.plan.facts import Session
from headgate.proxy.port import Channel
from headgate.proxy.services import Reminder
from headgate.proxy.tracking import session_begins

if TYPE_CHECKING:
    from headgate.proxy.sides import Frontend


class ClientSession(Session):
    """One client connection; see `proxy.http_session` and `proxy.relay`. Owner of the client's channel (`proxy.port.Owner`).

    Attributes:
        side: the live frontend.
        channel: the client's channel, once the session has started.
        deadline, armed: see `proxy.services.Timed`; one deadline serves whatever is waited for.
        idle_from: monotonic seconds when waiting for the current request began, for %Ti.
        handshake_ms: time spent on PROXY header and TLS, for %Th.
        counted: counters of the listening socket, with `option socket-stats`.
    """

    __slots__ = ("armed", "channel", "counted", "deadline", "handshake_ms", "idle_from", "side")

    channel: Channel

    def __init__(self, side: Frontend) -> None:
        Session.__init__(self, side.shared.world, side.plan)
        self.side = side
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self.idle_from = 0.0
        self.handshake_ms = 0
        self.counted: ListenerCounters | None = None

    def start(self, channel: Channel, handshake_ms: int, early: bytes = b"") -> None:
        """Begin to serve. Each kind of session goes on from here, as the owner of the channel.

        Args:
            channel: the client's, established.
            handshake_ms: time spent on PROXY header and TLS, for %Th.
            early: bytes that were read already.
        """
        self.channel = channel
        self.tls = channel.tls
        self.handshake_ms = handshake_ms
        self.idle_from = self.side.shared.scheduler.now
        if self.tracks is not None:
            session_begins(self)

    def soft_stop(self) -> None:
        """Close when idle; otherwise close after the exchange that is under way."""
        raise NotImplementedError

    def end_stream_on(self, servers: Collection[ServerState], outcome: Outcome) -> None:
        """End the stream that one of these servers is serving, if there is one."""
        raise NotImplementedError

    def end_stream(self, outcome: Outcome) -> None:
        """End the stream that is under way, if there is one."""
        raise NotImplementedError
