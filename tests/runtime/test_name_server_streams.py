"""Name servers over TCP and TLS: how many connections, how many queries on one, what happens when one breaks."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import dns.exception
import dns.message
import pytest

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import Report
from headgate.config.resolvers import NameServer as Configured
from headgate.config.tls_options import ServerTls, Verify
from headgate.runtime.checks.tls_connection import TlsDialler
from headgate.runtime.loop import run as run_loop
from headgate.runtime.name_server_streams import NameServerStreams
from headgate.tls.client_context import build_server_context
from tests.interop.name_server import NameServer, certified, garbage, silence


@pytest.fixture
def zone() -> Iterator[NameServer]:
    with contextlib.closing(NameServer()) as server:
        server.put("web.example", "A", ["10.0.0.1"])
        yield server


def streams(zone: NameServer, *, maxconn: int = 0, tls: ServerTls | None = None, sni: str | None = None) -> tuple[
    NameServerStreams, list[str]
]:
    """To the server, and what is told of it."""
    report, told = Report(), list[str]()
    context = build_server_context(tls, report) if tls is not None else None
    assert not report.alerts
    address = Address(Family.INET, "127.0.0.1", zone.port, zone.port)
    server = Configured("ns1", address, maxconn=maxconn, tls=tls, sni=sni)
    return NameServerStreams(server, TlsDialler(context) if context is not None else None, told.append), told


def ask(by: NameServerStreams, patience: float = 5.0) -> Awaitable[dns.message.Message]:
    return by.exchange(dns.message.make_query("web.example", "A"), patience)


def run(by: NameServerStreams, work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        try:
            await work()
        finally:
            await by.close()

    run_loop(main())


def test_queries_share_a_connection_four_at_a_time(zone: NameServer) -> None:
    by, told = streams(zone)

    async def work() -> None:
        for _ in range(3):
            assert (await ask(by)).answer
        assert zone.connections == 1
        await asyncio.gather(*[ask(by) for _ in range(9)])
        assert zone.connections == 3

    run(by, work)
    assert not told


def test_maxconn_makes_queries_wait(zone: NameServer) -> None:
    by, _ = streams(zone, maxconn=1)

    async def work() -> None:
        answers = await asyncio.gather(*[ask(by) for _ in range(20)])
        assert all(one.answer for one in answers)

    run(by, work)
    assert zone.connections == 1


def test_answers_that_come_in_another_order_find_their_queries() -> None:
    """Also in pieces, with an answer between them that nobody has asked for."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as file:
            queries = [dns.message.from_wire(file.read(int.from_bytes(file.read(2), "big"))) for _ in range(2)]
            stray = dns.message.make_response(queries[0])
            stray.id = (queries[0].id + 1000) % 65536
            wire = b""
            for reply in (dns.message.make_response(queries[1]), stray, dns.message.make_response(queries[0])):
                wire += len(reply.to_wire()).to_bytes(2, "big") + reply.to_wire()
            for piece in (wire[:1], wire[1:20], wire[20:]):
                connection.sendall(piece)
                time.sleep(0.02)
            file.read(1)  # until the other side has closed

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        by = NameServerStreams(Configured("ns1", Address(Family.INET, "127.0.0.1", port, port)), None, lambda why: None)

        async def work() -> None:
            names = ("a.example", "b.example")
            answers = await asyncio.gather(*[by.exchange(dns.message.make_query(name, "A"), 5.0) for name in names])
            assert [one.question[0].name.to_text(omit_final_dot=True) for one in answers] == list(names)

        run(by, work)
        thread.join()


def test_a_connection_that_the_server_has_closed_is_replaced(zone: NameServer) -> None:
    """Also when nobody has noticed yet: the query is sent again."""
    zone.patience = 0.1
    by, told = streams(zone)

    async def work() -> None:
        await ask(by)
        time.sleep(0.3)  # noqa: ASYNC251  # the loop must not see it
        assert (await ask(by)).answer

    run(by, work)
    assert zone.connections == 2 and not told


def test_who_is_silent_or_absent_or_lies(zone: NameServer) -> None:
    by, told = streams(zone)

    async def work() -> None:
        zone.behaviour = silence
        with pytest.raises(dns.exception.Timeout):
            await ask(by, 0.1)
        zone.behaviour = garbage
        with pytest.raises(dns.exception.DNSException):
            await ask(by)
        await by.close()
        zone.close()
        for _ in range(2):
            with pytest.raises(ConnectionError, match=r"(?i)connection refused"):
                await ask(by)

    run(by, work)
    assert [one.lower() for one in told] == ["connection refused"]  # once


@pytest.mark.parametrize("right", [True, False])
def test_over_tls(tmp_path: pathlib.Path, right: bool) -> None:
    """One handshake, and the certificate is verified by the name that `sni` says."""
    context = certified(tmp_path)
    names = []
    context.sni_callback = lambda _connection, name, _context: names.append(name)
    tls = ServerTls(Verify.REQUIRED, str(tmp_path / "ca.pem"))
    with contextlib.closing(NameServer(context)) as zone:
        zone.put("web.example", "A", ["10.0.0.1"])
        by, told = streams(zone, tls=tls, sni="dns.example" if right else "other.example")

        async def work() -> None:
            for _ in range(3):
                if right:
                    assert (await ask(by)).answer
                else:
                    with pytest.raises(ConnectionError, match=r"other\.example"):
                        await ask(by)

        run(by, work)
        assert zone.connections == (1 if right else 3) and set(names) == {"dns.example" if right else "other.example"}
        assert len(told) == (0 if right else 1)
