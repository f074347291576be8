"""The load of a server or a backend: what it serves and what waits for it."""

from __future__ import annotations

from typing import Final

from headgate.balance.rows import QUEUED, SESSIONS, row_width, share_of
from headgate.observe.cells import Cells, Sessions

#: Of a row that one process has for itself.
_WIDTH: Final = row_width(1)
_SHARE: Final = share_of(0, 0)


class Load(Sessions):
    """See `observe.cells.Sessions`.

    Attributes:
        row: where the numbers stand in shared memory, 0 when they are this process's own.
        queued: how many streams wait, of all workers.
    """

    __slots__ = ("_my_queued", "_queued", "row")

    def __init__(self) -> None:
        Sessions.__init__(self)
        self.keep([0] * _WIDTH, 0, _SHARE)

    def keep(self, cells: Cells, row: int, share: int) -> None:
        """Let the numbers stand in these cells, see `balance.rows`.

        Args:
            row: where its row begins.
            share: where the share of this process in it begins.
        """
        self.row = row
        self._cells = cells
        if row:  # sessions change with every request: while the row is ours alone, they are beside it
            self.keep_sessions(cells, row + SESSIONS, share + SESSIONS - 1)
        self._queued = row + QUEUED
        self._my_queued = share + QUEUED - 1

    @property
    def queued(self) -> int:
        return self._cells[self._queued]

    @queued.setter
    def queued(self, value: int) -> None:
        cells = self._cells
        cells[self._my_queued] += value - cells[self._queued]
        cells[self._queued] = value
