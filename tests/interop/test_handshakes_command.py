"""`headgate handshakes` beside a running process: once through a pipe, live in a terminal of 80 columns."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable

import pytest

from headgate.tls.authority import Authority, issue
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.handshake_clients import Visit, hello_of, sending
from tests.interop.programs import DEADLINE, ask_socket, headgate_command, wait_until
from tests.interop.tls_records import Hello, vector


@pytest.fixture
def running(proxy: StartProxy, tmp_path: pathlib.Path, authority: Authority) -> Proxy:
    (tmp_path / "site.pem").write_bytes(issue(authority, ["site.example"]).pem)
    return proxy(f"""
global
    stats socket {tmp_path}/stats level operator
frontend web
    bind 127.0.0.1:{{port}} name tls ssl crt {tmp_path}/site.pem strict-sni
    http-request return status 200
""")


def _evil(hello: Hello) -> None:
    hello.extensions[0] = vector(2, b"\0" + vector(2, b"evil\x1b[2J\x1b]0;owned\x07.example"))


def _fail(port: int, directory: pathlib.Path) -> None:
    to = Visit(port, "1.3", directory)
    sending(b"GET / HTTP/1.0\r\n\r\n", stay=True)(to)
    sending(hello_of(_evil), stay=True)(to)
    wait_until(lambda: ask_socket(directory / "stats", "show ssl handshake-counters json").count('"cause"') == 2, "two causes")


def test_through_a_pipe(running: Proxy, tmp_path: pathlib.Path) -> None:
    _fail(running.port, tmp_path)
    command = [headgate_command(), "handshakes", "-f", str(tmp_path / "headgate.cfg")]
    text = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True).stdout
    assert all(len(line) <= 80 for line in text.splitlines()) and "\x1b" not in text
    flat = " ".join(text.split())
    assert "plain-http 1 in the last hour from 1 address" in flat and "headgate.cfg:" in flat
    assert "SNI evil" in flat and "owned" in flat
    done = subprocess.run(
        [*command, "--json", "--failed", "--cause", "plain-http", "--frontend", "web"],
        capture_output=True, text=True, timeout=DEADLINE, check=True,
    )  # fmt: skip
    (one,) = json.loads(done.stdout)["causes"]
    assert (one["cause"], one["total"], one["newest"]["client"]) == ("plain-http", 1, "127.0.0.1")


def test_live_in_a_terminal(running: Proxy, tmp_path: pathlib.Path) -> None:
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [headgate_command(), "handshakes", "--socket", str(tmp_path / "stats"), "--interval", "0.2"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in the background
    )
    os.close(other)
    shown = bytearray()

    def read_while(unfinished: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE
        while unfinished():
            assert time.monotonic() < end, bytes(shown)
            if select.select([main], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):  # the other end is closed
                    shown.extend(os.read(main, 65536))

    def read_until(words: bytes) -> None:
        read_while(lambda: words not in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", bytes(shown)))

    try:
        read_until(b"No handshake has failed.")
        _fail(running.port, tmp_path)
        read_until(b"plain-http  1 in the last hour")
        read_until(b"SNI evil")
        running.program.stop()
        read_until(b"No answer, trying again")
        process.send_signal(signal.SIGINT)
        # A terminal that nobody reads takes 4 kB, and then who writes waits: it has a last word to say.
        read_while(lambda: process.poll() is None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert b"\x1b[2J\x1b]0;owned" not in shown and b"Traceback" not in shown
