"""`headgate handshakes` without a process: what is asked, how answers become groups, and what a terminal gets to see."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from headgate.base.addresses import Address, Family
from headgate.cli.handshakes.asking import CannotAsk, Group, Wanted, Watch, as_json, asker, gathered, named_socket, plain
from headgate.cli.handshakes.command import handshakes_command
from headgate.cli.handshakes.view import page

EVIL = "evil\x1b[2J\x1b]0;owned\x07\x9b31m\u202e.example"
NEWEST = {
    "at": 1795846211.4, "client": "192.0.2.7", "client_port": 51334, "frontend": "www", "listener": "tls", "severity": "warning",
    "sni": "site.example", "advice": "The client offers TLS 1.1 at most; h.cfg:14 allows TLS 1.2 and up."
    " 312 such failures from 4 addresses in the last hour.",
    "step": "negotiation", "alert_received": None, "alert_sent": "protocol_version",
    "offered": {"versions": ["TLSv1.1"], "alpn": ["h2"], "ja4": "t11d090600_c491f621fb4c_195413a0cc0f"},
}  # fmt: skip


def row(cause: str, total: int, *, frontend: str = "www", probe: bool = False, sources: int = 1, hour: int = 0) -> dict[str, Any]:
    return {
        "frontend": frontend, "listener": "tls", "cause": cause, "probe": probe, "total": total, "hour": hour or total,
        "last": 1795846211.4, "sources": sources,
    }  # fmt: skip


class Process:
    """Answers as a running one would."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.asked: list[str] = []

    def ask(self, command: str) -> str:
        self.asked.append(command)
        if command == "show stat":
            return "# pxname,svname,\nwww,FRONTEND,\napp,BACKEND,\n"
        if "counters" in command:
            return json.dumps({"counters": self.rows})
        return json.dumps([NEWEST])


def text_of(groups: list[Group], **options: Any) -> str:
    out = io.StringIO()
    terminal = Console(file=out, width=80, highlight=False, force_terminal=False)
    terminal.print(page(groups, source="/run/sock", wall=0.0, **options))
    return out.getvalue()


def test_groups_are_by_cause_and_probes_are_last() -> None:
    rows = [
        row("closed-before-any-byte", 99, probe=True), row("plain-http", 3), row("plain-http", 4, frontend="api", sources=2),
        row("no-common-version", 5),
    ]  # fmt: skip
    groups = gathered(rows, Wanted())
    assert [(one.code, one.total, one.sources) for one in groups] == [
        ("plain-http", 7, 2), ("no-common-version", 5, 1), ("closed-before-any-byte", 99, 1),
    ]  # fmt: skip
    assert groups[0].lines == ["www/tls", "api/tls"]
    assert [one.code for one in gathered(rows, Wanted(failed=True, frontend="www"))] == ["no-common-version", "plain-http"]
    assert [one.total for one in gathered(rows, Wanted(cause="plain-http", frontend="api"))] == [4]


def test_only_what_has_changed_is_asked_for_again() -> None:
    process = Process(row("plain-http", 3), row("no-common-version", 5))
    watch = Watch(process.ask, Wanted(frontend="www"))
    first = watch.look(100.0)
    assert [one.rate for one in first] == [None, None] and all(one.newest == NEWEST for one in first)
    assert process.asked[1:] == [
        f"show ssl handshakes json cause {one} frontend www last 1" for one in ("no-common-version", "plain-http")
    ]
    process.rows[0] = row("plain-http", 9)
    process.asked.clear()
    second = {one.code: one for one in watch.look(102.0)}
    assert (second["plain-http"].rate, second["no-common-version"].rate) == (3.0, 0.0)
    assert process.asked == ["show ssl handshake-counters json", "show ssl handshakes json cause plain-http frontend www last 1"]
    process.rows[:] = [row("plain-http", 1)]
    assert watch.look(104.0)[0].rate == 0.0, "started anew"


def test_a_frontend_that_is_not_there() -> None:
    Watch(Process().ask, Wanted(frontend="app")).check_frontend()
    with pytest.raises(CannotAsk, match="no frontend, listen or backend section 'wwww'; is 'www' meant\\?"):
        Watch(Process().ask, Wanted(frontend="wwww")).check_frontend()
    Watch(lambda command: "Permission denied\n", Wanted(frontend="x")).check_frontend()  # nobody can tell


def test_the_page_in_80_columns() -> None:
    group = Group("no-common-version", False, 400, 312, 4, 1795846211.4, 1.5, ["www/tls", "api/tls"], NEWEST)
    probe = Group("closed-before-any-byte", True, 3, 3, 1, 1795846211.4, 0.0, ["www/tls"])
    text = text_of([group, probe], interval=2.0)
    assert all(len(line) <= 80 for line in text.splitlines())
    flat = " ".join(text.split())
    for words in (
        "TLS handshakes of /run/sock", "every 2 s; Ctrl-C ends it", "312 failures, 3 probes; now 1.5 a second",
        "no-common-version 312 in the last hour from 4 addresses, 400 in all, 1.5 a second",
        "192.0.2.7:51334, on www/tls (and 1 more), SNI site.example, offers TLSv1.1, ALPN h2,",
        "alert sent protocol_version, step negotiation", "h.cfg:14 allows TLS 1.2 and up.",
    ):  # fmt: skip
        assert words in flat, text
    assert "such failures" not in flat, "the group's own count says it"
    assert "No handshake has failed." in text_of([])
    assert "No answer, trying again: gone" in text_of([group], trouble="gone")


@pytest.mark.parametrize(
    ("facts", "peer"),
    [
        ({"outgoing": True, "address": "10.0.0.9", "port": 8443, "client": "", "client_port": 0}, "10.0.0.9:8443,"),
        ({"outgoing": True, "address": "2001:db8::9", "port": 8443, "client": ""}, "[2001:db8::9]:8443,"),
        ({"outgoing": False, "address": "", "port": 0, "client": "", "client_port": 0}, "unix:0,"),
    ],
)
def test_a_failure_with_a_server_names_it(facts: dict[str, Any], peer: str) -> None:
    group = Group("no-common-version", False, 3, 3, 0, 1795846211.4, None, ["app/one"], {**NEWEST, **facts})
    text = text_of([group])
    assert f" {peer} " in text and "3 in the last hour\n" in text and " from " not in text.partition("step")[0], text


def test_nothing_that_a_client_sends_reaches_the_terminal() -> None:
    newest = {**NEWEST, "sni": EVIL, "advice": f"asked for {EVIL}", "client": EVIL, "step": EVIL, "severity": EVIL}
    newest["offered"] = {"versions": [EVIL], "alpn": [EVIL], "ja4": EVIL}
    out = io.StringIO()
    group = Group("plain-http", False, 1, 1, 1, 0.0, None, [EVIL], newest)
    Console(file=out, width=80, highlight=False, force_terminal=False).print(page([group], source=EVIL, wall=0.0, trouble=EVIL))
    assert all(one.isprintable() or one == "\n" for one in out.getvalue())
    assert plain("[red]x[/red]") == "[red]x[/red]" and "[red]" in text_of([Group("[red]x", lines=["[b]y"])])
    assert len(plain("x" * 5000)) < 1100
    assert "\x1b" not in as_json([group])


# --- the socket ---


def serve(path: Path, answer: bytes) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def run() -> None:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    threading.Thread(target=run, daemon=True).start()
    return server


@pytest.fixture
def sock(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "sock"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"Unknown command: 'ssl', but maybe one of the following ones is a better match:\n", "older than this program"),
        (b"Permission denied\n\n", "'level operator'"),
        (b"", "answers: nothing"),
        (b"\x1b[2Jwhat?\n", "answers: ?[2Jwhat?"),
    ],
)
def test_answers_that_are_none(sock: Path, answer: bytes, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(sock, answer):
        assert handshakes_command(["--socket", str(sock)]) == 1
    assert words in capsys.readouterr().err


def test_an_empty_process(sock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(sock, b'{"counters":[]}\n'):
        assert handshakes_command(["--socket", str(sock), "--once"]) == 0
    assert "No handshake has failed." in capsys.readouterr().out


def test_nobody_answers(sock: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert handshakes_command(["--socket", str(sock)]) == 1
    assert "there is no such socket: is headgate running" in capsys.readouterr().err
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(sock))
    assert handshakes_command(["--socket", str(sock)]) == 1
    assert "nobody listens there" in capsys.readouterr().err
    config = tmp_path / "h.cfg"
    config.write_text("frontend f\n    mode http\n    timeout client 1s\n    bind 127.0.0.1:1\n")
    assert handshakes_command(["-f", str(config)]) == 1
    assert "add to its global section: stats socket" in capsys.readouterr().err
    config.write_text("nonsense\n")
    assert handshakes_command(["-f", str(config)]) == 1
    assert "h.cfg:1" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_socket_of_somebody_else(sock: Path) -> None:
    with serve(sock, b""):
        sock.chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(CannotAsk, match="permission denied: run this as the user"):
                asker(Address(Family.UNIX, str(sock)))("help")
        finally:
            os.seteuid(0)


def test_names_of_sockets() -> None:
    assert named_socket("/run/a:1").family is Family.UNIX and named_socket("sock").host == "sock"
    assert named_socket("10.0.0.1:9999") == Address(Family.INET, "10.0.0.1", 9999)
    assert named_socket("[::1]:9999") == Address(Family.INET6, "::1", 9999)
    with pytest.raises(CannotAsk, match="HOST:PORT"):
        named_socket("host:http")


@pytest.mark.parametrize("words", [["--cause", "x"], ["--interval", "0"], [], ["--socket", "a", "-f", "b"]])
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        handshakes_command([*words, *([] if "-f" in words or not words else ["--socket", "x"])])
    assert "usage: headgate handshakes" in capsys.readouterr().err
