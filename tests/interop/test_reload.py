"""Reload and crashes under load: no client may notice a reload, and of a crash only those whose process died."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.interop.load import Load
from tests.interop.programs import Program, free_ports, headgate_command, wait_until

_CONFIG = """
global
    nbthread {workers}
    stats socket {directory}/stats.sock level admin expose-fd listeners
    {settings}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout http-keep-alive 10s
frontend f
    bind 127.0.0.1:{port}
    bind 127.0.0.1:{tls_port} ssl crt {certificate}
    default_backend b
backend b
    server s 127.0.0.1:{server}
# {mark}
"""


class Site:
    """headgate in master-worker mode, with a load on it."""

    def __init__(self, directory: pathlib.Path, certificate: pathlib.Path, workers: int, load: Load, settings: str = "") -> None:
        self.directory = directory
        self.load = load
        self._values = {
            "workers": workers, "directory": directory, "certificate": certificate, "port": load.port,
            "tls_port": load.tls_port, "server": load.backend_port, "settings": settings,
        }  # fmt: skip
        self.path = directory / "site.cfg"
        self.write("first")
        self.master_socket = directory / "master.sock"

    def write(self, mark: str, broken: str = "") -> None:
        self.path.write_text(_CONFIG.format(mark=mark, **self._values) + broken)

    def start(self, *arguments: str, name: str = "headgate") -> Program:
        words = arguments or ("-W", "-S", f"{self.master_socket},mode,600")
        program = Program([headgate_command(), *words, "-f", str(self.path)], self.directory, name)
        program.await_ports([self.load.port, self.load.tls_port])
        return program

    def ask(self, line: str, path: pathlib.Path | None = None) -> str:
        """One line to the master CLI (or another socket), and its whole answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(path or self.master_socket))
            sock.sendall(line.encode() + b"\n")
            answer = b""
            while data := sock.recv(65536):
                answer += data
            return answer.decode()

    def reload(self) -> None:
        answer = self.ask("reload")
        assert answer.startswith("Success=1\n--\n"), answer

    def current(self) -> int:
        """The first process of the generation that serves."""
        lines = self.ask("show proc").splitlines()
        return int(lines[lines.index("# workers") + 1].split()[0])

    def processes(self) -> list[int]:
        """All processes of the generation that serves, the first one first."""
        text = self.ask("show proc debug").split("# old workers")[0]
        return [int(pid) for pid in text.split("processes:")[1].split(";")[0].split()]

    def flows(self, more: int = 20) -> None:
        """Wait until every kind of client was served some more."""
        wait_until(self.load.grown(more), "every kind of client is served")


@pytest.fixture
def site(tmp_path: pathlib.Path, certificates: pathlib.Path) -> Iterator[Callable[..., Site]]:
    with contextlib.ExitStack() as stack:

        def make(workers: int, settings: str = "", **load: float) -> Site:
            port, tls_port = free_ports(2)
            clients = Load(port, tls_port, **load)  # type: ignore[arg-type]
            stack.callback(clients.finish)
            made = Site(tmp_path, certificates / "site.pem", workers, clients, settings)
            program = made.start()
            stack.callback(program.stop)
            made.program = program  # type: ignore[attr-defined]
            wait_until(lambda: "Loading success" in program.output, "it serves")
            return made

        yield make


def _ended(site: Site) -> None:
    site.load.finish()
    assert site.load.failures == []


@pytest.mark.parametrize("workers", [1, 3])
def test_no_client_notices_reloads(site: Callable[..., Site], workers: int) -> None:
    made = site(workers, held=True)
    made.load.start()
    made.flows(10)
    for number in range(3):
        made.write(f"reload {number}")
        made.reload()
        made.flows(10)
    # The transfers that began before the first reload: their generation is still there, and they go on.
    assert "# old workers" in made.ask("show proc")
    made.load.release()
    wait_until(lambda: made.load.failures or all(made.load.done[kind] for kind in ("held", "tls held", "upload")), "they end")
    _ended(made)
    wait_until(lambda: "# old workers" not in made.ask("show proc"), "nothing is left of old generations")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("workers", [1, 4])
def test_no_client_notices_a_hundred_reloads(site: Callable[..., Site], workers: int) -> None:
    made = site(workers, download=1 << 30, settings="mworker-max-reloads 1000")
    made.load.start()
    made.flows()
    begun = time.monotonic()
    for number in range(100):
        made.write(f"reload {number}")
        made.reload()
        made.flows()
    print(f"100 reloads in {time.monotonic() - begun:.0f} s; {made.load.bytes >> 20} MB; {dict(made.load.done)}")
    _ended(made)
    assert made.load.done["long"] >= 1


def test_a_bad_configuration_leaves_the_old_one(site: Callable[..., Site]) -> None:
    made = site(2)
    made.load.start()
    before = made.processes()
    made.write("broken", broken="    nonsense here\n")
    answer = made.ask("reload")
    assert answer.startswith("Success=0\n--\n")
    assert "unknown keyword 'nonsense'" in answer
    assert "unknown keyword 'nonsense'" in made.ask("show startup-logs")
    assert "1 [failed: 1]" in made.ask("show proc")
    assert made.processes() == before
    made.flows()
    made.write("right")
    made.reload()
    assert "nonsense" not in made.ask("show startup-logs")
    _ended(made)


def test_a_bind_line_that_fails_leaves_the_old_one_and_new_and_removed_ones_follow_the_reload(site: Callable[..., Site]) -> None:
    made = site(2)
    made.load.start()
    (extra,) = free_ports(1)
    with socket.create_server(("127.0.0.1", extra)):
        made.write("taken", broken=f"frontend g\n    bind 127.0.0.1:{extra}\n    default_backend b\n")
        answer = made.ask("reload")
        assert answer.startswith("Success=0\n--\n")
        assert "cannot bind socket" in answer
    made.reload()
    with socket.create_connection(("127.0.0.1", extra), 5) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    made.reload()  # now the socket is inherited
    with socket.create_connection(("127.0.0.1", extra), 5) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    made.write("gone")
    made.reload()
    wait_until(lambda: _refused(extra), "the port of the removed line is closed")
    _ended(made)


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was closed while we waited to be accepted
        return False
    return False


@pytest.mark.parametrize("victim", ["worker", "controller"])
def test_a_process_that_is_killed_is_replaced_within_a_second(site: Callable[..., Site], victim: str) -> None:
    made = site(2)
    made.load.start()
    made.flows()
    before = made.processes()
    pid = before[1 if victim == "controller" else 2]
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: pid not in made.processes() and len(made.processes()) == 4, "it is replaced", 5.0)
    assert time.monotonic() - killed < 2.0
    assert f"(pid {pid}) was killed by signal 9 (SIGKILL); replaced by" in made.program.output
    made.flows()
    made.load.finish()
    if victim == "controller":
        assert made.load.failures == []
    else:
        # at most what this process held at that moment: one request of each client
        assert len(made.load.failures) <= 11


def test_without_launcher_the_workers_serve_until_a_new_generation_does(site: Callable[..., Site]) -> None:
    made = site(2)
    made.load.start()
    made.flows()
    launcher = made.current()
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: made.current() != launcher, "there is a new generation")
    made.flows()
    wait_until(lambda: "# old workers" not in made.ask("show proc"), "the rest of the old one has left")
    _ended(made)


@pytest.mark.parametrize("workers", [1, 2])
def test_without_master_everybody_goes_on_serving(site: Callable[..., Site], workers: int) -> None:
    made = site(workers)
    made.load.start()
    made.flows()
    processes = made.processes()
    made.program.process.kill()
    made.program.process.wait()
    try:
        made.flows()
        _ended(made)
    finally:
        os.kill(processes[0], signal.SIGTERM)
    wait_until(lambda: _refused(made.load.port), "what was left has ended")


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(site: Callable[..., Site]) -> None:
    made = site(2)
    pid = made.processes()[2]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: pid not in made.processes() and len(made.processes()) == 4, "it is replaced")
    assert f"worker 1 (pid {pid}) hangs and is killed" in made.program.output
    made.load.start()
    made.flows()
    _ended(made)


def test_sockets_are_taken_over_with_x_and_sf(site: Callable[..., Site], tmp_path: pathlib.Path) -> None:
    """Without a master: the next process takes the sockets from the stats socket of the one before."""
    made = site(2)
    made.program.stop()
    made.load.keeps_keys = False  # for that a master is needed
    old = made.start("-db", name="old")
    made.load.start()
    try:
        for number in range(3):
            stats = tmp_path / "stats.sock"
            new = made.start("-db", "-x", str(stats), "-sf", str(old.process.pid), name=f"new{number}")
            assert old.wait() == 0
            assert "bound anew" not in new.output
            old = new
            made.flows()
        _ended(made)
    finally:
        old.stop()


def test_systemd_is_told_how_far_a_reload_is(tmp_path: pathlib.Path, certificates: pathlib.Path) -> None:
    port, tls_port = free_ports(2)
    load = Load(port, tls_port)
    made = Site(tmp_path, certificates / "site.pem", 2, load)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(20)
        command = [headgate_command(), "-Ws", "-S", str(made.master_socket), "-f", str(made.path)]
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            try:
                first = notified.recv(4096).decode()
                assert f"READY=1\nSTATUS=Ready.\nMAINPID={process.pid}" in first
                process.send_signal(signal.SIGUSR2)
                reloading = notified.recv(4096).decode()
                assert "RELOADING=1\nMONOTONIC_USEC=" in reloading
                assert notified.recv(4096).decode().startswith("READY=1")
                made.write("broken", broken="nonsense\n")
                process.send_signal(signal.SIGHUP)
                assert "RELOADING=1" in notified.recv(4096).decode()
                assert "READY=1\nSTATUS=Reload failed!" in notified.recv(4096).decode()
                process.terminate()
                assert "STOPPING=1" in notified.recv(4096).decode()
                assert process.wait(20) == 143
            finally:
                process.kill()
    load.finish()
