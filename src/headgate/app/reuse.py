"""Every few seconds: does a server make us do without its TLS sessions? Said in the log, by the process that speaks for all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from headgate.app.live import Live
from headgate.observe.reuse_watch import Handshakes, ReuseWatch
from headgate.runtime.logs.emitters import log_event

_INTERVAL: Final = 3.0
_WARNING: Final = 4


class ReuseWarnings:
    """See the module.

    Args:
        live: whose servers; their counters are those of all workers.
        loop: sets the pace.
        workers: how many connect for traffic; with more than one, another process checks.
    """

    def __init__(self, live: Live, loop: asyncio.AbstractEventLoop, workers: int) -> None:
        self._live = live
        self._traffic = workers
        self._all = workers + 1 if workers > 1 else 1
        self._loop = loop
        self._watch = ReuseWatch()
        self._next = loop.call_later(_INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._next.cancel()

    def _look(self) -> None:
        live = self._live
        for warning in self._watch.look(self._loop.time(), self._handshakes()):
            emitter = live.emitters.get(warning.backend)
            log_event(live.logs.process if emitter is None or emitter.silent else emitter, _WARNING, warning.text)
        self._next = self._loop.call_later(_INTERVAL, self._look)

    def _handshakes(self) -> Iterator[Handshakes]:
        for name, backend in self._live.backends.items():
            for server in backend.state.servers:
                counters, checks = server.counters, server.check_exchanges
                resumed, causes = counters.tls_reused + checks.resumed, counters.tls_causes
                if resumed or counters.tls_full or checks.full:
                    processes = 1
                    if counters.tls_reused or counters.tls_full:
                        processes = self._all if checks.resumed or checks.full else self._traffic
                    both = [traffic + checked for traffic, checked in zip(causes, checks.causes, strict=True)]
                    yield Handshakes(name, server.name, resumed, both, processes)
