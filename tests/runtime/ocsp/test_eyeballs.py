from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from headgate.runtime.ocsp import eyeballs
from headgate.runtime.ocsp.eyeballs import ATTEMPT_DELAY, Connected, Dialler, in_turn
from headgate.runtime.ocsp.names import Lookup, Place
from headgate.tls.ocsp import failures
from tests.runtime.ocsp.responders import black_hole, port_of_both

V4, V6 = socket.AF_INET, socket.AF_INET6


class FakeNames:
    """Addresses that arrive as they are told to: (seconds, addresses)."""

    def __init__(self, *steps: tuple[float, list[Place]]) -> None:
        self.steps = steps

    def begin(self, host: str) -> tuple[Lookup, list[asyncio.Task[None]]]:
        lookup = Lookup()

        async def arrive() -> None:
            for seconds, places in self.steps:
                await asyncio.sleep(seconds)
                lookup.add(places)
            lookup.finish("" if lookup.places else f"{host} does not exist (NXDOMAIN)")

        return lookup, [asyncio.ensure_future(arrive())]


def connect(
    names: FakeNames, port: int, preferred: int = V6, limit: float = 5.0, last: tuple[Place, ...] = ()
) -> tuple[Connected, float]:
    start = time.monotonic()
    dialler = Dialler(names, preferred, limit)  # type: ignore[arg-type]
    connected = asyncio.run(dialler.connect("ocsp.example", port, last))
    if connected.sock is not None:
        connected.sock.close()
    return connected, time.monotonic() - start


LOOP4, LOOP6 = Place(V4, "127.0.0.1"), Place(V6, "::1")


@pytest.fixture
def port() -> Iterator[int]:
    """Listens on 127.0.0.1 and 127.0.0.2, not on ::1."""
    with contextlib.ExitStack() as opened:
        number = port_of_both()
        opened.enter_context(socket.create_server(("127.0.0.1", number)))
        opened.enter_context(socket.create_server(("127.0.0.2", number)))
        yield number


def test_order_of_addresses() -> None:
    six = [Place(V6, f"::{number}") for number in (1, 2, 3)]
    four = [Place(V4, f"127.0.0.{number}") for number in (1, 2)]
    assert in_turn([*four, *six], V6, ()) == [six[0], four[0], six[1], four[1], six[2]]
    assert in_turn([*six, *four], V4, ()) == [four[0], six[0], four[1], six[1], six[2]]
    assert in_turn([six[0], four[0]], V6, (six[0],)) == [four[0], six[0]]


@pytest.mark.parametrize("preferred", [V4, V6])
def test_a_path_that_refuses_costs_nothing(port: int, preferred: int) -> None:
    connected, seconds = connect(FakeNames((0, [LOOP6, LOOP4])), port, preferred)
    assert connected.place == LOOP4 and seconds < 2


def test_a_path_that_swallows_packets_costs_a_quarter_of_a_second(port: int) -> None:
    with black_hole("::1", port):
        connected, seconds = connect(FakeNames((0, [LOOP6, LOOP4])), port, V6)
    assert connected.place == LOOP4 and ATTEMPT_DELAY <= seconds < 3
    with black_hole("::1", port):
        connected, _ = connect(FakeNames((0, [LOOP6, LOOP4])), port, V4)
    assert connected.place == LOOP4


def test_the_reverse() -> None:
    number = port_of_both()
    with socket.create_server(("::1", number), family=V6):
        with black_hole("127.0.0.1", number):
            connected, _ = connect(FakeNames((0, [LOOP4, LOOP6])), number, V4)
    assert connected.place == LOOP6


def test_an_address_that_comes_late_is_used(port: int) -> None:
    connected, _ = connect(FakeNames((0, [LOOP6]), (0.1, [LOOP4])), port)
    assert connected.place == LOOP4


def test_the_preferred_family_is_waited_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    number = port_of_both()
    with socket.create_server(("::1", number), family=V6), socket.create_server(("127.0.0.1", number)):
        with monkeypatch.context() as patched:
            patched.setattr(eyeballs, "RESOLUTION_DELAY", 5.0)  # a busy machine may take longer than the real one
            connected, _ = connect(FakeNames((0, [LOOP4]), (0.005, [LOOP6])), number)
        assert connected.place == LOOP6
        connected, seconds = connect(FakeNames((0, [LOOP4]), (3, [LOOP6])), number)
        assert connected.place == LOOP4 and seconds < 2


def test_all_dead(port: int) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        number = closed.getsockname()[1]
        connected, _ = connect(FakeNames((0, [LOOP6, LOOP4])), number)
    assert connected.sock is None
    assert [(one.way, one.cause, one.text) for one in connected.attempts] == [
        ("IPv6", failures.CONNECT, "connection refused"), ("IPv4", failures.CONNECT, "connection refused"),
    ]  # fmt: skip


def test_all_silent() -> None:
    with black_hole("127.0.0.1") as number:
        connected, seconds = connect(FakeNames((0, [LOOP4])), number, limit=0.3)
    assert connected.sock is None and seconds < 3
    assert [(one.cause, one.text) for one in connected.attempts] == [(failures.TIMEOUT, "no connection within 0.3 s")]


def test_no_address() -> None:
    connected, _ = connect(FakeNames(), 80)
    assert [(one.cause, one.text) for one in connected.attempts] == [(failures.DNS, "ocsp.example does not exist (NXDOMAIN)")]


def test_what_answered_badly_goes_last(port: int) -> None:
    connected, _ = connect(FakeNames((0, [LOOP4, Place(V4, "127.0.0.2")])), port, V4, last=(LOOP4,))
    assert connected.place == Place(V4, "127.0.0.2")
