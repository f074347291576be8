"""Which sessions are in memory: the ID is what the client offers the next time, and there is none where there are tickets."""

from __future__ import annotations

import socket
import ssl

import pytest

from headgate.config.tls_options import TlsVersions
from headgate.tls.openssl import Handle
from headgate.tls.server_context import BindContext
from headgate.wire.session_ids import psk_identities, session_id
from tests.tls.tls_peers import Pki, World, bind_context
from tests.tls.visits import Visit, client

NONE = ssl.Options(0)
TLS_1_2, TLS_1_3 = TlsVersions(highest="TLSv1.2"), TlsVersions(lowest="TLSv1.3")


def visits(world: World, pki: Pki, bind: BindContext, options: ssl.Options = NONE) -> tuple[list[bytes], list[Visit]]:
    """Three connections, each with the session of the one before: which IDs were told of, and how they went."""
    told: list[bytes] = []
    bind.session_held = told.append
    context = client(pki)
    context.options |= options
    found: list[Visit] = []
    for _ in range(3):
        found.append(Visit(world, bind, context, session=found[-1].session if found else None))
        assert found[-1].error is None
    assert [one.reused for one in found] == [False, True, True]
    return told, found


@pytest.mark.parametrize("options", [NONE, ssl.OP_NO_TICKET])
def test_session_of_tls_1_2_without_a_ticket(world: World, pki: Pki, options: ssl.Options) -> None:
    bind = bind_context(pki, "a.pem", versions=TLS_1_2, tickets=bool(options))
    told, found = visits(world, pki, bind, options)
    assert len(told) == 1  # it is resumed, not made anew
    assert len(told[0]) == 32
    assert all(one.session is not None and one.session.id == told[0] for one in found)


def test_each_connection_of_tls_1_3_makes_a_new_one(world: World, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is told of is the one that the client offers: the last of two."""
    hellos: list[bytes] = []
    connection = BindContext.connection

    def peeking(self: BindContext, sock: socket.socket, hello: bytes = b"") -> Handle:
        hellos.append(hello)
        return connection(self, sock, hello)

    monkeypatch.setattr(BindContext, "connection", peeking)
    told, _ = visits(world, pki, bind_context(pki, "a.pem", versions=TLS_1_3, tickets=False))
    assert len(set(told)) == 3 and all(len(one) == 32 for one in told)
    assert [psk_identities(hello) for hello in hellos] == [[], [told[0]], [told[1]]]
    assert not {session_id(hello) for hello in hellos} & set(told)  # random bytes, for middleboxes


@pytest.mark.parametrize("versions", [TLS_1_2, TLS_1_3])
def test_what_is_in_a_ticket_is_not_in_memory(world: World, pki: Pki, versions: TlsVersions) -> None:
    told, _ = visits(world, pki, bind_context(pki, "a.pem", versions=versions))
    assert told == []
