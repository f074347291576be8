"""What a process is told about itself and those beside it when it is forked: its role, the shared memory, what it inherits.

The launcher (`runtime.process.launcher`) makes one for each process; `app` is built around it.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from headgate.base.records import dataclass, field

if TYPE_CHECKING:
    from headgate.runtime.workers.journal import Journal


class Role(enum.Enum):
    """What a process does."""

    #: All of it: one worker and nobody beside it.
    SINGLE = "single"
    #: Health checks, stats socket, statistics: everything but traffic.
    CONTROLLER = "controller"
    #: Traffic, and nothing else.
    WORKER = "worker"


@dataclass(slots=True)
class Heritage:
    """What a new process has from the one before it, over a reload.

    Attributes:
        listeners: listening sockets by the address they are bound to, as `runtime.sockets` writes it; who binds looks here first.
        tables: directory of the shared tables (in memory), None for tables within the process.
        session_context: the OpenSSL context that all TLS connections are created from, so that tickets stay valid; an object of
            `tls.session_context`, None where there is no TLS.
        server_states: the text of `show servers state` of the process before, "" without one.
        startup_logs: what was said while this configuration was loaded, for `show startup-logs`.
        cli: a listening unix socket on which the master talks to the runtime API, None without a master.
        reloads: how many reloads the master had before this process was made.
        lines: the keys in `listeners` of each line of the configuration that listens, by id() of its `Bind` or `StatsSocket`.
        master: becomes readable when the master is gone, None without one. Nothing is ever sent over it to a process: it may
            be watched, and must not be read from.
    """

    listeners: dict[str, socket.socket]
    tables: str | None = None
    session_context: object | None = None
    server_states: str = ""
    startup_logs: str = ""
    cli: socket.socket | None = None
    reloads: int = 0
    lines: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    master: socket.socket | None = None

    def sockets_of(self, line: object) -> list[socket.socket]:
        """The listening sockets of a `Bind` or `StatsSocket` line; empty when they are not open (any more) in this process."""
        sockets = [self.listeners[key] for key in self.lines.get(id(line), ()) if key in self.listeners]
        return [] if any(sock.fileno() < 0 for sock in sockets) else sockets


@dataclass(slots=True)
class Place:
    """One process among its siblings.

    Attributes:
        role: what it does.
        index: the worker's number from 1; 0 for the others.
        workers: how many workers there are.
        heritage: see there.
        supervision: connected to the launcher (SOCK_SEQPACKET); None for a single process. On it arrive, as descriptors, the
            links to siblings: `b"link N"` with one descriptor, to worker N for the controller, to the controller (N is 0) for a
            worker. A new link to the same sibling replaces the old one: the sibling was replaced.
        shared: memory and locks that all processes of this generation share (`runtime.workers.shared`), None for a single
            process.
        journal: the changes that were made while serving (`runtime.workers.journal`), None for a single process.
        alive: says that the process is not stuck; called by it a few times a second.
        ready: says that the process serves; called by it once.
        leader: pid of the generation's first process, which takes signals for all of it; 0 where that is this process.
    """

    role: Role
    index: int
    workers: int
    heritage: Heritage
    supervision: socket.socket | None = None
    shared: object | None = None
    journal: Journal | None = None
    alive: Callable[[], None] | None = None
    ready: Callable[[], None] | None = None
    leader: int = 0


def alone() -> Place:
    """The place of a process that has no siblings and no predecessor."""
    return Place(Role.SINGLE, 0, 1, Heritage({}))
