"""What the machines need from the world besides channels: the clock, deadlines, connections to servers, log lines.

Implemented by `runtime` and `app`; by small fakes in the playbook tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from headgate.balance.server import ServerState
from headgate.plan.facts import Stream
from headgate.plan.verdicts import Question
from headgate.proxy.port import Channel, Lost


class Reminder:
    """What a scheduler keeps of a deadline until its time has come.

    It lets go of its owner when that one retires: else a connection that is over would keep its memory, and OpenSSL's, for
    as long as its timeout would have taken.

    Attributes:
        at: when, monotonic seconds.
        timed: whose; None: nobody's any more.
    """

    __slots__ = ("at", "timed")

    def __init__(self, at: float, timed: Timed) -> None:
        self.at = at
        self.timed: Timed | None = timed


class Timed(Protocol):
    """Something with at most one deadline.

    Attributes:
        deadline: seconds on the monotonic clock, 0.0 for none. Plain assignment moves it later or removes it.
        armed: the earliest reminder that is kept for it. Owned by the scheduler.
    """

    deadline: float
    armed: Reminder | None

    def timed_out(self) -> None:
        """The deadline has passed."""


class Scheduler:
    """The clock and the deadlines; `runtime.reactor` is it. A class: it is asked for the time with every request.

    Attributes:
        now: monotonic seconds, constant within one batch of events.
        wall: seconds since the epoch that belong to `now`.
    """

    __slots__ = ("now", "wall")

    def __init__(self, now: float, wall: float) -> None:
        self.now = now
        self.wall = wall

    def arm(self, timed: Timed, deadline: float) -> None:
        """Set `timed`'s deadline (monotonic seconds)."""
        raise NotImplementedError

    def retire(self, timed: Timed) -> None:
        """Forget `timed` for good."""
        raise NotImplementedError

    def later(self, call: Callable[[], None]) -> None:
        """Run `call` once the current batch of events is through."""
        raise NotImplementedError


class Attempt(Protocol):
    """Who waits for a connection to a server."""

    def connected(self, channel: Channel) -> None:
        """The connection (with PROXY header sent and TLS handshake done, where configured) is ready."""

    def connect_failed(self, reason: Lost) -> None:
        """It could not be made."""

    def early_request(self, most: int) -> bytes:
        """The beginning of what is sent when it is ready, to go with its ClientHello (`allow-0rtt`); b"" for nothing.

        Asked once for each connection at most, where a server and its session allow it. `channel.tls.early_received` says what
        became of it; `channel.send` gets all of it again in any case.

        Args:
            most: bytes.
        """


class Waiter(Protocol):
    """A stream in a queue. Every stream that is given to `BackendState.assign` is one."""

    def slot_granted(self) -> None:
        """A server has a slot for it: `server` is set and the slot taken."""

    def queue_flushed(self) -> None:
        """It was taken out of the queue of a server that went down: it must ask again."""


class Cancellable(Protocol):
    """A connection attempt on its way."""

    def cancel(self) -> None:
        """Give it up; the attempt hears nothing more."""

    def timed_out(self) -> None:
        """As `cancel`, because `timeout connect` is over: what the server owes us is noted."""


class Connector(Protocol):
    """Opens connections to servers."""

    def connect(self, server: ServerState, stream: Stream, attempt: Attempt) -> Cancellable:
        """Start connecting; answers through `attempt`, never before this returns."""


class AddressWaiter(Protocol):
    """A stream whose rules wait for the address of a name."""

    def resolved(self, question: Question, address: object | None) -> None:
        """The answer: an `ipaddress` object, or None when none could be found."""


class Lookups(Protocol):
    """Finds the addresses of names for rules (`do-resolve`); `runtime.lookups` implements it."""

    def known(self, question: Question) -> object | None:
        """An answer that is young enough (`hold valid`), as an `ipaddress` object; None where somebody must be asked."""

    def ask(self, question: Question, waiter: AddressWaiter) -> None:
        """Have name servers asked; answers through `waiter` once, never before this returns."""

    def forget(self, question: Question) -> None:
        """Who asked this does not wait for the answer any longer."""


class LogEmitter(Protocol):
    """Where a proxy's log lines go; `runtime.logs` implements it."""

    def emit(self, level: int, line: bytes, now: float, structured: bytes = b"") -> None:
        """Send one line with a syslog level (0 to 7); `now` is the wall clock. Never blocks, counts what it drops."""


class Asker(Protocol):
    """The runtime API as the data plane may ask it: the statistics page and the metrics are made of its answers."""

    def ask(self, command: str, answered: Callable[[str], None]) -> None:
        """Run a command of the stats socket at level admin, wherever it belongs (`admin.registry.Scope`).

        Args:
            command: one line, as on the stats socket.
            answered: called with the answer, never before this returns; with "" when there is nobody to ask.
        """
