"""The count of TLS connections and its limit: of one process, and of several with their memory in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from headgate.base.termination import Outcome
from headgate.observe.counters import ProcessCounters
from headgate.proxy.joint import JointShared, JointTlsConnections
from headgate.proxy.port import Lost
from headgate.proxy.seeking import last_failure
from headgate.proxy.tls_connections import TlsConnections
from headgate.runtime.workers.shared import SharedState
from tests.proxy.playbook import Playbook
from tests.proxy.test_pool import book, idle

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def limited(limit: int) -> TlsConnections:
    made = TlsConnections()
    made.limit = limit
    return made


def test_without_a_limit_there_is_always_a_place() -> None:
    connections = TlsConnections()
    for _ in range(1000):
        assert connections.has_room() and connections.reserve()
    assert connections.count() == 1000 and not connections.wanted()
    for _ in range(1000):
        connections.end()
    assert connections.count() == 0


def test_an_end_behind_the_limit_tells_who_waits() -> None:
    connections = limited(2)
    told: list[int] = []
    connections.freed = lambda: told.append(connections.count())
    connections.begin()
    assert connections.reserve() and not connections.has_room() and not connections.reserve()
    assert connections.count() == 2 and connections.wanted()
    connections.begin()  # a health check
    connections.end()
    connections.end()
    connections.end()
    assert told == [2, 1]
    assert connections.reserve() and not connections.wanted()


def test_an_idle_one_makes_room() -> None:
    connections = limited(1)
    connections.begin()
    closed: list[str] = []

    def close() -> bool:
        closed.append("one")
        connections.end()
        return True

    connections.close_idle = close
    assert connections.reserve() and closed == ["one"] and connections.count() == 1


def test_the_oldest_idle_tls_connection_is_closed(tmp_path: Path) -> None:
    play = book(tmp_path)
    pool = play.backends["be"].pools["s1"]
    made = []
    for _ in range(3):
        play.clock.advance(0.5)
        made.append(idle(pool))
    plain, *secured = made
    for one in secured:
        one.channel.tls = cast(Any, object())
    assert play.shared.close_idle_tls() and [one.channel.fate for one in secured] == ["closed", "open"]  # type: ignore[attr-defined]
    assert play.shared.close_idle_tls() and not play.shared.close_idle_tls()
    assert pool.idle == 1 and plain.channel.fate == "open"  # type: ignore[attr-defined]


def test_none_is_kept_idle_while_one_is_wanted(tmp_path: Path) -> None:
    play = book(tmp_path)
    play.shared.tls.limit = 1
    for wanted in (False, True):
        client = play.client()
        client.sends(GET)
        server = play.server()
        cast(Any, server.channel).tls = object()
        if wanted:
            play.shared.tls.begin()
            assert not play.shared.tls.reserve()
        server.sends(OK)
        assert server.channel.fate == ("closed" if wanted else "open")
        play.backends["be"].pools["s1"].clear()


def test_want_of_a_place_is_no_failure_of_the_server(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    retries 1\n")
    client = play.client()
    client.sends(GET)
    seen: list[bool] = []

    class Observer:
        def connected(self, done: bool) -> None:
            seen.append(done)

    play.backends["be"].state.servers[0].observer = cast(Any, Observer())
    play.connector.next().fail(Lost.TOO_MANY)
    play.clock.advance(1.1)
    play.connector.next().fail(Lost.TOO_MANY)
    play.clock.settle()
    assert client.got().startswith(b"HTTP/1.1 500 ") and seen == []
    assert last_failure(Lost.TOO_MANY) is Outcome.NO_RESOURCE and last_failure(Lost.RESET) is Outcome.CONNECT_FAILED


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Callable[[int, int], JointTlsConnections]]:
    state = SharedState(rows=4, workers=3, connections=100)
    play: Playbook = book(tmp_path)
    made: list[JointShared] = []

    def join(process: int, limit: int = 0) -> JointTlsConnections:
        shared = JointShared(play.clock, play.connector, play.shared.world, ProcessCounters())
        shared.join(state.enter(process))
        shared.tls.limit = limit
        made.append(shared)
        tls = cast(JointTlsConnections, shared.tls)
        assert isinstance(tls, JointTlsConnections)
        return tls

    join.state = state  # type: ignore[attr-defined]
    yield join
    for shared in made:
        gates = (shared.gates.connections, shared.gates.sessions, shared.gates.tls)
        for one in (shared, shared.tls, *(gate.meter for gate in gates)):
            cast(Any, one)._cells = None  # or the memory can't be unmapped
        shared.section = shared.board = None  # type: ignore[assignment]
    state.close()


def test_all_processes_are_counted_together(joined: Callable[..., JointTlsConnections]) -> None:
    controller, one, other = joined(0), joined(1), joined(2)
    controller.begin()
    one.begin()
    assert other.reserve() and {each.count() for each in (controller, one, other)} == {3}
    one.end()
    assert controller.count() == 2


def test_a_limit_is_that_of_all_and_others_make_room(joined: Callable[..., JointTlsConnections]) -> None:
    one, other = joined(1, 2), joined(2, 2)
    other.begin()
    other.begin()
    told: list[str] = []
    other.freed = lambda: told.append("freed")

    def close() -> bool:
        other.end()
        return True

    assert not one.has_room() and not one.reserve() and other.wanted()
    other.close_idle = close
    other.look()
    assert told == ["freed"] and not other.wanted() and one.reserve() and one.count() == 2
    other.look()  # nobody wants any
    assert one.count() == 2


def test_places_of_a_killed_process_are_free(joined: Callable[..., JointTlsConnections]) -> None:
    one, other = joined(1, 2), joined(2, 2)
    one.begin()
    other.begin()
    assert not other.has_room()
    joined.state.recover(1)  # type: ignore[attr-defined]
    assert other.count() == 1 and other.reserve()
