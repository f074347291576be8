"""Accepting: how many connections one event takes, and what accepted sockets inherit."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headgate.base.addresses import Family
from headgate.config.model import Mode
from headgate.proxy.rates import Gate, Gates
from headgate.runtime.listener import Listener
from headgate.runtime.reactor import READ, Reactor


class Counting(Listener):
    """Keeps what it accepts."""

    accepted: list[tuple[socket.socket, Any]]

    def welcome(self, sock: socket.socket, address: object) -> None:
        self.accepted.append((sock, address))


@pytest.fixture
def listener() -> Iterator[Counting]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    sock.setblocking(False)
    options = SimpleNamespace(clitcpka=False, nolinger=False)
    side = SimpleNamespace(
        spec=SimpleNamespace(mode=Mode.TCP, options=options), sockets={}, may_accept=lambda: True, gate=Gate(),
        gates=lambda tls: [], shared=SimpleNamespace(gates=Gates()),
    )
    bind = SimpleNamespace(name="web", address=SimpleNamespace(family=Family.INET), accept_proxy=False, maxconn=None)
    reactor = Reactor()
    one = Counting(reactor, cast(Any, side), cast(Any, bind), sock, None, 1)
    one.accepted = []
    yield one
    for accepted, _ in one.accepted:
        accepted.close()
    sock.close()
    reactor.close()


def test_a_rush_is_taken_in_one_go_and_a_lone_connection_without_asking_for_more(listener: Counting) -> None:
    clients = [socket.create_connection(listener.sock.getsockname()) for _ in range(5)]
    listener.reactor.now += 1.0
    listener._accept(READ)
    assert len(listener.accepted) == 1
    listener.reactor.now += 0.0002
    listener._accept(READ)
    assert [address for _, address in listener.accepted] == [client.getsockname() for client in clients]
    listener._accept(READ)  # nothing there: not an error
    assert len(listener.accepted) == 5
    for client in clients:
        client.close()


def test_accepted_sockets_have_their_own_descriptor_and_do_not_delay(listener: Counting) -> None:
    with socket.create_connection(listener.sock.getsockname()) as client:
        listener._accept(READ)
        [(sock, _)] = listener.accepted
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert sock.getpeername() == client.getsockname()
