"""Numbers that are one over all workers where there are several: they stand in cells of memory that all share.

With several, who changes such a number is in the section that it belongs to (`balance.rows`); reading needs none.
"""

from __future__ import annotations

from typing import Protocol


class Cells(Protocol):
    """The memory."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


class Sessions:
    """Something that has sessions.

    A class of its own for this, and not a property that the form for several workers replaces: a compiled class reads its
    attributes where they lie, and would not notice.

    Attributes:
        sessions: how many there are now, of all workers.
    """

    __slots__ = ("_alone", "_cells", "_in_cells", "_mine", "_sessions")

    def __init__(self) -> None:
        self._alone = 0
        self._in_cells = False
        self._cells: Cells = []
        self._sessions = self._mine = 0

    def keep_sessions(self, cells: Cells, total: int, share: int) -> None:
        """Let the number stand in cells: that of the total, and that of this process's share of it."""
        self._cells = cells
        self._sessions = total
        self._mine = share
        self._in_cells = True

    @property
    def sessions(self) -> int:
        return self._cells[self._sessions] if self._in_cells else self._alone

    @sessions.setter
    def sessions(self, value: int) -> None:
        if not self._in_cells:
            self._alone = value
            return
        cells = self._cells
        cells[self._mine] += value - cells[self._sessions]
        cells[self._sessions] = value
