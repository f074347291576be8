"""A server whose load is one over all workers: it stands in shared memory."""

from __future__ import annotations

from headgate.balance.rows import Board, share_of
from headgate.balance.server import ServerState
from headgate.plan.frontends import ServerPlan


def joint_server(plan: ServerPlan, position: int, board: Board, backend: str) -> ServerState:
    """See `ServerState`. Who changes the load is in the section of the backend.

    Errors are counted by who is in no section: that two at a time count as one does no harm.
    """
    server = ServerState(plan, position)
    server.row = board.attach("server", f"{backend}/{plan.spec.name}")
    server.keep(board.cells, server.row, share_of(server.row, board.process))
    return server
