"""Sessions that are in no ticket, in the cache that all processes share: what is kept, who resumes it, what is distrusted."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.config.tls_options import TlsVersions
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls import cached_sessions
from headgate.tls.cached_sessions import CachedSessions, sessions_can_be_shared
from headgate.tls.client_sessions import ClientSessions
from headgate.tls.server_context import BindContext
from headgate.tls.unbound import Unreachable
from tests.tls.tls_peers import Pki, Recorder, World, bind_context
from tests.tls.visits import Visit, client, peeked

NONE = ssl.Options(0)
TLS_1_2, TLS_1_3 = TlsVersions(highest="TLSv1.2"), TlsVersions(lowest="TLSv1.3")
VERSIONS = pytest.mark.parametrize("versions", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ClientSessions]:
    cache = ClientSessions(str(tmp_path), 100, 300.0)
    yield cache
    cache.close()


def line(cache: ClientSessions, pki: Pki, versions: TlsVersions, *, name: str = "line", tickets: bool = False) -> BindContext:
    bind = bind_context(pki, "a.pem", versions=versions, tickets=tickets)
    bind.share_sessions(CachedSessions(cache, name, tickets=tickets))
    return bind


def visit(world: World, pki: Pki, bind: BindContext, session: ssl.SSLSession | None, options: ssl.Options = NONE) -> Visit:
    context = client(pki)
    context.options |= options
    found = Visit(world, bind, context, session=session)
    assert found.error is None
    return found


@VERSIONS
def test_what_one_process_made_another_resumes(world: World, pki: Pki, cache: ClientSessions, versions: TlsVersions) -> None:
    """Each line has a context of its own here, as it has in each process, and behind a reload."""
    context = client(pki)
    session = None
    for number in range(4):
        found = Visit(world, line(cache, pki, versions), context, session=session)
        assert found.error is None
        assert found.reused is bool(number)
        session = found.session
    # TLS 1.2 goes on with its session, TLS 1.3 makes one each time.
    assert cache.count() == (1 if versions is TLS_1_2 else 4)


def test_a_client_that_takes_no_tickets(world: World, pki: Pki, cache: ClientSessions) -> None:
    context = client(pki)
    context.options |= ssl.OP_NO_TICKET
    first = Visit(world, line(cache, pki, TLS_1_2, tickets=True), context)
    again = Visit(world, line(cache, pki, TLS_1_2, tickets=True), context, session=first.session)
    assert again.reused and cache.count() == 1


@VERSIONS
def test_what_is_in_a_ticket_is_not_in_memory(world: World, pki: Pki, cache: ClientSessions, versions: TlsVersions) -> None:
    visit(world, pki, line(cache, pki, versions, tickets=True), None)
    assert cache.count() == 0


@VERSIONS
def test_another_line_does_not_resume_it(world: World, pki: Pki, cache: ClientSessions, versions: TlsVersions) -> None:
    context = client(pki)
    first = Visit(world, line(cache, pki, versions), context)
    other = Visit(world, line(cache, pki, versions, name="other"), context, session=first.session)
    assert other.error is None and not other.reused
    assert Visit(world, line(cache, pki, versions), context, session=first.session).reused


def aged(encoded: bytes | None) -> bytes | None:
    """A session that was made long ago: `[1] EXPLICIT INTEGER` of its DER form is the time."""
    if encoded is None:
        return None
    at = encoded.index(b"\xa1\x06\x02\x04") + 4
    return encoded[:at] + bytes([encoded[at] - 1]) + encoded[at + 1 :]


@pytest.mark.parametrize("change", [aged, lambda _: b"0\x82rubbish", lambda _: None], ids=["expired", "rubbish", "gone"])
@VERSIONS
def test_what_can_not_be_resumed(
    world: World,
    pki: Pki,
    cache: ClientSessions,
    versions: TlsVersions,
    change: Callable[[bytes | None], bytes | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is OpenSSL that looks at a session's time: what has expired may be in the cache as long as there is room."""
    context = client(pki)
    first = Visit(world, line(cache, pki, versions), context)
    find = ClientSessions.find
    monkeypatch.setattr(ClientSessions, "find", lambda self, key: change(find(self, key)))
    found = Visit(world, line(cache, pki, versions), context, session=first.session)
    assert found.error is None and not found.reused


@VERSIONS
def test_a_session_is_distrusted_behind_a_fatal_alert(
    world: World, pki: Pki, cache: ClientSessions, versions: TlsVersions
) -> None:
    """RFC 5246 section 7.2.2; a connection that merely breaks leaves it as it is."""
    context = client(pki)
    for spoilt in (False, True):
        bind = line(cache, pki, versions)
        before = Visit(world, bind, context)
        left = leave_rudely(world, bind, context, before.session, b"\x17\x03\x03\x00\x20" + bytes(32) if spoilt else b"")
        assert Visit(world, line(cache, pki, versions), context, session=left).reused is not spoilt


def leave_rudely(
    world: World, bind: BindContext, context: ssl.SSLContext, session: ssl.SSLSession | None, last: bytes
) -> ssl.SSLSession | None:
    """Resume a session, send `last` past TLS, and go without close_notify; the session that the client has then."""
    near, far = world.pair()
    near.setblocking(True)
    near.settimeout(10)
    server = Recorder()
    kept: list[ssl.SSLSession | None] = []

    def go() -> None:
        tls = context.wrap_socket(near, server_hostname="a.example", session=session)
        tls.sendall(b"ping")
        assert tls.recv(4) == b"pong"
        assert tls.session_reused
        kept.append(tls.session)
        with socket.socket(fileno=tls.detach()) as raw:
            raw.sendall(last)

    thread = threading.Thread(target=go)
    thread.start()
    channel = TlsChannel(world.reactor, far, bind.connection(far, peeked(far)), bind, server)
    world.wait(lambda: server.data == b"ping")
    channel.send(b"pong")
    thread.join(10)
    world.wait(lambda: server.lost is not None or "eof" in server.events)
    channel.close()
    return kept[0]


def test_where_openssl_can_not_be_told(monkeypatch: pytest.MonkeyPatch, cache: ClientSessions) -> None:
    def unreachable(name: str) -> object:
        raise Unreachable(f"the TLS library has no {name}")

    assert sessions_can_be_shared()
    monkeypatch.setattr(cached_sessions, "function", unreachable)
    assert not sessions_can_be_shared()
    with pytest.raises(Unreachable):
        CachedSessions(cache, "line", tickets=False)
