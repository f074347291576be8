"""A client between accept and its session: a PROXY header that arrives in pieces."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headgate.base.connection_errors import ConnectionFailure
from headgate.runtime.arrival import Arrival
from headgate.runtime.loop import reactor_of
from headgate.runtime.loop import run as run_loop

V1 = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 8]) + b"\x04\xd2\x00\x50"


class Client:
    """A session that notes how it starts."""

    def __init__(self) -> None:
        self.source, self.source_port = b"", 0
        self.destination, self.destination_port = b"", 0
        self.tls = None
        self.started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def start(self, channel: Any, handshake: int) -> None:
        self.started.set_result(channel)


async def _arrive(pieces: list[bytes]) -> tuple[Client, bytes, list[bytes]]:
    """Send the pieces one after the other; what the session learned, what is left for it, and what lay unread between."""
    reactor = reactor_of(asyncio.get_running_loop())
    near, far = socket.socketpair()
    near.setblocking(False)
    client = Client()
    side = SimpleNamespace(t_client_hs=0.0, plan=SimpleNamespace(tcp_request_session=None), session_accepted=lambda _: None)
    listener = SimpleNamespace(reactor=reactor, side=side, accept_proxy=True, tls=None)
    arrival = Arrival(cast(Any, listener), near, cast(Any, client))
    unread = []
    try:
        for piece in pieces:
            far.send(piece)
            arrival._readable(0)
            if not client.started.done():
                with near.dup() as look, pytest.raises(BlockingIOError):
                    unread.append(look.recv(100, socket.MSG_PEEK))
        channel = client.started.result()
        rest = near.recv(100)
        channel.release()
    finally:
        far.close()
        reactor.clear()
    return client, rest, unread


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_header_in_pieces_is_one_header_and_never_left_unread(header: bytes, size: int) -> None:
    """What is left in the socket would wake us again at once, for as long as the rest does not come."""
    whole = header
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    pieces[-1] += b"GET /"
    client, rest, unread = run_loop(_arrive(pieces))
    assert (client.source, client.source_port) == (b"192.0.2.7", 1234)
    assert (client.destination, client.destination_port) == (b"192.0.2.8", 80)
    assert (rest, unread) == (b"GET /", [])


async def _leave(sent: bytes, *, late: bool) -> tuple[int, str] | None:
    """Send something and close, or wait for the timeout: number and text that were logged, None for nothing."""
    reactor = reactor_of(asyncio.get_running_loop())
    near, far = socket.socketpair()
    near.setblocking(False)
    session = SimpleNamespace(error_code=0, error_text="")
    logged: list[tuple[int, str]] = []
    side = SimpleNamespace(
        t_client_hs=0.0, dont_log_null=True, session_over=lambda _: None,
        write_failure=lambda one: logged.append((one.error_code, one.error_text)),
    )  # fmt: skip
    listener = SimpleNamespace(reactor=reactor, side=side, accept_proxy=True, tls=None)
    arrival = Arrival(cast(Any, listener), near, cast(Any, session))
    if sent:
        far.send(sent)
        arrival._readable(0)
    if late:
        arrival.timed_out()
    far.close()
    arrival._readable(0)
    reactor.clear()
    return logged[0] if logged else None


@pytest.mark.parametrize("late", [False, True])
def test_a_header_that_breaks_off_is_truncated(late: bool) -> None:
    truncated, timeout = ConnectionFailure.PRX_TRUNCATED, ConnectionFailure.PRX_TIMEOUT
    for part in (V1[:20], V2[:11]):
        assert run_loop(_leave(part, late=late)) == (truncated.number, truncated.message)
    assert run_loop(_leave(b"", late=late)) == ((timeout.number, timeout.message) if late else None)


def test_a_header_of_nonsense_is_called_by_its_name() -> None:
    bad = ConnectionFailure.PRX_BAD_PROTO
    text = f"{bad.message} (unknown protocol in a PROXY protocol line)"
    assert run_loop(_leave(V1.replace(b"TCP4", b"TCP9"), late=False)) == (bad.number, text)
