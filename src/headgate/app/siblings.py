"""What controller and worker have in common: entries of the journal put into effect, commands run, the board."""

from __future__ import annotations

import traceback
from collections.abc import Coroutine, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from headgate.admin.executor import LocalExecutor
from headgate.admin.registry import CommandError, Registry
from headgate.app.api import whole
from headgate.balance.backend import BackendState
from headgate.balance.server import ServerState
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.workers.journal import Journal
from headgate.runtime.workers.messages import COMMAND_ENTRY, OCSP_ENTRY, RESOLVED_ENTRY, SERVER_ENTRY

if TYPE_CHECKING:
    from headgate.app.process import App

ALERT, WARNING, NOTICE = 1, 4, 5


@runtime_checkable
class Board(Protocol):
    """Counters in shared memory; `runtime.workers.shared.SharedState`."""

    def publish(self, app: Any) -> None:
        """Write what this worker has counted."""

    def collect(self, app: Any) -> None:
        """Add up what the workers have published, into this process's own objects."""


#: The result of a command: whether it succeeded, and its answer or the error.
Result = tuple[bool, str]


class Sibling:
    """A controller or a worker, as the other side sees it.

    Args:
        app: the process.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.place = app.place
        self.journal = self.place.journal if self.place.journal is not None else Journal()
        self.board = self.place.shared if isinstance(self.place.shared, Board) else None
        self._local = LocalExecutor()

    @cached_property
    def registry(self) -> Registry:
        """All commands."""
        from headgate.admin.commands import all_commands

        return all_commands()

    def launcher_gone(self) -> None:
        """Nobody replaces what dies any more."""
        text = "the launcher is gone: serving goes on without supervision, and what dies is not replaced"
        log_event(self.app.logs.process, ALERT, f"{self.name}: {text}")

    @property
    def name(self) -> str:
        """As messages call this process."""
        return f"worker {self.place.index}" if self.place.index else "controller"

    # --- changes ---

    async def replay(self) -> int:
        """Put all changes into effect that were made before this process was there; the number of the last one."""
        number = 0
        self.app.catching_up = True
        for entry in self.journal.entries():
            result = self.apply(entry.what)
            if not isinstance(result, tuple):
                await result
            number = entry.number
        self.app.catching_up = False
        return number

    def apply(self, what: Sequence[Any]) -> Result | Coroutine[Any, Any, Result]:
        """Put one entry of the journal into effect: its result, or a coroutine of it."""
        kind, *rest = what
        if kind == COMMAND_ENTRY:
            return self.run(rest)
        if kind == SERVER_ENTRY:
            return self._server(*rest)
        if kind == RESOLVED_ENTRY:
            return self._resolved(*rest)
        if kind == OCSP_ENTRY and self.app.ocsp is not None:
            return self.app.ocsp.apply(*rest)
        return False, f"unknown change '{kind}'"

    def _server(self, backend_name: str, name: str, up: bool, stopping: bool) -> Result:
        """What checks of the controller found of a server."""
        live = self.app.live
        backend = live.world.backends.get(backend_name)
        server = backend.server(name) if backend is not None else None
        if backend is None or server is None:
            return False, f"no server {backend_name}/{name}"
        if server.up is not up:
            live.server_changed(backend, server, up)
        if server.stopping is not stopping:
            live.server_stopping(backend, server, stopping)
        self.server_followed(backend, server)
        return True, ""

    def _resolved(
        self, backend_name: str, name: str, host: str | None, port: int | None, weight: int | None, reason: str
    ) -> Result:
        """What the controller found out about a server's name."""
        backend = self.app.backends.get(backend_name)
        server = backend.state.server(name) if backend is not None else None
        if backend is None or server is None:
            return False, f"no server {backend_name}/{name}"
        self.app.control.resolve_server(backend, server, host, port, weight, reason)
        return True, ""

    def server_followed(self, backend: BackendState, server: ServerState) -> None:
        """A server's state was taken over from the journal or from the controller."""

    def run(self, words: Sequence[str]) -> Result | Coroutine[Any, Any, Result]:
        """Run a command here: its result, or a coroutine of it."""
        found = self.registry.find(words)
        if found is None or found[0].handler is None:
            return False, f"unknown command '{' '.join(words[:3])}'"
        try:
            answer = self._local.execute(*found, self.app.control)
        except CommandError as error:
            return False, str(error)
        except Exception as error:
            return self._broke(error)
        return (True, answer) if isinstance(answer, str) else self._later(answer)

    async def _later(self, answer: Any) -> Result:
        try:
            return True, await whole(answer)
        except CommandError as error:
            return False, str(error)
        except Exception as error:
            return self._broke(error)

    def _broke(self, error: Exception) -> Result:
        self.app.bug(error)
        place = traceback.extract_tb(error.__traceback__)[-1]
        return False, f"internal error: {type(error).__name__} in {place.name}"
