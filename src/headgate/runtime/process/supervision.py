"""What passes between a launcher and the processes that it made: readiness up, links to siblings down, heartbeats beside it."""

from __future__ import annotations

import mmap
import os
import socket
import time
from collections.abc import Callable, Iterable

from headgate.base.records import dataclass

#: Longest message on a supervision or link socket of ours, bytes.
LONGEST = 4096
READY = b"ready"

#: Bytes from one heartbeat's stamp to the next: a cache line each.
_STRIDE = 64


class Heartbeats:
    """One monotonic stamp for each process, in memory that all of them share.

    Args:
        places: how many processes.
    """

    __slots__ = ("_memory", "_stamps")

    def __init__(self, places: int) -> None:
        self._memory = mmap.mmap(-1, max(places * _STRIDE, mmap.PAGESIZE))
        # Eight aligned bytes: written and read in one piece.
        self._stamps = memoryview(self._memory).cast("d")

    def beat(self, place: int) -> None:
        """Say that this process is alive now."""
        self._stamps[place * _STRIDE // 8] = time.monotonic()

    def last(self, place: int) -> float:
        """When it said so, in monotonic seconds; 0.0 before the first time."""
        return self._stamps[place * _STRIDE // 8]

    def forget(self, place: int) -> None:
        """Another process takes this place."""
        self._stamps[place * _STRIDE // 8] = 0.0


@dataclass(slots=True)
class Child:
    """A process that the launcher made.

    Attributes:
        place: 0 for the controller, the worker's number for a worker.
        pid: of the process.
        line: the launcher's end of its supervision socket.
        started: monotonic seconds.
        is_ready: it has said that it serves.
        abort_at: when it was found hanging and asked for a trace, 0.0 otherwise.
    """

    place: int
    pid: int
    line: socket.socket
    started: float
    is_ready: bool = False
    abort_at: float = 0.0

    @property
    def name(self) -> str:
        """As messages call it."""
        return f"worker {self.place}" if self.place else "controller"


def supervision_pair() -> tuple[socket.socket, socket.socket]:
    """The launcher's end, which never blocks, and the child's end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


def send_link(line: socket.socket, to: int, end: socket.socket) -> bool:
    """Hand a process its link to a sibling: `link N` with one descriptor. False when it can't take it."""
    try:
        socket.send_fds(line, [b"link %d" % to], [end.fileno()])  # `line` never blocks
    except OSError:
        return False
    return True


def send_ready(line: socket.socket) -> Callable[[], None]:
    """Makes `Place.ready`."""

    def ready() -> None:
        line.send(READY, socket.MSG_NOSIGNAL)

    return ready


def exists(pid: int) -> bool:
    """Whether there is a process of that number, be it one that has ended and was not waited for yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def exit_reason(status: int) -> str:
    """How a process ended, by its wait status: "was killed by signal 9 (SIGKILL)", "exited with code 1"."""
    import signal

    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = f" ({signal.Signals(-code).name})"
    except ValueError:
        name = ""
    return f"was killed by signal {-code}{name}"


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close what belongs to others, in a process that was just forked."""
    for sock in sockets:
        sock.close()
