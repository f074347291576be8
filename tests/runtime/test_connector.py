"""Connections to servers, with real sockets: how they begin, where they go to and come from, and how they fail."""

from __future__ import annotations

import asyncio
import errno
import os
import pathlib
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headgate.base.addresses import Address, Family
from headgate.config.model import SourceAddress
from headgate.proxy.port import Channel, Lost
from headgate.runtime import connector
from headgate.runtime.channel import PlainChannel
from headgate.runtime.connector import Endpoint, PendingConnection
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop
from tests.interop.programs import free_port


class Attempt:
    """Notes how it ends."""

    def __init__(self, owner: Any = None) -> None:
        self.owner = owner
        self.ended: asyncio.Future[Channel | Lost] = asyncio.get_running_loop().create_future()

    def connected(self, channel: Channel) -> None:
        if self.owner is not None:
            channel.owner = self.owner
        self.ended.set_result(channel)

    def connect_failed(self, reason: Lost) -> None:
        self.ended.set_result(reason)


def stream(client_port: int = 80) -> Any:
    session = SimpleNamespace(destination=b"127.0.0.1", destination_port=client_port, source=b"127.0.0.9", source_port=4711)
    return SimpleNamespace(session=session, destination=None, source_address=b"", source_port=0)


def connect(endpoint: Endpoint, at: Any = None, *, cancel: bool = False) -> Channel | Lost | None:
    """The channel, closed again, or why there is none; None when nothing was told because the attempt was cancelled."""

    async def main() -> Channel | Lost | None:
        reactor = reactor_of(asyncio.get_running_loop())
        attempt = Attempt()
        try:
            pending = PendingConnection(reactor, endpoint, cast(Any, None), at or stream(), attempt)
            assert not attempt.ended.done()  # nothing is told before the caller has the attempt
            if cancel:
                pending.cancel()
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not attempt.ended.done()
                return None
            result = await asyncio.wait_for(attempt.ended, 10)
            if isinstance(result, PlainChannel):
                result.release()
            return result
        finally:
            reactor.clear()

    before = set(os.listdir("/proc/self/fd"))
    result = run_loop(main())
    assert set(os.listdir("/proc/self/fd")) == before
    return result


def inet(port: int, host: str = "127.0.0.1", *, offset: bool = False, source: SourceAddress | None = None) -> Endpoint:
    return Endpoint(socket.AF_INET, host, Address(Family.INET, host, port, port, port_is_offset=offset), source=source)


def test_a_server_that_listens_is_connected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert isinstance(connect(inet(listening.getsockname()[1])), PlainChannel)


def test_refused() -> None:
    assert connect(inet(free_port())) is Lost.REFUSED


def test_no_route() -> None:
    # A broadcast address can't be connected to; the kernel says so at once.
    assert connect(inet(80, "255.255.255.255")) in (Lost.UNREACHABLE, Lost.ERROR)


def test_a_name_that_is_not_resolved_is_unreachable() -> None:
    assert connect(Endpoint(socket.AF_INET, None, Address(Family.NAME, "server.test", 80, 80))) is Lost.UNREACHABLE


@pytest.mark.parametrize(("port", "offset", "client_port"), [(0, False, 0), (0, True, 0), (-10, True, 10), (-5, True, 15)])
def test_ports_that_follow_the_clients(port: int, offset: bool, client_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        actual = listening.getsockname()[1]
        at = stream(actual - port)
        assert isinstance(connect(inet(port, offset=offset), at), PlainChannel)


@pytest.mark.parametrize(("port", "client_port"), [(2000, 65000), (-2000, 80)])
def test_an_offset_that_leaves_the_ports_is_a_failed_connection(port: int, client_port: int) -> None:
    assert connect(inet(port, offset=True), stream(client_port)) is Lost.ERROR


def test_the_source_address_is_where_it_comes_from() -> None:
    at = stream()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        source = SourceAddress(Address(Family.INET, "127.0.0.2", 0, 0))
        assert isinstance(connect(inet(listening.getsockname()[1], source=source), at), PlainChannel)
        peer, name = listening.accept()
        peer.close()
    assert name[0] == "127.0.0.2"
    assert (at.source_address, at.source_port) == (b"127.0.0.2", name[1])


def test_a_source_range_is_tried_port_by_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.2", 0)) as taken:
        first = taken.getsockname()[1]
        source = SourceAddress(Address(Family.INET, "127.0.0.2", first, first + 20))
        assert isinstance(connect(inet(listening.getsockname()[1], source=source)), PlainChannel)
        peer, name = listening.accept()
        peer.close()
    assert first < name[1] <= first + 20


def test_a_source_that_is_not_ours_fails_the_attempt() -> None:
    source = SourceAddress(Address(Family.INET, "192.0.2.1", 0, 0))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert connect(inet(listening.getsockname()[1], source=source)) is Lost.ERROR


def test_a_cancelled_attempt_is_never_heard_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connect(inet(listening.getsockname()[1]), cancel=True)
    connect(inet(free_port()), cancel=True)
    connect(Endpoint(socket.AF_INET, None, Address(Family.NAME, "server.test", 80, 80)), cancel=True)


def test_no_descriptor_left_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*arguments: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    endpoint = inet(80)

    async def main() -> Channel | Lost:
        reactor = reactor_of(asyncio.get_running_loop())
        attempt = Attempt()
        with monkeypatch.context() as patch:
            patch.setattr(connector, "stream_socket", none_left)
            PendingConnection(reactor, endpoint, cast(Any, None), stream(), attempt)
        try:
            return await asyncio.wait_for(attempt.ended, 10)
        finally:
            reactor.clear()

    assert run_loop(main()) is Lost.ERROR


def test_a_unix_server_that_answers_and_closes_at_once_is_heard(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "server")

    async def main() -> bytes:
        reactor = reactor_of(asyncio.get_running_loop())
        heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        attempt = Attempt(SimpleNamespace(data_received=heard.set_result, eof_received=lambda: None))
        endpoint = Endpoint(socket.AF_UNIX, path, Address(Family.UNIX, path))
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            PendingConnection(reactor, endpoint, cast(Any, None), stream(), attempt)
            peer, _ = listening.accept()
            peer.send(b"busy")
            peer.close()
        try:
            channel = await asyncio.wait_for(attempt.ended, 10)
            assert isinstance(channel, PlainChannel)
            data = await asyncio.wait_for(heard, 10)
            channel.release()
            return data
        finally:
            reactor.clear()

    assert run_loop(main()) == b"busy"


def test_a_unix_server_with_a_full_backlog_is_a_failed_connection(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "server")
    waiting = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        try:
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(path)
        except BlockingIOError:
            pass
        assert connect(Endpoint(socket.AF_UNIX, path, Address(Family.UNIX, path))) is Lost.ERROR
        for sock in waiting:
            sock.close()
