"""How state that is one over all workers lies in shared memory, for those who read and write it there.

The memory is a long line of 64-bit cells. Each frontend, listening socket, backend and server has a *row* of them, and all
together have one. A row begins with totals; behind them each process has its *share* of every total, so that what a dead process
held can be given back. Who changes a total or a share, or moves a queue, is in the row's *section* meanwhile; reading needs none.

Here is only arithmetic: the memory itself is made by `runtime.workers.shared`.
"""

from __future__ import annotations

from typing import Final, Protocol

from headgate.observe.cells import Cells

#: What the row belongs to, as a number; 0: nobody.
KEY: Final = 0
# Totals. `WAITING`: streams in the backend's own queue; of a frontend, processes whose listeners wait for a place.
SESSIONS: Final = 1
QUEUED: Final = 2
#: Of the process, which has no queue: TLS connections. Each process counts its own in its share; there is no total.
TLS: Final = QUEUED
WAITING: Final = 3
ATTACHED: Final = 4
#: The totals, which are also the shares.
GAUGES: Final = (SESSIONS, QUEUED, WAITING, ATTACHED)
# Backends and servers: the queue and whose turn it is.
HEAD: Final = 5
TAIL: Final = 6
ARRIVALS: Final = 7
TURN: Final = 8
SECOND_TURN: Final = 9
PICKS: Final = 10
# Servers: errors in a row that `observe` saw.
ERRORS: Final = 11
# Frontends and the process: meters of three cells each, and who was woken last.
METERS: Final = 5
# The process: somebody has found no place for a TLS connection.
TLS_WANTED: Final = 14
LAST_WOKEN: Final = 15
_SHARES: Final = 16
_SHARE: Final = 5
#: In a share: where the gauges begin, and the first of the streams that were granted a server by another process.
MAIL: Final = 4

# A place in a queue. `QUEUE` is 0 when it is free, `GRANT` the row of the server that it was granted.
NODE: Final = 8
QUEUE: Final = 0
TICKET: Final = 1
NEXT: Final = 2
PREVIOUS: Final = 3
GRANT: Final = 4
OWNER: Final = 5
BACKEND: Final = 6


def row_width(processes: int) -> int:
    """Cells of a row without what is counted in it."""
    return _SHARES + _SHARE * processes


def share_of(row: int, process: int) -> int:
    """Where the share of a process begins: the gauges in the order of `GAUGES`, then `MAIL`."""
    return row + _SHARES + _SHARE * process


class Section(Protocol):
    """Only one process at a time is in a section. Not to be entered twice, nor while in another one."""

    def enter(self) -> None:
        """Wait until nobody else is in it."""

    def leave(self) -> None:
        """Let the next one in."""


class Board(Protocol):
    """The shared memory as one process sees it; `runtime.workers.shared`.

    Attributes:
        cells: the memory.
        undo: three cells for a change in another process's share: which cell, what was there before, for which place in a queue.
        process: the number of this process: 0 for the controller, workers from 1.
        processes: how many there are.
    """

    cells: Cells
    undo: int
    process: int
    processes: int

    def attach(self, kind: str, name: str) -> int:
        """The row of something, the same one in all processes.

        Args:
            kind: "process", "frontend", "listener", "backend" or "server".
            name: unique for its kind.
        """

    def detach(self, row: int) -> None:
        """This process has no use for the row any more; when none has, it is free."""

    def section(self, row: int) -> Section:
        """The section of a backend's row, which is that of its servers too. Frontends, listeners and the process share one."""

    def take_node(self) -> int:
        """A place in a queue, of those that belong to this process; 0 when all are in use."""

    def free_node(self, node: int) -> None:
        """Give it back."""

    def wake(self, process: int) -> None:
        """Have a process look at what it was granted, and at listeners that wait. Never blocks."""
