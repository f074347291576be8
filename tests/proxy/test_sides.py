"""What proxies' options change in the machines, and the log line's gates."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.proxy.sides import IDLE_AT_STOP
from tests.proxy.playbook import Playbook

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"


def book(tmp_path: Path, *, frontend: str = "", backend: str = "") -> Playbook:
    text = f"frontend fe\n    bind :80\n    default_backend be\n{frontend}backend be\n{backend}    server s1 192.0.2.10:80\n"
    return Playbook(text, tmp_path)


def test_soft_stop_closes_idle_sessions_and_busy_ones_after_their_response(tmp_path: Path) -> None:
    play = book(tmp_path)
    idle, busy = play.client(), play.client()
    busy.sends(GET)
    server = play.server()
    play.shared.stopping = True
    for session in list(play.shared.live):
        session.soft_stop()
    assert idle.channel.fate == "open"
    server.sends(OK)
    assert busy.got() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok"
    assert busy.channel.fate == "closed"
    play.clock.advance(IDLE_AT_STOP + 0.1)
    assert idle.got() == b""
    assert idle.channel.fate == "closed"
    assert play.shared.sessions == 0


@pytest.mark.parametrize("sent_before", [b"", GET])
def test_an_idle_client_that_asks_during_a_soft_stop_is_answered_once_more(tmp_path: Path, sent_before: bytes) -> None:
    play = book(tmp_path)
    client = play.client()
    server = None
    if sent_before:
        client.sends(GET)
        server = play.server()
        server.sends(OK)
        client.got()
    play.shared.stopping = True
    for session in list(play.shared.live):
        session.soft_stop()
    play.clock.advance(IDLE_AT_STOP / 2)
    client.sends(GET[:9])
    play.clock.advance(IDLE_AT_STOP)
    client.sends(GET[9:])
    (server or play.server()).sends(OK)
    assert b"connection: close\r\n" in client.got()
    assert client.channel.fate == "closed"


def test_close_spread_time_infinite_closes_nothing(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    play.shared.stopping = True
    play.shared.close_spread = float("inf")
    for session in list(play.shared.live):
        session.soft_stop()
    play.clock.advance(3)
    client.sends(GET)
    play.server().sends(OK)
    assert b"connection: close" not in client.got()
    assert client.channel.fate == "open"


def test_idle_close_on_response_leaves_idle_sessions_one_more_response(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    option idle-close-on-response\n")
    idle = play.client()
    play.shared.stopping = True
    for session in list(play.shared.live):
        session.soft_stop()
    assert idle.channel.fate == "open"
    idle.sends(GET)
    play.server().sends(OK)
    assert b"connection: close\r\n" in idle.got()
    assert idle.channel.fate == "closed"


@pytest.mark.parametrize("where", ["frontend", "backend"])
def test_http_buffer_request_waits_for_the_body(tmp_path: Path, where: str) -> None:
    option = "    option http-buffer-request\n"
    play = book(tmp_path, frontend=option) if where == "frontend" else book(tmp_path, backend=option)
    client = play.client()
    client.sends(POST + b"he")
    assert not play.connector.attempts
    client.sends(b"llo")
    assert play.server().got() == POST + b"hello"


def test_http_buffer_request_of_a_backend_times_out(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    option http-buffer-request\n")
    client = play.client()
    client.sends(POST)
    play.clock.advance(20.0)
    assert client.got().startswith(b"HTTP/1.1 408 ")
    assert play.shared.sessions == 0


@pytest.mark.parametrize("policy", ["preserve", "delete", "reject"])
def test_restricted_header_names(tmp_path: Path, policy: str) -> None:
    play = book(tmp_path, backend=f"    option http-restrict-req-hdr-names {policy}\n")
    client = play.client()
    odd = GET.replace(b"Host: h\r\n", b"Host: h\r\nX_Y: 1\r\n")
    client.sends(odd)
    if policy == "reject":
        assert client.got().startswith(b"HTTP/1.1 403 ")
        assert not play.connector.attempts
    else:
        assert play.server().got() == (GET if policy == "delete" else odd)


def test_a_content_rule_that_asks_for_a_body_does_not_switch_off_the_rules_behind_it(tmp_path: Path) -> None:
    rules = "    tcp-request inspect-delay 5s\n"
    rules += "    tcp-request content accept if { req.len gt 100000 }\n    tcp-request content reject\n"
    play = book(tmp_path, frontend=rules)
    client = play.client()
    client.sends(POST)
    assert not play.connector.attempts
    assert client.channel.fate == "aborted"
    assert play.shared.sessions == 0


def test_a_refused_connect_ends_the_connection_with_what_was_meant_for_the_tunnel(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n" + GET)
    play.server().sends(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    assert client.channel.fate == "closed"
    assert not play.connector.attempts
    assert play.frontends["fe"].counters.requests == 1


def test_connection_errors_are_no_response_errors(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    retries 0\n")
    play.client().sends(GET)
    play.connector.next().fail()
    counters = play.backends["be"].counters
    assert (counters.connection_errors, counters.response_errors) == (1, 0)
    play.client().sends(GET)
    play.server().sends(b"junk")
    assert counters.response_errors == 1


def test_dontlog_normal_leaves_successes_out(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    option dontlog-normal\n")
    client = play.client()
    client.sends(GET)
    server = play.server()
    server.sends(OK)
    assert not play.log.lines
    client.sends(GET)
    server.sends(OK.replace(b"200 OK", b"500 No"))
    assert len(play.log.lines) == 1
