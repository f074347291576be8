"""Once a second: how busy this process was, what it sent, how large it is. For `show info`."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from typing import TYPE_CHECKING

from headgate.runtime.splice import KernelSplicer

if TYPE_CHECKING:
    from headgate.app.live import Live

_INTERVAL = 1.0
_PAGE = resource.getpagesize()


def resident_bytes() -> int:
    """Memory of this process that is not swapped out, bytes."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):  # no /proc, in a narrow chroot for instance
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def descriptor_limit() -> int:
    """How many file descriptors this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def host_name() -> str:
    """The machine's name, which is the node's where the configuration has none."""
    return os.uname().nodename


class Sampler:
    """Keeps the gauges of `ProcessCounters` up to date.

    Args:
        live: whose counters and frontends.
        loop: sets the pace.
    """

    def __init__(self, live: Live, loop: asyncio.AbstractEventLoop) -> None:
        self._live = live
        self._loop = loop
        self._time = loop.time()
        self._used = time.process_time()
        self._sent = self._sent_now()
        live.counters.resident = resident_bytes()
        self._next = loop.call_later(_INTERVAL, self._sample)

    def _sent_now(self) -> int:
        return sum(side.counters.bytes_out for side in self._live.frontends.values())

    def _sample(self) -> None:
        now, used, sent = self._loop.time(), time.process_time(), self._sent_now()
        elapsed = max(now - self._time, 0.001)
        counters = self._live.counters
        counters.busy = min(100, int(100 * (used - self._used) / elapsed))
        counters.bytes_rate = max(0, int((sent - self._sent) / elapsed))
        counters.resident = resident_bytes()
        splice = self._live.shared.splice
        if isinstance(splice, KernelSplicer):
            counters.pipes_used, counters.pipes_free = splice.pool.lent, splice.pool.spare
        self._time, self._used, self._sent = now, used, sent
        self._next = self._loop.call_later(_INTERVAL, self._sample)

    def stop(self) -> None:
        """Sample no more."""
        self._next.cancel()
