"""Early data to servers on real sockets: what is sent with the ClientHello, what became of it, and when there is none."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from headgate.base.diagnostics import Bug, Report
from headgate.config.tls_options import ServerTls, TlsVersions, Verify
from headgate.observe.counters import ServerCounters
from headgate.observe.full_handshakes import Cause
from headgate.proxy.port import Lost
from headgate.runtime.channel import has_unread
from headgate.runtime.early_server_channel import EarlyDialler, EarlyServerChannel
from headgate.runtime.early_tls_channel import EarlyAnswerer
from headgate.runtime.reactor import READ
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls.client_context import ServerContext, build_server_context
from headgate.tls.early_data import MOST
from headgate.tls.handshake_record import HandshakeRecord
from headgate.tls.openssl import ffi, lib
from headgate.tls.server_context import BindContext
from headgate.tls.session_store import Key
from tests.tls.tls_peers import HERE, Pki, Recorder, World, bind_context
from tests.tls.visits import peeked

WHERE = ("192.0.2.1", 443)
REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


class Requester(Recorder):
    """An owner that has a request to send, and notes what it was asked."""

    def __init__(self, request: bytes) -> None:
        super().__init__()
        self.request = request
        self.asked: list[int] = []

    def early_data(self, most: int) -> bytes:
        self.asked.append(most)
        return self.request[:most]


class Server(Recorder):
    """An owner on the server's side that takes early data."""

    def early_data_begins(self) -> None:
        self.events.append("early")

    def handshake_finished(self) -> None:
        self.events.append("completed")


class Line:
    """One server line with `allow-0rtt`, and a server that takes early data or does not."""

    def __init__(self, world: World, bind: BindContext, **options: Any) -> None:
        self.world = world
        self.bind = bind
        report = Report()
        line = {"verify": Verify.NONE, "location": HERE, "allow_0rtt": True, "alpn": ("http/1.1",)} | options
        context = build_server_context(ServerTls(**line), report)
        assert context is not None and not report.items
        self.context: ServerContext = context
        self.counters = ServerCounters()
        self.failures: list[HandshakeRecord] = []
        self.dialler = EarlyDialler(context, self.counters, self.failures.append)

    def visit(self, request: bytes = REQUEST, *, takes: bool = True, clog: bool = False, buffer: int = 0) -> Visit:
        return Visit(self, request, takes=takes, clog=clog, buffer=buffer)

    @property
    def key(self) -> Key:
        (found,) = self.context.sessions._records
        return found

    def contact(self) -> Line:
        """A whole connection without early data, so that there are sessions."""
        visit = self.visit()
        assert not visit.near.asked
        visit.answered().close()
        return self


def fill(sock: socket.socket) -> int:
    """Until the kernel takes no more of it: how much that was."""
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += sock.send(bytes(65536))
    return filled


class Visit:
    def __init__(self, line: Line, request: bytes, *, takes: bool, clog: bool, buffer: int) -> None:
        self.line = line
        self.world = line.world
        near, far = line.world.pair()
        if buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        clogged = fill(near) if clog else 0
        self.near, self.far = Requester(request), Server()
        self.client = line.dialler.open(line.world.reactor, near, b"a.example", WHERE, self.near)
        self.client.begin()
        while clogged:
            line.world.reactor.turn(0.0)
            line.world.wait(lambda: has_unread(far.fileno()))  # the kernel takes its time to move what waits
            clogged -= len(far.recv(clogged))
        line.world.wait(lambda: not isinstance(self.client, EarlyServerChannel) or self.client._written)
        if takes:
            line.world.reactor.watch(far.fileno(), READ, lambda _: None)
            self.server = EarlyAnswerer(line.bind).accept(line.world.reactor, far, peeked(far), self.far)
            self.server.begin()
        else:
            self.server = TlsChannel(line.world.reactor, far, line.bind.connection(far), line.bind, self.far)

    @property
    def early(self) -> bool:
        """Whether the server took early data, as the client knows it."""
        assert self.client.tls is not None
        return self.client.tls.early_received

    def answered(self) -> Visit:
        """The request, sent by its owner in any case, and an answer."""
        self.world.wait(lambda: self.near.completed and self.far.completed)
        self.client.send(self.near.request)
        self.world.wait(lambda: len(self.far.data) >= len(self.near.request))
        self.server.send(b"r")
        self.world.wait(lambda: self.near.data == b"r")
        assert self.far.data == self.near.request
        return self

    def close(self) -> None:
        self.client.close()
        self.world.wait(lambda: self.far.eof)
        self.server.close()
        self.world.wait(lambda: self.client.sock.fileno() < 0)


@pytest.fixture
def line(world: World, pki: Pki) -> Line:
    return Line(world, bind_context(pki, "a.pem", allow_0rtt=True, alpn=("http/1.1",))).contact()


@pytest.mark.parametrize("body", [b"", b"x" * 1000, b"y" * 40000], ids=["small", "a body", "more than fits"])
def test_accepted(line: Line, body: bytes) -> None:
    visit = line.visit(REQUEST + body)
    assert visit.near.asked == [MOST]
    line.world.wait(lambda: "early" in visit.far.events)
    assert visit.far.data and not visit.far.completed
    assert visit.answered().early
    visit.client.send(b"more")
    line.world.wait(lambda: visit.far.data.endswith(b"more"))
    visit.close()
    assert (line.counters.tls_full, line.counters.tls_reused) == (1, 1)


def test_a_session_that_comes_behind_the_answer(line: Line) -> None:
    """A server answers early data before it has our Finished, and only then gives sessions."""
    near, far = line.world.pair()
    owner = Requester(REQUEST)
    client = line.dialler.open(line.world.reactor, near, b"a.example", WHERE, owner)
    client.begin()
    server = line.bind.connection(far, peeked(far)).ssl
    memory, count = ffi.new("char[]", MOST), ffi.new("size_t *")
    assert lib.SSL_read_early_data(server, memory, MOST, count) == 1
    assert ffi.unpack(memory, count[0]) == REQUEST
    assert lib.SSL_write_early_data(server, b"answer", 6, count) == 1
    line.world.wait(lambda: owner.completed)
    client.send(REQUEST)
    line.world.wait(lambda: owner.data == b"answer")
    record = line.context.sessions._records[line.key]
    before = record.sessions[-1]
    line.world.wait(lambda: lib.SSL_read_early_data(server, memory, MOST, count) == 2)
    lib.ERR_clear_error()
    assert lib.SSL_do_handshake(server) == 1
    line.world.wait(lambda: record.sessions[-1] is not before)
    assert lib.SSL_write(server, b"more", 4) == 4
    line.world.wait(lambda: owner.data == b"answermore")
    client.close()


def test_rejected(line: Line) -> None:
    visit = line.visit(takes=False)
    assert visit.near.asked
    assert not visit.answered().early
    visit.close()
    assert (line.counters.tls_full, line.counters.tls_reused) == (1, 1)
    assert not line.failures


def test_rejected_with_its_session(line: Line, pki: Pki) -> None:
    """A server that was restarted knows neither; what it gives then is used again."""
    line.bind = bind_context(pki, "a.pem", allow_0rtt=True, alpn=("http/1.1",))
    visit = line.visit()
    assert visit.near.asked
    assert not visit.answered().early
    visit.close()
    assert (line.counters.tls_full, line.counters.tls_causes[Cause.REFUSED]) == (2, 1)
    assert line.visit().answered().early


def test_a_server_that_refuses_is_left_in_peace_for_a_while(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it gives behind a resumed handshake seems to permit early data as before, whether it does or not."""
    visits = [line.visit(takes=False), line.visit(takes=False)]
    assert all(visit.near.asked for visit in visits)  # a full handshake gives two tickets
    for visit in visits:
        visit.answered().close()
    visit = line.visit()
    assert not visit.near.asked
    visit.answered().close()
    monkeypatch.setattr(line.context.sessions._records[line.key], "early_from", line.world.reactor.now)
    assert line.visit().answered().early


def test_a_ticket_that_was_offered_before_brings_none(line: Line) -> None:
    asked = [bool(line.visit().near.asked) for _ in range(3)]
    assert asked == [True, True, False]


def test_nothing_to_send(line: Line) -> None:
    visit = line.visit(b"")
    assert visit.near.asked and not isinstance(visit.client, EarlyServerChannel)
    line.world.wait(lambda: visit.near.completed)
    assert not visit.early


def test_a_server_whose_tickets_permit_none(world: World, pki: Pki) -> None:
    line = Line(world, bind_context(pki, "a.pem", alpn=("http/1.1",))).contact()
    visit = line.visit(takes=False)
    assert not visit.near.asked
    visit.answered().close()
    assert line.counters.tls_reused == 1


def test_a_kernel_that_takes_it_later(line: Line) -> None:
    visit = line.visit(clog=True)
    assert visit.near.asked == [MOST]
    assert visit.answered().early


def test_a_small_send_buffer(line: Line) -> None:
    visit = line.visit(REQUEST + b"z" * 15000, buffer=1)
    assert 0 < visit.near.asked[0] < MOST
    assert visit.answered().early


def test_a_handshake_that_fails_behind_it(line: Line, pki: Pki) -> None:
    """TLS 1.3 is gone (RFC 8446 appendix D.3): the next connection goes without, and so the service goes on."""
    newer, line.bind = line.bind, bind_context(pki, "a.pem", versions=TlsVersions(highest="TLSv1.2"), alpn=("http/1.1",))
    visit = line.visit(takes=False)
    assert visit.near.asked
    line.world.wait(lambda: visit.near.lost)
    assert visit.near.lost is Lost.HANDSHAKE and len(line.failures) == 1
    again = line.visit(takes=False)
    assert not again.near.asked
    again.answered().close()
    line.bind = newer
    line.contact()
    assert line.visit().answered().early


def test_a_server_that_hangs(line: Line) -> None:
    near, far = line.world.pair()
    owner = Requester(REQUEST)
    channel = line.dialler.open(line.world.reactor, near, b"a.example", WHERE, owner)
    channel.begin()
    assert owner.asked and peeked(far)
    line.dialler.given_up(channel, 4.0)
    channel.abort()
    assert [record.timeout for record in line.failures] == [4.0]
    assert not line.visit().near.asked


def test_what_is_sent_must_begin_with_it(line: Line) -> None:
    visit = line.visit()
    line.world.wait(lambda: visit.near.completed)
    with pytest.raises(Bug, match="does not begin with"):
        visit.client.send(b"POST / HTTP/1.1\r\n\r\n")


def offered(line: Line) -> tuple[Any, Any]:
    """A connection before its handshake, and the session that it offers."""
    near, _ = line.world.pair()
    handle = line.context.dial(near, b"a.example", WHERE, line.world.reactor.now)
    session = handle.new_ticket(line.world.reactor.now)
    assert session is not None
    return handle.ssl, session


def test_what_a_session_permits(line: Line) -> None:
    early_data = line.context.early_data
    assert early_data is not None
    wall = line.world.reactor.wall
    ssl, session = offered(line)
    lifetime = early_data._lifetime(session)

    def most(*protocols: bytes, at: float = 0.0) -> int:
        return early_data.most(ssl, session, protocols, wall + at)

    assert most(b"http/1.1") == most(b"h2", b"http/1.1") == most(b"http/1.1", at=lifetime - 10) == MOST
    assert most() == most(b"http/1.0") == 0
    # OpenSSL would leave out such a ticket, and encrypt early data without its key.
    assert most(b"http/1.1", at=lifetime) == most(b"http/1.1", at=1e7) == 0
    lib.SSL_set_tlsext_host_name(ssl, b"b.example")
    assert most(b"http/1.1") == 0
