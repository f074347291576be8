"""The watch of checks' sockets: it tells of what can be read, as long as it can be, and of nothing that was removed."""

from __future__ import annotations

import asyncio
import socket

from headgate.runtime.checks.watch import watch_of
from headgate.runtime.loop import run as run_loop


def test_told_until_it_is_read_and_not_when_it_was_removed() -> None:
    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()
        watch = watch_of(loop)
        assert watch_of(loop) is watch
        ours, theirs = socket.socketpair()
        other, silent = socket.socketpair()
        told: list[str] = []
        done = loop.create_future()

        def first() -> None:
            told.append("first")
            if told.count("first") == 2:  # nobody has read: it was told again
                watch.remove(ours.fileno())
                watch.add(ours.fileno(), second)

        def second() -> None:
            told.append("second")
            watch.remove(ours.fileno())
            done.set_result(None)

        with ours, theirs, other, silent:
            watch.add(ours.fileno(), first)
            watch.add(other.fileno(), lambda: told.append("silent"))
            theirs.send(b"x")
            async with asyncio.timeout(20):
                await done
            watch.remove(other.fileno())
        return told

    assert run_loop(scenario()) == ["first", "first", "second"]


def test_one_that_is_removed_by_another_is_not_told() -> None:
    async def scenario() -> int:
        watch = watch_of(asyncio.get_running_loop())
        pairs = [socket.socketpair() for _ in range(2)]
        watched = {pair[0].fileno() for pair in pairs}
        told = asyncio.get_running_loop().create_future()
        calls = 0

        def readable() -> None:
            nonlocal calls
            calls += 1
            while watched:
                watch.remove(watched.pop())
            asyncio.get_running_loop().call_soon(told.set_result, None)

        for fd in list(watched):
            watch.add(fd, readable)
        for _, theirs in pairs:
            theirs.close()  # an end can be read, too
        async with asyncio.timeout(20):
            await told
        for ours, _ in pairs:
            ours.close()
        return calls

    assert run_loop(scenario()) == 1
