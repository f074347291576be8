"""Relaying by the kernel, with real sockets: what comes through, what is counted, how it ends, and which pipes are held."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import random
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from headgate.proxy.port import Lost
from headgate.runtime.channel import PlainChannel
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop
from headgate.runtime.reactor import Reactor
from headgate.runtime.splice import PIPE_SIZE, PipePool, Spout

RESET = struct.pack("ii", 1, 0)
Pair = Callable[[], tuple[socket.socket, socket.socket]]


class Half:
    """Owner of one channel of a relay, doing what a relay does: bytes and ends go to the other channel."""

    def __init__(self) -> None:
        self.passed = 0
        self.copied = 0
        self.lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.own: PlainChannel
        self.other: PlainChannel

    def data_received(self, data: bytes) -> None:
        self.copied += len(data)
        self.other.send(data)
        self._press()

    def kernel_passed(self, count: int) -> None:
        self.passed += count
        self._press()

    def _press(self) -> None:
        if self.other.blocked:
            self.own.pause()

    def eof_received(self) -> None:
        self.ended.set()
        self.other.shutdown_write()

    def connection_lost(self, reason: Lost) -> None:
        self.lost.set_result(reason)

    def drained(self) -> None:
        self.other.resume()


class Relay:
    """Two socket pairs with the relay between them: `client` and `server` are the far ends."""

    def __init__(self, reactor: Reactor, pool: PipePool, pair: Pair) -> None:
        self.pool = pool
        self.reactor = reactor
        self.client, near_client = pair()
        self.server, near_server = pair()
        self.up, self.down = Half(), Half()
        self.left = PlainChannel(reactor, near_client, self.up)
        self.right = PlainChannel(reactor, near_server, self.down)
        self.up.own = self.down.other = self.left
        self.up.other = self.down.own = self.right
        self.left.spout = Spout(pool, self.right, self.up.kernel_passed)
        self.right.spout = Spout(pool, self.left, self.down.kernel_passed)

    def close(self) -> None:
        self.left.release()
        self.right.release()
        self.client.close()
        self.server.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far = socket.create_connection(listening.getsockname())
        near, _ = listening.accept()
    for sock in (far, near):
        sock.setblocking(False)
    return far, near


def unix_pair() -> tuple[socket.socket, socket.socket]:
    far, near = socket.socketpair()
    for sock in (far, near):
        sock.setblocking(False)
    return far, near


Scenario = Callable[[Relay], Awaitable[None]]


def relayed(scenario: Scenario, *, most: int | None = None, pair: Pair = tcp_pair) -> None:
    """Run a scenario; afterwards no pipe may be on loan and no descriptor be open that was not before."""

    async def main() -> None:
        reactor = reactor_of(asyncio.get_running_loop())
        pool = PipePool(reactor, most)
        relay = Relay(reactor, pool, pair)
        try:
            await asyncio.wait_for(scenario(relay), 20)
        finally:
            relay.close()
            assert pool.lent == 0
            pool.close()
            reactor.clear()

    before = set(os.listdir("/proc/self/fd"))
    run_loop(main())
    assert set(os.listdir("/proc/self/fd")) == before


async def until_blocked(channel: PlainChannel) -> None:
    """Until the far end, which does not read, takes no more: then a pipe waits, and the source is not read any more."""
    while not channel.blocked:  # noqa: ASYNC110  nothing announces it
        await asyncio.sleep(0)


async def send_and_end(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)
    sock.shutdown(socket.SHUT_WR)


async def read_hash(sock: socket.socket) -> tuple[int, str]:
    loop = asyncio.get_running_loop()
    digest, count = hashlib.sha256(), 0
    while data := await loop.sock_recv(sock, 1 << 20):
        digest.update(data)
        count += len(data)
    return count, digest.hexdigest()


def noise(seed: int, size: int) -> tuple[bytes, tuple[int, str]]:
    data = random.Random(seed).randbytes(size)
    return data, (size, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("pair", [tcp_pair, unix_pair])
def test_both_ways_at_once_arrive_whole_and_are_counted(pair: Pair) -> None:
    up, up_sum = noise(1, 12_345_678)
    down, down_sum = noise(2, 7_654_321)

    async def scenario(relay: Relay) -> None:
        results = await asyncio.gather(
            send_and_end(relay.client, up), send_and_end(relay.server, down), read_hash(relay.client), read_hash(relay.server)
        )
        assert list(results[2:]) == [down_sum, up_sum]
        # A pipe that waits makes a read in between a copy; together they are exact.
        assert relay.up.passed + relay.up.copied == len(up)
        assert relay.down.passed + relay.down.copied == len(down)
        assert relay.up.passed > len(up) // 2

    relayed(scenario, pair=pair)


def test_without_a_pipe_bytes_are_copied() -> None:
    data, total = noise(3, 3_000_000)

    async def scenario(relay: Relay) -> None:
        results = await asyncio.gather(send_and_end(relay.client, data), read_hash(relay.server))
        assert results[1] == total
        assert (relay.up.passed, relay.up.copied) == (0, len(data))

    relayed(scenario, most=0)


def test_a_pipe_refused_by_the_system_means_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    async def scenario(relay: Relay) -> None:
        monkeypatch.setattr(os, "pipe2", refuse)
        results = await asyncio.gather(send_and_end(relay.client, b"still there"), read_hash(relay.server))
        assert results[1][0] == 11
        assert relay.up.copied == 11

    relayed(scenario)


def test_one_half_can_end_long_before_the_other() -> None:
    data, total = noise(4, 2_000_000)

    async def scenario(relay: Relay) -> None:
        await send_and_end(relay.client, b"the question")
        assert (await read_hash(relay.server))[0] == 12
        assert relay.up.ended.is_set() and not relay.down.ended.is_set()
        results = await asyncio.gather(send_and_end(relay.server, data), read_hash(relay.client))
        assert results[1] == total
        assert relay.down.passed + relay.down.copied == len(data)

    relayed(scenario)


def test_the_end_comes_behind_what_waits_in_a_pipe() -> None:
    data, total = noise(5, 9_000_000)

    async def scenario(relay: Relay) -> None:
        sending = asyncio.ensure_future(send_and_end(relay.server, data))
        await until_blocked(relay.left)
        assert relay.pool.lent == 1
        assert await read_hash(relay.client) == total
        await sending
        assert not relay.left.blocked

    relayed(scenario)


def test_a_reader_that_does_not_read_stops_the_sender() -> None:
    async def scenario(relay: Relay) -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(relay.server, bytes(64 << 20)))
        await until_blocked(relay.left)
        held = relay.down.passed
        for _ in range(20):
            await asyncio.sleep(0)
        assert relay.down.passed == held
        assert not relay.left._pending
        assert not sending.done()
        sending.cancel()

    relayed(scenario)


def test_a_reset_of_the_source_is_the_sources() -> None:
    async def scenario(relay: Relay) -> None:
        await asyncio.get_running_loop().sock_sendall(relay.server, b"begin")
        relay.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        relay.server.close()
        assert await relay.down.lost is Lost.RESET
        assert not relay.up.lost.done()

    relayed(scenario)


def test_a_reset_of_the_target_is_the_targets_also_while_its_pipe_waits() -> None:
    async def scenario(relay: Relay) -> None:
        sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(relay.server, bytes(64 << 20)))
        await until_blocked(relay.left)
        relay.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        relay.client.close()
        assert await relay.up.lost is Lost.RESET
        assert not relay.down.lost.done()
        assert relay.pool.lent == 0
        sending.cancel()

    relayed(scenario)


def test_close_lets_the_reader_have_what_waits_in_the_pipe() -> None:
    data, total = noise(6, 6_000_000)

    async def scenario(relay: Relay) -> None:
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(relay.server, data))
        await until_blocked(relay.left)
        passed = relay.down.passed + relay.down.copied
        relay.left.close()
        digest = hashlib.sha256(data[:passed]).hexdigest()
        assert await read_hash(relay.client) == (passed, digest)
        assert relay.pool.lent == 0
        assert total[0] >= passed
        sending.cancel()

    relayed(scenario)


def test_an_idle_relay_holds_no_pipe() -> None:
    async def scenario(relay: Relay) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            await loop.sock_sendall(relay.client, b"ping")
            assert await loop.sock_recv(relay.server, 10) == b"ping"
            assert relay.pool.lent == 0

    relayed(scenario)


def test_many_relays_share_a_few_pipes() -> None:
    async def main() -> int:
        reactor = reactor_of(asyncio.get_running_loop())
        pool = PipePool(reactor, 8)
        relays = [Relay(reactor, pool, unix_pair) for _ in range(100)]
        data, total = noise(7, 500_000)
        work = [send_and_end(relay.client, data) for relay in relays]
        results = await asyncio.gather(*work, *(read_hash(relay.server) for relay in relays))
        assert results[100:] == [total] * 100
        for relay in relays:
            relay.close()
        lent = pool.lent
        pool.close()
        reactor.clear()
        return lent

    before = set(os.listdir("/proc/self/fd"))
    assert run_loop(main()) == 0
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_pipe_too_small_to_be_worth_it_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.fcntl

    def poor(fd: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETPIPE_SZ:
            if argument == PIPE_SIZE:
                raise PermissionError(1, "Operation not permitted")
            return real(fd, command, argument)
        return 8192 if command == fcntl.F_GETPIPE_SZ else real(fd, command, argument)

    reactor = Reactor()
    pool = PipePool(reactor)
    before = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(fcntl, "fcntl", poor)
    assert pool.take() is None
    monkeypatch.undo()
    assert pool.take() is None  # it is not asked again at once
    reactor.now += 5
    pipe = pool.take()
    assert pipe is not None
    pipe.release()
    pool.close()
    assert set(os.listdir("/proc/self/fd")) == before
    reactor.close()
