"""Listening sockets, with real connections: limits, rates, lack of descriptors, and what a session is told of its connection."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from headgate.config.model import Bind
from headgate.proxy.sides import Frontend
from headgate.runtime import listener as listening
from headgate.runtime.listener import Listener, resume_all
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop
from tests.proxy.playbook import Playbook

HEADER = "defaults\n    mode http\n    timeout client 10s\n    timeout connect 1s\n    timeout server 10s\n"


class Door:
    """A listener at work. `accepted` counts sessions; `closing` is done when a session has ended."""

    def __init__(self, tmp_path: Path, frontend: str, bind: str) -> None:
        config = f"frontend fe\n    bind 127.0.0.1:1 {bind}\n{frontend}    http-request return status 200\n"
        self.play = Playbook(config, tmp_path, HEADER)
        self.side: Frontend = self.play.frontends["fe"]
        self.reactor = reactor_of(asyncio.get_running_loop())
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.sock.setblocking(False)
        spec: Bind = self.side.spec.binds[0]
        self.listener = Listener(self.reactor, self.side, spec, self.sock, None, 1)
        self.play.shared.session_ended = lambda side: resume_all([self.listener])
        self.listener.start()

    async def visitor(self) -> Visitor:
        return Visitor(await asyncio.open_connection(*self.sock.getsockname()))

    def close(self) -> None:
        for session in list(self.play.shared.live):
            cast(Any, session).channel.release()
        self.listener.stop()
        self.reactor.clear()


class Visitor:
    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams

    async def asks(self) -> bytes:
        self.writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        return (await self.reader.readuntil(b"\r\n\r\n"))[:12]

    async def leaves(self) -> None:
        self.writer.write_eof()
        assert await self.reader.read() == b""
        self.writer.close()
        await self.writer.wait_closed()


def opened(tmp_path: Path, scenario: Callable[[Door], Awaitable[None]], *, frontend: str = "", bind: str = "") -> None:
    async def main() -> None:
        door = Door(tmp_path, frontend, bind)
        try:
            await asyncio.wait_for(scenario(door), 10)
        finally:
            door.close()

    run_loop(main())


OK = b"HTTP/1.1 200"


@pytest.mark.parametrize("limit", ["frontend", "bind"])
def test_at_maxconn_connections_wait_in_the_backlog_until_one_leaves(tmp_path: Path, limit: str) -> None:
    async def scenario(door: Door) -> None:
        if limit == "frontend":
            door.side.maxconn = 2
        first, second, third = [await door.visitor() for _ in range(3)]
        assert [await first.asks(), await second.asks()] == [OK, OK]
        waiting = asyncio.ensure_future(third.asks())
        while not door.listener.paused:  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0)
        assert door.side.sessions == 2
        assert not waiting.done()
        await first.leaves()
        assert await waiting == OK
        await second.leaves()
        await third.leaves()
        assert door.side.sessions == 0
        assert not door.play.shared.live

    opened(tmp_path, scenario, bind="maxconn 2" if limit == "bind" else "")


def test_a_rate_limit_delays_what_comes_too_fast(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        visitors = [await door.visitor() for _ in range(3)]
        assert [await one.asks() for one in visitors[:2]] == [OK, OK]
        third = asyncio.ensure_future(visitors[2].asks())
        while not door.listener.paused:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert door.listener.deadline > door.reactor.now
        door.reactor.arm(door.listener, door.reactor.now + 60)  # however long the rest takes
        # A session that ends meanwhile gives no leave to accept.
        await visitors[0].leaves()
        assert door.listener.paused and not third.done()
        door.side.gate.limit = 100
        door.listener.timed_out()
        assert await third == OK
        await visitors[1].leaves()
        await visitors[2].leaves()

    opened(tmp_path, scenario, frontend="    rate-limit sessions 2\n")


@pytest.mark.parametrize("ruleset", ["tcp-request connection", "tcp-request session"])
def test_who_is_accepted_by_a_rule_is_not_asked_about_the_others(tmp_path: Path, ruleset: str) -> None:
    async def scenario(door: Door) -> None:
        visitor = await door.visitor()
        assert await visitor.asks() == OK
        await visitor.leaves()
        assert door.side.counters.denied_connections == door.side.counters.denied_sessions == 0

    opened(tmp_path, scenario, frontend=f"    {ruleset} accept if {{ src 127.0.0.1 }}\n    {ruleset} reject\n")


class Failing:
    """A listening socket that fails to accept a number of times."""

    def __init__(self, sock: socket.socket, error: int, times: int) -> None:
        self._sock = sock
        self._error = error
        self.times = times

    def _accept(self) -> tuple[int, Any]:
        if self.times:
            self.times -= 1
            raise OSError(self._error, os.strerror(self._error))
        return cast(tuple[int, Any], cast(Any, self._sock)._accept())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINVAL])
def test_without_descriptors_it_waits_and_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    monkeypatch.setattr(listening, "_OUT_OF_DESCRIPTORS", 0.01)

    async def scenario(door: Door) -> None:
        door.listener.sock = cast(socket.socket, Failing(door.sock, error, 2))
        visitor = await door.visitor()
        assert await visitor.asks() == OK
        assert door.play.shared.counters.accept_failures == 2
        assert not door.listener.paused
        await visitor.leaves()

    opened(tmp_path, scenario)


def test_a_connection_that_is_gone_before_it_is_accepted_is_passed_over(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        door.listener.sock = cast(socket.socket, Failing(door.sock, errno.ECONNABORTED, 3))
        visitor = await door.visitor()
        assert await visitor.asks() == OK
        assert door.play.shared.counters.accept_failures == 0
        await visitor.leaves()

    opened(tmp_path, scenario)


def test_a_disabled_frontend_stays_so_when_a_session_ends(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        visitor = await door.visitor()
        assert await visitor.asks() == OK
        door.side.accept_paused = True
        door.listener.pause()
        await visitor.leaves()
        assert door.listener.paused

    opened(tmp_path, scenario)


def test_the_session_knows_both_addresses_and_does_not_wait_to_send(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        visitor = await door.visitor()
        assert await visitor.asks() == OK
        (session,) = door.play.shared.live
        here, there = cast(Any, session), visitor.writer.get_extra_info("sockname")
        assert (here.source, here.source_port) == (there[0].encode(), there[1])
        assert (here.destination, here.destination_port) == (b"127.0.0.1", door.sock.getsockname()[1])
        sock = here.channel.sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not sock.getblocking()
        await visitor.leaves()

    opened(tmp_path, scenario)


def test_closed_connections_leave_no_cycles_to_the_garbage_collector(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        async def visit() -> None:
            visitor = await door.visitor()
            assert await visitor.asks() == OK
            await visitor.leaves()

        await visit()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(10):
                await visit()
            gc.collect()
            ours = [one for one in gc.garbage if type(one).__module__.startswith("headgate.")]
            assert ours == []
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()

    opened(tmp_path, scenario)


def test_a_stopped_listener_takes_nobody(tmp_path: Path) -> None:
    async def scenario(door: Door) -> None:
        address = door.sock.getsockname()
        door.listener.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    opened(tmp_path, scenario)
