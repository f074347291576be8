"""Requests as early data to servers (`allow-0rtt`, RFC 8470): when there are any, and what follows from each answer to them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headgate.proxy.http_session import HttpSession
from headgate.proxy.port import Lost
from tests.proxy.playbook import Channel, Client, PendingAttempt, Playbook

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
TOLD = b"GET /a HTTP/1.1\r\nHost: h\r\nEarly-Data: 1\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOO_EARLY = b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n"
REJECTED = "retry-on 0rtt-rejected conn-failure"
MOST = 16384


class Site(Playbook):
    """A backend with two servers, and what their TLS layers do with early data."""

    def __init__(self, directory: Path, *lines: str, mode: str = "http") -> None:
        backend = "\n    ".join(lines)
        super().__init__(
            f"""
frontend fe
    mode {mode}
    bind :80
    default_backend be
backend be
    mode {mode}
    {backend}
    balance roundrobin
    server s1 192.0.2.10:443
    server s2 192.0.2.11:443
""",
            directory,
        )

    def visitor(self, request: bytes = GET, *, early: bool) -> Client:
        """A client that sends a request, `early` or behind its handshake."""
        client = self.client()
        cast(HttpSession, client.channel.owner).early = early
        client.sends(request)
        return client

    def over(self, client: Client) -> None:
        """The client's handshake is over."""
        cast(HttpSession, client.channel.owner).handshake_finished()

    def retried(self) -> tuple[int, int]:
        """Retries of both servers, and redispatches."""
        counters = [server.counters for server in self.backends["be"].state.servers]
        return sum(one.retries for one in counters), sum(one.redispatches for one in counters)


def early(attempt: PendingAttempt, most: int = MOST) -> bytes:
    """What goes with the ClientHello of a connection."""
    return attempt.attempt.early_request(most)


def through(attempt: PendingAttempt, *, accepted: bool) -> Channel:
    """The handshake is over."""
    channel = Channel()
    channel.tls = cast(Any, SimpleNamespace(early_received=accepted, error=0, resumed=True))
    attempt.attempt.connected(channel)
    return channel


@pytest.fixture
def plain(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def retrying(tmp_path: Path) -> Site:
    return Site(tmp_path, REJECTED)


# --- whether there are any ---


def test_without_a_reason_nothing_is_sent_early(plain: Site) -> None:
    plain.visitor(early=False)
    assert early(plain.connector.next()) == b""


def test_what_a_client_sent_early_is_sent_early_and_told(plain: Site) -> None:
    plain.visitor(early=True)
    assert early(plain.connector.next()) == TOLD


def test_what_only_we_send_early_the_server_sees_for_itself(retrying: Site) -> None:
    retrying.visitor(early=False)
    assert early(retrying.connector.next()) == GET


@pytest.mark.parametrize("most", [1, 20, len(POST) - 2, len(POST) - 1, len(POST), MOST])
def test_no_more_than_may_be(retrying: Site, most: int) -> None:
    client = retrying.visitor(POST[:-1], early=False)
    attempt = retrying.connector.next()
    assert early(attempt, most) == POST[:-1][:most]
    client.sends(POST[-1:])
    assert through(attempt, accepted=True).said() == POST  # the channel leaves out what the server has


@pytest.mark.parametrize("line", ["retries 0", "http-request disable-l7-retry"])
def test_not_where_it_could_not_be_retried(tmp_path: Path, line: str) -> None:
    site = Site(tmp_path, REJECTED, line)
    site.visitor(early=False)
    assert early(site.connector.next()) == b""


def test_not_at_a_second_attempt(retrying: Site) -> None:
    retrying.visitor(early=False)
    retrying.connector.next().fail()
    retrying.clock.advance(1.0)
    attempt = retrying.connector.next()
    assert early(attempt) == b""
    assert through(attempt, accepted=False).said() == GET


def test_idle_connections_come_first(tmp_path: Path) -> None:
    site = Site(tmp_path, REJECTED, "http-reuse always")
    visitors = [site.visitor(early=False) for _ in range(2)]
    channels = [site.connector.next().succeed() for _ in visitors]
    for channel in channels:
        channel.owner.data_received(OK)
    site.visitor(early=True)
    assert not site.connector.attempts
    assert sorted(channel.said() for channel in channels) == [GET, GET + TOLD]


def test_not_in_tcp_mode(tmp_path: Path) -> None:
    site = Site(tmp_path, mode="tcp")
    site.client()
    attempt = site.connector.next()
    assert early(attempt) == b""


# --- what becomes of it ---


def test_accepted(retrying: Site) -> None:
    client = retrying.visitor(early=False)
    attempt = retrying.connector.next()
    early(attempt)
    channel = through(attempt, accepted=True)
    channel.owner.data_received(OK)
    assert client.got() == OK
    assert retrying.retried() == (0, 0)
    assert "200 40 - - ---- 1/1/0/0/0 0/0" in retrying.log.lines[0]


def test_accepted_while_the_clients_handshake_ended(plain: Site) -> None:
    """It was told to be early, and is."""
    client = plain.visitor(early=True)
    attempt = plain.connector.next()
    assert early(attempt) == TOLD
    plain.over(client)
    assert through(attempt, accepted=True).said() == TOLD


@pytest.mark.parametrize(("is_early", "sent"), [(False, GET), (True, TOLD)])
def test_rejected_is_retried_on_the_connection_that_is_there(retrying: Site, is_early: bool, sent: bytes) -> None:
    client = retrying.visitor(early=is_early)
    attempt = retrying.connector.next()
    assert early(attempt) == sent
    channel = through(attempt, accepted=False)
    assert not retrying.connector.attempts
    assert channel.said() == sent
    channel.owner.data_received(OK)
    assert client.got() == OK
    assert retrying.retried() == (1, 0)
    assert " ---- 1/1/0/0/1 0/0" in retrying.log.lines[0]


def test_a_retry_behind_the_clients_handshake_is_not_told(retrying: Site) -> None:
    client = retrying.visitor(early=True)
    attempt = retrying.connector.next()
    early(attempt)
    retrying.over(client)
    assert through(attempt, accepted=False).said() == GET


def test_rejected_and_redispatched(tmp_path: Path) -> None:
    site = Site(tmp_path, REJECTED, "option redispatch 1")
    client = site.visitor(POST, early=False)
    first = site.connector.next()
    assert early(first) == POST
    left = through(first, accepted=False)
    assert (left.said(), left.fate) == (b"", "open")  # it is fit for another request
    second = site.connector.next()
    assert second.server is not first.server and early(second) == b""
    channel = through(second, accepted=False)
    assert channel.said() == POST
    channel.owner.data_received(OK)
    assert client.got() == OK
    assert site.retried() == (0, 1)
    assert " ---- 1/1/0/0/+1 0/0" in site.log.lines[0]
    assert site.backends["be"].pools[first.server.name].idle == 1


def test_all_retryable_errors(tmp_path: Path) -> None:
    site = Site(tmp_path, "retry-on all-retryable-errors")
    site.visitor(early=False)
    attempt = site.connector.next()
    assert early(attempt) == GET
    assert through(attempt, accepted=False).said() == GET
    assert site.retried() == (1, 0)


@pytest.mark.parametrize("lines", [(), (REJECTED, "retries 0")], ids=["no retry-on", "no retries"])
def test_rejected_without_a_retry_is_425(tmp_path: Path, lines: tuple[str, ...]) -> None:
    site = Site(tmp_path, *lines, "http-after-response set-header X-Error %[bc_err_name]")
    client = site.visitor(early=True)
    attempt = site.connector.next()
    assert early(attempt) == TOLD
    left = through(attempt, accepted=False)
    assert (left.said(), left.fate) == (b"", "open")
    answer = client.got()
    assert answer.startswith(b"HTTP/1.1 425 Too Early\r\n") and b"X-Error: SSL_EARLY_FAILED\r\n" in answer
    assert client.channel.fate == "open"
    assert " 425 " in site.log.lines[0] and " LR-- " in site.log.lines[0]
    assert site.backends["be"].state.sessions == 0
    site.over(client)
    client.sends(GET)
    if site.connector.attempts:  # the other server's turn
        left = through(site.connector.next(), accepted=False)
    assert left.said() == GET
    left.owner.data_received(OK)
    assert client.got() == OK.replace(b"\r\n\r\n", b"\r\nX-Error: \r\n\r\n")


def test_rejected_while_the_clients_handshake_ended(plain: Site) -> None:
    """Nothing is early any more: it goes on as if it had waited for both handshakes, and nobody need be asked again."""
    client = plain.visitor(early=True)
    attempt = plain.connector.next()
    assert early(attempt) == TOLD
    plain.over(client)
    channel = through(attempt, accepted=False)
    assert channel.said() == GET
    channel.owner.data_received(OK)
    assert client.got() == OK
    assert plain.retried() == (0, 0)


# --- a server that says 425 ---


def test_425_to_what_only_we_sent_early_is_retried(retrying: Site) -> None:
    """Who sends a request early says that it is ready to send it again (RFC 8470 section 5.2); our client has not said so."""
    client = retrying.visitor(early=False)
    attempt = retrying.connector.next()
    early(attempt)
    through(attempt, accepted=True).owner.data_received(TOO_EARLY)
    again = retrying.connector.next()
    assert early(again) == b""
    channel = through(again, accepted=False)
    assert channel.said() == GET
    channel.owner.data_received(TOO_EARLY)
    assert client.got() == TOO_EARLY
    assert retrying.retried() == (1, 0)


@pytest.mark.parametrize("case", ["the client's own", "told by the client", "behind the handshake"])
def test_any_other_425_goes_to_the_client(retrying: Site, case: str) -> None:
    client = retrying.visitor(TOLD if case == "told by the client" else GET, early=case == "the client's own")
    attempt = retrying.connector.next()
    if case != "behind the handshake":
        early(attempt)
    through(attempt, accepted=case != "behind the handshake").owner.data_received(TOO_EARLY)
    assert client.got() == TOO_EARLY
    assert not retrying.connector.attempts


def test_retry_on_425_is_about_every_request(tmp_path: Path) -> None:
    site = Site(tmp_path, "retry-on 425")
    site.visitor(early=False)
    site.connector.next().succeed().owner.data_received(TOO_EARLY)
    assert site.connector.attempts


# --- handshakes that fail behind it ---


@pytest.mark.parametrize(
    ("retry_on", "request_bytes", "reason", "retried"),
    [
        ("conn-failure", GET, Lost.HANDSHAKE, True),
        ("conn-failure", POST, Lost.HANDSHAKE, False),
        ("conn-failure", POST, Lost.TIMEOUT, False),
        ("conn-failure empty-response", POST, Lost.HANDSHAKE, True),
        ("conn-failure empty-response", POST, Lost.TIMEOUT, False),
        ("conn-failure response-timeout", POST, Lost.TIMEOUT, True),
        ("none", GET, Lost.HANDSHAKE, False),
    ],
)
def test_a_handshake_that_fails(
    tmp_path: Path, retry_on: str, request_bytes: bytes, reason: Lost, retried: bool
) -> None:
    """Nobody knows whether the server has had the request (RFC 9110 section 9.2.2)."""
    site = Site(tmp_path, f"retry-on {retry_on}")
    client = site.visitor(request_bytes, early=True)
    attempt = site.connector.next()
    assert early(attempt)
    attempt.fail(reason)
    site.clock.advance(1.0)
    assert bool(site.connector.attempts) is retried
    if retried:
        again = site.connector.next()
        assert early(again) == b""
        assert through(again, accepted=False).said() == request_bytes.replace(b"\r\n\r\n", b"\r\nEarly-Data: 1\r\n\r\n")
    else:
        assert client.got().startswith(b"HTTP/1.1 503 ")


def test_one_that_fails_before_is_retried_as_ever(plain: Site) -> None:
    plain.visitor(POST, early=True)
    plain.connector.next().fail()
    plain.clock.advance(1.0)
    assert plain.connector.attempts
