"""How the live objects are made whose state may be one over all workers: `Makers` for one process, `JointMakers` for several."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from headgate.balance.backend import BackendState
from headgate.plan.frontends import BackendPlan, FrontendPlan
from headgate.proxy.services import LogEmitter
from headgate.proxy.sides import Frontend, Shared
from headgate.runtime.listener import Listener

if TYPE_CHECKING:
    from headgate.balance.rows import Board


class Makers:
    """Objects whose state is this process's own."""

    def shared(self, *arguments: Any, **options: Any) -> Shared:
        """See `Shared`."""
        return Shared(*arguments, **options)

    def backend(self, plan: BackendPlan) -> BackendState:
        """See `BackendState`."""
        return BackendState(plan, random.random)

    def frontend(self, plan: FrontendPlan, shared: Shared, log: LogEmitter | None, maxconn: int) -> Frontend:
        """See `Frontend`."""
        return Frontend(plan, shared, log, maxconn)

    def listener(self, *arguments: Any) -> Listener:
        """See `Listener`."""
        return Listener(*arguments)


class JointMakers(Makers):
    """Objects whose state is in shared memory.

    Args:
        board: the memory.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def shared(self, *arguments: Any, **options: Any) -> Shared:
        """See `Makers`."""
        from headgate.proxy.joint import JointShared

        shared = JointShared(*arguments, **options)
        shared.join(self._board)
        return shared

    def backend(self, plan: BackendPlan) -> BackendState:
        """See `Makers`."""
        from headgate.balance.joint import JointBackend

        return JointBackend(plan, random.random, self._board)

    def frontend(self, plan: FrontendPlan, shared: Shared, log: LogEmitter | None, maxconn: int) -> Frontend:
        """See `Makers`."""
        from headgate.proxy.joint import JointFrontend, JointShared

        assert isinstance(shared, JointShared)
        return JointFrontend(plan, shared, log, maxconn)

    def listener(self, *arguments: Any) -> Listener:
        """See `Makers`."""
        from headgate.runtime.workers.listener import JointListener

        return JointListener(*arguments)
