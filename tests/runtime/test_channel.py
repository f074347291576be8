"""The plain channel against real sockets: what is sent, what is heard, and how it closes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from headgate.proxy.port import Lost
from headgate.runtime.channel import Farewell, PlainChannel
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop


class Listening:
    """An owner that notes what it is told."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[tuple[str, object]] = asyncio.Queue()

    def data_received(self, data: bytes) -> None:
        self.events.put_nowait(("data", data))

    def eof_received(self) -> None:
        self.events.put_nowait(("eof", None))

    def connection_lost(self, reason: Lost) -> None:
        self.events.put_nowait(("lost", reason))

    def drained(self) -> None:
        self.events.put_nowait(("drained", None))


Scenario = Callable[[PlainChannel, Listening, socket.socket], Awaitable[None]]


def connected(scenario: Scenario) -> None:
    async def main() -> None:
        reactor = reactor_of(asyncio.get_running_loop())
        with socket.create_server(("127.0.0.1", 0)) as listening:
            far = socket.create_connection(listening.getsockname())
            near, _ = listening.accept()
        near.setblocking(False)
        far.setblocking(False)
        owner = Listening()
        channel = PlainChannel(reactor, near, owner)
        try:
            await asyncio.wait_for(scenario(channel, owner, far), 10)
        finally:
            channel.release()
            far.close()
            reactor.clear()

    run_loop(main())


async def read_all(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    out = b""
    while data := await loop.sock_recv(sock, 1 << 20):
        out += data
    return out


def test_data_goes_both_ways_and_eof_is_told() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        far.send(b"hello")
        assert await owner.events.get() == ("data", b"hello")
        channel.send(b"world")
        assert await asyncio.get_running_loop().sock_recv(far, 10) == b"world"
        far.shutdown(socket.SHUT_WR)
        assert await owner.events.get() == ("eof", None)
        channel.close()
        assert await read_all(far) == b""

    connected(scenario)


def test_what_the_kernel_does_not_take_waits_and_drained_is_told() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        data = bytes(range(256)) * 65536
        channel.send(data)
        assert channel.blocked
        received = bytearray()
        loop = asyncio.get_running_loop()
        while len(received) < len(data):
            received += await loop.sock_recv(far, 1 << 20)
        assert received == data
        assert await owner.events.get() == ("drained", None)
        assert not channel.blocked

    connected(scenario)


def test_close_sends_what_waits_first() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        data = b"x" * (16 << 20)
        channel.send(data)
        channel.close()
        assert len(await read_all(far)) == len(data)

    connected(scenario)


def test_paused_reads_nothing_until_resumed() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        channel.pause()
        far.send(b"later")
        await asyncio.sleep(0)
        assert owner.events.empty()
        channel.resume()
        assert await owner.events.get() == ("data", b"later")

    connected(scenario)


def test_a_reset_is_told_also_while_paused() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        channel.pause()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        assert await owner.events.get() == ("lost", Lost.RESET)

    connected(scenario)


def test_an_answer_is_read_although_sending_fails() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        far.send(b"too large")
        far.close()
        channel.send(b"more of the body")
        channel.send(b"and more")
        assert await owner.events.get() == ("data", b"too large")

    connected(scenario)


def test_linger_reads_away_what_still_comes_so_that_our_answer_arrives() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(far, b"y" * 100000)
        channel.send(b"400")
        channel.linger()
        await loop.sock_sendall(far, b"z" * 100000)
        far.shutdown(socket.SHUT_WR)
        assert await read_all(far) == b"400"

    connected(scenario)


def test_abort_resets() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        channel.abort()
        try:
            assert await asyncio.get_running_loop().sock_recv(far, 10) != b""
        except ConnectionResetError:
            return
        raise AssertionError("the peer saw an orderly end")

    connected(scenario)


def test_half_close_keeps_reading() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        channel.send(b"request")
        channel.shutdown_write()
        assert await read_all(far) == b"request"
        far.send(b"answer")
        assert await owner.events.get() == ("data", b"answer")

    connected(scenario)


def test_what_came_before_the_end_is_not_lost_when_both_halves_are_shut_while_paused() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        channel.shutdown_write()
        assert await read_all(far) == b""
        channel.pause()
        far.send(b"the rest")
        far.shutdown(socket.SHUT_WR)
        for _ in range(5):
            await asyncio.sleep(0)
        assert owner.events.empty()
        channel.resume()
        assert await owner.events.get() == ("data", b"the rest")
        assert await owner.events.get() == ("eof", None)

    connected(scenario)


def test_a_slow_reader_has_time_as_long_as_it_reads() -> None:
    async def scenario(channel: PlainChannel, owner: Listening, far: socket.socket) -> None:
        channel.send(b"x" * (16 << 20))
        channel.close()
        farewell = channel.owner
        assert isinstance(farewell, Farewell)
        first = farewell.deadline
        loop = asyncio.get_running_loop()
        channel.reactor.now += 5
        while farewell.deadline == first:
            await loop.sock_recv(far, 1 << 20)
        assert farewell.deadline > first
        assert len(await read_all(far)) > 0
        assert farewell.deadline == 0.0

    connected(scenario)
