"""Errors of the traffic in a row: what counts, what does not, and when somebody is told."""

from __future__ import annotations

import pytest

from headgate.health.observation import Observation


class Server:
    errors = 0


def watched(*, layer7: bool, limit: int = 3) -> tuple[Observation, Server, list[str]]:
    server, told = Server(), list[str]()
    return Observation(server, limit, told.append, layer7=layer7), server, told


def test_connections() -> None:
    seen, server, told = watched(layer7=False)
    for success in (False, False, True, False, False):
        seen.connected(success)
    seen.answered(500)
    seen.broken("Invalid http response")
    assert (server.errors, told) == (2, [])
    seen.connected(False)
    assert (server.errors, told) == (0, ["Detected 3 consecutive errors, last one was: L4 unsuccessful connection"])


@pytest.mark.parametrize("status", [100, 200, 404, 499, 501, 505])
def test_valid_statuses(status: int) -> None:
    seen, server, told = watched(layer7=True)
    seen.answered(500)
    seen.answered(status)
    assert (server.errors, told) == (0, [])


def test_responses() -> None:
    seen, server, told = watched(layer7=True)
    seen.connected(False)
    seen.answered(503)
    seen.broken("Read timeout (http)")
    assert (server.errors, told) == (2, [])
    seen.answered(500)
    assert (server.errors, told) == (0, ["Detected 3 consecutive errors, last one was: Wrong http response"])
