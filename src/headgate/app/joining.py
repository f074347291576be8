"""What a process of several does with the state that all share: it joins it, hears when it is woken, publishes counters."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Final

from headgate.balance.joint import JointBackend
from headgate.base.diagnostics import config_error
from headgate.config.model import Config
from headgate.runtime.process.place import Place, Role
from headgate.runtime.reactor import READ
from headgate.runtime.workers.shared import SharedState

if TYPE_CHECKING:
    from headgate.app.process import App

#: When within each second workers publish counters, and the controller collects them: rates of the second before are whole.
_PUBLISHED, _COLLECTED = 0.1, 0.6
_SECOND: Final = 1.0


def make_shared_state(config: Config, workers: int, connections: int) -> SharedState:
    """The state that a launcher makes for its generation.

    Args:
        config: what is served.
        workers: besides the controller.
        connections: global maxconn. Where descriptors are fewer than that, they decide how many there can be.

    Raises:
        ConfigError: there is not enough memory.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors != resource.RLIM_INFINITY:
        connections = min(connections, workers * descriptors)
    proxies = config.proxies
    rows = 1 + sum(2 + len(proxy.servers) + sum(len(bind.address.ports) or 1 for bind in proxy.binds) for proxy in proxies)
    try:
        return SharedState(rows, workers, connections)
    except (OSError, OverflowError) as error:
        message = f"no memory that {workers} workers can share for {connections} connections: {error}"
        raise config_error(message, None, remedy="lower 'maxconn' of the global section") from None


def shared_state(place: Place) -> SharedState | None:
    """The shared state of a process's place; None for one that has no siblings."""
    return place.shared if isinstance(place.shared, SharedState) else None


class Joining:
    """One process's part in the shared state.

    Args:
        app: the process.
        state: shared by all processes.
    """

    def __init__(self, app: App, state: SharedState) -> None:
        self._app = app
        self._state = state
        self._process = app.place.index
        self._timer: asyncio.TimerHandle | None = None
        self._publishes = app.place.role is Role.WORKER

    def start(self) -> None:
        """Hear from now on when this process is woken."""
        self._app.reactor.watch(self._state.event(self._process), READ, self._woken)
        self._wait()

    def stop(self) -> None:
        """The opposite of `start`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._app.reactor.unwatch(self._state.event(self._process))
        if self._publishes:
            self._state.publish(self._app)

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        # The loop's clock is the reactor's, and that of all processes.
        moment = _PUBLISHED if self._publishes else _COLLECTED
        self._timer = loop.call_later(_SECOND - (loop.time() - moment) % _SECOND, self._each_second)

    def _each_second(self) -> None:
        if self._publishes:
            self._state.publish(self._app)
        else:
            self._state.collect(self._app)
        self.look()  # nothing should be left to find: a wake-up that is lost must not mean that somebody waits for ever
        self._wait()

    def _woken(self, events: int) -> None:
        self._state.heard(self._process)
        self.look()

    def look(self) -> None:
        """Let go on what can: streams with a slot, listeners with a place."""
        app = self._app
        app.shared.tls.look()
        for backend in app.backends.values():
            state = backend.state
            if isinstance(state, JointBackend) and (streams := state.settle()):
                app.live.resume(streams)
        for listener in app.doors.listeners:
            if listener.paused and not listener.deadline and not listener.side.accept_paused:
                listener.resume()
