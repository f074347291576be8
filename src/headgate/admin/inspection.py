"""What the commands that look inside a process need from it (`show sess`, `show fd`, `show activity`, ...).

`app.inspection` implements it; tests have a fake. In a worker it shows that worker, elsewhere the process that answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Protocol

from headgate.admin.tracing import Source
from headgate.base.records import dataclass
from headgate.observe.handshakes import HandshakeLog
from headgate.proxy.client_session import ClientSession
from headgate.proxy.invalid import InvalidMessages


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One open file descriptor.

    Attributes:
        number: of the descriptor.
        kind: "listener", "frontend" (a client's connection), "backend" (a server's), "pipe" or "other".
        events: what is watched: letters of "RW"; "" when nothing is, None when the event loop does not know it.
        watched_by: the event loop calls this, in words.
        local, remote: addresses as the kernel knows them; "" where there is none.
        family: "ipv4", "ipv6", "unix" or "".
        belongs_to: "fe=<name>" or "sv=<backend>/<server>", or what it is in words.
        tls: there is TLS on it.
        suspicious: a connection that nobody watches and nobody owns.
    """

    number: int
    kind: str
    events: str | None
    watched_by: str
    family: str
    local: str
    remote: str
    belongs_to: str
    tls: bool
    suspicious: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Objects of one kind.

    Attributes:
        name: the kind.
        size: of one, bytes, without what it refers to.
        allocated, used: how many there are, and how many of them are in use.
    """

    name: str
    size: int
    allocated: int
    used: int


@dataclass(frozen=True, slots=True)
class Sink:
    """Where events can go (`show events`, `trace ... sink`).

    Attributes:
        kind: "fd" or "buffer".
        dropped: events that it did not take.
    """

    name: str
    kind: str
    description: str
    dropped: int


class Ring(Protocol):
    """A buffer of lines; `runtime.logs.rings.LogRing`."""

    @property
    def written(self) -> int: ...

    def since(self, sequence: int) -> tuple[list[bytes], int, int]:
        """Lines from number `sequence` on, the next number, and how many were lost in between."""


class Profiler(Protocol):
    """What `set profiling` switches; `app.profiling.Profiler`."""

    @property
    def tasks(self) -> bool: ...

    @property
    def memory(self) -> bool: ...

    def switch_tasks(self, on: bool) -> None:
        """Begin to measure calls of the event loop, from zero, or cease."""

    def switch_memory(self, on: bool) -> None:
        """Begin to trace allocations, or cease."""

    def calls(self) -> Mapping[str, tuple[int, float]]:
        """Function -> calls and seconds."""

    def allocations(self, most: int) -> Sequence[tuple[str, int, int]]:
        """Place in the code, objects and bytes that live, the greatest first."""


class Tracing(Protocol):
    """What `trace` switches; `app.tracing.Tracing`."""

    @property
    def sources(self) -> Mapping[str, Source]: ...

    def changed(self) -> None:
        """A source was switched: catch the events of those that are awake, and no others."""


class Inspection(Protocol):
    """The inside of one process.

    Attributes:
        worker: its number from 1 in a worker; 0 in the process that answers for all, which may do a worker's work too.
        startup_logs: what was said while the configuration was loaded.
        anonymous_key: the global key of the anonymised mode, 0 for none.
    """

    anonymous_key: int

    @property
    def startup_logs(self) -> str: ...

    @property
    def worker(self) -> int: ...

    @property
    def sessions(self) -> Collection[ClientSession]:
        """Client connections."""

    @property
    def invalid(self) -> InvalidMessages:
        """The last invalid messages."""

    @property
    def handshakes(self) -> HandshakeLog:
        """The last TLS handshakes of clients."""

    @property
    def rings(self) -> Mapping[str, Ring]: ...

    @property
    def sinks(self) -> Sequence[Sink]: ...

    @property
    def profiler(self) -> Profiler: ...

    @property
    def tracing(self) -> Tracing: ...

    def descriptors(self) -> Sequence[Descriptor]:
        """Open file descriptors, by number."""

    def activity(self) -> Mapping[str, int]:
        """Numbers about what the process does, by name."""

    def threads(self) -> Sequence[tuple[int, str, str]]:
        """Identifier, name and stack (lines) of each thread."""

    def tasks(self) -> Mapping[str, int]:
        """What waits to be run or continued, by function: how many."""

    def pools(self) -> Sequence[Pool]:
        """Objects of the data plane."""

    def libraries(self) -> Sequence[tuple[int, int, str]]:
        """First address, last address and path of each shared object."""

    def platform(self) -> Mapping[str, Mapping[str, str]]:
        """Sections of facts about machine and process, for `show dev`."""

    def random_key(self) -> int:
        """A key of 32 bits for the anonymised mode."""

    @property
    def bugs(self) -> Mapping[str, int]:
        """Errors that nobody expected, by place in the code: how often."""

    def log(self, text: str) -> None:
        """Send a line to the logs of the process."""

    def leave(self, code: int) -> None:
        """End the process at once, with this exit code."""

    def pause(self, seconds: float) -> Awaitable[None]:
        """Wait without holding anything up."""

    def block(self, seconds: float) -> None:
        """Hold up the whole process, for tests of what happens then."""

    def refresh(self) -> Awaitable[None]:
        """Let this process's objects show the sums over all workers as they are now."""

    def fetch(self, method: str, uri: str) -> Awaitable[str]:
        """Send an HTTP request and answer with the response, in text.

        Raises:
            CommandError: with the reason why there is none.
        """
