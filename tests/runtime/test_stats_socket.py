"""The stats socket over real sockets: one line and close, prompt mode, bounds, timeouts, the socket file."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headgate.admin.commands import all_commands, connection
from headgate.admin.registry import Command, Level, Registry
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError, Location
from headgate.config.model import StatsSocket, UnixPermissions
from headgate.runtime.loop import run as run_loop
from headgate.runtime.process.successor import TakeoverFailed, take_listeners
from headgate.runtime.stats_socket import StatsListener

HERE = Location("test.cfg", 3, 5)
Scenario = Callable[[StatsListener], Awaitable[None]]


def listener(path: Path, **more: Any) -> StatsListener:
    permissions = more.pop("permissions", UnixPermissions())
    level = more.pop("level", "admin")
    spec = StatsSocket(Address(Family.UNIX, str(path)), level, permissions, HERE, expose_listeners=more.pop("expose", False))
    context = SimpleNamespace(started_at=0.0, clock=lambda: 1.0)
    return StatsListener(spec, more.pop("registry", all_commands()), context, **more)


def serve(stats: StatsListener, scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await stats.start(stats.open())
            try:
                await scenario()
            finally:
                await stats.stop()

    run_loop(bounded())


async def ask(path: Path, sent: bytes, *, end: bool = False) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(sent)
    if end:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_one_line_is_answered_and_the_connection_closed(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def scenario() -> None:
        assert await ask(path, b"show cli level\r\n") == b"admin\n\n"
        assert await ask(path, b"show cli level;echo a b", end=True) == b"admin\n\na b\n\n"
        assert await ask(path, b"", end=True) == b""

    serve(listener(path), scenario)
    assert not path.exists()


def test_prompt_mode_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"prompt\n")
        assert await reader.readuntil(b"> ") == b"\n> "
        for one in b"show cli level\n":
            writer.write(bytes((one,)))
        assert await reader.readuntil(b"> ") == b"operator\n\n> "
        writer.write(b"quit\n")
        assert await reader.read() == b"\n"
        writer.close()

    serve(listener(path, level="operator"), scenario)


def test_long_lines_and_silence_end_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def scenario() -> None:
        assert await ask(path, b"x" * 5000) == b"The line is longer than 1000 bytes.\n\n"
        assert await ask(path, b"") == b""  # the timeout closes it

    serve(listener(path, timeout=0.05, longest_line=1000), scenario)


def test_stopping_closes_open_connections(tmp_path: Path) -> None:
    path = tmp_path / "s"
    stats = listener(path, timeout=3600.0)
    connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"prompt\n")
        await reader.readuntil(b"> ")
        await stats.stop()
        assert await reader.read() == b""
        connections.append((reader, writer))
        writer.close()

    serve(stats, scenario)
    assert connections


def test_stale_file_is_replaced_with_its_permissions_set(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def scenario() -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert await ask(path, b"show cli level\n") == b"admin\n\n"
        assert os.listdir(tmp_path) == ["s"]

    serve(listener(path, permissions=UnixPermissions(mode=0o600)), scenario)


def test_a_successor_s_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def scenario() -> None:
        path.unlink()
        path.write_text("the next process's")

    serve(listener(path), scenario)
    assert path.exists()


def test_unusable_address_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        listener(tmp_path / "missing" / "s").open()
    assert caught.value.diagnostic.location is HERE


class Flow:
    """A command that says a line each time it may."""

    def __init__(self, *, watches: bool) -> None:
        self.say = asyncio.Queue[str]()
        self.over = asyncio.Event()
        self.registry = Registry((*connection.COMMANDS, Command("flow", "", Level.USER, self.handler, watches=watches)))

    async def handler(self, _: object, __: object) -> AsyncGenerator[str, None]:
        try:
            while line := await self.say.get():
                yield f"{line}\n"
        finally:
            self.over.set()


def test_lines_arrive_when_they_are_said_and_input_ends_what_watches(tmp_path: Path) -> None:
    flow = Flow(watches=True)

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"prompt i\nflow\n")
        assert await reader.readline() == b"\n"
        for line in ("one", "two"):
            flow.say.put_nowait(line)
            assert await reader.readline() == f"{line}\n".encode()
        writer.write(b"show cli level\n")
        assert await reader.readline() == b"\n"
        assert await reader.readuntil(b"\n\n") == b"admin\n\n"
        await flow.over.wait()
        writer.close()

    serve(listener(tmp_path / "s", registry=flow.registry), scenario)


def test_a_client_that_leaves_ends_what_it_asked_for(tmp_path: Path) -> None:
    flow = Flow(watches=False)

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"flow\n")
        flow.say.put_nowait("one")
        assert await reader.readline() == b"one\n"
        writer.write_eof()  # it says nothing more, and still listens
        flow.say.put_nowait("two")
        assert await reader.readline() == b"two\n"
        writer.close()
        await flow.over.wait()

    serve(listener(tmp_path / "s", registry=flow.registry), scenario)


def test_a_client_that_does_not_read_is_left_after_a_while(tmp_path: Path) -> None:
    flow = Flow(watches=False)

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"), limit=1)
        writer.write(b"flow\n")
        for _ in range(100):
            flow.say.put_nowait("x" * 65536)
        await flow.over.wait()
        writer.transport.abort()
        assert reader

    serve(listener(tmp_path / "s", registry=flow.registry, timeout=0.2), scenario)


@pytest.mark.parametrize("expose", [True, False])
def test_listening_sockets_are_given_out_where_that_is_allowed(tmp_path: Path, expose: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        listeners = {f"ipv4@127.0.0.1:{index}": given for index in range(70)}

        async def scenario() -> None:
            take = asyncio.get_running_loop().run_in_executor(None, take_listeners, str(tmp_path / "s"))
            if not expose:
                with pytest.raises(TakeoverFailed, match="Permission denied"):
                    await take
                return
            taken = await take
            assert list(taken) == list(listeners)
            assert {one.getsockname() for one in taken.values()} == {given.getsockname()}
            for one in taken.values():
                one.close()

        serve(listener(tmp_path / "s", expose=expose, listeners=listeners), scenario)
