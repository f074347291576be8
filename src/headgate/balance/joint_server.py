"""A server whose load is one over all workers: `sessions`, `queued` and `picked` are cells in shared memory."""

from __future__ import annotations

from headgate.balance.rows import ERRORS, PICKS, QUEUED, SESSIONS, Board, Cells, JointSessions, Nowhere, share_of
from headgate.balance.server import ServerState
from headgate.plan.frontends import ServerPlan


class JointServer(JointSessions, ServerState):
    """See `ServerState`. Who changes the load is in the section of the backend.

    Attributes:
        row: of the server.
    """

    __slots__ = ("_cells", "_errors", "_mine", "_my_queued", "_picks", "_queued", "_sessions", "row")

    def __init__(self, plan: ServerPlan, position: int, board: Board, backend: str) -> None:
        row = self.row = board.attach("server", f"{backend}/{plan.spec.name}")
        mine = share_of(row, board.process)
        self._sessions = row + SESSIONS
        self._queued = row + QUEUED
        self._picks = row + PICKS
        self._errors = row + ERRORS
        self._mine = mine + SESSIONS - 1
        self._my_queued = mine + QUEUED - 1
        self._cells: Cells = Nowhere()  # what the constructor sets is not the load
        super().__init__(plan, position)
        self._cells = board.cells

    @property
    def queued(self) -> int:
        """Of all workers."""
        return self._cells[self._queued]

    @queued.setter
    def queued(self, value: int) -> None:
        cells = self._cells
        cells[self._my_queued] += value - cells[self._queued]
        cells[self._queued] = value

    @property
    def picked(self) -> int:
        """By whichever worker."""
        return self._cells[self._picks]

    @picked.setter
    def picked(self, value: int) -> None:
        self._cells[self._picks] = value

    @property
    def errors(self) -> int:
        """Of all workers. Who counts one is in no section: that two at a time count as one does no harm."""
        return self._cells[self._errors]

    @errors.setter
    def errors(self, value: int) -> None:
        self._cells[self._errors] = value
