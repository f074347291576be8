"""Waits of checks: what ends them, and what they leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headgate.runtime.checks.waiting import TimeLimit, Wake
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop
from headgate.runtime.reactor import Reactor


def run(scenario: Callable[[Reactor], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario(reactor_of(asyncio.get_running_loop()))

    run_loop(bounded())


def test_a_limit_ends_what_takes_too_long() -> None:
    async def scenario(reactor: Reactor) -> None:
        limit = TimeLimit(reactor, reactor.now + 0.02)
        with pytest.raises(TimeoutError), limit:
            await asyncio.get_running_loop().create_future()
        assert not limit.deadline
        limit.move(reactor.now + 5.0)
        assert not limit.deadline

    run(scenario)


def test_a_limit_that_is_moved_holds_then() -> None:
    async def scenario(reactor: Reactor) -> None:
        with TimeLimit(reactor, reactor.now + 0.02) as limit:
            limit.move(reactor.now + 10.0)
            await asyncio.sleep(0.05)
            with pytest.raises(TimeoutError), TimeLimit(reactor, reactor.now + 10.0) as inner:
                inner.move(reactor.now)
                await asyncio.get_running_loop().create_future()

    run(scenario)


def test_who_is_cancelled_from_outside_is_no_timeout() -> None:
    async def scenario(reactor: Reactor) -> None:
        entered = asyncio.Event()

        async def wait(seconds: float) -> None:
            with TimeLimit(reactor, reactor.now + seconds):
                entered.set()
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(wait(20.0))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        limit = TimeLimit(reactor, reactor.now + 20.0)
        with pytest.raises(asyncio.CancelledError), limit:  # both at once
            limit.timed_out()
            current = asyncio.current_task()
            assert current is not None
            current.cancel()
            await asyncio.sleep(0)
        assert current.uncancel() == 0

    run(scenario)


def test_a_wake_is_set_or_its_time_is_over() -> None:
    async def scenario(reactor: Reactor) -> None:
        wake = Wake()
        await wake.wait(0.01)
        waiting = asyncio.create_task(wake.wait())
        await asyncio.sleep(0)
        wake.set()
        await waiting
        await wake.wait()  # as long as it is set
        await wake.wait(10.0)
        wake.clear()
        await wake.wait(0.01)
        assert not wake.deadline and len(reactor.waiting()) == 0

    run(scenario)
