"""Signals as something to poll for, and forks that lose none: for launcher and master, which run no event loop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterable
from types import FrameType

#: What a process that serves must neither die of nor stop for before its own handlers are in place. Reload (SIGUSR2, SIGHUP) is
#: the master's affair; pause and resume are not needed, since a successor inherits the sockets or binds beside us.
NOT_FOR_CHILDREN = (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTOU, signal.SIGTTIN)


class SignalQueue:
    """Catches signals from now on.

    Args:
        numbers: to be caught.
    """

    __slots__ = ("_handlers", "_numbers", "_wakeup")

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        # The kernel writes the number of every signal to the one, we read it from the other.
        self._wakeup = socket.socketpair()
        for sock in self._wakeup:
            sock.setblocking(False)
        signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _noted) for number in self._numbers}

    def fileno(self) -> int:
        """Readable when signals have come."""
        return self._wakeup[0].fileno()

    def take(self) -> list[signal.Signals]:
        """The signals that have come since the last call."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = self._wakeup[0].recv(4096)
        return [signal.Signals(number) for number in data]

    def fork(self) -> int:
        """os.fork(), after which the child has the default handlers.

        A signal for the child that comes before it has handlers of its own has its default effect: nothing was served yet.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        try:
            child = os.fork()
            if not child:
                self._let_go(signal.SIG_DFL)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)
        return child

    def _let_go(self, handler: signal.Handlers) -> None:
        signal.set_wakeup_fd(-1)
        for number in self._numbers:
            signal.signal(number, handler)
        for number in NOT_FOR_CHILDREN:
            signal.signal(number, signal.SIG_IGN)
        for sock in self._wakeup:
            sock.close()

    def close(self) -> None:
        """Have the handlers of before again."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for sock in self._wakeup:
            sock.close()


def _noted(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor tells the loop; a handler is only needed so that the signal isn't fatal."""
