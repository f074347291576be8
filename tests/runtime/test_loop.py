"""The loop: coroutines and a reactor's handlers in one process, each woken by the other without delay."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

from headgate.proxy.services import Reminder
from headgate.runtime.loop import Loop, reactor_of, run
from headgate.runtime.reactor import READ, Reactor

#: Far longer than anything here takes: what a wait that nobody ends would last.
_LONG = 30.0


def driven(scenario: Callable[[Reactor], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(_LONG):
            await scenario(reactor_of(asyncio.get_running_loop()))

    run(bounded())


class Alarm:
    def __init__(self, rings: Callable[[], None]) -> None:
        self.deadline = 0.0
        self.armed: Reminder | None = None
        self.timed_out = rings


def test_streams_and_handlers_are_served_side_by_side() -> None:
    async def scenario(reactor: Reactor) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        near, far = socket.socketpair()
        seen, all_seen = bytearray(), asyncio.Event()

        def handle(_events: int) -> None:
            seen.extend(near.recv(100))
            if seen.count(b",") == 20:
                all_seen.set()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with near, far:
            near.setblocking(False)
            reactor.watch(near.fileno(), READ, handle)
            for number in range(20):
                far.send(b"%d," % number)
                writer.write(b"%d\n" % number)
                assert await reader.readline() == b"%d\n" % number
            await all_seen.wait()
            reactor.unwatch(near.fileno())
        writer.close()
        await writer.wait_closed()
        server.close()

    driven(scenario)


def test_a_handler_wakes_a_coroutine_in_the_middle_of_a_wait() -> None:
    async def scenario(reactor: Reactor) -> None:
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        told: asyncio.Future[str] = loop.create_future()
        with near, far:

            def handle(_events: int) -> None:
                reactor.unwatch(near.fileno())
                loop.call_later(0.001, told.set_result, "timer")  # the wait was begun without an end

            reactor.watch(near.fileno(), READ, handle)
            loop.call_soon(far.send, b"x")
            assert await told == "timer"

    driven(scenario)


def test_what_is_put_off_and_what_is_due_need_no_event() -> None:
    async def scenario(reactor: Reactor) -> None:
        loop = asyncio.get_running_loop()
        put_off, due = loop.create_future(), loop.create_future()
        reactor.later(lambda: put_off.set_result(None))
        await put_off
        reactor.arm(Alarm(lambda: due.set_result(None)), reactor.now + 0.01)
        await due

    driven(scenario)


def test_another_thread_wakes_the_loop() -> None:
    async def scenario(_reactor: Reactor) -> None:
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(told.set_result, None))
        thread.start()
        await told
        thread.join()
        assert await loop.run_in_executor(None, lambda: 7) == 7

    driven(scenario)


def test_reader_and_writer_of_one_descriptor() -> None:
    async def scenario(_reactor: Reactor) -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        told: asyncio.Queue[str] = asyncio.Queue()
        with near, far:
            loop.add_reader(near, told.put_nowait, "readable")
            loop.add_writer(near, told.put_nowait, "writable")
            assert await told.get() == "writable"
            loop.remove_writer(near)
            while not told.empty():
                told.get_nowait()
            far.close()  # a hang-up is told to who reads
            assert await told.get() == "readable"
            loop.remove_reader(near)

    driven(scenario)


def test_what_was_closed_first_can_be_taken_out() -> None:
    async def scenario(_reactor: Reactor) -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        fd = near.fileno()
        loop.add_reader(fd, lambda: None)
        near.close()
        far.close()
        assert loop.remove_reader(fd)
        assert not loop.remove_reader(fd)

    driven(scenario)


def test_a_handler_that_raises_is_reported_and_the_loop_goes_on() -> None:
    async def scenario(reactor: Reactor) -> None:
        bugs: asyncio.Queue[Exception] = asyncio.Queue()
        reactor.on_bug = bugs.put_nowait
        near, far = socket.socketpair()
        with near, far:
            reactor.watch(near.fileno(), READ, lambda _: 1 / 0)
            far.send(b"x")
            assert isinstance(await bugs.get(), ZeroDivisionError)
            assert not reactor.handlers

    driven(scenario)


def test_only_our_loop_has_a_reactor() -> None:
    other = asyncio.new_event_loop()
    try:
        with pytest.raises(TypeError, match="turns no reactor"):
            reactor_of(other)
    finally:
        other.close()
    reactor = Reactor()
    loop = Loop(reactor)
    assert reactor_of(loop) is reactor
    loop.close()
    with pytest.raises(ValueError, match="closed epoll"):
        reactor.turn(0.0)


def test_a_descriptor_is_registered_once() -> None:
    loop = Loop()
    near, far = socket.socketpair()
    with near, far:
        selector = loop._selector  # type: ignore[attr-defined]  # asyncio's own
        selector.register(near, selectors.EVENT_READ)
        with pytest.raises(KeyError, match="already registered"):
            selector.register(near.fileno(), selectors.EVENT_WRITE)
        assert selector.get_key(near).fd == near.fileno()
        assert list(selector.get_map()) == [loop._ssock.fileno(), near.fileno()]  # type: ignore[attr-defined]  # asyncio's own
        selector.unregister(near)
        with pytest.raises(KeyError):
            selector.get_key(near)
    loop.close()


def test_what_is_open_at_the_end_is_closed() -> None:
    near = socket.socket()

    async def scenario() -> None:
        async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await asyncio.get_running_loop().create_future()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        near.connect(server.sockets[0].getsockname())
        await asyncio.sleep(0)  # accepted in the last turn, or never

    with near:
        run(scenario())
        near.settimeout(_LONG)
        try:
            assert near.recv(1) == b""
        except ConnectionResetError:
            pass  # it was still waiting to be accepted
