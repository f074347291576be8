"""The stats socket over real sockets: one line and close, prompt mode, bounds, timeouts, the socket file."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from headgate.admin.commands import all_commands
from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import ConfigError, Location
from headgate.config.model import StatsSocket, UnixPermissions
from headgate.runtime.stats_socket import StatsListener

HERE = Location("test.cfg", 3, 5)
Scenario = Callable[[StatsListener], Awaitable[None]]


def listener(path: Path, **more: Any) -> StatsListener:
    permissions = more.pop("permissions", UnixPermissions())
    level = more.pop("level", "admin")
    spec = StatsSocket(Address(Family.UNIX, str(path)), level, permissions, HERE)
    context = SimpleNamespace(started_at=0.0, clock=lambda: 1.0)
    return StatsListener(spec, all_commands(), context, **more)  # type: ignore[arg-type]


def serve(stats: StatsListener, scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await stats.start(stats.open())
            try:
                await scenario()
            finally:
                await stats.stop()

    uvloop.run(bounded())


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
