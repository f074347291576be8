"""From the command line to a process that serves: checks, the background, master and worker, signals and exit codes."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headgate.cli.main import main

_GLOBAL = "global\n    nbthread 1\n    log stdout format raw local0\n"
_DEFAULTS = "defaults\n    mode http\n    log global\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n"
_BACKEND = "backend b\n    server s 127.0.0.1:9\n"

Write = Callable[..., str]
Check = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "headgate", *arguments]


def headgate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def write(tmp_path: Path, address: str) -> Write:
    """Write a configuration that listens on `address`; `extra` goes into its frontend."""

    def write(name: str = "a.cfg", *, extra: str = "", settings: str = "") -> str:
        path = tmp_path / name
        frontend = f"frontend f\n    bind {address}\n{extra}    default_backend b\n"
        path.write_text(_GLOBAL + settings + _DEFAULTS + frontend + _BACKEND)
        return str(path)

    return write


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """`headgate -c` within this process, which spares the imports; directory and environment are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def check(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = main(["-c", *arguments])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, shown.out, shown.err)

    return check


def connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:  # it was closed while we waited to be accepted
        return True
    return True


@contextmanager
def running(*arguments: str, until: str = "Proxy f started.", **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process in the foreground that has said `until` in its log."""
    env = {**os.environ, **environment}
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert until in line, process.communicate(timeout=30)
            yield process
        finally:
            process.kill()


# --- -c --------------------------------------------------------------------------------------------------------------


def test_a_valid_configuration(check: Check, write: Write, address: str) -> None:
    done = check("-f", write())
    assert (done.returncode, done.stdout, done.stderr) == (0, "Configuration file is valid\n", "")
    assert not connects(address)


def test_quiet_says_nothing_and_verbose_ends_quiet(check: Check, write: Write) -> None:
    assert check("-q", "-f", write()).stdout == ""
    assert check("-q", "-V", "-f", write()).stdout == "Configuration file is valid\n"


def test_all_errors_are_shown_with_their_places(check: Check, write: Write) -> None:
    path = write(extra="    modee http\n    timeout client never\n")
    done = check("-f", path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"config : parsing [{path}:12] : " in done.stderr
    assert f"config : parsing [{path}:13] : " in done.stderr
    assert "did you mean 'mode'?" in done.stderr
    assert "config : 2 errors found in configuration." in done.stderr.splitlines()[-1]


def test_an_absent_file_is_an_error(check: Check, tmp_path: Path) -> None:
    done = check("-f", str(tmp_path / "absent.cfg"))
    assert done.returncode == 1
    assert "absent.cfg" in done.stderr
    assert "No such file or directory" in done.stderr


def test_a_configuration_without_a_listener_is_nothing_to_do(check: Check, tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(_DEFAULTS + _BACKEND)
    done = check("-f", str(tmp_path / "a.cfg"))
    assert done.returncode == 2
    assert "no listener" in done.stdout


def test_a_stats_socket_is_something_to_do(check: Check, tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(f"global\n    stats socket {tmp_path}/s\n" + _DEFAULTS + _BACKEND)
    assert check("-f", str(tmp_path / "a.cfg")).returncode == 0


def test_warnings_are_counted_and_fail_where_that_is_asked_for(check: Check, write: Write) -> None:
    path = write(extra="    reqadd X-Forwarded-Proto:\\ https\n")
    done = check("-f", path)
    assert done.returncode == 0
    assert done.stdout == "Warnings were found: 1.\nConfiguration file is valid\n"
    assert done.stderr.count("[WARNING]") == 1
    strict = check("-dW", "-f", path)
    assert strict.returncode == 1
    assert "'zero-warning' is set" in strict.stderr


#: A finding: nothing else is wrong with it.
_UNREACHABLE = "    use_backend b\n    use_backend b if { path / }\n"


def test_findings_fail_where_that_is_asked_for_only(check: Check, write: Write) -> None:
    path = write(extra=_UNREACHABLE)
    done = check("-dW", "-f", path)
    assert done.returncode == 0
    assert done.stdout == "Warnings were found: 2.\nConfiguration file is valid\n"
    assert "[unreachable-backend]" in done.stderr
    strict = check("--strict", "-f", path)
    assert strict.returncode == 1 and strict.stdout == ""
    assert strict.stderr.splitlines()[-1].endswith(": config : 2 warnings found, and '--strict' is set: the check fails.")
    silent = check("--strict", "-q", "-f", path)
    assert (silent.returncode, silent.stdout, silent.stderr) == (1, "", "")
    assert check("--strict", "-f", write(extra=_UNREACHABLE, settings="    lint-ignore unreachable-backend\n")).returncode == 0


def test_other_warnings_fail_the_strict_check_too(check: Check, write: Write) -> None:
    path = write(extra="    reqadd X-Forwarded-Proto:\\ https\n")
    done = check("--strict", "-f", path)
    assert done.returncode == 1
    assert "1 warning found, and '--strict' is set" in done.stderr
    assert check("--strict", "-f", write()).returncode == 0


def test_findings_are_said_at_a_start_and_keep_nothing_from_it(write: Write, address: str) -> None:
    with running("-f", write(extra=_UNREACHABLE, settings="    zero-warning\n")) as process:
        assert connects(address)
        process.terminate()
        assert process.stderr is not None
        assert process.stderr.read().count("[unreachable-backend]") == 2


def test_the_directory_changes_before_files_are_loaded(check: Check, write: Write, tmp_path: Path) -> None:
    write("b.cfg")
    assert check("-C", str(tmp_path), "-f", "b.cfg").returncode == 0
    done = check("-C", str(tmp_path / "absent"), "-f", "b.cfg")
    assert done.returncode == 1
    assert "Could not change to directory" in done.stderr


def test_what_the_process_needs_is_checked_too(check: Check, write: Write) -> None:
    done = check("-f", write(settings="    user no-such-user\n    log tcp@127.0.0.1:514 local0\n"))
    assert done.returncode == 1
    assert "this user does not exist on this machine" in done.stderr
    assert "not yet supported" in done.stderr


def test_the_dump_shows_words_as_they_were_understood(check: Check, write: Write) -> None:
    done = check("-dC", "-f", write(extra='    description "two words"   # a comment\n'))
    assert done.returncode == 0
    assert "\nfrontend f\n\tbind 127.0.0.1:" in done.stdout
    assert '\tdescription "two words"\n' in done.stdout or "\tdescription 'two words'\n" in done.stdout
    assert "comment" not in done.stdout


# --- serving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_end_the_process(write: Write, address: str, number: signal.Signals) -> None:
    with running("-f", write()) as process:
        assert connects(address)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert not connects(address)


def test_signals_of_other_modes_do_no_harm(write: Write, address: str) -> None:
    with running("-f", write()) as process:
        for number in (signal.SIGUSR2, signal.SIGTTOU, signal.SIGTTIN):
            process.send_signal(number)
        process.send_signal(signal.SIGHUP)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("SIGHUP")
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 0)])
def test_in_master_worker_mode_the_exit_code_names_the_signal(write: Write, number: signal.Signals, code: int) -> None:
    with running("-W", "-f", write()) as process:
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == code


def test_systemd_learns_when_we_serve_and_when_we_stop(write: Write, address: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        with running("-Ws", "-f", write(), NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert systemd.recv(200).startswith(b"READY=1\n")
            assert connects(address)
            process.terminate()
            assert systemd.recv(200).startswith(b"STOPPING=1\n")
            process.communicate(timeout=30)


def test_the_background_serves_when_the_command_returns_and_hands_over(write: Write, address: str, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    path = write()
    assert headgate("-D", "-f", path, "-p", str(pidfile)).returncode == 0
    first = int(pidfile.read_text())
    watched = os.pidfd_open(first)
    assert connects(address)
    assert headgate("-D", "-f", path, "-p", str(pidfile), "-sf", str(first)).returncode == 0
    second = int(pidfile.read_text())
    assert second != first
    _ended(watched)
    assert connects(address)
    watched = os.pidfd_open(second)
    os.kill(second, signal.SIGTERM)
    _ended(watched)
    assert not connects(address)


def _ended(pidfd: int) -> None:
    """Wait for a process that is not our child."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    assert poller.poll(30_000)
    os.close(pidfd)


@pytest.mark.parametrize("mode", [(), ("-D", "-W")])
def test_an_address_in_use_is_an_error_in_every_mode(write: Write, address: str, mode: tuple[str, ...]) -> None:
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        sock.bind((host, int(port)))
        sock.listen()
        done = headgate(*mode, "-f", write())
    assert done.returncode == 1
    assert "[ALERT]" in done.stderr
    assert address in done.stderr


def test_a_pidfile_that_cannot_be_written_stops_the_start(write: Write, tmp_path: Path) -> None:
    done = headgate("-f", write(), "-p", str(tmp_path / "absent" / "pid"))
    assert done.returncode == 1
    assert "cannot create pidfile" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter a jail and become someone else")
def test_in_the_jail_as_nobody_traffic_flows(write: Write, address: str, tmp_path: Path) -> None:
    jail = tmp_path / "jail"
    jail.mkdir()
    with running("-f", write(settings=f"    user nobody\n    chroot {jail}\n")) as process:
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), 30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 503 ")
        assert os.stat(f"/proc/{process.pid}/root/.").st_ino == jail.stat().st_ino
        assert "Uid:\t65534\t65534" in Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        assert process.communicate(timeout=30)[1] == ""


def test_a_successor_keeps_its_unix_socket_when_it_ends_the_old_process(tmp_path: Path) -> None:
    """`-st`: the old process must not remove the name under which the new one listens by now."""
    path, config = tmp_path / "s", tmp_path / "a.cfg"
    frontend = f"frontend f\n    bind {path}\n    default_backend b\n"
    config.write_text(_DEFAULTS.replace("    log global\n", "") + frontend + _BACKEND)
    pidfile = tmp_path / "pid"

    def start(*more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command("-D", "-f", str(config), "-p", str(pidfile), *more), stderr=subprocess.DEVNULL)
        assert process.wait(30) == 0
        return process

    start()
    old = int(pidfile.read_text())
    descriptor = os.pidfd_open(old)
    start("-st", str(old))
    try:
        assert select.select([descriptor], [], [], 20)[0], "the old process never ended"
        with socket.socket(socket.AF_UNIX) as client:
            assert client.connect_ex(str(path)) == 0
    finally:
        os.close(descriptor)
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
