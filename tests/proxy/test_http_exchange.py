"""Exchanges as conversations: requests, responses, keep-alive, framing, errors, retries, timeouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.proxy.port import Lost
from tests.proxy.playbook import Client, Playbook, Server

SIMPLE = """
frontend fe
    bind :80
    default_backend be
backend be
    balance roundrobin
    server s1 192.0.2.10:80
    server s2 192.0.2.11:80
"""
ALONE = SIMPLE.replace("    server s2 192.0.2.11:80\n", "")
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def book(tmp_path: Path, *, backend: str = "", frontend: str = "") -> Playbook:
    text = SIMPLE.replace("    default_backend be\n", f"    default_backend be\n{frontend}")
    text = text.replace("    balance", f"{backend}    balance")
    return Playbook(text, tmp_path)


def kept_alive(play: Playbook) -> tuple[Client, Server]:
    """A client and its server with one exchange behind them, and the server's connection idle."""
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(OK)
    client.got()
    return client, server


def test_a_request_is_forwarded_unchanged_and_so_is_its_response(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    assert server.got() == GET
    server.sends(OK)
    assert client.got() == OK
    assert client.channel.fate == "open"
    assert len(play.log.lines) == 1
    assert 'fe be/s1 0/0/0/0/0 200 40 - - ---- 1/1/0/0/0 0/0 "GET /a HTTP/1.1"' in play.log.lines[0]


def test_the_second_request_of_a_session_reuses_the_connection(tmp_path: Path) -> None:
    play = Playbook(ALONE, tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(OK)
    client.sends(GET)
    assert not play.connector.attempts
    assert server.got() == GET + GET
    server.sends(OK)
    assert client.got() == OK + OK


def test_head_and_body_split_anywhere_give_the_same_conversation(tmp_path: Path) -> None:
    request = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for cut in range(1, len(request)):
        play = book(tmp_path)
        client = play.client()
        client.sends(request[:cut])
        if not play.connector.attempts:
            client.sends(request[cut:])
            server = play.server()
        else:
            server = play.server()
            client.sends(request[cut:])
        assert server.got() == request, cut
        for byte in range(len(response)):
            server.sends(response[byte : byte + 1])
        assert client.got() == response
        assert client.channel.fate == "open"


def test_pipelined_requests_are_answered_in_order_one_at_a_time(tmp_path: Path) -> None:
    play = Playbook(ALONE, tmp_path)
    client = play.client()
    client.sends(GET + GET.replace(b"/a", b"/b"))
    server = play.server()
    assert server.got() == GET
    assert not client.channel.reading
    server.sends(OK)
    assert server.got() == GET.replace(b"/a", b"/b")
    server.sends(OK)
    assert client.got() == OK + OK
    assert client.channel.reading


def test_connection_headers_are_ours_to_decide(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nKeep-Alive: 5\r\n\r\n")
    server = play.server()
    assert server.got() == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    server.sends(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n")
    assert client.got() == b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
    assert client.channel.fate == "closed"
    assert server.channel.fate == "open"


def test_http10_client_gets_a_chunked_response_decoded(tmp_path: Path) -> None:
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: x\r\n\r\n"
    for cut in range(1, len(response)):
        play = book(tmp_path)
        client = play.client()
        client.sends(b"GET / HTTP/1.0\r\n\r\n")
        server = play.server()
        server.sends(response[:cut])
        server.sends(response[cut:])
        assert client.got() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc0123456789abcdef", cut
        assert client.channel.fate == "closed"


def test_http10_keep_alive(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    server = play.server()
    server.sends(OK)
    assert b"connection: keep-alive\r\n" in client.got()
    assert client.channel.fate == "open"


def test_a_response_until_close_ends_with_the_server(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(b"HTTP/1.1 200 OK\r\n\r\npart one")
    server.sends(b" part two")
    server.shuts()
    assert client.got() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\npart one part two"
    assert client.channel.fate == "closed"
    assert " ---- " in play.log.lines[0]


def test_a_truncated_response_is_told_by_closing_and_logged(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!")
    server.shuts()
    assert client.got().endswith(b"five!")
    assert client.channel.fate in ("closed", "aborted", "lingering")
    assert " SD-- " in play.log.lines[0]


@pytest.mark.parametrize("status", [100, 103])
def test_interim_responses_are_passed_on(tmp_path: Path, status: int) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    server = play.server()
    interim = b"HTTP/1.1 %d X\r\nLink: <a>\r\n\r\n" % status
    server.sends(interim)
    assert client.got() == interim
    client.sends(b"hi")
    server.sends(OK)
    assert client.got() == OK
    assert client.channel.fate == "open"


def test_head_responses_have_no_body(tmp_path: Path) -> None:
    play = Playbook(ALONE, tmp_path)
    client = play.client()
    client.sends(GET.replace(b"GET", b"HEAD"))
    server = play.server()
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    client.sends(GET)
    server.sends(OK)
    assert client.got().endswith(OK)


def test_upgrade_becomes_a_tunnel_with_half_close(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    server = play.server()
    assert server.got() == b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nconnection: Upgrade\r\n\r\n"
    server.sends(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
    assert client.got().endswith(b"\r\n\r\nfirst")
    client.sends(b"ping")
    assert server.got() == b"ping"
    client.shuts()
    assert server.channel.write_shut
    server.sends(b"pong")
    assert client.got() == b"pong"
    server.shuts()
    assert client.channel.fate == "closed"
    assert " 101 " in play.log.lines[0]


def test_unasked_101_is_a_bad_response(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert client.got().startswith(b"HTTP/1.1 502 ")
    assert " PH-- " in play.log.lines[0]


def test_connect_opens_a_tunnel(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")
    server = play.server()
    server.sends(b"HTTP/1.1 200 Connected\r\n\r\n")
    client.sends(b"\x16\x03\x01")
    assert server.got().endswith(b"\x16\x03\x01")


def test_an_early_response_ends_the_request(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nxx")
    server = play.server()
    server.sends(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert client.got() == b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nconnection: close\r\n\r\n"
    assert client.channel.fate == "lingering"
    assert server.channel.fate == "closed"


BAD_REQUESTS = {
    "both lengths": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "bare LF": b"GET / HTTP/1.1\nHost: h\n\n",
    "bare LF in header": b"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "too long": b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 20000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_invalid_requests_are_refused_and_never_forwarded(tmp_path: Path, request_bytes: bytes) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(request_bytes)
    assert client.got().startswith(b"HTTP/1.1 400 ")
    assert client.channel.fate == "lingering"
    assert not play.connector.attempts
    assert " PR-- " in play.log.lines[0]
    assert '"<BADREQ>"' in play.log.lines[0]


def test_a_bad_chunk_in_a_body_is_never_forwarded(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    server = play.server()
    server.got()
    client.sends(b"5\r\nhello\r\nzz\r\n")
    assert server.got() == b""
    assert server.channel.fate == "aborted"
    assert client.got().startswith(b"HTTP/1.1 400 ")


BAD_RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
]


@pytest.mark.parametrize("response", BAD_RESPONSES)
def test_invalid_responses_become_502(tmp_path: Path, response: bytes) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(response)
    assert client.got().startswith(b"HTTP/1.1 502 ")
    assert server.channel.fate == "aborted"
    assert " PH-- " in play.log.lines[0]


def test_bytes_behind_a_response_end_the_connection(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(OK + b"HTTP/1.1 200 smuggled\r\nContent-Length: 0\r\n\r\n")
    assert client.got() == OK
    assert server.channel.fate == "closed"


def test_refused_connections_are_retried_on_the_same_server_after_a_second(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    for _ in range(3):
        play.connector.next().fail()
        assert not play.connector.attempts
        play.clock.advance(1.0)
    play.connector.next().fail()
    assert client.got().startswith(b"HTTP/1.1 503 ")
    assert " 503 " in play.log.lines[0] and " SC-- " in play.log.lines[0] and "/3 0/0" in play.log.lines[0]


def test_redispatch_sends_the_last_retry_to_another_server(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    option redispatch\n    retries 1\n")
    client = play.client()
    client.sends(GET)
    first = play.connector.next()
    first.fail()
    second = play.connector.next()
    assert second.server is not first.server
    channel = second.succeed()
    channel.owner.data_received(OK)
    assert client.got() == OK
    assert "+1 0/0" in play.log.lines[0]


def test_connect_timeout(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    retries 0\n")
    client = play.client()
    client.sends(GET)
    attempt = play.connector.next()
    play.clock.advance(4.1)
    assert attempt.cancelled
    assert client.got().startswith(b"HTTP/1.1 503 ")
    assert " sC-- " in play.log.lines[0]


def test_server_timeout_is_504(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    play.clock.advance(30.1)
    assert client.got().startswith(b"HTTP/1.1 504 ")
    assert server.channel.fate == "aborted"
    assert " sH-- " in play.log.lines[0]


def test_request_timeout_is_408(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    timeout http-request 5s\n")
    client = play.client()
    client.sends(b"GET / HT")
    play.clock.advance(3)
    client.sends(b"TP/1.1\r\n")
    play.clock.advance(2.1)
    assert client.got().startswith(b"HTTP/1.1 408 ")
    assert " cR-- " in play.log.lines[0]


def test_keep_alive_timeout_closes_without_a_word(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    timeout http-keep-alive 2s\n")
    client = play.client()
    client.sends(GET)
    play.server().sends(OK)
    client.got()
    play.clock.advance(2.1)
    assert client.got() == b""
    assert client.channel.fate == "closed"
    assert len(play.log.lines) == 1


def test_a_stale_idle_connection_is_replaced_without_the_client_noticing(tmp_path: Path) -> None:
    play = Playbook(ALONE, tmp_path)
    client, old = kept_alive(play)
    client.sends(GET)
    old.shuts()
    new = play.server()
    assert new.got() == GET
    new.sends(OK)
    assert client.got() == OK
    assert play.backends["be"].state.servers[0].counters.retries == 1


def test_a_post_is_not_repeated_on_a_stale_connection(tmp_path: Path) -> None:
    play = Playbook(ALONE, tmp_path)
    client, old = kept_alive(play)
    client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
    old.shuts()
    assert not play.connector.attempts
    # The client sees what it would see of a server of its own, and may decide to repeat it.
    assert client.got() == b"" and client.channel.fate == "closed"
    assert " SH-- " in play.log.lines[-1]


def test_a_post_is_repeated_where_retry_on_says_so(tmp_path: Path) -> None:
    play = Playbook(ALONE.replace("    balance", "    retry-on empty-response\n    balance"), tmp_path)
    client, old = kept_alive(play)
    client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
    old.shuts()
    play.server().sends(OK)
    assert client.got() == OK


def test_a_first_request_on_a_stale_connection_is_answered(tmp_path: Path) -> None:
    play = Playbook(ALONE.replace("    balance", "    http-reuse always\n    balance"), tmp_path)
    _, old = kept_alive(play)
    other = play.client()
    other.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
    old.shuts()
    assert other.got().startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("forbids", ["    retry-on none\n", "    retries 0\n", "    http-request disable-l7-retry\n"])
def test_what_forbids_retries_forbids_those_of_stale_connections(tmp_path: Path, forbids: str) -> None:
    play = Playbook(ALONE.replace("    balance", f"{forbids}    balance"), tmp_path)
    client, old = kept_alive(play)
    client.sends(GET)
    old.shuts()
    assert not play.connector.attempts
    assert client.got() == b"" and client.channel.fate == "closed"


def test_an_idle_connection_that_speaks_is_closed(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(OK)
    server.sends(b"HTTP/1.1 200 OK\r\n\r\n")
    assert server.channel.fate == "closed"


@pytest.mark.parametrize(
    ("retry_on", "failure"),
    [("empty-response", b""), ("junk-response", b"junk\r\n"), ("503", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")],
)
def test_retry_on(tmp_path: Path, retry_on: str, failure: bytes) -> None:
    play = book(tmp_path, backend=f"    retry-on {retry_on}\n    option redispatch 1\n")
    client = play.client()
    request = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    client.sends(request)
    first = play.connector.next()
    channel = first.succeed()
    if failure:
        channel.owner.data_received(failure)
    else:
        channel.owner.eof_received()
    second = play.connector.next()
    assert second.server is not first.server
    assert client.got() == b""
    channel = second.succeed()
    assert channel.said() == request
    channel.owner.data_received(OK)
    assert client.got() == OK


def test_back_pressure_stops_the_server_while_the_client_is_slow(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n12345")
    client.channel.blocked = True
    server.sends(b"67890")
    assert not server.channel.reading
    client.drains()
    assert server.channel.reading
    client.channel.blocked = True
    server.sends(b"1234567890")
    assert len(play.log.lines) == 0
    client.drains()
    assert len(play.log.lines) == 1


def test_back_pressure_stops_the_client_while_the_server_is_slow(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n12345")
    assert not client.channel.reading
    server = play.server()
    assert client.channel.reading
    server.channel.blocked = True
    client.sends(b"67890")
    assert not client.channel.reading
    server.drains()
    assert client.channel.reading


@pytest.mark.parametrize(("phase", "state"), [("connect", " CC-- "), ("head", " CH-- "), ("data", " CD-- ")])
def test_a_client_that_breaks_off_is_logged_by_phase(tmp_path: Path, phase: str, state: str) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    if phase != "connect":
        server = play.server()
        if phase == "data":
            server.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n12345")
    client.breaks()
    assert state in play.log.lines[0]
    assert play.backends["be"].state.sessions == 0


def test_half_close_is_passed_on_to_the_server(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(GET)
    server = play.server()
    client.shuts()
    assert server.channel.write_shut
    server.sends(OK)
    assert client.got().endswith(b"ok")
    assert client.channel.fate == "closed"


def test_maxconn_makes_requests_wait_their_turn(tmp_path: Path) -> None:
    text = SIMPLE.replace("192.0.2.10:80", "192.0.2.10:80 maxconn 1").replace("    server s2 192.0.2.11:80\n", "")
    play = Playbook(text, tmp_path)
    first, second = play.client(), play.client()
    first.sends(GET)
    second.sends(GET)
    assert len(play.connector.attempts) == 1
    play.server().sends(OK)
    assert first.got() == OK
    play.server().sends(OK)
    assert second.got() == OK
    assert play.backends["be"].state.sessions == 0


def test_queue_timeout(tmp_path: Path) -> None:
    text = SIMPLE.replace("192.0.2.10:80", "192.0.2.10:80 maxconn 1").replace("    server s2 192.0.2.11:80\n", "")
    play = Playbook(text.replace("    balance", "    timeout queue 2s\n    balance"), tmp_path)
    first, second = play.client(), play.client()
    first.sends(GET)
    second.sends(GET)
    play.clock.advance(2.1)
    assert second.got().startswith(b"HTTP/1.1 503 ")
    assert " sQ-- " in play.log.lines[0]


@pytest.mark.parametrize("rule", ["", "    http-request return status 200 content-type text/plain string hello\n"])
@pytest.mark.parametrize("last", [False, True])
def test_the_last_answer_goes_out_together_with_the_end(tmp_path: Path, rule: str, last: bool) -> None:
    play = book(tmp_path, frontend=rule)
    client = play.client()
    client.sends(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if last else GET)
    if not rule:
        play.server().sends(OK)
    assert client.got().startswith(b"HTTP/1.1 200 ")
    assert client.channel.corked is last
    assert (client.channel.fate == "closed") is last


@pytest.mark.parametrize(
    ("option", "to_server", "to_client"),
    [("http-server-close", b"connection: close\r\n", b""), ("httpclose", b"connection: close\r\n", b"connection: close\r\n")],
)
def test_close_modes(tmp_path: Path, option: str, to_server: bytes, to_client: bytes) -> None:
    play = book(tmp_path, frontend=f"    option {option}\n")
    client = play.client()
    client.sends(GET)
    server = play.server()
    assert to_server in server.got()
    server.sends(OK)
    got = client.got()
    assert (b"connection: close" in got) == bool(to_client)
    assert client.channel.fate == ("closed" if to_client else "open")
    assert server.channel.fate == "closed"


def test_rules_answer_and_keep_the_connection(tmp_path: Path) -> None:
    rules = "    http-request deny if { path /no }\n    http-request redirect location /x code 301 if { path /r }\n"
    rules += "    http-request return status 200 content-type text/plain string hi if { path /hi }\n"
    play = book(tmp_path, frontend=rules)
    client = play.client()
    for path, start in ((b"/no", b"HTTP/1.1 403 "), (b"/r", b"HTTP/1.1 301 "), (b"/hi", b"HTTP/1.1 200 ")):
        client.sends(GET.replace(b"/a", path))
        assert client.got().startswith(start)
        assert client.channel.fate == "open"
    assert " PR-- " in play.log.lines[0]
    assert " LR-- " in play.log.lines[1]


def test_ten_thousand_pipelined_denials_do_not_recurse(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    http-request deny\n")
    client = play.client()
    client.sends(GET * 10000)
    assert client.got().count(b"HTTP/1.1 403 ") == 10000


def test_tarpit_holds_then_answers(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    timeout tarpit 3s\n    http-request tarpit if { path /a }\n")
    client = play.client()
    client.sends(GET)
    assert client.got() == b""
    play.clock.advance(3.1)
    assert client.got().startswith(b"HTTP/1.1 500 ")
    assert " PT-- " in play.log.lines[0]


def test_connect_failure_by_reset_is_a_failure_too(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    retries 0\n")
    client = play.client()
    client.sends(GET)
    play.connector.next().fail(Lost.RESET)
    assert client.got().startswith(b"HTTP/1.1 503 ")


def test_logasap_logs_the_head_before_the_data(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    option logasap\n")
    client = play.client()
    client.sends(GET)
    server = play.server()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
    server.sends(head + b"x" * 10)
    assert len(play.log.lines) == 1
    assert f" 200 +{len(head)} " in play.log.lines[0]
    server.sends(b"x" * 4990)
    assert len(client.got()) == len(head) + 5000
    assert len(play.log.lines) == 1
