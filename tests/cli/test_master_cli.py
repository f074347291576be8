"""The master CLI as its clients see it (management manual 9.4)."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.base.diagnostics import ConfigError
from headgate.cli.master import open_master_sockets
from tests.interop.programs import Program, free_port, headgate_command, wait_until

_CONFIG = """
global
    nbthread {workers}
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend f
    bind 127.0.0.1:{port}
    http-request return status 200
"""

Ask = Callable[..., str]


@pytest.fixture(scope="module", params=[1, 2])
def master(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Path]]:
    """A master with three sockets: admin, operator, user."""
    directory = tmp_path_factory.mktemp("master")
    port = free_port()
    (directory / "a.cfg").write_text(_CONFIG.format(workers=request.param, port=port))
    words = ["-W", "-f", str(directory / "a.cfg"), "-p", str(directory / "pid")]
    for level in ("admin", "operator", "user"):
        words += ["-S", f"{directory}/{level},level,{level},mode,600"]
    program = Program([headgate_command(), *words], directory, "headgate")
    try:
        wait_until(lambda: "Loading success" in program.output, "it serves")
        yield program, directory
    finally:
        program.stop()


@pytest.fixture
def ask(master: tuple[Program, Path]) -> Ask:
    _, directory = master

    def ask(text: str, level: str = "admin") -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(directory / level))
            sock.sendall(text.encode() + b"\n")
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while data := sock.recv(65536):
                answer += data
            return answer.decode()

    return ask


def _worker(ask: Ask) -> str:
    found = re.search(r"# workers\n(\d+) ", ask("show proc"))
    assert found is not None
    return found[1]


def test_show_proc_is_haproxys_table(master: tuple[Program, Path], ask: Ask) -> None:
    lines = ask("show proc").splitlines()
    assert lines[0] == "#<PID>          <type>          <reloads>       <uptime>        <version>"
    assert re.fullmatch(rf"{master[0].process.pid:<15} master          \d+ \[failed: \d+\]   0d00h\d\dm\d\ds +\S+", lines[1])
    assert lines[2] == "# workers"
    assert re.fullmatch(r"\d+ +worker          0 +0d00h\d\dm\d\ds +\S+", lines[3])
    assert lines[-1] == ""


def test_the_pid_file_names_the_master(master: tuple[Program, Path]) -> None:
    program, directory = master
    assert (directory / "pid").read_text() == f"{program.process.pid}\n"
    assert stat.S_IMODE((directory / "admin").stat().st_mode) == 0o600


def test_commands_reach_the_worker(ask: Ask) -> None:
    pid = _worker(ask)
    assert "\nNbthread: " in ask("@1 show info")
    assert ask("@1 show info").splitlines()[0] == ask(f"@!{pid} show info").splitlines()[0]
    both = ask("@1 show info; show version; @1 show stat")
    assert both.index("Nbthread:") < both.index("# pxname")
    assert ask("@1; show cli level; @; show cli level") == "admin\n\nadmin\n\n"
    assert "# pxname" in ask("@@1 show info; show stat")
    assert "Can't find the target PID matching the prefix '@!1'" in ask("@!1 show info")
    assert "Can't find the target PID" in ask("@7 show info")


@pytest.mark.parametrize("prefix", ["@1 ", "@@1 ", "@1\n", "@1; "])
@pytest.mark.parametrize("end", ["", "END"])
def test_payloads_reach_the_worker(ask: Ask, prefix: str, end: str) -> None:
    """Also those that the empty line ends."""
    line = f"add map #0 <<{end}\na b\nc d\n{end}"
    answer = ask(f"prompt i\n{prefix}{line}" if prefix == "@1\n" else f"{prefix}{line}")
    assert "Unknown map identifier" in answer, answer


def test_what_comes_behind_a_conversation_is_the_workers(ask: Ask) -> None:
    assert "Uptime_sec" in ask("@@1\nshow info")


def test_a_payload_is_not_shown_again(ask: Ask) -> None:
    assert "secret" not in ask("set ssl cert x <<\nsecret\n")


def test_prompts_show_where_commands_go_and_what_is_on(ask: Ask) -> None:
    pid = _worker(ask)
    said = ask("prompt\nexpert-mode on\nexperimental-mode on\n@1\nexpert-mode off\n@\nquit")
    assert re.findall(r"(\S+)> ", said) == ["master", "master(e)", "master(xe)", f"{pid}(xe)", f"{pid}(x)", "master(x)"]


def test_show_info_names_the_process_to_send_signals_to(ask: Ask) -> None:
    assert f"\nPid: {_worker(ask)}\n" in ask("@1 show info")


def test_there_is_no_debug_mode_of_the_master(ask: Ask) -> None:
    assert "not supported" in ask("mcli-debug-mode on")
    assert ask("prompt\nmcli-debug-mode on\nquit").endswith("master> ")


def test_levels_hold(ask: Ask) -> None:
    assert ask("reload", "user") == "Permission denied\n\n"
    assert ask("show cli level", "operator") == "operator\n\n"
    assert ask("@1 show cli level", "user").strip() == "user"
    assert ask("expert-mode on", "operator") == "Permission denied\n\n"
    assert ask("operator; show cli level; user; show cli level") == "\noperator\n\n\nuser\n\n"
    assert "Permission denied" in ask("user; operator")


def test_what_is_unknown_is_said(ask: Ask) -> None:
    assert "Unknown command of the master: 'show stat'" in ask("show stat")
    assert "it knows" in ask("nonsense").lower()
    assert "reload" in ask("help")
    assert "hard-reload" not in ask("help", "user")


def test_a_line_that_is_too_long_ends_the_connection(ask: Ask) -> None:
    assert "longer than" in ask("x" * 40000)


def test_hard_reload_ends_the_old_worker_at_once(master: tuple[Program, Path], ask: Ask) -> None:
    before = _worker(ask)
    answer = ask("hard-reload; show proc")
    assert answer.startswith("Success=1\n--\n")
    assert "New worker (" in answer
    assert "Loading success." in answer
    assert _worker(ask) != before
    wait_until(lambda: "# old workers" not in ask("show proc"), "the old one is gone")
    assert ask("show startup-logs").strip() in answer


def test_reloads_by_signal_are_counted(master: tuple[Program, Path], ask: Ask) -> None:
    before = _worker(ask)
    os.kill(master[0].process.pid, signal.SIGHUP)
    wait_until(lambda: _worker(ask) != before, "a new worker serves")


@pytest.mark.parametrize("text", ["", "/tmp/x,level,god", "/tmp/x,nonsense", "127.0.0.1", "/tmp/x,expose-fd,listeners",
                                  "/tmp/x,thread,1", "/tmp/x,name,n", "/tmp/x,ssl", "/tmp/x,maxconn,10"])  # fmt: skip
def test_options_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        open_master_sockets([text])
