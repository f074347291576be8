"""TCP mode: inspection, rules, half-close, back-pressure, retries, queue, timeouts, counters, the log line."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from headgate.proxy.port import Lost
from headgate.proxy.relay import RelayStream
from headgate.proxy.sides import Splicer
from tests.proxy.playbook import Playbook

HEADER = """
global
    log 127.0.0.1:514 local0
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 4s
    timeout client 20s
    timeout server 30s
"""


def book(
    tmp_path: Path, *, frontend: str = "", backend: str = "", server: str = "", spare: bool = False, header: str = HEADER
) -> Playbook:
    text = f"frontend fe\n    bind :80\n    default_backend be\n{frontend}"
    text += f"backend be\n{backend}    server s1 192.0.2.10:80{server}\n"
    if spare:
        text += "    server s2 192.0.2.11:80\n"
    return Playbook(text, tmp_path, header)


def all_is_over(play: Playbook, lines: int = 1) -> None:
    assert play.shared.sessions == 0
    assert not play.shared.live
    state = play.backends["be"].state
    assert state.sessions == 0
    assert state.queued == 0
    assert all(server.sessions == 0 for server in state.servers)
    assert len(play.log.lines) == lines


def client_hello(name: str) -> bytes:
    """What OpenSSL says first to a server of that name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        talk.do_handshake()
    return outgoing.read()


def test_a_server_that_speaks_first_is_connected_at_once(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    server = play.server()
    server.sends(b"220 ready\r\n")
    assert client.got() == b"220 ready\r\n"
    client.sends(b"QUIT\r\n")
    assert server.got() == b"QUIT\r\n"
    server.shuts()
    assert client.channel.write_shut
    assert client.channel.fate == "open"
    client.shuts()
    assert (client.channel.fate, server.channel.fate) == ("closed", "closed")
    all_is_over(play)
    assert " fe be/s1 0/0/0 11 -- " in play.log.lines[0]
    counters = play.backends["be"].counters
    assert (counters.bytes_in, counters.bytes_out) == (6, 11)


def test_the_client_may_shut_its_half_first(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    server = play.server()
    client.sends(b"ask")
    client.shuts()
    assert server.channel.write_shut
    server.sends(b"answer")
    assert client.got() == b"answer"
    server.shuts()
    all_is_over(play)


def test_what_comes_before_the_server_is_there_waits_for_it(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    client.sends(b"x" * 16384)
    assert not client.channel.reading
    client.sends(b"tail")
    server = play.server()
    assert server.got() == b"x" * 16384 + b"tail"
    assert client.channel.reading


SNI_RULES = """    tcp-request inspect-delay 5s
    tcp-request content accept if { req.ssl_hello_type 1 } { req.ssl_sni -i good.example }
    tcp-request content reject
"""


@pytest.mark.parametrize(("name", "accepted"), [("good.example", True), ("bad.example", False)])
def test_server_name_indication_decides_however_the_hello_is_cut(tmp_path: Path, name: str, accepted: bool) -> None:
    hello = client_hello(name)
    for cut in (1, 5, 6, 43, len(hello) // 2, len(hello) - 1):
        play = book(tmp_path, frontend=SNI_RULES)
        client = play.client()
        client.sends(hello[:cut])
        assert not play.connector.attempts, cut
        client.sends(hello[cut:])
        if accepted:
            assert play.server().got() == hello
        else:
            assert not play.connector.attempts
            assert client.channel.fate != "open"
            all_is_over(play)
            assert play.backends["be"].counters.sessions_total == 0
            assert play.frontends["fe"].counters.denied_requests == 1


def test_the_inspect_delay_ends_the_waiting(tmp_path: Path) -> None:
    play = book(tmp_path, frontend=SNI_RULES)
    client = play.client()
    client.sends(b"\x16\x03\x01")
    play.clock.advance(4.9)
    assert client.channel.fate == "open"
    play.clock.advance(0.2)
    assert client.channel.fate != "open"
    all_is_over(play)


def test_req_len_waits_for_bytes_of_a_backend_rule(tmp_path: Path) -> None:
    rules = "    tcp-request inspect-delay 5s\n"
    rules += "    tcp-request content accept if { req.len gt 2 }\n    tcp-request content reject\n"
    play = book(tmp_path, backend=rules)
    client = play.client()
    assert not play.connector.attempts
    client.sends(b"abc")
    assert play.server().got() == b"abc"


def test_a_client_that_shut_before_a_backend_inspects_is_not_waited_for(tmp_path: Path) -> None:
    delay = "    tcp-request inspect-delay 5s\n    tcp-request content accept if { req.len gt 4 }\n"
    play = book(tmp_path, frontend=delay, backend=delay.replace("gt 4", "gt 9"))
    client = play.client()
    client.sends(b"abc")
    client.shuts()
    assert play.server().got() == b"abc"


def test_back_pressure_in_both_directions(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    server = play.server()
    server.channel.blocked = True
    client.sends(b"a")
    assert not client.channel.reading
    server.drains()
    assert client.channel.reading
    client.channel.blocked = True
    server.sends(b"b")
    assert not server.channel.reading
    client.drains()
    assert server.channel.reading


def test_a_refused_connection_is_tried_again_and_then_elsewhere(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    retries 2\n    option redispatch\n", spare=True)
    play.client()
    first = play.connector.next()
    first.fail()
    assert not play.connector.attempts
    play.clock.advance(1.0)
    again = play.connector.next()
    assert again.server is first.server
    again.fail()
    other = play.connector.next()
    assert other.server is not first.server
    server = other.succeed()
    assert server.fate == "open"
    assert play.backends["be"].counters.redispatches == 1
    assert first.server.sessions == 0


def test_retries_run_out(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    retries 1\n")
    client = play.client()
    play.connector.next().fail()
    play.clock.advance(1.0)
    play.connector.next().fail()
    assert client.channel.fate == "closed"
    all_is_over(play)
    assert " SC " in play.log.lines[0]
    counters = play.backends["be"].counters
    assert (counters.connection_errors, counters.retries, counters.aborted_by_server) == (1, 1, 0)


def test_connect_timeout(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    retries 0\n")
    play.client()
    attempt = play.connector.next()
    play.clock.advance(4.0)
    assert attempt.cancelled
    all_is_over(play)
    assert " sC " in play.log.lines[0]


def test_sessions_queue_for_a_slot(tmp_path: Path) -> None:
    play = book(tmp_path, server=" maxconn 1", backend="    timeout queue 3s\n")
    first, second, third = play.client(), play.client(), play.client()
    server = play.server()
    assert not play.connector.attempts
    play.clock.advance(1.0)
    server.shuts()
    first.shuts()
    play.clock.settle()
    other = play.server()
    play.clock.advance(2.0)
    assert third.channel.fate == "closed"
    assert " sQ " in play.log.lines[1]
    other.shuts()
    second.shuts()
    all_is_over(play, 3)


def test_a_slot_granted_to_a_client_that_left_in_the_same_turn_goes_on(tmp_path: Path) -> None:
    play = book(tmp_path, server=" maxconn 1")
    first, second, third = play.client(), play.client(), play.client()
    server = play.server()
    server.channel.owner.eof_received()
    first.channel.owner.eof_received()
    second.channel.owner.connection_lost(Lost.RESET)
    play.clock.settle()
    last = play.server()
    last.shuts()
    third.shuts()
    all_is_over(play, 3)


@pytest.mark.parametrize(
    ("extra", "seconds", "state"),
    [("", 20.0, "cD"), ("    timeout server 10s\n", 10.0, "sD"), ("    timeout tunnel 60s\n", 60.0, "cD")],
)
def test_silence_ends_a_relay(tmp_path: Path, extra: str, seconds: float, state: str) -> None:
    play = book(tmp_path, backend=extra)
    client = play.client()
    play.server()
    play.clock.advance(seconds - 0.5)
    client.sends(b"x")
    play.clock.advance(seconds - 0.5)
    assert client.channel.fate == "open"
    play.clock.advance(1.0)
    assert client.channel.fate != "open"
    all_is_over(play)
    assert f" {state} " in play.log.lines[0]


def test_timeout_client_fin_holds_while_the_other_half_still_talks(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    timeout client-fin 2s\n", backend="    timeout tunnel 1h\n")
    client = play.client()
    server = play.server()
    client.shuts()
    play.clock.advance(1.5)
    server.sends(b"more")
    play.clock.advance(1.5)
    assert client.channel.fate == "open"
    play.clock.advance(0.6)
    assert client.channel.fate != "open"
    all_is_over(play)


def test_either_side_may_break(tmp_path: Path) -> None:
    for broken, state in (("client", "CD"), ("server", "SD")):
        play = book(tmp_path)
        client = play.client()
        server = play.server()
        (client if broken == "client" else server).breaks()
        all_is_over(play)
        assert f" {state} " in play.log.lines[0]


def test_a_probe_is_not_logged_with_dontlognull(tmp_path: Path) -> None:
    play = book(tmp_path, frontend="    option dontlognull\n")
    play.client().breaks()
    all_is_over(play, 0)


class Kernel(Splicer):
    """Says that it passes bytes on, and lets the test say how many."""

    def __init__(self) -> None:
        self.relay: RelayStream

    def start(self, client: object, server: object, relay: object) -> bool:
        assert isinstance(relay, RelayStream)
        self.relay = relay
        return True


def test_what_the_kernel_passes_on_is_counted_with_what_was_copied(tmp_path: Path) -> None:
    play = book(tmp_path)
    kernel = play.shared.splice = Kernel()
    client = play.client()
    server = play.server()
    server.sends(bytes(65536))
    kernel.relay.server_passed(10_000_000_000)
    kernel.relay.client_passed(77)
    client.sends(b"by hand")
    server.shuts()
    client.shuts()
    all_is_over(play)
    assert " 10000065536 -- " in play.log.lines[0]
    counters = play.backends["be"].counters
    assert (counters.bytes_in, counters.bytes_out) == (84, 10_000_065_536)


def test_a_pipe_that_waits_pauses_the_source_and_a_relay_ends_when_all_is_taken(tmp_path: Path) -> None:
    play = book(tmp_path)
    kernel = play.shared.splice = Kernel()
    client = play.client()
    server = play.server()
    server.sends(bytes(65536))
    client.channel.blocked = True
    kernel.relay.server_passed(100_000)
    assert not server.channel.reading
    client.shuts()
    server.shuts()
    assert client.channel.fate == "open"
    client.drains()
    assert client.channel.fate == "closed"
    all_is_over(play)


def test_a_reader_that_never_takes_the_rest_times_out(tmp_path: Path) -> None:
    play = book(tmp_path)
    client = play.client()
    server = play.server()
    client.channel.blocked = True
    server.sends(b"x" * 1000)
    client.shuts()
    server.shuts()
    play.clock.advance(19)
    assert client.channel.fate == "open"
    play.clock.advance(2)
    all_is_over(play)
    assert " cD " in play.log.lines[0]


def test_renewed_deadlines_while_the_kernel_passes_bytes_on(tmp_path: Path) -> None:
    play = book(tmp_path)
    kernel = play.shared.splice = Kernel()
    client = play.client()
    server = play.server()
    server.sends(bytes(65536))
    for _ in range(5):
        play.clock.advance(15)
        kernel.relay.server_passed(1)
    assert (client.channel.fate, server.channel.fate) == ("open", "open")
    play.clock.advance(21)
    all_is_over(play)
    assert " 65541 cD " in play.log.lines[0]


def test_content_rules_see_the_servers_first_bytes_before_anything_is_spliced(tmp_path: Path) -> None:
    play = book(tmp_path, backend="    tcp-response content reject if { src 192.0.2.99 }\n")
    kernel = play.shared.splice = Kernel()
    client = play.client()
    server = play.server()
    client.sends(bytes(65536))
    assert not hasattr(kernel, "relay")
    server.sends(b"good")
    client.sends(bytes(65536))
    assert kernel.relay.bytes_in == 131072
