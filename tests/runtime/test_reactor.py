"""The reactor: descriptors, deadlines that move, and the end of a turn."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Awaitable, Callable

import pytest

from headgate.proxy.services import Reminder
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop
from headgate.runtime.reactor import READ, WRITE, Reactor


class Alarm:
    """Something with a deadline that notes when it went off."""

    def __init__(self, done: asyncio.Event | None = None) -> None:
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self.rang = 0
        self.done = done

    def timed_out(self) -> None:
        self.rang += 1
        if self.done is not None:
            self.done.set()


def driven(test: Callable[[Reactor], Awaitable[None]]) -> None:
    async def main() -> None:
        reactor = reactor_of(asyncio.get_running_loop())
        try:
            await asyncio.wait_for(test(reactor), 10)
        finally:
            reactor.clear()

    run_loop(main())


def test_a_handler_is_called_for_its_descriptor_and_not_after_unwatch() -> None:
    async def scenario(reactor: Reactor) -> None:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            got: asyncio.Queue[bytes] = asyncio.Queue()
            reactor.watch(near.fileno(), READ, lambda events: got.put_nowait(near.recv(10)))
            far.send(b"one")
            assert await got.get() == b"one"
            reactor.unwatch(near.fileno())
            far.send(b"two")
            await asyncio.sleep(0)
            assert got.empty()

    driven(scenario)


def test_a_forgotten_descriptor_leaves_with_its_close_and_its_number_can_be_used_again() -> None:
    async def scenario(reactor: Reactor) -> None:
        near, far = socket.socketpair()
        with far:
            number = near.fileno()
            reactor.watch(number, READ, lambda events: pytest.fail("closed"))
            far.send(b"x")
            reactor.forget(number)
            near.close()
            again, other = socket.socketpair()
            with again, other:
                assert number in (again.fileno(), other.fileno())
                got: asyncio.Queue[int] = asyncio.Queue()
                reactor.watch(number, WRITE, got.put_nowait)
                assert await got.get() == WRITE

    driven(scenario)


def test_a_forgotten_descriptor_that_another_process_holds_is_taken_out_of_the_set() -> None:
    async def scenario(reactor: Reactor) -> None:
        near, far = socket.socketpair()
        with far, near.dup():
            reactor.watch(near.fileno(), READ, lambda events: None)
            reactor.shared.add(near.fileno())
            reactor.forget(near.fileno())
            near.close()
            far.send(b"x")
            assert not reactor.turn(0.0) and not reactor.shared

    driven(scenario)


def test_a_handler_that_closes_another_connection_of_the_batch_keeps_it_from_being_called() -> None:
    async def scenario(reactor: Reactor) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        called: list[int] = []
        done = asyncio.Event()

        def handler(own: int, other: int) -> Callable[[int], None]:
            def handle(events: int) -> None:
                called.append(own)
                reactor.unwatch(pairs[own][0].fileno())
                reactor.unwatch(pairs[other][0].fileno())
                done.set()

            return handle

        for _, far in pairs:
            far.send(b"x")
        for index, (near, _) in enumerate(pairs):
            reactor.watch(near.fileno(), READ, handler(index, 1 - index))
        await done.wait()
        await asyncio.sleep(0)
        assert len(called) == 1
        for near, far in pairs:
            near.close()
            far.close()

    driven(scenario)


def test_a_deadline_fires_once_and_one_that_moved_later_fires_later() -> None:
    async def scenario(reactor: Reactor) -> None:
        early, late = Alarm(asyncio.Event()), Alarm(asyncio.Event())
        start = reactor.now
        reactor.arm(late, start + 0.02)
        late.deadline = start + 0.06  # plain assignment is enough to move it later
        reactor.arm(early, start + 0.03)
        assert early.done is not None and late.done is not None
        await early.done.wait()
        assert late.rang == 0
        await late.done.wait()
        assert reactor.now >= start + 0.06
        assert (early.rang, late.rang) == (1, 1)

    driven(scenario)


def test_an_earlier_deadline_takes_over() -> None:
    async def scenario(reactor: Reactor) -> None:
        alarm = Alarm(asyncio.Event())
        start = reactor.now
        reactor.arm(alarm, start + 5)
        reactor.arm(alarm, start + 0.01)
        assert alarm.done is not None
        await alarm.done.wait()
        assert reactor.now < start + 5
        assert alarm.rang == 1

    driven(scenario)


def test_retired_deadlines_leave_the_heap() -> None:
    reactor = Reactor()
    alarms = [Alarm() for _ in range(5000)]
    for alarm in alarms:
        reactor.arm(alarm, reactor.now + 3600)
    for alarm in alarms:
        reactor.retire(alarm)
    assert len(reactor._heap) < 1500
    reactor.close()


def test_whoever_has_retired_is_not_kept() -> None:
    """A connection that is over must not take up memory until its timeout would have come."""
    reactor = Reactor()
    alarm = Alarm()
    reactor.arm(alarm, reactor.now + 7200)
    reactor.arm(alarm, reactor.now + 3600)
    reactor.retire(alarm)
    gone = weakref.ref(alarm)
    del alarm
    assert gone() is None and not reactor.waiting()
    reactor.close()


def test_who_was_armed_again_behind_its_retirement_is_called_once() -> None:
    async def scenario(reactor: Reactor) -> None:
        alarm = Alarm(asyncio.Event())
        reactor.arm(alarm, reactor.now + 0.01)
        reactor.retire(alarm)
        reactor.arm(alarm, reactor.now + 0.02)
        assert reactor.waiting() == [alarm]
        assert alarm.done is not None
        await alarm.done.wait()
        assert alarm.rang == 1 and alarm.armed is None and not reactor.waiting()

    driven(scenario)


def test_later_runs_after_the_event_that_asked_for_it() -> None:
    async def scenario(reactor: Reactor) -> None:
        order: list[str] = []
        done = asyncio.Event()
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)

            def handle(events: int) -> None:
                near.recv(1)
                reactor.later(lambda: (order.append("later"), done.set()))  # type: ignore[func-returns-value]
                order.append("event")

            reactor.watch(near.fileno(), READ, handle)
            far.send(b"x")
            await done.wait()
            assert order == ["event", "later"]
            reactor.unwatch(near.fileno())

    driven(scenario)


def test_a_bug_in_one_handler_costs_its_connection_only() -> None:
    async def scenario(reactor: Reactor) -> None:
        bugs: list[Exception] = []
        reactor.on_bug = bugs.append
        pairs = [socket.socketpair() for _ in range(3)]
        served: asyncio.Queue[int] = asyncio.Queue()

        def broken(events: int) -> None:
            raise ZeroDivisionError

        for index, (near, far) in enumerate(pairs):
            near.setblocking(False)
            far.send(b"x")
            reactor.watch(near.fileno(), READ, broken if index == 1 else lambda events, index=index: served.put_nowait(index))
        assert {await served.get(), await served.get()} == {0, 2}
        for near, _ in pairs:
            near.recv(1)
        assert [type(bug) for bug in bugs] == [ZeroDivisionError]
        for near, far in pairs:
            reactor.unwatch(near.fileno())
            near.close()
            far.close()

    driven(scenario)


def test_deadlines_survive_a_clean_up_of_the_heap_while_others_fire() -> None:
    async def scenario(reactor: Reactor) -> None:
        crowd = [Alarm() for _ in range(2000)]
        last = Alarm(asyncio.Event())

        class Killer(Alarm):
            def timed_out(self) -> None:
                for alarm in crowd:
                    reactor.retire(alarm)
                reactor.arm(last, reactor.now + 0.02)

        for alarm in crowd:
            reactor.arm(alarm, reactor.now + 3600)
        reactor.arm(Killer(), reactor.now + 0.01)
        assert last.done is not None
        await last.done.wait()
        assert last.rang == 1

    driven(scenario)


def test_what_is_due_waits_for_events_that_are_there_already_but_not_for_ever() -> None:
    """A timeout must not end a connection whose data has come, and is only behind that of many others."""
    reactor = Reactor()
    pairs = [socket.socketpair() for _ in range(100)]
    served: list[int] = []
    alarm = Alarm()
    rang_after: list[int] = []
    try:
        for number, (near, far) in enumerate(pairs):
            near.setblocking(False)

            def serve(_: int, near: socket.socket = near, number: int = number) -> None:
                near.recv(10)
                served.append(number)
                if alarm.rang and not rang_after:
                    rang_after.append(len(served))

            reactor.watch(near.fileno(), READ, serve)
            far.send(b"x")
        reactor.arm(alarm, reactor.now)
        while len(served) < 100:
            reactor.turn(0.0)
        assert alarm.rang == 1 and not rang_after

        for _, far in pairs:
            far.send(b"x")
        reactor.arm(alarm, reactor.now - 1.0)
        reactor.turn(0.0)
        assert alarm.rang == 2 and len(served) < 200
    finally:
        for near, far in pairs:
            reactor.unwatch(near.fileno())
            near.close()
            far.close()
        reactor.close()
