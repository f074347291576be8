"""The launcher: forks the controller and the workers of one generation, waits, and replaces what died or hangs.

It runs no event loop and carries no traffic, so that nothing of the data plane is alive in it when it forks. Children that lose
it go on serving: they notice by the end of their supervision socket.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable

from headgate.runtime.process.place import Heritage, Place, Role
from headgate.runtime.process.signals import SignalQueue
from headgate.runtime.process.supervision import (
    LONGEST,
    READY,
    Child,
    Heartbeats,
    exit_reason,
    send_link,
    send_ready,
    supervision_pair,
)

#: A process that was silent for this long, seconds, hangs. It first gets the time to leave a trace, then it is killed.
HANG_LIMIT = 10.0
TRACE_TIME = 1.0
#: How long a process may take until it serves, seconds.
START_LIMIT = 60.0
#: How long processes may take to leave at once (SIGTERM) until they are killed, seconds.
STOP_LIMIT = 10.0
#: A process that died sooner than this after its start, seconds, is likely to do so again.
SHORT_LIFE = 5.0
#: Waits before the next attempt when one process after the other dies young: doubled from the first to the last, seconds.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
#: Deaths in one place that a start which is still under way may survive.
_MOST_YOUNG_DEATHS = 3
_CHECK_EVERY = 1.0

_CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD)
_ALERT, _WARNING = 1, 4
#: (syslog level, text)
Log = Callable[[int, str], None]


def _nothing(*_: object) -> None:
    return None


class Launcher:
    """Makes and keeps the processes of one generation.

    Args:
        work: runs in a child with its place; its result is the child's exit code.
        workers: how many there are besides the controller.
        heritage: for all of them.
        shared: `Place.shared` of all of them.
        log: says what happened.
        on_ready: called once, when all of them serve for the first time.
        on_gone: called with the place of a process that is gone, before another one takes it.
        on_children: called with `pids` whenever a process was made or is gone.
        hard_stop_after: seconds that a soft stop may take, None for any time.
        not_for_children: sockets that the launcher uses and no child may keep.
        not_for_workers: the same, but the controller keeps them.

    Attributes:
        stopped_by: the signal that asked to stop, None while nothing did.
    """

    def __init__(
        self,
        work: Callable[[Place], int],
        workers: int,
        heritage: Heritage,
        shared: object | None = None,
        *,
        log: Log = _nothing,
        on_ready: Callable[[], None] = _nothing,
        on_children: Callable[[list[int]], None] = _nothing,
        on_gone: Callable[[int], object] = _nothing,
        hard_stop_after: float | None = None,
        not_for_children: Iterable[socket.socket] = (),
        not_for_workers: Iterable[socket.socket] = (),
    ) -> None:
        self._work = work
        self._workers = workers
        self._heritage = heritage
        self._shared = shared
        self._log = log
        self._on_ready = on_ready
        self._on_children = on_children
        self._on_gone = on_gone
        self._hard_stop_after = hard_stop_after
        self._not_for_children = tuple(not_for_children)
        self._not_for_workers = tuple(not_for_workers)
        self._heartbeats = Heartbeats(workers + 1)
        self._children: dict[int, Child] = {}  # by place
        self._young_deaths = [0] * (workers + 1)
        self._due: dict[int, float] = {}  # place -> when its next process is made
        self._died: dict[int, str] = {}  # place -> what is to be said once it is replaced
        self._poller = select.poll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._serves = False
        self._code = 0
        self._checked_at = time.monotonic()
        self._excused_until = 0.0
        self._kill_at = 0.0
        self._terminate_at = 0.0
        self.stopped_by: signal.Signals | None = None
        self._pid = os.getpid()
        self._signals: SignalQueue | None = None

    def watch(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """Have `call` called when the socket is readable; `unwatch` ends it."""
        self._watched[sock.fileno()] = call
        self._poller.register(sock.fileno(), select.POLLIN)

    def unwatch(self, sock: socket.socket) -> None:
        """The opposite of `watch`."""
        if self._watched.pop(sock.fileno(), None) is not None:
            self._poller.unregister(sock.fileno())

    def run(self) -> int:
        """Make all processes and stay until they are gone.

        Returns:
            The exit code: 0, or that of a process that could not even start. It returns in the launcher only.
        """
        signals = self._signals = SignalQueue(_CAUGHT)
        self._poller.register(signals.fileno(), select.POLLIN)
        try:
            for place in range(self._workers + 1):
                self._make(place)
            while self._children or self._due:
                self._turn(signals)
        finally:
            signals.close()
        return self._code

    # --- waiting ---

    def _turn(self, signals: SignalQueue) -> None:
        for descriptor, _ in self._poller.poll(self._patience() * 1000):
            if descriptor == signals.fileno():
                for number in signals.take():
                    self._signalled(number)
            else:
                call = self._watched.get(descriptor)
                if call is not None:
                    call()
        self._reap()
        now = time.monotonic()
        for place in [place for place, due in self._due.items() if due <= now]:
            del self._due[place]
            self._make(place)
        self._look_at_deadlines(now)
        if now - self._checked_at >= _CHECK_EVERY:
            self._look_for_hanging(now)

    def _patience(self) -> float:
        now = time.monotonic()
        moments = [self._checked_at + _CHECK_EVERY, *self._due.values()]
        moments.extend(moment for moment in (self._kill_at, self._terminate_at) if moment)
        return max(0.0, min(moments) - now) + 0.001

    def _signalled(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop(number)
        elif number is signal.SIGUSR1 and self.stopped_by is None:
            self._soft_stop()
        elif number is signal.SIGHUP:
            self._send(signal.SIGHUP, [0])

    # --- making ---

    def _make(self, place: int) -> None:
        ours, theirs = supervision_pair()
        assert self._signals is not None
        self._heartbeats.forget(place)
        try:
            pid = self._signals.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self._log(_ALERT, f"cannot fork: {error.strerror}; trying again in {FIRST_WAIT:g} s")
            self._due[place] = time.monotonic() + FIRST_WAIT
            return
        if not pid:
            ours.close()
            self._become(place, theirs)
        theirs.close()
        child = self._children[place] = Child(place, pid, ours, time.monotonic())
        self.watch(ours, lambda: self._told(child))
        died = self._died.pop(place, None)
        if died is not None:
            self._log(_ALERT, f"{died}; replaced by {pid}")
        self._link(range(1, self._workers + 1) if place == 0 else [place])
        self._on_children(self.pids)

    @property
    def pids(self) -> list[int]:
        """Of all processes that are there now; the controller's is the first, 0 while there is none."""
        controller = self._children.get(0)
        workers = [child.pid for place, child in self._children.items() if place]
        return [0 if controller is None else controller.pid, *workers]

    def _link(self, workers: Iterable[int]) -> None:
        """Give these workers and the controller a way to talk to each other."""
        controller = self._children.get(0)
        for number in workers:
            worker = self._children.get(number)
            if controller is None or worker is None:
                continue
            ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            for child, to, end in ((controller, number, ends[0]), (worker, 0, ends[1])):
                if not send_link(child.line, to, end):
                    # It doesn't read what it was sent before: it hangs, or it is dying. Its successor gets new links.
                    self._send(signal.SIGKILL, [child.place])
            for end in ends:
                end.close()

    def _become(self, place: int, line: socket.socket) -> None:
        """Be a child; never returns."""
        code = 1
        try:
            for child in self._children.values():
                child.line.close()
            for sock in (*self._not_for_children, *(self._not_for_workers if place else ())):
                sock.close()
            with contextlib.suppress(ValueError, OSError, RuntimeError):
                faulthandler.enable()  # SIGABRT of a hanging process shows where it hangs
            heartbeats = self._heartbeats
            role = Role.WORKER if place else Role.CONTROLLER
            told = Place(role, place, self._workers, self._heritage, line, self._shared, leader=self._pid)
            told.alive = lambda: heartbeats.beat(place)
            told.ready = send_ready(line)
            code = self._work(told)
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            # Not sys.exit(): the launcher's frames lie below on this stack and must not run twice.
            os._exit(code)

    # --- what children do ---

    def _told(self, child: Child) -> None:
        try:
            data = child.line.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.unwatch(child.line)  # it is dying, SIGCHLD follows; or it closed its end on purpose
        elif data == READY:
            child.is_ready = True
            if not self._serves and len(self._children) > self._workers and all(one.is_ready for one in self._children.values()):
                self._serves = True
                self._on_ready()

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._gone(child, status)

    def _gone(self, child: Child, status: int) -> None:
        self._told(child)  # it may have said that it serves just before
        self.unwatch(child.line)
        child.line.close()
        del self._children[child.place]
        self._on_gone(child.place)
        self._on_children(self.pids)
        why = f"{child.name} (pid {child.pid}) {exit_reason(status)}"
        if self.stopped_by is not None:
            if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGTERM, -signal.SIGINT, -signal.SIGUSR1):
                self._log(_ALERT, why)
            if list(self._children) == [0]:
                # Without workers the controller has nothing left to control.
                self._send(signal.SIGTERM, [0])
        elif not self._serves and not self._may_try_again(child, status):
            self._fail_to_start(why, os.waitstatus_to_exitcode(status))
        else:
            self._replace(child, why)

    def _may_try_again(self, child: Child, status: int) -> bool:
        """While a start is under way: whether a death may be none of the configuration's doing.

        It is not where the process served already, or was killed from outside (SIGKILL, by a person or for want of memory).
        """
        outside = child.is_ready or os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        return outside and not child.abort_at and self._young_deaths[child.place] < _MOST_YOUNG_DEATHS

    def _fail_to_start(self, why: str, code: int) -> None:
        if not code:
            code = 1
        self._log(_ALERT, f"{why} before it served")
        self._stop(signal.SIGTERM)
        self._code = code if code > 0 else 128 - code

    def _replace(self, child: Child, why: str) -> None:
        place = child.place
        if child.abort_at:
            why = f"{why}, since it gave no sign of life for {HANG_LIMIT:g} s"
        now = time.monotonic()
        if now - child.started >= SHORT_LIFE:
            self._young_deaths[place] = 0
        deaths = self._young_deaths[place]
        self._young_deaths[place] += 1
        self._died[place] = why
        wait = min(FIRST_WAIT * 2 ** (deaths - 1), LONGEST_WAIT) if deaths else 0.0
        if deaths > 1:
            self._log(_ALERT, f"{why}, soon after its start, as {deaths} others before it; the next one starts in {wait:g} s")
        self._due[place] = now + wait

    # --- hanging ---

    def _look_for_hanging(self, now: float) -> None:
        if now - self._checked_at > _CHECK_EVERY + HANG_LIMIT / 2:
            # We were stopped ourselves, and so perhaps were they: they get their time anew.
            self._excused_until = now
        self._checked_at = now
        for child in self._children.values():
            if child.abort_at:
                if now - child.abort_at >= TRACE_TIME:
                    self._send(signal.SIGKILL, [child.place])
                continue
            last = self._heartbeats.last(child.place)
            if last:
                silent = now - max(last, self._excused_until) > HANG_LIMIT
            else:
                silent = not child.is_ready and now - max(child.started, self._excused_until) > START_LIMIT
            if silent:
                child.abort_at = now
                self._log(_ALERT, f"{child.name} (pid {child.pid}) hangs and is killed; where it hangs is on stderr")
                self._send(signal.SIGABRT, [child.place])

    # --- stopping ---

    def _send(self, number: signal.Signals, places: Iterable[int]) -> None:
        for place in places:
            child = self._children.get(place)
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, number)

    def _leave(self, number: signal.Signals) -> None:
        """From now on nothing is replaced, and nobody waits in backlogs that only we have."""
        self.stopped_by = number
        self._due.clear()
        for sock in self._heritage.listeners.values():
            sock.close()

    def _stop(self, number: signal.Signals) -> None:
        self._leave(number)
        self._terminate_at = 0.0
        self._kill_at = self._kill_at or time.monotonic() + STOP_LIMIT
        self._send(signal.SIGTERM, list(self._children))

    def _soft_stop(self) -> None:
        self._leave(signal.SIGUSR1)
        if self._hard_stop_after:
            self._terminate_at = time.monotonic() + self._hard_stop_after
        self._send(signal.SIGUSR1, list(self._children))

    def _look_at_deadlines(self, now: float) -> None:
        if self._terminate_at and now >= self._terminate_at:
            self._log(_WARNING, "soft-stop running for too long, performing a hard-stop")
            self._stop(signal.SIGTERM)
        if self._kill_at and now >= self._kill_at:
            self._kill_at = now + STOP_LIMIT
            self._send(signal.SIGKILL, list(self._children))
