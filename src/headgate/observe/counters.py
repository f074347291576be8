"""What is counted, in plain slotted objects. The names are those of HAProxy's CSV columns (management manual 9.1).

Counting is one integer addition on the hot path; sums and rates are made by whoever reads. Over several workers counters are
added up, but those whose names begin with `maximum_` are maxima, of which the greatest stands.
"""

from __future__ import annotations

from typing import Final

from headgate.observe.cells import Sessions
from headgate.observe.full_handshakes import Cause

#: Averages are over about as many streams ("over the 1024 last requests").
WINDOW: Final = 1024


class RateMeter:
    """Events per second as HAProxy means them: the last full second weighted with the running one.

    `tick` costs a comparison and an addition; time is the caller's.
    """

    __slots__ = ("_current", "_most", "_previous", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._most = 0
        self._current = 0
        self._previous = 0

    def tick(self, now: float) -> None:
        """Count one event at `now` (seconds)."""
        if now >= self._second + 1:
            self._roll(int(now))
        self._current += 1

    def _roll(self, second: int) -> None:
        if self._current > self._most:
            self._most = self._current
        self._previous = self._current if second == self._second + 1 else 0
        self._current = 0
        self._second = second

    def rate(self, now: float) -> int:
        """Events in the second that ends at `now`."""
        into = now - self._second
        if into < 1.0:
            return int(self._current + self._previous * (1.0 - max(into, 0.0)))
        return int(self._current * (2.0 - into)) if into < 2.0 else 0

    @property
    def maximum(self) -> int:
        """The most events in one second."""
        return max(self._most, self._current)

    @maximum.setter
    def maximum(self, most: int) -> None:
        self._most = most

    def clear(self) -> None:
        """Forget everything."""
        self._second = self._most = self._current = self._previous = 0

    @property
    def last(self) -> int:
        """The second of the last event, 0 when there was none."""
        return self._second


class ProxyCounters:
    """Counters of a frontend or a backend. `responses` is indexed by the hundreds of the status; 0 is "other".

    `tls_full`, `tls_reused` and `tls_failed`, here and with the others, are handshakes: complete, abbreviated, failed.
    """

    __slots__ = (
        "aborted_by_client", "aborted_by_server", "bytes_in", "bytes_out", "connection_errors", "connection_rate",
        "connections", "denied_connections", "denied_requests", "denied_responses", "denied_sessions",
        "failed_header_rewrites", "intercepted", "internal_errors", "log_dropped", "maximum_queue", "maximum_sessions",
        "redispatches", "request_errors", "request_rate", "requests", "response_errors", "responses", "retries",
        "reused_connections", "session_rate", "sessions_total", "tls_failed", "tls_full", "tls_reused",
    )

    def __init__(self) -> None:
        self.session_rate = RateMeter()
        self.connection_rate = RateMeter()
        self.request_rate = RateMeter()
        self.clear()

    def clear(self) -> None:
        """`clear counters all`."""
        self.tls_full = 0
        self.tls_reused = 0
        self.tls_failed = 0
        self.session_rate.clear()
        self.connections = 0
        self.sessions_total = 0
        self.maximum_sessions = 0
        self.maximum_queue = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.requests = 0
        self.responses = [0, 0, 0, 0, 0, 0]
        self.intercepted = 0
        self.denied_connections = 0
        self.denied_sessions = 0
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
        self.clear_maxima()

    def clear_maxima(self) -> None:
        """`clear counters`; those of sessions and queue are the caller's, who knows what there is now."""
        self.session_rate.maximum = 0
        self.connection_rate.maximum = 0
        self.request_rate.maximum = 0


class ServerCounters:
    """Counters of one server.

    Attributes:
        tls_causes: why each of the `tls_full` handshakes was one, by `full_handshakes.Cause`.
        picks: how often load balancing chose it (`lbtot`); persistence and the queue are not counted.
        idle_safe, idle_unsafe: idle connections that were reused before, and that were not: kept by the pool, never cleared.
        times_queue, times_connect, times_response, times_total: milliseconds, summed over the last `WINDOW` streams (see `note`).
        samples: how many streams stand in these sums.
    """

    __slots__ = (
        "aborted_by_client", "aborted_by_server", "bytes_in", "bytes_out", "connection_errors", "connections",
        "denied_responses", "failed_header_rewrites", "idle_safe", "idle_unsafe", "internal_errors", "maximum_queue",
        "maximum_sessions", "maximum_time_connect", "maximum_time_queue", "maximum_time_response", "maximum_time_total",
        "picks", "redispatches", "requests", "response_errors", "responses", "retries", "reused_connections", "samples",
        "session_rate", "sessions_total", "times_connect", "times_queue", "times_response", "times_total", "tls_causes",
        "tls_failed", "tls_full", "tls_reused",
    )

    def __init__(self) -> None:
        self.session_rate = RateMeter()
        self.idle_safe = 0
        self.idle_unsafe = 0
        self.clear()

    def clear(self) -> None:
        """`clear counters all`."""
        self.tls_full = 0
        self.tls_reused = 0
        self.tls_failed = 0
        self.tls_causes = [0] * len(Cause)
        self.session_rate.clear()
        self.connections = 0
        self.reused_connections = 0
        self.sessions_total = 0
        self.picks = 0
        self.maximum_sessions = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.requests = 0
        self.responses = [0, 0, 0, 0, 0, 0]
        self.connection_errors = 0
        self.response_errors = 0
        self.denied_responses = 0
        self.internal_errors = 0
        self.failed_header_rewrites = 0
        self.retries = 0
        self.redispatches = 0
        self.aborted_by_client = 0
        self.aborted_by_server = 0
        self.samples = 0
        self.times_queue = 0
        self.times_connect = 0
        self.times_response = 0
        self.times_total = 0
        self.maximum_queue = 0
        self.clear_maxima()

    def clear_maxima(self) -> None:
        """`clear counters`; those of sessions and queue are the caller's, who knows what there is now."""
        self.session_rate.maximum = 0
        self.maximum_time_queue = 0
        self.maximum_time_connect = 0
        self.maximum_time_response = 0
        self.maximum_time_total = 0

    def note(self, queue: int, connect: int, response: int, total: int) -> None:
        """Take the times of one finished stream, milliseconds. Once the window is full, the old ones fade."""
        if self.samples < WINDOW:
            self.samples += 1
            if queue:
                self.times_queue += queue
            if connect:
                self.times_connect += connect
            self.times_response += response
            self.times_total += total
        else:
            self.times_queue += queue - (self.times_queue >> 10)
            self.times_connect += connect - (self.times_connect >> 10)
            self.times_response += response - (self.times_response >> 10)
            self.times_total += total - (self.times_total >> 10)
        if total > self.maximum_time_total:
            self.maximum_time_total = total
        if response > self.maximum_time_response:
            self.maximum_time_response = response
        if connect and connect > self.maximum_time_connect:
            self.maximum_time_connect = connect
        if queue and queue > self.maximum_time_queue:
            self.maximum_time_queue = queue


class ListenerCounters(Sessions):
    """Counters of one listening socket, with `option socket-stats`, and its sessions."""

    __slots__ = (
        "bytes_in", "bytes_out", "denied_connections", "denied_requests", "denied_responses", "denied_sessions",
        "failed_header_rewrites", "internal_errors", "maximum_sessions", "request_errors", "sessions_total",
        "tls_failed", "tls_full", "tls_reused",
    )

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """`clear counters all`."""
        self.tls_full = 0
        self.tls_reused = 0
        self.tls_failed = 0
        self.sessions_total = 0
        self.maximum_sessions = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.denied_connections = 0
        self.denied_sessions = 0
        self.denied_requests = 0
        self.denied_responses = 0
        self.request_errors = 0
        self.internal_errors = 0
        self.failed_header_rewrites = 0


class ProcessCounters:
    """Counters of the whole process, for `show info`.

    Attributes:
        tls_sessions: TLS connections of clients now.
        tls_server_refused: TLS connections to servers that were not made because of maxsslconn.
        tls_cache_lookups, tls_cache_misses: sessions of clients that were looked for by their number, and not found.
        tls_reused: handshakes of clients that resumed a session, and so needed no new key.
        busy: percentage of the last second that the process was working; `bytes_rate` is what it sent in that second, bytes;
            `resident` is its memory, bytes; `pipes_used` and `pipes_free` are those of splicing. Gauges, set once a second.
    """

    __slots__ = (
        "accept_failures", "busy", "bytes_rate", "connection_rate", "connections", "maximum_sessions", "pipes_free",
        "pipes_used", "requests", "resident", "session_rate", "spliced_bytes", "tls_cache_lookups", "tls_cache_misses",
        "tls_connections", "tls_failures", "tls_key_rate", "tls_rate", "tls_reused", "tls_server_connections",
        "tls_server_key_rate", "tls_server_refused", "tls_sessions",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0
        self.accept_failures = 0
        self.maximum_sessions = 0
        self.bytes_rate = 0
        self.spliced_bytes = 0
        self.resident = 0
        self.pipes_used = 0
        self.pipes_free = 0
        self.busy = 0
        self.tls_connections = 0
        self.tls_failures = 0
        self.tls_sessions = 0
        self.tls_reused = 0
        self.tls_server_connections = 0
        self.tls_server_refused = 0
        self.tls_cache_lookups = 0
        self.tls_cache_misses = 0
        self.connection_rate = RateMeter()
        self.session_rate = RateMeter()
        self.tls_rate = RateMeter()
        self.tls_key_rate = RateMeter()
        self.tls_server_key_rate = RateMeter()

    def clear_maxima(self) -> None:
        """`clear counters`."""
        for meter in (self.connection_rate, self.session_rate, self.tls_rate, self.tls_key_rate, self.tls_server_key_rate):
            meter.maximum = 0
