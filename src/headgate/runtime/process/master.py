"""Master-worker mode (`-W`, `-Ws`): the master starts a worker, hands signals on to it and exits when it has exited.

The master carries no traffic. It does not replace a worker that died and does not reload yet: SIGUSR2 and SIGHUP are answered
with a warning. Its exit code is 128 + signal where a signal ended it or its worker.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable
from types import FrameType

from headgate.runtime.process.daemon import Readiness, exit_code_of

#: Signal to the master -> signal to the worker (management manual 4).
_FORWARDED = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
    signal.SIGUSR1: signal.SIGUSR1,
}
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_RELOADING = (signal.SIGUSR2, signal.SIGHUP)

#: Says something to the operator: (is it an error, text).
Say = Callable[[bool, str], None]


class Master:
    """Supervises one worker.

    Args:
        work: runs in the worker's process with what to call once it serves and a descriptor that becomes readable when the
            master is gone; its result is the worker's exit code.
        on_ready: called in the master with the worker's pid, once the worker serves.
        on_stopping: called in the master when it was asked to stop.
        say: shows a message.
    """

    __slots__ = ("_alive", "_handlers", "_on_ready", "_on_stopping", "_say", "_stopped_by", "_wakeup", "_work", "_worker")

    def __init__(
        self,
        work: Callable[[Readiness, int], int],
        on_ready: Callable[[int], None],
        on_stopping: Callable[[], None],
        say: Say,
    ) -> None:
        self._work = work
        self._on_ready = on_ready
        self._on_stopping = on_stopping
        self._say = say
        self._worker = 0
        self._stopped_by: signal.Signals | None = None
        self._handlers: dict[signal.Signals, object] = {}
        # Wakes the wait up on every signal; the kernel writes the signal's number to the one, we read it from the other.
        self._wakeup = socket.socketpair()
        # Never written to: its other end becomes readable in the worker when the master is gone, however it went.
        self._alive = os.pipe()

    def run(self) -> int:
        """Start the worker and stay until it has exited.

        Returns:
            The exit code of the master. It returns in the master only: the worker leaves from within.
        """
        for sock in self._wakeup:
            sock.setblocking(False)
        signal.set_wakeup_fd(self._wakeup[1].fileno())
        for number in (*_FORWARDED, *_RELOADING, signal.SIGCHLD):
            self._handlers[number] = signal.signal(number, _noted)
        receiver, sender = os.pipe()
        self._worker = os.fork()
        if not self._worker:
            os.close(receiver)
            self._become_worker(sender)
        os.close(sender)
        try:
            return self._supervise(receiver)
        finally:
            self._restore_signals()
            for descriptor in (receiver, *self._alive):
                os.close(descriptor)
            for sock in self._wakeup:
                sock.close()

    def _restore_signals(self) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _become_worker(self, sender: int) -> None:
        code = 1
        try:
            self._restore_signals()
            for sock in self._wakeup:
                sock.close()
            os.close(self._alive[1])
            code = self._work(Readiness(sender), self._alive[0])
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            # Not sys.exit(): the master's frames lie below on this stack and must not run twice.
            os._exit(code)

    def _supervise(self, receiver: int) -> int:
        poller = select.poll()
        poller.register(self._wakeup[0].fileno(), select.POLLIN)
        poller.register(receiver, select.POLLIN)
        is_ready = False
        while True:
            for descriptor, _ in poller.poll():
                if descriptor == receiver:
                    poller.unregister(receiver)
                    if os.read(receiver, 1):
                        is_ready = True
                        self._on_ready(self._worker)
                else:
                    self._handle_signals()
            pid, status = os.waitpid(self._worker, os.WNOHANG)
            if pid:
                return self._worker_exited(exit_code_of(status), is_ready)

    def _handle_signals(self) -> None:
        numbers = b""
        with contextlib.suppress(BlockingIOError):
            numbers = self._wakeup[0].recv(256)
        for number in numbers:
            received = signal.Signals(number)
            if received in _RELOADING:
                self._say(False, f"{received.name} received: reloading is not yet supported, the configuration stays as it is")
            if received in _STOPPING:
                self._stopped_by = received
                self._on_stopping()
            if received in _FORWARDED:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._worker, _FORWARDED[received])

    def _worker_exited(self, code: int, was_ready: bool) -> int:
        if not was_ready:
            self._say(True, "Failed to load worker. Exiting.")
            return code or 1
        if not code and self._stopped_by in (signal.SIGTERM, signal.SIGINT):
            code = 128 + self._stopped_by
        was_asked = self._stopped_by is not None
        self._say(not was_asked and code != 0, f"Current worker ({self._worker}) exited with code {code}")
        self._say(False, f"All workers exited. Exiting... ({code})")
        return code


def _noted(number: int, frame: FrameType | None) -> None:
    """The wake-up descriptor tells the loop; a handler is only needed so that the signal isn't fatal."""
