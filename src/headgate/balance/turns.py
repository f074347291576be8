"""What an algorithm keeps between two choices: whose turn it is, as one number."""

from __future__ import annotations

from headgate.observe.cells import Cells


class Turns:
    """A number in a cell: its own, or one of memory that all workers share (see `joint_turns`)."""

    __slots__ = ("_at", "_cells")

    def __init__(self) -> None:
        self.keep([0], 0)

    def keep(self, cells: Cells, at: int) -> None:
        """Let the number stand there."""
        self._cells = cells
        self._at = at
