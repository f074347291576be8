"""`show sess`, `shutdown session`, `show errors`, on streams of a playbook."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from headgate.admin.commands import all_commands
from headgate.admin.commands.errors import dump_lines
from headgate.admin.registry import CommandError, Level
from tests.admin.talk import Talk
from tests.proxy.playbook import Playbook

REGISTRY = all_commands()
CONFIG = """
frontend web
    bind :80
    default_backend app
frontend raw
    bind :81
    mode tcp
    option tcplog
    default_backend tcp
backend app
    balance roundrobin
    server s1 192.0.2.10:80
    server s2 192.0.2.11:80 maxconn 1
backend tcp
    mode tcp
    server t1 192.0.2.12:80
"""
#: The fields of HAProxy's line that mean something here, in its order and its syntax.
LINE = re.compile(
    r"0x[0-9a-f]+: proto=tcpv4 src=[0-9.]+:[0-9]+ fe=\S+ be=\S+ srv=\S+ ts=[0-9a-f]{2} age=\w+"
    r" rq\[f=[0-9a-f]+h,i=[0-9]+,an=[0-9a-f]+h,rx=\w*,wx=\w*,ax=\w*\]"
    r" rp\[f=[0-9a-f]+h,i=[0-9]+,an=[0-9a-f]+h,rx=\w*,wx=\w*,ax=\w*\]"
    r" scf=\[[0-9]+,[0-9a-f]+h,fd=-?[0-9]+\] scb=\[[0-9]+,[0-9a-f]+h,fd=-?[0-9]+\] exp=\w* rc=[0-9]+ c_exp=\w*"
)


@pytest.fixture
def play(process: Any, tmp_path: Path) -> Playbook:
    """Streams under way, seen by the process."""
    book = Playbook(CONFIG, tmp_path)
    process.frontends, process.backends = book.frontends, book.backends
    process.inspection.sessions = book.shared.live
    process.inspection.invalid = book.shared.invalid
    process.clock = lambda: book.clock.now
    process.wall = lambda: book.clock.wall
    return book


def ask(process: Any, line: str, level: Level = Level.ADMIN) -> str:
    return Talk(REGISTRY, process, level).line(line).removesuffix("\n").removesuffix("\n")


def gathered(answer: Any) -> str:
    """A worker's answer that comes later."""

    async def whole() -> str:
        return "".join([piece async for piece in answer])

    return asyncio.run(whole())


def busy(play: Playbook) -> None:
    """A request that waits for its answer, one for a connection, a relay; and a client that has said nothing whole."""
    client = play.client("web")
    client.sends(b"GET /first?x=1 HTTP/1.1\r\nHost: h\r\n\r\n")
    play.server()
    play.clock.advance(3.0)
    play.client("web").sends(b"POST /second HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
    relay = play.client("raw")
    relay.sends(b"hello")
    play.connector.attempts.pop(1).succeed()
    play.client("web").sends(b"GET / HT")


def test_one_line_for_each_stream(process: Any, play: Playbook) -> None:
    busy(play)
    lines = ask(process, "show sess").splitlines()
    assert len(lines) == 3  # who has not asked anything yet has no stream
    assert all(LINE.fullmatch(line) for line in lines)
    first, second, relay = lines
    assert "fe=web be=app srv=s1 ts=06 age=3s" in first
    assert "rp[f=0h,i=0,an=0h,rx=27s" in first
    assert "scb=[8,0h" in first
    assert "fe=web be=app srv=s2 ts=04" in second
    assert "scb=[5,0h,fd=-1]" in second
    assert second.endswith("exp=4s rc=0 c_exp=4s")
    assert "fe=raw be=tcp srv=t1 ts=06" in relay
    assert len({line.partition(":")[0] for line in lines}) == 3


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("frontend web", 2), ("frontend raw", 1), ("backend app", 2), ("backend tcp", 1), ("server app/s1", 1),
        ("server app/s2", 1), ("older 2", 1), ("older 2s", 1), ("older 1h", 0), ("older 30d", 0),
        ("older 1 frontend raw", 0), ("susp", 0),
        ("all", 3), ("all backend tcp", 1), ("show-uri", 3),
    ],
)  # fmt: skip
def test_filters(process: Any, play: Playbook, filters: str, count: int) -> None:
    busy(play)
    assert len(re.findall("^0x", ask(process, f"show sess {filters}"), re.MULTILINE)) == count


def test_the_uri_on_demand(process: Any, play: Playbook) -> None:
    busy(play)
    assert 'uri="GET /first?x=1"' in ask(process, "show sess show-uri older 2")
    assert "uri=" not in ask(process, "show sess older 2")


def test_suspicious_is_what_nothing_would_end(process: Any, play: Playbook) -> None:
    busy(play)
    for session in play.shared.live:
        session.deadline = 0.0  # type: ignore[attr-defined]
    assert len(ask(process, "show sess susp").splitlines()) == 3


def test_one_stream_in_full(process: Any, play: Playbook) -> None:
    busy(play)
    (short,) = ask(process, "show sess server app/s1").splitlines()
    name = short.partition(":")[0]
    text = ask(process, f"show sess {name}")
    assert text.startswith(f"{name}: [")
    assert all(line.startswith("  ") for line in text.splitlines()[1:])
    for part in (
        "proto=tcpv4 source=192.0.2.7:4711", "phase=AWAIT_HEAD", "frontend=web (id=2 mode=http), listener=? (id=0)",
        "backend=app (id=4 mode=http)", "server=s1 (id=1)", "meth=GET status=-1 req.st=MSG_DONE rsp.st=MSG_RPBEFORE",
        'uri="GET /first?x=1"', "scf state=EST", "scb state=EST", "rex=27s",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("show sess 0x1", "Session not found."),
        ("show sess nonsense", "'show sess' knows no 'nonsense': try 'show sess help'."),
        ("show sess all nonsense", "'show sess' knows no 'nonsense': try 'show sess help'."),
        ("show sess older", "Invalid age. It is in seconds unless a unit follows, and above zero."),
        ("show sess frontend nope", "No such frontend."),
        ("show sess backend nope", "No such backend."),
        ("show sess server app/nope", "No such server."),
        ("show sess server", "Require 'backend/server'."),
        ("shutdown session", "Session pointer expected (use 'show sess')."),
        ("shutdown session 0x1", "No such session (use 'show sess')."),
        ("shutdown session huh", "No such session (use 'show sess')."),
    ],
)
def test_refusals(process: Any, play: Playbook, line: str, expected: str) -> None:
    assert ask(process, line) == expected


def test_help_and_levels(process: Any, play: Playbook) -> None:
    assert ask(process, "show sess help").startswith("Usage: show sess [<id> | all | help] [<options>*]")
    assert ask(process, "show sess", Level.USER) == "Permission denied"
    assert ask(process, "shutdown session 0x1", Level.OPERATOR) == "Permission denied"


def test_a_stream_is_ended_and_logged_with_k(process: Any, play: Playbook) -> None:
    busy(play)
    for where in ("server app/s1", "frontend raw"):
        (line,) = ask(process, f"show sess {where}").splitlines()
        name = line.partition(":")[0]
        assert ask(process, f"shutdown session {name}") == ""
        play.clock.settle()
        assert ask(process, f"show sess {name}") == "Session not found."
    assert sum(" K" in line for line in play.log.lines) == 2


def test_workers_answers_become_one(process: Any, play: Playbook) -> None:
    busy(play)
    (show, _) = REGISTRY.find(["show", "sess"]) or pytest.fail()
    (shut, _) = REGISTRY.find(["shutdown", "session"]) or pytest.fail()
    assert show.handler is not None
    assert shut.handler is not None
    answers = []
    for worker in (2, 1):
        process.inspection.worker = worker
        answers.append(gathered(show.handler([], process)))
    names = [line.partition(":")[0] for line in show.merge(answers).splitlines()]
    assert len(set(names)) == 6  # one address in two workers is two streams
    assert [name[:3] for name in names] == ["0x1"] * 3 + ["0x2"] * 3
    process.inspection.worker = 2
    here = str(shut.handler([names[3]], process))
    process.inspection.worker = 1
    elsewhere = str(shut.handler([names[4]], process))
    assert shut.merge([elsewhere, here]) == ""
    with pytest.raises(CommandError, match="No such session"):
        shut.merge([elsewhere])
    with pytest.raises(CommandError, match="No worker"):
        shut.merge([])


# --- show errors -----------------------------------------------------------------------------------------------------


def wrong(play: Playbook) -> None:
    play.client("web").sends(b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\x01y\tz\\\r\n\r\nbody")
    play.client("web").sends(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    play.server().sends(b"HTTP/1.1 200 OK\r\nX Bad: 1\r\nfoo\tbar\r\n\r\n")


def test_errors_are_shown_as_haproxy_shows_them(process: Any, play: Playbook) -> None:
    wrong(play)
    lines = ask(process, "show errors").splitlines()
    assert re.fullmatch(r"Total events captured on \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\] : 2", lines[0])
    assert re.fullmatch(r"\[.*\] frontend web \(#2\): invalid request", lines[2])
    assert lines[3] == "  backend <NONE> (#-1), server <NONE> (#-1), event #0, src 192.0.2.7:4711"
    assert lines[5] == "  len 51, error at position 28 :"
    assert lines[7:12] == [
        r"  00000  GET / HTTP/1.1\r\n", r"  00016  Host: a\r\n", r"  00025  Bad Header: x\x01y\tz\\\r\n", r"  00045  \r\n",
        "  00047  body",
    ]  # fmt: skip
    assert re.fullmatch(r"\[.*\] backend app \(#4\): invalid response", lines[13])
    assert lines[14] == "  frontend web (#2), server s1 (#1), event #1, src 192.0.2.7:4711"
    assert "" not in lines


@pytest.mark.parametrize(
    ("words", "found"),
    [("-1", 2), ("web", 2), ("web request", 1), ("4 response", 1), ("app request", 0), ("tcp", 0), ("response", 1), ("3", 0)],
)
def test_errors_of_one_proxy_or_direction(process: Any, play: Playbook, words: str, found: int) -> None:
    wrong(play)
    assert ask(process, f"show errors {words}").count(": invalid ") == found
    assert ask(process, "show errors nope") == "No such proxy."
    assert ask(process, "show errors a b") == "Expects [<iid>|<proxy>] [request|response]."
    assert ask(process, "show errors", Level.USER) == "Permission denied"


def test_of_several_workers_the_latest_error_stands(process: Any, play: Playbook) -> None:
    (command, _) = REGISTRY.find(["show", "errors"]) or pytest.fail()
    assert command.handler is not None
    answers = []
    for worker, name in ((1, b"A b"), (2, b"C d")):
        process.inspection.worker = worker
        play.clock.advance(1.0)
        play.client("web").sends(b"GET / HTTP/1.1\r\n" + name + b": x\r\n\r\n")
        answers.append(str(command.handler([], process)))
    text = command.merge(list(reversed(answers)))
    assert text.splitlines()[0].endswith(": 3")  # one, then two
    assert "C d" in text
    assert "A b" not in text


def test_long_lines_are_broken_and_marked() -> None:
    lines = list(dump_lines(b"x: " + b"a" * 200 + b"\r\n\x1b\xff"))
    assert all(len(line) <= 77 for line in lines)
    assert [line[:6] for line in lines] == ["00000 ", "00070+", "00140+", "00205 "]
    assert lines[-1] == r"00205  \e\xFF"


def test_thousands_of_streams_are_dumped_a_few_at_a_time(process: Any, play: Playbook) -> None:
    clients = [play.client("web") for _ in range(250)]
    for client in clients:
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    ended: list[object] = []

    async def pause(seconds: float) -> None:
        if not ended:
            clients[-1].breaks()
        ended.append(seconds)

    process.inspection.pause = pause
    assert len(ask(process, "show sess").splitlines()) == 249  # one was over before it was looked at
    assert ended == [0, 0]
