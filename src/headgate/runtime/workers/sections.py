"""Critical sections over processes, with a mark that says who is inside, so that what a killed process held can be freed.

POSIX semaphores: six times as fast as robust mutexes (which need a foreign call), ten times as fast as record locks. They don't
notice the death of who holds them; hence the marks.
"""

from __future__ import annotations

import _multiprocessing  # type: ignore[import-not-found]  # what `multiprocessing.synchronize` wraps, without its price
import contextlib
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from headgate.observe.cells import Cells

_SemLock: Final[Any] = _multiprocessing.SemLock
_SEMAPHORE: Final = 1
_TRY: Final = 0.02
#: How long a process may stand between getting a semaphore and saying so, seconds; it takes nanoseconds.
_UNSAID: Final = 1.0
_LONGEST: Final = 5.0


def make_semaphore() -> Any:
    """A semaphore for those who are forked from here."""
    for _ in range(100):
        with contextlib.suppress(FileExistsError):
            return _SemLock(_SEMAPHORE, 1, 1, f"/headgate-{os.getpid()}-{os.urandom(4).hex()}", True)
    raise OSError("no name is free for a semaphore")


class ProcessSection:
    """One section as one process enters it. Implements `balance.rows.Section`.

    Args:
        semaphore: free when nobody is inside.
        number: of the section.
        cells: where the mark of this process is, at `mark`: 0 outside, odd while it waits for a section, even inside it.
    """

    __slots__ = ("_acquire", "_cells", "_mark", "_release", "_waits")

    def __init__(self, semaphore: Any, number: int, cells: Cells, mark: int) -> None:
        self._acquire = semaphore.acquire
        self._release = semaphore.release
        self._cells = cells
        self._mark = mark
        self._waits = 2 * number + 1

    def enter(self) -> None:
        """See `balance.rows.Section`."""
        cells = self._cells
        mark = self._mark
        waits = self._waits
        cells[mark] = waits
        self._acquire()
        cells[mark] = waits + 1

    def leave(self) -> None:
        """See `balance.rows.Section`. Not inside any more before the next one may be: a mark must not outlast its stay."""
        cells = self._cells
        mark = self._mark
        cells[mark] = self._waits
        self._release()
        cells[mark] = 0


def seize(semaphore: Any, number: int, marks: Callable[[], Iterable[tuple[int, bool]]]) -> bool:
    """Enter a section that a dead process may be in.

    Args:
        semaphore, number: of the section.
        marks: the mark of each process, and whether the process is alive.

    Returns:
        Whether it was entered. False when a living process stays in it: that one hangs.
    """
    begun = time.monotonic()
    while not semaphore.acquire(True, _TRY):
        seen = list(marks())
        inside = 2 * number + 2
        if any(mark == inside and alive for mark, alive in seen):
            if time.monotonic() - begun > _LONGEST:
                return False
            continue
        if any(mark == inside and not alive for mark, alive in seen):
            return True  # left behind by the dead: it is ours now
        if time.monotonic() - begun > _UNSAID and any(mark == inside - 1 and not alive for mark, alive in seen):
            return True  # it died right behind the door
        if time.monotonic() - begun > _LONGEST:
            return False
    return True
