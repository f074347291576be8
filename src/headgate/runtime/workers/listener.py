"""Listening sockets that several workers accept from."""

from __future__ import annotations

import select
import socket
from typing import Final

from headgate.config.model import Bind
from headgate.observe.counters import ListenerCounters
from headgate.proxy.joint import JointFrontend, JointListenerCounters
from headgate.runtime.listener import Listener, TlsAcceptor
from headgate.runtime.reactor import Reactor

#: epoll_ctl(2): one of those who wait is woken, not all. It can't be changed, only taken out and put in again.
_READ: Final = select.EPOLLIN | select.EPOLLEXCLUSIVE
#: How long a worker with more than its share of connections lets others go first, seconds, and how many it takes if they don't.
_DEFERENCE: Final = 0.001
_TAKES: Final = 16


class JointListener(Listener):
    """See `Listener`. All limits are those of all workers together.

    Attributes:
        joint_side: the live frontend, `side`.
    """

    __slots__ = ("_deferred", "_takes", "_waits", "joint_side")

    def __init__(
        self, reactor: Reactor, side: JointFrontend, bind: Bind, sock: socket.socket, tls: TlsAcceptor | None, number: int
    ) -> None:
        self.joint_side = side
        self._waits = False
        self._deferred = False
        self._takes = 0
        super().__init__(reactor, side, bind, sock, tls, number)

    def _make_counters(self) -> ListenerCounters:
        return JointListenerCounters(self.joint_side.joint.board, self.joint_side.name, self.number)

    def start(self) -> None:
        """See `Listener`."""
        self.open = True
        self._watch()

    def _watch(self) -> None:
        self.reactor.watch(self.sock.fileno(), _READ, self._passed_on if self._passed else self._accept)

    def stop(self) -> None:
        """See `Listener`."""
        self._no_longer_waits()
        super().stop()

    def pause(self) -> None:
        """See `Listener`."""
        if self.open and not self.paused:
            self.paused = True
            self.reactor.unwatch(self.sock.fileno())

    def resume(self) -> None:
        """See `Listener`."""
        self._no_longer_waits()
        if self.open and self.paused:
            self.paused = False
            self._watch()

    def _no_longer_waits(self) -> None:
        if self._waits:
            self._waits = False
            self.joint_side.wait_no_more()

    def timed_out(self) -> None:
        """See `Listener`."""
        if self._deferred:
            # Nobody else took it, or there is another one: ours, whatever our share.
            self._deferred = False
            self._takes = _TAKES
        super().timed_out()

    def _take(self) -> tuple[int, object] | None:
        """See `Listener`. Accepts in the section: a session is counted when it is there, so limits and totals are exact."""
        side = self.joint_side
        joint = side.joint
        if not self._takes and joint.is_ahead():
            self._deferred = True
            self.pause()
            self.reactor.arm(self, self.reactor.now + _DEFERENCE)
            return None
        full = False
        joint.section.enter()
        try:
            if not side.may_accept() or not self.has_room():
                self.pause()
                if self.paused and not self._waits:
                    self._waits = True
                    side.wait_for_place()
                full = True
                return None
            if not self._passes_gates():
                return None
            if self._takes:
                self._takes -= 1
            taken = self._accepted()
            side.take_place(self.counters)
            return taken
        finally:
            joint.section.leave()
            if full:
                self._make_room()

    def _place_anyway(self) -> None:
        joint = self.joint_side.joint
        joint.section.enter()
        try:
            self.joint_side.take_place(self.counters)
            super()._place_anyway()
        finally:
            joint.section.leave()
