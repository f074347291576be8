"""What the traffic shows of a server's health (manual 5.2 observe, error-limit): errors in a row, and who is told of too many.

Pure. One for each server with `observe`, called by `proxy`; it says nothing as long as all is well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: 5.2 observe: "Valid status codes include 100 to 499, 501 and 505."
_VALID_ABOVE_499 = (501, 505)


class Observed(Protocol):
    """A server; `balance.server.ServerState`. `errors` may be one number over all workers."""

    errors: int


class Observation:
    """See `balance.server.Observer`.

    Args:
        server: whose errors are counted.
        layer7: responses count; else connections.
        limit: errors in a row that are too many.
        report: told when there were too many, in HAProxy's words; then the count begins anew.
    """

    __slots__ = ("_layer7", "_limit", "_report", "_server")

    def __init__(self, server: Observed, limit: int, report: Callable[[str], None], *, layer7: bool) -> None:
        self._server = server
        self._limit = limit
        self._report = report
        self._layer7 = layer7

    def connected(self, success: bool) -> None:
        """A connection was opened, or could not be."""
        if not self._layer7:
            if success:
                self._well()
            else:
                self._count("L4 unsuccessful connection")

    def answered(self, status: int) -> None:
        """A response with this status came."""
        if self._layer7:
            if status <= 499 or status in _VALID_ABOVE_499:
                self._well()
            else:
                self._count("Wrong http response")

    def broken(self, what: str) -> None:
        """There was no valid response: "Invalid http response" and the like."""
        if self._layer7:
            self._count(what)

    def _well(self) -> None:
        if self._server.errors:
            self._server.errors = 0

    def _count(self, what: str) -> None:
        errors = self._server.errors + 1
        if errors < self._limit:
            self._server.errors = errors
            return
        self._server.errors = 0
        self._report(f"Detected {self._limit} consecutive errors, last one was: {what}")
