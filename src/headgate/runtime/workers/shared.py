"""State that is one over all workers: memory, semaphores and wake-up descriptors, made by the launcher before it forks.

`balance.rows` says how the memory is laid out. Behind each row lie the counters that processes publish of it: a column for each
process, and one for those that are gone.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

from headgate.balance.rows import (
    ATTACHED,
    BACKEND,
    GAUGES,
    GRANT,
    HEAD,
    KEY,
    MAIL,
    NEXT,
    NODE,
    OWNER,
    PREVIOUS,
    QUEUE,
    QUEUED,
    TAIL,
    TICKET,
    WAITING,
    row_width,
    share_of,
)
from headgate.observe.cells import Cells
from headgate.observe.counters import ListenerCounters, ProcessCounters, ProxyCounters, ServerCounters
from headgate.observe.tally import Tally
from headgate.runtime.workers.sections import ProcessSection, make_semaphore, seize

KINDS: Final = ("process", "frontend", "listener", "backend", "server")
#: Rows for proxies and servers that are added while running: a proxy may have two halves and listeners.
RESERVE: Final = 256 * 3 + 4096
#: Places in queues that a worker has at least.
_FEWEST_NODES: Final = 4096
_BACKEND_SECTIONS: Final = 16
_OF_PROCESS, _OF_DIRECTORY, _FIRST_OF_BACKENDS = 0, 1, 2
_KIND_BITS: Final = 3
_FORMER: Final = -1  # key of a row that is free again: what was put behind it must still be found

#: For each process: the mark of its section, its pid, how many places in queues it has ever used, `undo` (three cells).
_MARK, _PID, _USED, _UNDO, _HEADER = 0, 1, 2, 3, 8


class TooManyProxies(Exception):
    """No row is left for another proxy or server."""


def _key(kind: str, name: str) -> int:
    digest = int.from_bytes(blake2b(name.encode(), digest_size=7).digest())
    return (digest << _KIND_BITS | KINDS.index(kind) + 1) & 0x7FFFFFFFFFFFFFFF


class SharedState:
    """What all processes of a generation share; every one of them has this object, as it was when it was forked.

    Args:
        rows: frontends, backends, listening sockets and servers of the configuration.
        workers: besides the controller.
        connections: how many clients there may be, and so how many streams may wait.

    Attributes:
        cells: the memory.
        processes: workers and controller.
    """

    def __init__(self, rows: int, workers: int, connections: int) -> None:
        self.processes = processes = workers + 1
        self._tallies = {
            KINDS.index(kind) + 1: Tally(example)
            for kind, example in (
                ("process", ProcessCounters()), ("frontend", ProxyCounters()), ("listener", ListenerCounters()),
                ("backend", ProxyCounters()), ("server", ServerCounters()),
            )
        }
        self._column = max(tally.width for tally in self._tallies.values())
        self._counted_at = row_width(processes)
        self._width = self._counted_at + self._column * (processes + 1)
        self._rows = rows + RESERVE
        self._slots = 1 << (self._rows * 4 // 3).bit_length()
        # Keys lie apart, so that looking through them does not touch, and so make real, memory of rows that nobody uses.
        self._keys = _HEADER * (processes + 1)
        self._first = self._keys + self._slots
        self._nodes = max(2 * connections, _FEWEST_NODES)
        self._nodes_at = self._first + self._slots * self._width
        size = self._nodes_at + NODE * self._nodes * processes
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._memory = mmap.mmap(-1, size * 8, flags=flags)
        self.cells = memoryview(self._memory).cast("q")
        self._semaphores = [make_semaphore() for _ in range(_FIRST_OF_BACKENDS + _BACKEND_SECTIONS)]
        self._events = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(processes)]
        self._written: dict[int, list[int]] = {}
        self._published: dict[int, list[int]] = {}
        self.board: LocalBoard | None = None

    # --- for one process ---

    def enter(self, process: int) -> LocalBoard:
        """Be this process from now on: 0 for the controller, workers from 1."""
        at = self._header(process)
        self.cells[at + _MARK] = 0
        self.cells[at + _UNDO] = 0
        self.cells[at + _PID] = os.getpid()
        self._written.clear()
        self._published.clear()
        self.board = LocalBoard(self, process)
        return self.board

    def event(self, process: int) -> int:
        """The descriptor (eventfd) that becomes readable when a process is to be woken."""
        return self._events[process]

    def wake(self, process: int) -> None:
        """See `balance.rows.Board`."""
        with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
            os.eventfd_write(self._events[process], 1)

    def heard(self, process: int) -> None:
        """Forget what woke a process; it looks at everything now."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._events[process])

    def close(self) -> None:
        """Give up memory and descriptors; for tests."""
        for event in self._events:
            os.close(event)
        self.board = None
        self.cells.release()
        self._memory.close()

    # --- rows ---

    def _header(self, process: int) -> int:
        return _HEADER * (process + 1)

    def find(self, kind: str, name: str) -> int:
        """The row of something, 0 when it has none."""
        key = _key(kind, name)
        for slot in self._probe(key):
            found = self.cells[self._keys + slot]
            if found == key:
                return self._row(slot)
            if not found:
                break
        return 0

    def _probe(self, key: int) -> Iterator[int]:
        start = (key >> _KIND_BITS) % self._slots
        for step in range(self._slots):
            yield (start + step) % self._slots

    def _row(self, slot: int) -> int:
        return self._first + slot * self._width

    def claim(self, kind: str, name: str) -> int:
        """The row of something, a new one when it has none; the caller is in the directory's section."""
        row = self.find(kind, name)
        if row:
            return row
        cells = self.cells
        key = _key(kind, name)
        for slot in self._probe(key):
            former = cells[self._keys + slot]
            if former in (0, _FORMER):
                row = self._row(slot)
                if former:
                    cells[row : row + self._width] = memoryview(bytes(8 * self._width)).cast("q")
                cells[row + KEY] = key
                cells[self._keys + slot] = key
                return row
        raise TooManyProxies(f"no room for {kind} '{name}': {RESERVE} proxies, servers and listeners may be added while running")

    def release(self, row: int) -> None:
        """Nobody uses a row any more; the caller is in the directory's section."""
        self.cells[row + KEY] = 0
        self.cells[self._keys + (row - self._first) // self._width] = _FORMER

    def count_rows(self) -> int:
        """How many rows are in use."""
        return sum(1 for _ in self._used_rows())

    @property
    def capacity(self) -> int:
        """How many rows may be in use."""
        return self._rows

    def _used_rows(self) -> Iterator[int]:
        for slot, key in enumerate(self.cells[self._keys : self._keys + self._slots].tolist()):
            if key > 0:
                yield self._row(slot)

    def directory(self, process: int) -> ProcessSection:
        """The section of those who look for rows."""
        return self._section(_OF_DIRECTORY, process)

    def section(self, row: int, process: int) -> ProcessSection:
        """The section of a row."""
        if (self.cells[row + KEY] & 7) == KINDS.index("backend") + 1:
            return self._section(_FIRST_OF_BACKENDS + (row - self._first) // self._width % _BACKEND_SECTIONS, process)
        return self._section(_OF_PROCESS, process)

    def _section(self, number: int, process: int) -> ProcessSection:
        return ProcessSection(self._semaphores[number], number, self.cells, self._header(process) + _MARK)

    # --- places in queues ---

    def node(self, process: int, number: int) -> int:
        """A place in a queue by number; 0 when there is none."""
        if number >= self._nodes:
            return 0
        used = self._header(process) + _USED
        if number >= self.cells[used]:
            self.cells[used] = number + 1
        node = self._nodes_at + NODE * (process * self._nodes + number)
        self.cells[node + OWNER] = process
        return node

    def _used_nodes(self) -> Iterator[int]:
        for process in range(self.processes):
            first = self._nodes_at + NODE * process * self._nodes
            yield from range(first, first + NODE * self.cells[self._header(process) + _USED], NODE)

    # --- the death of a process ---

    def recover(self, process: int) -> bool:
        """Give back all that a process held that is gone: sections, sessions, places in queues; and keep what it has counted.

        To be called by who has waited for it, before its successor is made.

        Returns:
            False when a living process hangs in a section: then all is done but without that section.
        """
        entered = [number for number in range(len(self._semaphores)) if seize(self._semaphores[number], number, self._marks)]
        try:
            cells = self.cells
            header = self._header(process)
            share = cells[header + _UNDO]
            if share:
                cells[share] = cells[header + _UNDO + 1]
                cells[cells[header + _UNDO + 2] + GRANT] = 0
            cells[header + _MARK] = cells[header + _UNDO] = cells[header + _PID] = 0
            for row in self._used_rows():
                self._retire(row, process)
                first = share_of(row, process)
                for at in (*range(first, first + len(GAUGES)), first + MAIL):
                    cells[at] = 0
            for node in self._used_nodes():
                if cells[node + OWNER] == process:
                    cells[node + QUEUE] = 0
            cells[header + _USED] = 0
            self._mend()
        finally:
            for number in entered:
                self._semaphores[number].release()
        for other in range(self.processes):
            self.wake(other)
        return len(entered) == len(self._semaphores)

    def _marks(self) -> list[tuple[int, bool]]:
        found = []
        for process in range(self.processes):
            header = self._header(process)
            mark = self.cells[header + _MARK]
            if mark:
                found.append((mark, _is_alive(self.cells[header + _PID])))
        return found

    def _mend(self) -> None:
        """Make all totals the sum of the shares, and all queues what their places say, whatever was half done."""
        cells = self.cells
        waiting = [node for node in self._used_nodes() if cells[node + QUEUE]]
        for row in self._used_rows():
            cells[row + HEAD] = cells[row + TAIL] = 0 if cells[row + KEY] & 7 > KINDS.index("listener") + 1 else cells[row + HEAD]
        self._mend_queues(waiting)
        for row in self._used_rows():
            for gauge in GAUGES:
                cells[row + gauge] = sum(cells[share_of(row, process) + gauge - 1] for process in range(self.processes))

    def _mend_queues(self, waiting: Iterable[int]) -> None:
        cells = self.cells
        nodes = sorted(waiting, key=lambda node: cells[node + TICKET])
        for row in self._used_rows():
            if cells[row + KEY] & 7 > KINDS.index("listener") + 1:
                for process in range(self.processes):
                    share = share_of(row, process)
                    cells[share + QUEUED - 1] = cells[share + MAIL] = 0
                    if cells[row + KEY] & 7 == KINDS.index("backend") + 1:
                        cells[share + WAITING - 1] = 0
        for node in nodes:
            queue, backend, owner = cells[node + QUEUE], cells[node + BACKEND], cells[node + OWNER]
            if cells[node + GRANT]:
                mail = share_of(backend, owner) + MAIL
                cells[node + NEXT] = cells[mail]
                cells[mail] = node
                continue
            tail = cells[queue + TAIL]
            cells[node + PREVIOUS], cells[node + NEXT] = tail, 0
            cells[tail + NEXT if tail else queue + HEAD] = node
            cells[queue + TAIL] = node
            cells[share_of(backend, owner) + QUEUED - 1] += 1
            cells[share_of(queue, owner) + (WAITING if queue == backend else QUEUED) - 1] += 1

    # --- counters ---

    def _column_of(self, row: int, process: int) -> int:
        return row + self._counted_at + self._column * process

    def _tally(self, row: int) -> Tally:
        return self._tallies[self.cells[row + KEY] & 7]

    def _numbers(self, row: int, process: int, width: int) -> list[int]:
        at = self._column_of(row, process)
        return self.cells[at : at + width].tolist()

    def _put(self, row: int, process: int, numbers: list[int]) -> None:
        at = self._column_of(row, process)
        for index, number in enumerate(numbers):
            self.cells[at + index] = number

    def _retire(self, row: int, process: int) -> None:
        tally = self._tally(row)
        last = self._numbers(row, process, tally.width)
        if any(last):
            past = self._numbers(row, self.processes, tally.width)
            self._put(row, self.processes, tally.retire(past, last))
            self._put(row, process, [0] * tally.width)

    def publish(self, app: Any) -> None:
        """Write what this process has counted; costs what has changed since the last time, and little more.

        Args:
            app: with its frontends, backends and counters.
        """
        if self.board is None:
            return
        process = self.board.process
        for row, counters in self._counted(app):
            numbers = self._tally(row).read(counters)
            if self._published.get(row) != numbers:
                self._published[row] = numbers
                self._put(row, process, numbers)

    def collect(self, app: Any) -> None:
        """Add up what the workers have published into this process's own counters.

        What is less now than it was after the last time was cleared meanwhile, and so is what processes that are gone had of it.
        """
        for row, counters in self._counted(app):
            tally = self._tally(row)
            width = tally.width
            past = self._numbers(row, self.processes, width)
            written = self._written.get(row)
            if written is not None and any(past):
                now = tally.read(counters)
                cleared = [0 if now[at] < written[at] else past[at] for at in range(width)]
                if cleared != past:
                    past = cleared
                    self._put(row, self.processes, past)
            tally.write(counters, [*(self._numbers(row, process, width) for process in range(1, self.processes)), past])
            self._written[row] = tally.read(counters)

    def _counted(self, app: Any) -> Iterator[tuple[int, object]]:
        """All objects of a process that count, with their rows."""
        yield app.shared.row, app.counters
        for side in app.frontends.values():
            yield side.row, side.counters
            for socket in side.sockets.values():
                row = getattr(socket.counters, "row", 0)
                if row:
                    yield row, socket.counters
        for backend in app.backends.values():
            yield backend.state.row, backend.counters
            for server in backend.state.servers:
                yield server.row, server.counters


class LocalBoard:
    """The shared state as one process uses it. Implements `balance.rows.Board`."""

    def __init__(self, shared: SharedState, process: int) -> None:
        self._shared = shared
        self.cells: Cells = shared.cells
        self.process = process
        self.processes = shared.processes
        self.undo = shared._header(process) + _UNDO
        self._directory = shared.directory(process)
        self._free: list[int] = []
        self._made = 0

    def attach(self, kind: str, name: str) -> int:
        """See `balance.rows.Board`. Raises TooManyProxies."""
        cells = self.cells
        self._directory.enter()
        try:
            row = self._shared.claim(kind, name)
            share = share_of(row, self.process) + ATTACHED - 1
            if not cells[share]:
                cells[share] = 1
                cells[row + ATTACHED] += 1
            return row
        finally:
            self._directory.leave()

    def detach(self, row: int) -> None:
        """See `balance.rows.Board`."""
        cells = self.cells
        self._directory.enter()
        try:
            share = share_of(row, self.process) + ATTACHED - 1
            if cells[share]:
                cells[share] = 0
                cells[row + ATTACHED] -= 1
                if not cells[row + ATTACHED]:
                    self._shared.release(row)
        finally:
            self._directory.leave()

    def section(self, row: int) -> ProcessSection:
        """See `balance.rows.Board`."""
        return self._shared.section(row, self.process)

    def take_node(self) -> int:
        """See `balance.rows.Board`."""
        if self._free:
            return self._free.pop()
        node = self._shared.node(self.process, self._made)
        self._made += bool(node)
        return node

    def free_node(self, node: int) -> None:
        """See `balance.rows.Board`."""
        self.cells[node + QUEUE] = 0
        self.cells[node + GRANT] = 0
        self._free.append(node)

    def wake(self, process: int) -> None:
        """See `balance.rows.Board`."""
        self._shared.wake(process)


def _is_alive(pid: int) -> bool:
    """Whether a process is there and not merely waited for."""
    if not pid:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except OSError:
        return False
