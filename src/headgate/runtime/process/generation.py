"""A generation as its master sees it, and what the two say to each other over a socket of their own (SOCK_SEQPACKET).

All messages go up. Their first word says what follows: `said` (what was shown while it started), `opened` (keys of sockets that
it bound itself, which come with it), `dropped` (keys that it doesn't want), `processes` (pids besides the first one),
`settings`, `ready`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from headgate.base.records import dataclass, field
from headgate.runtime.process.supervision import exists

#: Longest message, bytes, and most descriptors in one.
_LONGEST = 65536
_MOST_DESCRIPTORS = 64
_TEXT_PIECE = 16384
#: How much of what a start says is kept, characters.
LONGEST_LOG = 256 * 1024


class MasterLink:
    """A generation's end.

    Args:
        sock: connected to the master.
        inherited: the listening sockets that came from the master.
    """

    __slots__ = ("_inherited", "_is_ready", "sock")

    def __init__(self, sock: socket.socket, inherited: Mapping[str, socket.socket]) -> None:
        self.sock = sock
        self._inherited = dict(inherited)
        self._is_ready = False

    def opened(self, sockets: Mapping[str, socket.socket]) -> None:
        """Say which listening sockets are used, and hand over those that are new."""
        fresh = [key for key, sock in sockets.items() if self._inherited.get(key) is not sock]
        for start in range(0, len(fresh), _MOST_DESCRIPTORS):
            keys = fresh[start : start + _MOST_DESCRIPTORS]
            self._send("opened", keys, [sockets[key].fileno() for key in keys])
        dropped = [key for key in self._inherited if key not in sockets]
        for start in range(0, len(dropped), _MOST_DESCRIPTORS):
            self._send("dropped", dropped[start : start + _MOST_DESCRIPTORS])

    def processes(self, pids: Sequence[int]) -> None:
        """Say who belongs to this generation besides its first process: the controller (or 0), then the workers."""
        self._send("processes", [str(pid) for pid in pids])

    def settings(self, max_reloads: int, keeps_after_crash: bool, speaks_tls: bool) -> None:
        """Say what this configuration wants of the master."""
        self._send("settings", [str(max_reloads), str(int(keeps_after_crash)), str(int(speaks_tls))])

    def said(self, text: str) -> None:
        """Pass on what was shown, as long as the start lasts."""
        if not self._is_ready:
            for start in range(0, len(text), _TEXT_PIECE // 4):
                self._send("said", [text[start : start + _TEXT_PIECE // 4]])

    def ready(self) -> None:
        """Say that all processes serve."""
        self._is_ready = True
        self._send("ready", [])

    def _send(self, word: str, parts: Sequence[str], descriptors: Sequence[int] = ()) -> None:
        data = "\n".join((word, *parts)).encode("utf-8", "surrogateescape")
        # Without a master we serve all the same.
        with contextlib.suppress(OSError):
            if descriptors:
                socket.send_fds(self.sock, [data], descriptors)
            else:
                self.sock.send(data)


@dataclass(slots=True)
class GenerationRecord:
    """One generation.

    Attributes:
        number: counted from 1.
        pid: its first process: launcher, or the one that serves.
        link: the master's end of the socket between them.
        cli: path of the unix socket that its runtime API listens on.
        started: monotonic seconds.
        controller: pid of its controller, 0 without one.
        pids: its other processes, the controller among them.
        reloads: how many reloads it has survived.
        is_ready: it serves.
        is_leaving: it was told to finish.
        status: wait status of the first process, None while it runs.
        opened, dropped: changes to the listening sockets that come into effect when it is ready.
        texts: what was shown while it started.
        on_end: called with success and text when it serves or has failed.
        is_hard: the one before it is to be ended at once.
        max_reloads, keeps_after_crash, speaks_tls: see `MasterLink.settings`.
    """

    number: int
    pid: int
    link: socket.socket
    cli: str
    started: float
    controller: int = 0
    pids: list[int] = field(default_factory=list)
    reloads: int = 0
    is_ready: bool = False
    is_leaving: bool = False
    status: int | None = None
    opened: dict[str, socket.socket] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    on_end: list[Callable[[bool, str], None]] = field(default_factory=list)
    is_hard: bool = False
    max_reloads: int = 50
    keeps_after_crash: bool = False
    speaks_tls: bool = False

    @property
    def text(self) -> str:
        """What was shown while it started."""
        return "".join(self.texts)

    def say(self, text: str) -> None:
        """Add to `text`, up to a limit."""
        if sum(map(len, self.texts)) < LONGEST_LOG:
            self.texts.append(text)

    def alive(self) -> list[int]:
        """The processes that are still there."""
        pids = [*self.pids] if self.status is not None else [self.pid, *self.pids]
        return [pid for pid in pids if exists(pid)]

    def uptime(self) -> str:
        """As `show proc` writes it: days, hours, minutes and seconds."""
        seconds = int(time.monotonic() - self.started)
        return uptime_text(seconds)

    def read(self) -> bool:
        """Take all messages that are there. False when the other side is gone."""
        for word, parts, descriptors in self._messages():
            if word == "opened":
                for key, descriptor in zip(parts, descriptors, strict=True):
                    self.opened[key] = sock = socket.socket(fileno=descriptor)
                    sock.setblocking(False)  # otherwise dup() would make it block for everybody
            elif word == "dropped":
                self.dropped.extend(parts)
            elif word == "processes":
                pids = [int(part) for part in parts]
                self.controller = pids[0]
                self.pids = [pid for pid in pids if pid]
            elif word == "settings":
                self.max_reloads, self.keeps_after_crash, self.speaks_tls = int(parts[0]), parts[1] == "1", parts[2] == "1"
            elif word == "said":
                self.say("\n".join(parts))
            elif word == "ready":
                self.is_ready = True
            elif not word:
                return False
        return True

    def _messages(self) -> Iterator[tuple[str, list[str], list[int]]]:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.link, _LONGEST, _MOST_DESCRIPTORS)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            word, *parts = data.decode("utf-8", "surrogateescape").split("\n")
            yield word, parts, list(descriptors)
            if not word:
                return

    def forget_sockets(self) -> None:
        """It has failed: what it bound is of no use."""
        for sock in self.opened.values():
            sock.close()
        self.opened = {}


def uptime_text(seconds: int) -> str:
    """`0d00h02m07s`"""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours // 24}d{hours % 24:02}h{minute:02}m{second:02}s"
