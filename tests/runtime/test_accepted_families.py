"""`dns-accept-family`: what each word means, and when it is looked for a route."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from headgate.runtime import accepted_families
from headgate.runtime.accepted_families import ANY, CACHED, AcceptedFamilies, ipv6_has_route


class Route:
    """A default route that comes and goes."""

    def __init__(self) -> None:
        self.there = False
        self.asked = 0
        self.now = 1000.0

    def has_route(self) -> bool:
        self.asked += 1
        return self.there

    def accepted(self, *words: str) -> AcceptedFamilies:
        return AcceptedFamilies(words, self.has_route, lambda: self.now)


@pytest.mark.parametrize(
    ("words", "families"),
    [
        (("ipv4",), {4}), (("ipv6",), {6}), (("ipv4", "ipv6"), {4, 6}), (("ipv6", "auto"), {4, 6}),
        (("auto", "ipv4", "ipv6"), {4, 6}),
    ],
)
def test_what_is_written_needs_no_route(words: tuple[str, ...], families: set[int]) -> None:
    route = Route()
    assert route.accepted(*words).now() == families and not route.asked


@pytest.mark.parametrize("words", [("auto",), ("ipv4", "auto")])
def test_auto_follows_the_route_and_asks_for_it_every_thirty_seconds(words: tuple[str, ...]) -> None:
    route = Route()
    accepted = route.accepted(*words)
    assert accepted.now() == {4} and accepted.now() == {4} and route.asked == 1
    route.there = True
    route.now += CACHED - 0.1
    assert accepted.now() == {4} and route.asked == 1
    route.now += 0.1
    assert accepted.now() == {4, 6} and accepted.now() == {4, 6} and route.asked == 2
    route.there = False
    route.now += CACHED
    assert accepted.now() == {4} and route.asked == 3


def test_all_is_accepted_where_nothing_is_said_of_it() -> None:
    assert ANY.now() == {4, 6}


@pytest.mark.parametrize("number", [0, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES])
def test_a_route_is_what_lets_a_socket_be_connected(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def connect(sock: socket.socket, address: Any) -> None:
        assert (sock.family, sock.type, address[1]) == (socket.AF_INET6, socket.SOCK_DGRAM, 53)
        if number:
            raise OSError(number, "")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert ipv6_has_route() is (number == 0)


def test_without_ipv6_there_is_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "")

    monkeypatch.setattr(accepted_families.socket, "socket", none)
    assert not ipv6_has_route()
