"""What is counted, in plain slotted objects. The names are those of HAProxy's CSV columns (management manual 9.1).

Counting is one integer addition on the hot path; sums and rates are made by whoever reads.
"""

from __future__ import annotations


class RateMeter:
    """Events per second as HAProxy means them: the last full second weighted with the running one.

    `tick` costs a comparison and an addition; time is the caller's.
    """

    __slots__ = ("_current", "_previous", "_second", "maximum")

    def __init__(self) -> None:
        self._second = 0
        self._current = 0
        self._previous = 0
        self.maximum = 0

    def tick(self, now: float) -> None:
        """Count one event at `now` (seconds)."""
        second = int(now)
        if second != self._second:
            self._roll(second)
        self._current += 1
        if self._current > self.maximum:
            self.maximum = self._current

    def _roll(self, second: int) -> None:
        self._previous = self._current if second == self._second + 1 else 0
        self._current = 0
        self._second = second

    def rate(self, now: float) -> int:
        """Events in the second that ends at `now`."""
        second = int(now)
        if second != self._second:
            self._roll(second)
        return int(self._current + self._previous * (1.0 - (now - second)))


class ProxyCounters:
    """Counters of a frontend or a backend. `responses` is indexed by the hundreds of the status; 0 is "other"."""

    __slots__ = (
        "aborted_by_client", "aborted_by_server", "bytes_in", "bytes_out", "connection_errors", "connections",
        "denied_connections", "denied_requests", "denied_responses", "failed_header_rewrites", "internal_errors",
        "log_dropped", "maximum_queue", "maximum_sessions", "redispatches", "request_errors", "requests", "response_errors",
        "responses", "retries", "reused_connections", "session_rate", "sessions_total", "times_connect", "times_queue",
        "times_response", "times_total",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.sessions_total = 0
        self.maximum_sessions = 0
        self.maximum_queue = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.requests = 0
        self.responses = [0, 0, 0, 0, 0, 0]
        self.denied_connections = 0
        self.denied_requests = 0
        self.denied_responses = 0
        self.request_errors = 0
        self.response_errors = 0
        self.connection_errors = 0
        self.internal_errors = 0
        self.failed_header_rewrites = 0
        self.retries = 0
        self.redispatches = 0
        self.aborted_by_client = 0
        self.aborted_by_server = 0
        self.reused_connections = 0
        self.log_dropped = 0
        self.session_rate = RateMeter()
        self.times_queue = 0
        self.times_connect = 0
        self.times_response = 0
        self.times_total = 0


class ServerCounters:
    """Counters of one server."""

    __slots__ = (
        "aborted_by_client", "aborted_by_server", "bytes_in", "bytes_out", "connection_errors", "connections",
        "maximum_sessions", "redispatches", "requests", "response_errors", "responses", "retries", "reused_connections",
        "session_rate", "sessions_total",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.reused_connections = 0
        self.sessions_total = 0
        self.maximum_sessions = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.requests = 0
        self.responses = [0, 0, 0, 0, 0, 0]
        self.connection_errors = 0
        self.response_errors = 0
        self.retries = 0
        self.redispatches = 0
        self.aborted_by_client = 0
        self.aborted_by_server = 0
        self.session_rate = RateMeter()


class ProcessCounters:
    """Counters of the whole process, for `show info`."""

    __slots__ = ("accept_failures", "connections", "maximum_sessions", "requests", "tls_connections", "tls_failures")

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.accept_failures = 0
        self.maximum_sessions = 0
        self.tls_connections = 0
        self.tls_failures = 0
