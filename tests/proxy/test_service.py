"""Services as conversations: answers in pieces, back-pressure, bodies of POST, event streams, clients that leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headgate.observe.service import Ask, Begin, Pause, Question, Script, Write
from headgate.proxy import service as machine
from headgate.proxy.service import Services
from tests.proxy.playbook import Client, Playbook

CONFIG = """
frontend fe
    bind :80
    stats uri /stats
    stats admin if { src 192.0.2.0/24 }
    default_backend be
backend be
    server s1 192.0.2.10:80
"""
GET = b"GET /stats HTTP/1.1\r\nHost: h\r\n\r\n"


class FakeAsker:
    def __init__(self) -> None:
        self.open: list[tuple[str, Callable[[str], None]]] = []

    def ask(self, command: str, answered: Callable[[str], None]) -> None:
        self.open.append((command, answered))


def book(tmp_path: Path, write: Write, config: str = CONFIG) -> tuple[Playbook, FakeAsker]:
    play, asker = Playbook(config, tmp_path), FakeAsker()
    play.shared.services = Services({"stats": write}, lambda: asker)
    return play, asker


def answers(play: Playbook, asker: FakeAsker, text: str) -> str:
    command, answered = asker.open.pop(0)
    answered(text)
    play.clock.settle()
    return command


def whole(question: Question) -> Script:
    yield Begin(200, b"content-type: text/plain\r\n", b"method=%b admin=%d" % (question.head.method, question.service.admin))


def pieces(question: Question) -> Script:
    yield Begin(200, b"")
    answer = yield Ask("show stat")
    yield answer.encode()
    yield b"end"


def posted(question: Question) -> Script:
    yield Begin(200, b"", b"%d %b" % (question.complete, question.body))


def events(question: Question) -> Script:
    yield Begin(200, b"content-type: text/event-stream\r\n", endless=True)
    number = 0
    while True:
        number += 1
        yield b"data: %d\n\n" % number
        yield Pause(1.0)


def test_a_whole_answer_leaves_the_connection_open_and_is_logged_as_intercepted(tmp_path: Path) -> None:
    play, _ = book(tmp_path, whole)
    client = play.client()
    client.sends(GET)
    said = client.got()
    assert said.startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n") and said.endswith(b"method=GET admin=1")
    assert 'fe fe/<STATS> 0/0/0/0/0 200' in play.log.lines[0] and "LR--" in play.log.lines[0]
    assert play.frontends["fe"].counters.intercepted == 1
    client.sends(GET)
    assert b"admin=1" in client.got()
    assert client.channel.fate == "open"


def test_other_paths_and_methods_go_to_the_server(tmp_path: Path) -> None:
    play, _ = book(tmp_path, whole)
    client = play.client()
    client.sends(b"PUT /stats HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
    assert play.server().got().startswith(b"PUT /stats")
    play.client().sends(b"GET /statistics HTTP/1.1\r\nHost: h\r\n\r\n")
    assert play.server().got().startswith(b"GET /stati")
    client = play.client()
    client.sends(b"GET /statsfoo HTTP/1.1\r\nHost: h\r\n\r\n")  # a prefix is a prefix (4.2 "stats uri")
    assert b"method=GET" in client.got()


def test_pieces_are_chunks_and_wait_for_answers(tmp_path: Path) -> None:
    play, asker = book(tmp_path, pieces)
    client = play.client()
    client.sends(GET)
    assert client.got() == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert answers(play, asker, "rows") == "show stat"
    assert client.got() == b"4\r\nrows\r\n3\r\nend\r\n0\r\n\r\n"
    assert client.channel.fate == "open"


def test_an_http_1_0_client_gets_no_chunks(tmp_path: Path) -> None:
    play, asker = book(tmp_path, pieces)
    client = play.client()
    client.sends(b"GET /stats HTTP/1.0\r\n\r\n")
    answers(play, asker, "rows")
    assert client.got() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nrowsend"
    assert client.channel.fate == "closed"


def test_head_gets_the_head(tmp_path: Path) -> None:
    play, asker = book(tmp_path, pieces)
    client = play.client()
    client.sends(b"HEAD /stats HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.got() == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert not asker.open
    client.sends(b"HEAD /stats HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.got()


def test_a_slow_client_stops_the_script(tmp_path: Path) -> None:
    play, asker = book(tmp_path, pieces)
    client = play.client()
    client.sends(GET)
    client.channel.blocked = True
    answers(play, asker, "rows")
    assert client.got().endswith(b"4\r\nrows\r\n")
    play.clock.settle()
    assert client.got() == b""
    client.drains()
    assert client.got() == b"3\r\nend\r\n0\r\n\r\n"


def test_a_client_that_takes_nothing_times_out(tmp_path: Path) -> None:
    play, asker = book(tmp_path, pieces)
    client = play.client()
    client.sends(GET)
    client.channel.blocked = True
    answers(play, asker, "rows")
    play.clock.advance(21)
    assert client.channel.fate == "aborted"
    assert "cD--" in play.log.lines[-1]


def test_no_answer_in_time_is_an_empty_one(tmp_path: Path) -> None:
    play, asker = book(tmp_path, pieces)
    client = play.client()
    client.sends(GET)
    client.got()
    play.clock.advance(11)
    play.clock.settle()
    assert client.got() == b"3\r\nend\r\n0\r\n\r\n"
    asker.open.pop()[1]("late")
    play.clock.settle()
    assert b"late" not in client.got()


def test_a_client_that_leaves_ends_the_script(tmp_path: Path) -> None:
    play, asker = book(tmp_path, pieces)
    client = play.client()
    client.sends(GET)
    client.breaks()
    answers(play, asker, "rows")
    assert b"rows" not in client.got()
    assert "CD--" in play.log.lines[-1]


@pytest.mark.parametrize("split", [0, 1, 3, 7])
def test_the_body_of_a_post_is_gathered_first(tmp_path: Path, split: int) -> None:
    play, _ = book(tmp_path, posted)
    chunks = b"3\r\ns=a\r\n4\r\n&b=c\r\n0\r\n\r\n"
    for head, body in ((b"Content-Length: 7", b"s=a&b=c"), (b"Transfer-Encoding: chunked", chunks)):
        client = play.client()
        request = b"POST /stats HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n\r\n"
        client.sends(request + body[:split])
        client.sends(body[split:])
        assert client.got().endswith(b"1 s=a&b=c"), head
        assert client.channel.fate == "open"


def test_a_body_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    play, _ = book(tmp_path, posted)
    client = play.client()
    client.sends(b"POST /stats HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n")
    client.sends(b"x" * 16000)
    assert client.got().endswith(b"0 ")
    assert client.channel.fate == "lingering"


def test_a_body_that_does_not_come_times_out(tmp_path: Path) -> None:
    play, _ = book(tmp_path, posted)
    client = play.client()
    client.sends(b"POST /stats HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert client.got() == b"HTTP/1.1 100 Continue\r\n\r\n"
    play.clock.advance(21)
    assert client.got().startswith(b"HTTP/1.1 408 ")


def test_events_come_until_the_client_leaves(tmp_path: Path) -> None:
    play, _ = book(tmp_path, events)
    client = play.client()
    client.sends(GET)
    assert client.got().endswith(b"9\r\ndata: 1\n\n\r\n")
    play.clock.advance(1.1)
    assert client.got().endswith(b"9\r\ndata: 2\n\n\r\n")
    client.shuts()
    assert client.channel.fate == "aborted"
    assert "LR--" in play.log.lines[-1]
    assert play.shared.services is not None and play.shared.services.streams == 0


def test_a_soft_stop_ends_event_streams(tmp_path: Path) -> None:
    play, _ = book(tmp_path, events)
    client = play.client()
    client.sends(GET)
    play.shared.stopping = True
    play.clock.advance(1.1)
    assert client.got().endswith(b"0\r\n\r\n")
    assert client.channel.fate == "closed"


def test_event_streams_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MOST_STREAMS", 2)
    play, _ = book(tmp_path, events)
    clients: list[Client] = []
    for _number in range(3):
        clients.append(play.client())
        clients[-1].sends(GET)
    assert clients[2].got().startswith(b"HTTP/1.1 503 ")
    clients[0].breaks()
    client = play.client()
    client.sends(GET)
    assert client.got().startswith(b"HTTP/1.1 200 ")


def test_questions_are_shared(tmp_path: Path) -> None:
    def shared(question: Question) -> Script:
        answer = yield Ask("show info", 0.9)
        yield Begin(200, b"", answer.encode())

    play, asker = book(tmp_path, shared)
    first, second = play.client(), play.client()
    first.sends(GET)
    second.sends(GET)
    assert len(asker.open) == 1
    answers(play, asker, "facts")
    third = play.client()
    third.sends(GET)
    assert [client.got()[-5:] for client in (first, second, third)] == [b"facts"] * 3
    play.clock.advance(1)
    play.client().sends(GET)
    assert len(asker.open) == 1


def test_a_mistake_in_a_service_ends_one_request(tmp_path: Path) -> None:
    def wrong(question: Question) -> Script:
        yield Ask("show info")
        raise ZeroDivisionError

    play, asker = book(tmp_path, wrong)
    client = play.client()
    client.sends(GET)
    with pytest.raises(ZeroDivisionError):
        answers(play, asker, "")
    assert client.got().startswith(b"HTTP/1.1 500 ")


def test_access_rules_of_the_page(tmp_path: Path) -> None:
    config = CONFIG.replace("stats admin", "stats auth alice:secret\n    stats realm \"a \\\"b\"\n    #")
    play, _ = book(tmp_path, whole, config)
    client = play.client()
    client.sends(GET)
    said = client.got()
    assert said.startswith(b"HTTP/1.1 401 ") and b'www-authenticate: Basic realm="a \\"b"\r\n' in said
    assert "fe fe/<STATS>" in play.log.lines[0] and "LR--" in play.log.lines[0]
    client = play.client()
    client.sends(b"GET /stats HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n")
    assert b"admin=0" in client.got()


def test_rules_come_before_the_page_and_allow_leads_to_it(tmp_path: Path) -> None:
    for rule, status in (("deny", b"403"), ("allow", b"200")):
        play, _ = book(tmp_path, whole, CONFIG.replace("    stats uri", f"    http-request {rule}\n    stats uri"))
        client = play.client()
        client.sends(GET)
        assert client.got().startswith(b"HTTP/1.1 " + status)
