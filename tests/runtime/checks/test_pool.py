"""Checks that come back to the connection of the one before, and what ends that."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headgate.config.tls_options import ServerTls, Verify
from headgate.health.results import CheckStatus
from headgate.runtime.checks.exchange import run_check
from headgate.runtime.checks.plans import CheckPlan, plan_check
from headgate.runtime.checks.pool import CheckPool
from headgate.runtime.checks.tls_connection import TlsDialler
from headgate.runtime.loop import run as run_loop
from headgate.tls.authority import issue, make_authority
from headgate.tls.client_context import ServerContext
from tests.health.checks import backend_plan, stream

#: Of all plans that there are.
_pools: list[CheckPool] = []

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """A server: what it was asked on each connection, and how the connections ended.

    Args:
        answers: one after the other to each request; the last one again and again. Pieces are sent with a pause of the loop.
        close_after: a connection is closed behind so many answers; with `rudely` when the next request is there.
    """

    def __init__(self, *answers: tuple[bytes, ...], close_after: int = 0, rudely: bool = False) -> None:
        self._answers = answers
        self._close_after = close_after
        self._rudely = rudely
        self.asked: list[list[bytes]] = []
        self.ended = 0
        self.changed = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests: list[bytes] = []
        self.asked.append(requests)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not self._close_after or self._rudely or len(requests) < self._close_after:
                request = await reader.readuntil(b"\r\n\r\n")
                if self._rudely and len(requests) == self._close_after:
                    break
                requests.append(request)
                number = sum(len(each) for each in self.asked)
                first, *later = self._answers[min(number, len(self._answers)) - 1]
                writer.write(first)
                for piece in later:
                    await self.go_on.wait()
                    writer.write(piece)
                    await writer.drain()
            writer.close()
            await writer.wait_closed()
        writer.close()
        self.ended += 1
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    @property
    def numbers(self) -> list[int]:
        """How many requests each connection carried."""
        return [len(each) for each in self.asked]


@contextlib.asynccontextmanager
async def serving(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        while _pools:  # as the runner does when it stops
            _pools.pop().close()
        server.close()
        await peer.until(lambda: peer.ended == len(peer.asked))


def plan_of(port: int, options: str = "", *lines: str, client: TlsDialler | None = None) -> CheckPlan:
    rules = lines or ("option httpchk", "http-check send ver HTTP/1.1 hdr host a.example")
    backend = backend_plan(*rules, server=f"server s1 127.0.0.1:{port} check inter 5s check-reuse-pool {options}")
    (server,) = backend.spec.servers
    assert server.check is not None
    plan = plan_check(backend.spec, server, server.check, client, backend.check)
    if plan.pool is not None:
        _pools.append(plan.pool)
    return plan


async def check(plan: CheckPlan) -> CheckStatus:
    return (await run_check(plan, plan.server.address, stream=stream(), clock=time.monotonic)).status


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    run_loop(bounded())


def kept(plan: CheckPlan) -> bool:
    assert plan.pool is not None
    return plan.pool._idle is not None


async def until_kept(plan: CheckPlan) -> None:
    assert plan.pool is not None
    while plan.pool._finishing is not None:  # noqa: ASYNC110 -- nobody is told of it
        await asyncio.sleep(0.001)


def test_all_checks_use_one_connection() -> None:
    async def scenario() -> None:
        peer = Peer((OK,))
        async with serving(peer) as port:
            plan = plan_of(port)
            for _ in range(5):
                assert await check(plan) is CheckStatus.L7OK
            assert peer.numbers == [5]
            assert set(peer.asked[0]) == {b"OPTIONS / HTTP/1.1\r\nhost: a.example\r\n\r\n"}
            assert plan.pool is not None
            plan.pool.close()
            await peer.until(lambda: peer.ended == 1)

    run(scenario)


def test_max_reuse_is_for_checks_too() -> None:
    async def scenario() -> None:
        peer = Peer((OK,))
        async with serving(peer) as port:
            plan = plan_of(port, "max-reuse 2")
            for _ in range(7):
                assert await check(plan) is CheckStatus.L7OK
            await peer.until(lambda: peer.ended == 2)
            assert peer.numbers == [3, 3, 1]

    run(scenario)


def test_http_1_0_asks_for_it() -> None:
    async def scenario() -> None:
        peer = Peer((b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",))
        async with serving(peer) as port:
            plan = plan_of(port, "", "option httpchk")
            assert [await check(plan) for _ in range(3)] == [CheckStatus.L7OK] * 3
            assert peer.numbers == [3] and peer.asked[0][0] == b"OPTIONS / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nuntil it is closed",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and what nobody asked for",
        b"HTTP/1.1 200 OK\r\ncontent-length: 30000\r\n\r\n" + b"long" * 7500,
        b"HTTP/1.1 500 Alas\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["close", "1.0", "until the end", "more", "long", "failed"],
)
def test_what_can_not_be_kept_is_closed(answer: bytes) -> None:
    async def scenario() -> None:
        peer = Peer((answer,))
        async with serving(peer) as port:
            plan = plan_of(port)
            for number in range(3):
                await check(plan)
                await until_kept(plan)
                assert not kept(plan)
                await peer.until(lambda number=number: peer.ended == number + 1)  # type: ignore[misc]
            assert peer.numbers == [1, 1, 1]

    run(scenario)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", b"1", b"234"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n", b"0\r\n", b"\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"4\r\nbody\r\n0\r\nx: y", b"\r\n\r\n"),
        (b"HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n", b"4\nbody\n0\nx: y", b"\n\n"),
    ],
    ids=["length", "chunks", "trailers", "line feeds"],
)
def test_the_rest_of_an_answer_holds_no_check_up(pieces: tuple[bytes, ...]) -> None:
    async def scenario() -> None:
        peer = Peer(pieces)
        async with serving(peer) as port:
            plan = plan_of(port)
            for _ in range(3):
                peer.go_on.clear()
                assert await check(plan) is CheckStatus.L7OK
                assert not kept(plan)
                peer.go_on.set()
                await until_kept(plan)
                assert kept(plan)
            assert peer.numbers == [3]

    run(scenario)


def test_a_failed_check_keeps_its_connection_too() -> None:
    async def scenario() -> None:
        peer = Peer((b"HTTP/1.1 503 Alas\r\ncontent-length: 0\r\n\r\n",))
        async with serving(peer) as port:
            plan = plan_of(port)
            assert [await check(plan) for _ in range(3)] == [CheckStatus.L7STS] * 3
            assert peer.numbers == [3]

    run(scenario)


def test_a_server_that_closes_meanwhile_is_connected_to_anew() -> None:
    async def scenario() -> None:
        peer = Peer((OK,), close_after=1)
        async with serving(peer) as port:
            plan = plan_of(port)
            for number in range(3):
                assert await check(plan) is CheckStatus.L7OK
                await peer.until(lambda number=number: peer.ended == number + 1)  # type: ignore[misc]
            assert peer.numbers == [1, 1, 1]

    run(scenario)


def test_a_server_that_closes_when_it_is_asked_again_is_not_down() -> None:
    async def scenario() -> None:
        peer = Peer((OK,), close_after=1, rudely=True)
        async with serving(peer) as port:
            plan = plan_of(port)
            assert [await check(plan) for _ in range(3)] == [CheckStatus.L7OK] * 3
            assert peer.numbers == [1, 1, 1]

    run(scenario)


def test_a_server_that_is_gone_is_down() -> None:
    async def scenario() -> None:
        peer = Peer((OK,), close_after=1, rudely=True)
        async with serving(peer) as port:
            plan = plan_of(port)
            assert await check(plan) is CheckStatus.L7OK
        assert await check(plan) is CheckStatus.L4CON

    run(scenario)


def test_another_address_gets_a_connection_of_its_own() -> None:
    async def scenario() -> None:
        first, second = Peer((OK,)), Peer((OK,))
        async with serving(first) as port, serving(second) as other:
            plan = plan_of(port)
            await check(plan)
            moved = replace(plan.server.address, port=other, last_port=other)
            await run_check(plan, moved, stream=stream(), clock=time.monotonic)
            await first.until(lambda: first.ended == 1)
            assert (first.numbers, second.numbers) == ([1], [1])

    run(scenario)


def test_an_idle_connection_that_no_check_comes_for_is_closed() -> None:
    async def scenario() -> None:
        peer = Peer((OK,))
        async with serving(peer) as port:
            plan = plan_of(port)
            assert plan.pool is not None and plan.pool.longest == 11.0
            plan.pool.longest = 0.01
            await check(plan)
            await peer.until(lambda: peer.ended == 1)
            assert not kept(plan)

    run(scenario)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_one_handshake_for_all_checks(tmp_path: Path, version: ssl.TLSVersion) -> None:
    authority = make_authority("test CA")
    (tmp_path / "leaf.pem").write_bytes(issue(authority, ["a.example"]).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem")
    context.minimum_version = context.maximum_version = version

    async def scenario() -> None:
        peer = Peer((OK,), (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", b"ok"), (OK,))
        client = TlsDialler(ServerContext(ServerTls(verify=Verify.NONE)))
        async with serving(peer, context) as port:
            plan = plan_of(port, "ssl verify none", client=client)
            for _ in range(5):
                assert await check(plan) is CheckStatus.L7OK
                await until_kept(plan)
            assert peer.numbers == [5] and client.exchanges.full == 1 and not client.exchanges.resumed
            assert plan.pool is not None
            plan.pool.close()
            await client.settle()
            await peer.until(lambda: peer.ended == 1)
            assert await check(plan) is CheckStatus.L7OK  # and the session is there for the next connection
            assert client.exchanges.resumed == 1
            plan.pool.close()
            await client.settle()

    run(scenario)


def test_where_it_is_ignored() -> None:
    """5.2 check-reuse-pool: with other rulesets, and where an option says how to connect."""
    http = ("option httpchk",)
    assert plan_of(80).pool is not None
    for options in (
        "port 81", "addr 10.0.0.2", "check-ssl verify none", "check-send-proxy", "check-proto h1", "pool-max-conn 0",
        "max-reuse 0",
    ):
        assert plan_of(80, options, *http).pool is None, options
    for lines in (
        ("option tcp-check",),
        ("option redis-check",),
        (*http, "http-check connect", "http-check send meth GET"),
        ("mode http", *http, "http-reuse never"),
    ):
        assert plan_of(80, "", *lines).pool is None, lines
    assert plan_of(80, "no-check-reuse-pool", *http).pool is None


def test_the_name_of_the_connection() -> None:
    """A name of its own lets a connection serve whatever the name in TLS would be."""

    async def scenario() -> None:
        for options, connections in (("check-pool-conn-name fixed", [2]), ("", [1, 1])):
            peer = Peer((OK,))
            async with serving(peer) as port:
                plan = plan_of(port, options)
                await check(plan)
                await check(replace(plan, sni=b"b.example"))
                assert peer.numbers == connections

    run(scenario)
