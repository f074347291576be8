"""Tickets that outlive the process that wrote them."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable

import pytest

from headgate.base.diagnostics import Bug, Report
from headgate.config.tls_options import TlsVersions, Verify
from headgate.runtime.tls_channel import TlsChannel
from headgate.tls.bind_lines import build_bind_context
from headgate.tls.server_context import SessionCache
from headgate.tls.session_context import SessionContexts, make_session_context, session_name, session_names
from headgate.tls.ticket_sealing import sealer_with
from tests.tls.tls_peers import Pki, Recorder, World, bind_tls


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on this is another process than the one before."""
    return lambda: monkeypatch.setattr(os, "getpid", lambda: 0)


def test_each_name_has_a_context_of_its_own_and_keeps_it(forked: Callable[[], None]) -> None:
    contexts = SessionContexts(8)
    forked()
    first = contexts.assign(["a", "b", "c"])
    assert len({id(one) for one in first.values()}) == 3
    assert contexts.assign(["c", "b", "a"]) == first
    assert contexts.assign(["a"])["a"] is first["a"]


def test_more_names_than_contexts(forked: Callable[[], None]) -> None:
    contexts = SessionContexts(2)
    forked()
    assert len(contexts.assign(["a", "b", "c"])) == 2


def test_their_maker_must_not_use_them() -> None:
    with pytest.raises(Bug, match="forked"):
        SessionContexts(1).assign(["a"])


def test_the_name_follows_the_first_certificate_and_the_client_policy(pki: Pki) -> None:
    one = bind_tls(pki, "a.pem")
    assert session_name(one) == session_name(bind_tls(pki, "a.pem", versions=TlsVersions(highest="TLSv1.2")))
    assert session_name(one) != session_name(bind_tls(pki, "b.pem"))
    assert session_name(one) == session_name(bind_tls(pki, "a.pem", "b.pem"))
    older = bind_tls(pki, "a.pem", versions=TlsVersions(highest="TLSv1.2"))
    assert list(session_names([one, older, one]).values()) == [session_name(one), session_name(one) + "|1"]
    assert session_name(one) != session_name(bind_tls(pki, "a.pem", verify=Verify.REQUIRED, ca_file="x"))


def _serve_once(listening: socket.socket, pki: Pki, contexts: SessionContexts) -> None:
    """One connection, in a process that was forked after the contexts were made."""
    child = os.fork()
    if child:
        return
    code = 1
    try:
        tls = bind_tls(pki, "a.pem")
        name = session_name(tls)
        report = Report()
        origin = contexts.assign([name]).get(name)
        sealer = None if origin is not None else sealer_with(contexts.ticket_keys(name))
        context = build_bind_context(tls, SessionCache(), report, origin=origin, sealer=sealer)
        assert context is not None, report.items
        world = World()
        sock, _ = listening.accept()
        sock.setblocking(False)
        owner = Recorder()
        channel = TlsChannel(world.reactor, sock, context.connection(sock), context, owner)
        world.wait(lambda: owner.data == b"ping" or owner.lost)
        channel.send(b"pong")
        world.wait(lambda: owner.eof or owner.lost)
        channel.close()
        code = 0
    finally:
        os._exit(code)


def test_lines_beyond_the_contexts_have_keys_of_their_own() -> None:
    contexts = SessionContexts(0)
    keys = contexts.ticket_keys("a")
    assert keys == contexts.ticket_keys("a") and {len(key) for key in keys} == {80}
    assert not set(keys) & set(contexts.ticket_keys("b")) and not set(keys) & set(SessionContexts(0).ticket_keys("a"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("make", [make_session_context, lambda: SessionContexts(0)], ids=["context", "keys"])
def test_a_ticket_of_one_process_is_read_by_the_next(
    pki: Pki, version: ssl.TLSVersion, make: Callable[[], SessionContexts]
) -> None:
    contexts = make()
    client = ssl.create_default_context(cafile=pki.ca)
    client.minimum_version = client.maximum_version = version
    session: ssl.SSLSession | None = None
    reused = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2):
            _serve_once(listening, pki, contexts)
            with socket.create_connection(listening.getsockname(), 10) as plain:
                with client.wrap_socket(plain, server_hostname="a.example", session=session) as tls:
                    tls.sendall(b"ping")
                    assert tls.recv(4) == b"pong"
                    session = tls.session
                    reused.append(tls.session_reused)
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert reused == [False, True]
