"""The state that a launcher makes for its workers."""

from __future__ import annotations

import resource
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.app import joining
from headgate.base.diagnostics import ConfigError

_CONFIG: Any = SimpleNamespace(proxies=(), global_=SimpleNamespace(tls_cache_size=0))


class Recorded:
    """Stands in for the shared state: what it was made with."""

    def __init__(self, rows: int, workers: int, connections: int) -> None:
        self.connections = connections


def test_there_is_no_room_for_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "SharedState", Recorded)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    assert joining.make_shared_state(_CONFIG, 2, 100_000_000).connections == 2000  # type: ignore[attr-defined]
    assert joining.make_shared_state(_CONFIG, 2, 500).connections == 500  # type: ignore[attr-defined]


def test_memory_that_cannot_be_had_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(rows: int, workers: int, connections: int) -> Recorded:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(joining, "SharedState", refuse)
    with pytest.raises(ConfigError, match="Cannot allocate memory"):
        joining.make_shared_state(_CONFIG, 2, 500)
