"""Idle connections: which one is taken, which are purged, and what happens to one that closes."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.proxy.pool import Pool
from headgate.proxy.server_connection import ServerConnection
from tests.proxy.playbook import Channel, Playbook, Server

CONFIG = """
frontend fe
    bind :80
    default_backend be
backend be
{backend}    server s1 192.0.2.10:80 {server}
"""
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def book(tmp_path: Path, server: str = "", backend: str = "") -> Playbook:
    return Playbook(CONFIG.format(server=server, backend=backend), tmp_path)


def idle(pool: Pool, key: bytes | None = None) -> ServerConnection:
    connection = ServerConnection(Channel(), pool.server, pool, key)
    assert pool.put(connection)
    return connection


def test_the_youngest_of_the_right_group_is_taken(tmp_path: Path) -> None:
    pool = book(tmp_path).backends["be"].pools["s1"]
    old, young, other = idle(pool), idle(pool), idle(pool, b"other")
    assert pool.take(None, proven=False) is young
    assert pool.take(None, proven=False) is old
    assert pool.take(None, proven=False) is None
    assert pool.take(b"other", proven=True) is None
    other.reuses = 1
    assert pool.take(b"other", proven=True) is other
    assert pool.idle == 0


def test_a_proven_one_is_found_below_others(tmp_path: Path) -> None:
    pool = book(tmp_path).backends["be"].pools["s1"]
    proven = ServerConnection(Channel(), pool.server, pool, None)
    proven.reuses = 3
    assert pool.put(proven)
    fresh = idle(pool)
    assert pool.take(None, proven=True) is proven
    assert pool.take(None, proven=True) is None
    assert pool.take(None) is fresh


def test_the_limit_is_kept(tmp_path: Path) -> None:
    pool = book(tmp_path, "pool-max-conn 1").backends["be"].pools["s1"]
    idle(pool)
    assert not pool.put(ServerConnection(Channel(), pool.server, pool, None))
    assert pool.idle == 1


def test_what_was_idle_for_the_purge_delay_is_closed(tmp_path: Path) -> None:
    play = book(tmp_path, "pool-purge-delay 5s")
    pool = play.backends["be"].pools["s1"]
    old = idle(pool)
    play.clock.advance(3.0)
    young = idle(pool)
    play.clock.advance(2.5)
    assert old.channel.fate == "closed"  # type: ignore[attr-defined]
    assert young.channel.fate == "open"  # type: ignore[attr-defined]
    play.clock.advance(5.0)
    assert young.channel.fate == "closed"  # type: ignore[attr-defined]
    assert pool.idle == 0


def test_one_that_closes_is_forgotten_and_clear_closes_all(tmp_path: Path) -> None:
    pool = book(tmp_path).backends["be"].pools["s1"]
    gone, left = idle(pool), idle(pool)
    gone.eof_received()
    assert pool.idle == 1
    pool.clear()
    assert left.channel.fate == "closed"  # type: ignore[attr-defined]
    assert pool.idle == 0


def test_a_sessions_own_connection_that_closed_is_not_used_again(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    http-reuse never\n")
    client = play.client()
    client.sends(GET)
    first = play.server()
    first.sends(OK)
    client.sends(GET)
    first.sends(OK)
    assert client.got() == OK + OK
    first.shuts()
    client.sends(GET)
    second = play.server()
    assert second.got() == GET
    second.sends(OK)
    assert client.got() == OK


def test_half_of_the_idle_ones_are_closed_each_time_the_oldest_first(tmp_path: Path) -> None:
    play = book(tmp_path, "pool-purge-delay 5s")
    pool = play.backends["be"].pools["s1"]
    connections = [idle(pool, b"%d" % (number % 3)) for number in range(7)]
    left = []
    for _ in range(4):
        play.clock.advance(5.1)
        left.append(sum(1 for one in connections if one.channel.fate == "open"))  # type: ignore[attr-defined]
    assert left == [3, 1, 0, 0] and pool.idle == 0


def test_without_a_purge_delay_none_is_kept(tmp_path: Path) -> None:
    pool = book(tmp_path, "pool-purge-delay 0").backends["be"].pools["s1"]
    assert not pool.put(ServerConnection(Channel(), pool.server, pool, None))


def visit(play: Playbook, head: bytes, server: Server | None = None) -> Server:
    """A client with one request; `server`: the connection that it is expected on, None for a new one."""
    client = play.client()
    client.sends(head)
    server = server or play.server()
    server.sends(OK)
    assert client.got() == OK
    client.shuts()
    return server


def test_connections_of_another_name_are_not_used(tmp_path: Path) -> None:
    play = book(tmp_path, "pool-conn-name hdr(x-tenant)", "    http-reuse always\n")

    def of(tenant: bytes) -> bytes:
        return b"GET / HTTP/1.1\r\nHost: h\r\nX-Tenant: %b\r\n\r\n" % tenant

    first = visit(play, of(b"a"))
    second = visit(play, of(b"b"))
    visit(play, of(b"a"), first)
    visit(play, of(b"b"), second)


def test_a_clients_address_is_not_lent_to_another_client(tmp_path: Path) -> None:
    play = book(tmp_path, "", "    http-reuse always\n    source 0.0.0.0 usesrc clientip\n")
    pool = play.backends["be"].pools["s1"]
    assert pool.identity.matters
    visit(play, GET)
    (key,) = pool._groups
    assert key is not None and key.endswith(b":0")


def test_the_clients_port_is_part_of_it_where_the_server_has_none(tmp_path: Path) -> None:
    text = CONFIG.replace("192.0.2.10:80", "192.0.2.10")
    pool = Playbook(text.format(server="", backend=""), tmp_path).backends["be"].pools["s1"]
    assert pool.identity.matters
    assert not book(tmp_path).backends["be"].pools["s1"].identity.matters


def test_a_header_with_the_requests_own_id_is_for_that_request(tmp_path: Path) -> None:
    text = CONFIG.replace("frontend fe\n", "frontend fe\n    unique-id-format %rt\n")
    text = text.format(server="send-proxy-v2 proxy-v2-options unique-id", backend="    http-reuse always\n")
    play = Playbook(text, tmp_path)
    visit(play, GET)
    visit(play, GET)


def test_groups_of_connections_that_are_taken_leave_nothing(tmp_path: Path) -> None:
    play = book(tmp_path, "pool-conn-name hdr(x-tenant)", "    http-reuse always\n")
    pool = play.backends["be"].pools["s1"]
    server = visit(play, b"GET / HTTP/1.1\r\nHost: h\r\nX-Tenant: a\r\n\r\n")
    client = play.client()
    client.sends(b"GET / HTTP/1.1\r\nHost: h\r\nX-Tenant: a\r\n\r\n")
    server.shuts()
    assert not pool._groups


@pytest.mark.parametrize(
    "offered",
    [b"NTLM TlRM", b'Basic realm="x", NTLM', b'Basic realm="a, b", Negotiate', b"Basic realm=x\r\nWWW-Authenticate: NTLM"],
)
def test_a_connection_that_is_authenticated_is_private(tmp_path: Path, offered: bytes) -> None:
    challenge = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n" % offered
    play = book(tmp_path, backend="    http-reuse always\n")
    client = play.client()
    client.sends(GET)
    first = play.server()
    first.sends(challenge)
    assert client.got() == challenge
    pool = play.backends["be"].pools["s1"]
    assert not pool.idle
    client.sends(GET)
    first.sends(OK)  # the same session goes on with it
    assert client.got() == OK and not pool.idle
