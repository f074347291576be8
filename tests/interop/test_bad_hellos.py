"""Bad ClientHellos against a running process: each has a cause, none does harm, and memory stays where it is."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.tls.authority import issue, make_authority
from tests.interop.handshake_clients import drain, reset_at_close
from tests.interop.programs import Program, ask_socket, free_port, start_subject, wait_until
from tests.interop.tls_records import HANDSHAKE, Hello, message, record

CONFIG = """
global
    stats socket {directory}/stats level admin
defaults
    mode http
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    timeout client-hs 500ms
frontend web
    bind 127.0.0.1:{port} name tls ssl crt {directory}/site.pem
    http-request return status 200
"""


class Target:
    """A process, and how many clients it had."""

    def __init__(self, program: Program, port: int, directory: pathlib.Path) -> None:
        self.program = program
        self.port = port
        self.directory = directory
        self.visits = 0

    def counters(self) -> dict[str, int]:
        rows = json.loads(ask_socket(self.directory / "stats", "show ssl handshake-counters json"))["counters"]
        return {row["cause"]: row["total"] for row in rows}

    def successes(self) -> int:
        return len(json.loads(ask_socket(self.directory / "stats", "show ssl handshakes ok json last 1024")))

    def send(self, data: bytes, *, reset: bool = False, leave: bool = False) -> bytes:
        """Send this; answers what came back until the other end closed."""
        self.visits += 1
        with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            if reset:
                reset_at_close(connection)
            if leave or reset:
                return b""
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            return drain(connection)

    def settle(self) -> dict[str, int]:
        """The counters, once every client is accounted for."""
        wait_until(lambda: sum(self.counters().values()) >= self.visits, f"{self.visits} visits: {self.counters()}")
        found = self.counters()
        assert sum(found.values()) == self.visits and not {"unknown", "internal-error"} & set(found), found
        assert "Traceback" not in self.program.output
        return found


@pytest.fixture
def target(tmp_path: pathlib.Path) -> Iterator[Target]:
    (tmp_path / "site.pem").write_bytes(issue(make_authority("CA"), ["site.example"]).pem)
    port = free_port()
    program = start_subject("headgate", CONFIG.format(directory=tmp_path, port=port), tmp_path, [port])
    yield Target(program, port, tmp_path)
    program.stop()


HELLOS = [Hello(version, "site.example").records() for version in ("1.2", "1.3")]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A ClientHello with bytes changed, cut out, put in, in other records; or nothing of the kind."""
    data = bytearray(draw(st.sampled_from(HELLOS)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.integers(0, 4))
        if kind == 0 and data:
            data[place] = draw(st.integers(0, 255))
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = draw(st.binary(min_size=1, max_size=40))
        elif kind == 3:
            size = draw(st.integers(1, 60))
            whole = bytes(data[5:])
            data = bytearray(b"".join(record(HANDSHAKE, whole[at : at + size]) for at in range(0, len(whole), size)))
        else:
            data = bytearray(draw(st.binary(max_size=100)))
    return bytes(data)


def test_spoilt_hellos(target: Target) -> None:
    before = target.program.resident_kb()

    @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(spoilt(), st.booleans())
    def visit(data: bytes, reset: bool) -> None:
        target.send(data, reset=reset, leave=reset)

    visit()
    target.settle()
    assert target.program.resident_kb() - before < 20_000


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_hello_in_small_records(target: Target, size: int) -> None:
    """Each byte in a record of its own: looked at whole, or refused; answered as any other where OpenSSL takes it."""
    hello = Hello("1.3", "site.example")
    hello.ciphers = (0x1301,)
    answer = target.send(hello.records(size))
    assert answer[:1] in (b"\x16", b"\x15")
    target.settle()
    (one,) = json.loads(ask_socket(target.directory / "stats", "show ssl handshakes json last 1"))
    assert one["sni"] == "site.example" and one["offered"]["versions"] == ["TLSv1.3"], one


def test_oversized_hellos(target: Target) -> None:
    large = Hello("1.3", "site.example")
    large.extensions[21] = bytes(15_000)
    assert target.send(large.records())[:1] == b"\x16", "as large as is allowed"
    larger = Hello("1.3", "site.example")
    larger.extensions[21] = bytes(60_000)  # OpenSSL takes it; we look at no more than 16 KB
    assert target.send(larger.records())[:1] == b"\x16"
    assert target.send(record(HANDSHAKE, message(1, bytes(20))[:4] + bytes(16_000)) * 40)[:1] in (b"\x15", b"")
    target.send(b"\x16\x03\x01\xff\xff" + bytes(200_000))
    found = target.settle()
    assert set(found) <= {"closed-after-certificate", "record-too-large", "malformed-hello"}, found


def test_slow_hellos(target: Target) -> None:
    """A byte at a time, slower than `timeout client-hs` allows; a hundred at once are no burden."""
    ended: list[float] = []

    def creep() -> None:
        with socket.create_connection(("127.0.0.1", target.port), 20) as connection:
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for byte in HELLOS[1]:
                    connection.sendall(bytes([byte]))
                    connection.settimeout(0.1)
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1000):
                            break
            ended.append(time.monotonic() - began)

    threads = [threading.Thread(target=creep) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    target.visits += len(threads)
    assert target.settle() == {"timeout-in-client-hello": 100}
    assert len(ended) == 100 and min(ended) >= 0.3
