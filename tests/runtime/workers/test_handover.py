"""Connections that go to the worker that has their session: two workers in one process, real sockets, a scripted TLS layer."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headgate.balance.rows import SESSIONS, share_of
from headgate.observe.counters import ProcessCounters
from headgate.plan.facts import TlsFacts
from headgate.proxy.joint import JointFrontend, JointShared
from headgate.runtime.channel import PlainChannel
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop
from headgate.runtime.workers.handover import Handover
from headgate.runtime.workers.listener import JointListener
from headgate.runtime.workers.mailboxes import Mailboxes
from headgate.runtime.workers.session_table import SessionTable
from headgate.runtime.workers.shared import SharedState
from tests.proxy.playbook import Playbook, compiled
from tests.wire.test_client_hello import extension, message, records
from tests.wire.test_session_ids import pre_shared_keys

TIMEOUT = 30.0
HEADER = f"defaults\n    mode http\n    timeout client {int(TIMEOUT)}s\n    timeout connect 1s\n    timeout server 10s\n"
HELD = bytes(range(32))


class Channel(PlainChannel):
    """Stands for a TLS channel whose handshake never ends."""

    def begin(self) -> None:
        pass

    def so_far(self) -> TlsFacts | None:
        return None


class Answerer:
    """Stands for a bind line's TLS layer: `told` hears of sessions, `hellos` are those that it was to answer."""

    def __init__(self) -> None:
        self.told: Callable[[bytes], None] | None = None
        self.hellos: list[bytes] = []
        self.owners: list[Any] = []

    def tell_held(self, told: Callable[[bytes], None]) -> None:
        self.told = told

    def accept(self, reactor: Any, sock: socket.socket, hello: bytes, owner: Any) -> Channel:
        self.hellos.append(hello)
        self.owners.append(owner)
        return Channel(reactor, sock, owner, registered=True)

    def unheard(self, *_: Any, **__: Any) -> None:
        return None


class Worker:
    """One worker: its listener on the socket of both."""

    def __init__(self, generation: Generation, process: int) -> None:
        play, reactor, state = generation.play, generation.reactor, generation.state
        board = state.enter(process)
        self.shared = JointShared(play.clock, play.connector, play.shared.world, ProcessCounters(), maxconn=20)
        self.shared.join(board)
        plan = generation.plan
        self.side = JointFrontend(plan, self.shared, None, 10)
        self.tls = Answerer()
        assert state.sessions is not None and state.boxes is not None
        self.handover = Handover(state.sessions, state.boxes, process)
        sock = generation.sock.dup()
        sock.setblocking(False)
        self.listener = JointListener(reactor, self.side, plan.binds[0], sock, self.tls, 1)
        self.handover.attach(self.listener)
        self.handover.start(reactor)
        self.process = process

    def share(self, row: int) -> int:
        """Its connections, of a row."""
        return self.shared.board.cells[share_of(row, self.process) + SESSIONS - 1]


class Generation:
    """Two workers. Only the first one accepts."""

    def __init__(self, tmp_path: Path, line: str = "", rules: str = "") -> None:
        (tmp_path / "a.pem").touch()
        config = f"frontend fe\n    bind 127.0.0.1:1 ssl crt {tmp_path}/a.pem maxconn 8 {line}\n{rules}"
        self.play = Playbook(config, tmp_path, HEADER)
        (self.plan,) = compiled(HEADER + config, str(tmp_path)).frontends
        self.reactor = reactor_of(asyncio.get_running_loop())
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.state = SharedState(20, 2, 100, SessionTable(100, 300.0))
        self.first, self.second = Worker(self, 1), Worker(self, 2)
        self.first.listener.start()
        self.clients: list[socket.socket] = []

    def says(self, hello: bytes) -> socket.socket:
        """A client that says this."""
        client = socket.create_connection(self.sock.getsockname(), 10)
        client.sendall(hello)
        self.clients.append(client)
        return client

    async def until(self, condition: Callable[[], object]) -> None:
        turned = asyncio.Event()
        self.reactor.turn_ends.append(turned.set)
        while not condition():
            await turned.wait()
            turned.clear()
        self.reactor.turn_ends.remove(turned.set)

    def loads(self) -> list[tuple[int, int, int]]:
        """Connections of both workers: by the process's row, the frontend's, the listener's."""
        return [
            (one.share(one.shared.row), one.share(one.side.row), one.share(one.listener.counters.row))  # type: ignore[union-attr]
            for one in (self.first, self.second)
        ]

    def close(self) -> None:
        for worker in (self.first, self.second):
            for owner in worker.tls.owners:
                owner.channel.release()
            worker.listener.stop()
            worker.handover.stop()
        self.reactor.clear()
        assert self.state.sessions is not None
        self.state.sessions.close()
        self.state.close()
        for sock in (*self.clients, self.sock):
            sock.close()


def run(tmp_path: Path, scenario: Callable[[Generation], Awaitable[None]], line: str = "", rules: str = "") -> None:
    async def bounded() -> None:
        generation = Generation(tmp_path, line, rules)
        try:
            async with asyncio.timeout(20):
                await scenario(generation)
        finally:
            generation.close()

    run_loop(bounded())


HELLO = records(message(b"", session=HELD))
OTHER = records(message(b"", session=bytes(32)))
RESUMES_1_3 = records(message(extension(43, b"\x02\x03\x04") + pre_shared_keys([b"t" * 200, HELD]), session=bytes(32)))


def test_the_connection_goes_to_who_has_the_session(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        first, second = generation.first, generation.second
        generation.says(HELLO)
        await generation.until(lambda: first.tls.hellos)  # nobody has it yet
        assert second.tls.told is not None
        second.tls.told(HELD)
        client = generation.says(HELLO)
        await generation.until(lambda: second.tls.hellos)
        assert second.tls.hellos == [HELLO]
        assert (first.handover.given, second.handover.taken) == (1, 1)
        (owner,) = second.tls.owners
        session = owner.session
        assert (session.source, session.source_port) == (b"127.0.0.1", client.getsockname()[1])
        assert (session.destination, session.destination_port) == (b"127.0.0.1", generation.sock.getsockname()[1])
        assert (session.listener_id, session.counted) == (1, second.listener.counters)
        assert generation.reactor.wall - 20 < session.accepted_at <= generation.reactor.wall
        # Each is counted where it was accepted, and is there where it is served.
        assert generation.loads() == [(1, 1, 1), (1, 1, 1)]
        assert (first.side.counters.connections, second.side.counters.connections) == (2, 0)
        assert (first.listener.counters.sessions_total, second.listener.counters.sessions_total) == (2, 0)  # type: ignore[union-attr]
        assert (first.shared.counters.tls_connections, second.shared.counters.tls_connections) == (1, 1)
        assert session in second.shared.live and len(first.shared.live) == 1
        second.side.session_over(session)
        assert generation.loads() == [(1, 1, 1), (0, 0, 0)]
        assert first.side.sessions == 1

    run(tmp_path, scenario)


def test_nothing_else_goes_anywhere(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        first, second = generation.first, generation.second
        first.handover.held(bytes(reversed(HELD)))
        second.handover.held(HELD)
        hellos = [OTHER, RESUMES_1_3, records(message(b"", session=bytes(reversed(HELD)))), records(message(b""))]
        for number, hello in enumerate(hellos):
            generation.says(hello)
            await generation.until(lambda number=number: len(first.tls.hellos) > number)
        assert first.tls.hellos == hellos and not second.tls.hellos
        assert (first.handover.given, first.handover.kept) == (0, 0)

    run(tmp_path, scenario)


def test_sessions_of_tls_1_3_on_lines_without_tickets(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        generation.second.handover.held(HELD)
        generation.says(RESUMES_1_3)
        await generation.until(lambda: generation.second.tls.hellos)
        assert generation.second.tls.hellos == [RESUMES_1_3] and not generation.first.tls.hellos

    run(tmp_path, scenario, "no-tls-tickets")


def test_it_is_given_once_and_the_deadline_goes_on(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        first, second = generation.first, generation.second
        second.handover.held(HELD)
        box = generation.state.boxes
        assert box is not None
        generation.reactor.unwatch(box.descriptor(2))
        generation.says(HELLO)
        await generation.until(lambda: first.handover.given)
        started = generation.reactor.now
        first.handover.held(HELD)  # meanwhile it is the other one's
        generation.reactor.now += 7.0
        second.handover._readable(1)
        await generation.until(lambda: second.tls.hellos)
        assert second.handover.given == 0
        (owner,) = second.tls.owners
        assert owner.started <= started and owner.deadline == owner.started + TIMEOUT

    run(tmp_path, scenario)


def test_a_proxy_header_is_read_once(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        generation.second.handover.held(HELD)
        generation.says(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n" + HELLO)
        await generation.until(lambda: generation.second.tls.hellos)
        (owner,) = generation.second.tls.owners
        session = owner.session
        assert generation.second.tls.hellos == [HELLO]
        assert (session.source, session.source_port) == (b"192.0.2.7", 1234)
        assert (session.destination, session.destination_port) == (b"192.0.2.8", 443)

    run(tmp_path, scenario, "accept-proxy")


def test_who_leaves_gets_nothing_and_takes_what_is_there(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        first, second = generation.first, generation.second
        second.handover.held(HELD)
        assert generation.state.boxes is not None
        generation.reactor.unwatch(generation.state.boxes.descriptor(2))
        generation.says(HELLO)
        await generation.until(lambda: first.handover.given)
        second.handover.close()
        second.handover.renew()
        generation.says(HELLO)
        await generation.until(lambda: first.tls.hellos)
        assert first.handover.kept == 1
        assert not second.handover.is_through()  # there was one
        assert second.handover.is_through() and second.handover.taken == 1
        first.handover.close()
        first.handover.held(HELD)
        second.listener.start()
        first.listener.pause()
        generation.says(HELLO)
        await generation.until(lambda: len(second.tls.hellos) > 1)
        assert second.handover.given == 0  # nor does it give any

    run(tmp_path, scenario)


def test_who_has_far_more_than_its_share_is_given_no_more(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        first, second = generation.first, generation.second
        second.handover.held(HELD)
        second.side.sessions += 80
        second.shared.sessions += 80
        assert second.shared.is_ahead() and first.shared.is_loaded(2) and not first.shared.is_loaded(1)
        first.side.maxconn = first.shared.maxconn = 100
        generation.says(HELLO)
        await generation.until(lambda: first.tls.hellos)
        assert (first.handover.kept, first.handover.given) == (1, 0)
        second.side.sessions -= 50
        second.shared.sessions -= 50
        generation.says(HELLO)
        await generation.until(lambda: second.tls.hellos)

    run(tmp_path, scenario)


def test_what_a_dead_giver_had_is_not_taken_from_its_successor(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        second = generation.second
        second.handover.held(HELD)
        assert generation.state.boxes is not None
        generation.reactor.unwatch(generation.state.boxes.descriptor(2))
        generation.says(HELLO)
        await generation.until(lambda: generation.first.handover.given)
        assert generation.loads() == [(1, 1, 1), (0, 0, 0)]
        generation.state.recover(1)
        assert generation.loads() == [(0, 0, 0), (0, 0, 0)]
        second.handover._readable(1)
        assert generation.loads() == [(0, 0, 0), (1, 1, 1)] and second.side.sessions == 1
        await generation.until(lambda: second.tls.hellos)

    run(tmp_path, scenario)


class Died(BaseException):
    """What ends a process that is killed."""


@pytest.mark.parametrize("taken", [True, False])
def test_who_is_killed_while_it_takes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    """What it had taken is gone, and counted nowhere any more; what it had not is taken by another one."""
    take = Mailboxes.take

    def dies(self: Mailboxes, process: int) -> tuple[bytes, int] | None:
        if taken:
            found = take(self, process)
            assert found is not None
            os.close(found[1])
        raise Died

    async def scenario(generation: Generation) -> None:
        first, second, boxes = generation.first, generation.second, generation.state.boxes
        assert boxes is not None
        second.handover.held(HELD)
        generation.reactor.unwatch(boxes.descriptor(2))
        generation.says(HELLO)
        await generation.until(lambda: first.handover.given)
        with monkeypatch.context() as patched, pytest.raises(Died):
            patched.setattr(Mailboxes, "take", dies)
            second.handover._readable(1)
        assert generation.loads() == [(1, 1, 1), (0, 0, 0)]
        generation.state.recover(2)
        if taken:
            assert generation.loads() == [(0, 0, 0), (0, 0, 0)] and first.side.sessions == first.shared.sessions == 0
        else:
            await generation.until(lambda: first.tls.hellos)
            assert generation.loads() == [(1, 1, 1), (0, 0, 0)] and first.side.sessions == 1

    run(tmp_path, scenario)


def test_one_that_comes_without_its_socket_gives_its_place_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(generation: Generation) -> None:
        second = generation.second
        second.handover.held(HELD)
        take = Mailboxes.take

        def without(self: Mailboxes, process: int) -> tuple[bytes, int] | None:
            found = take(self, process)
            if found is None:
                return None
            os.close(found[1])
            return found[0], -1

        monkeypatch.setattr(Mailboxes, "take", without)
        client = generation.says(HELLO)
        await generation.until(lambda: second.handover.lost)
        with pytest.raises(ConnectionResetError):  # what it said was not read
            client.recv(1)
        assert generation.loads() == [(0, 0, 0), (0, 0, 0)]

    run(tmp_path, scenario)


def test_connection_rules_keep_connections_where_they_are(tmp_path: Path) -> None:
    async def scenario(generation: Generation) -> None:
        first, second = generation.first, generation.second
        assert second.tls.told is None and first.listener.giver is None
        second.handover.held(HELD)
        generation.says(HELLO)
        await generation.until(lambda: first.tls.hellos)

    run(tmp_path, scenario, rules="    tcp-request connection accept\n")
