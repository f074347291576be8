"""What the traffic tells of a server's health (5.2 observe): connections and responses, good and bad, reach who watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy import test_http_exchange as http
from tests.proxy import test_relay as relay
from tests.proxy.playbook import Playbook


class Watcher:
    """A `balance.server.Observer` that writes down what it is told."""

    def __init__(self, play: Playbook) -> None:
        self.seen: list[object] = []
        play.backends["be"].state.servers[0].observer = self

    def connected(self, success: bool) -> None:
        self.seen.append(success)

    def answered(self, status: int) -> None:
        self.seen.append(status)

    def broken(self, what: str) -> None:
        self.seen.append(what)


@pytest.mark.parametrize(
    ("response", "seen"),
    [
        (http.OK, [True, 200]),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", [True, 503]),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + http.OK, [True, 200]),
        (b"SSH-2.0-OpenSSH_9.2\r\n", [True, "Invalid http response"]),
    ],
)
def test_responses(tmp_path: Path, response: bytes, seen: list[object]) -> None:
    play = http.book(tmp_path)
    watcher = Watcher(play)
    play_client = play.client()
    play_client.sends(http.GET)
    play.server().sends(response)
    assert watcher.seen == seen


def test_a_server_that_closes_without_a_response(tmp_path: Path) -> None:
    play = http.book(tmp_path)
    watcher = Watcher(play)
    play.client().sends(http.GET)
    play.server().shuts()
    assert watcher.seen == [True, "Close from server (http)"]


def test_a_server_that_takes_too_long(tmp_path: Path) -> None:
    play = http.book(tmp_path)
    watcher = Watcher(play)
    client = play.client()
    client.sends(http.GET)
    play.server()
    play.clock.advance(3600.0)
    assert client.got().startswith(b"HTTP/1.1 504 ")
    assert watcher.seen == [True, "Read timeout (http)"]


def test_connections_of_requests_and_relays(tmp_path: Path) -> None:
    play = http.book(tmp_path)
    watcher = Watcher(play)
    play.client().sends(http.GET)
    play.connector.next().fail()
    play.clock.advance(1.0)
    play.server().sends(http.OK)
    assert watcher.seen == [False, True, 200]
    tcp = relay.book(tmp_path)
    watcher = Watcher(tcp)
    tcp.client()
    tcp.connector.next().fail()
    tcp.clock.advance(1.0)
    tcp.server()
    assert watcher.seen == [False, True]
