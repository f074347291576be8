"""What a generation does besides serving: how it ends, who it is, what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.interop.programs import Program, children, free_port, headgate_command, wait_until

_CONFIG = """
global
    nbthread {workers}
    {settings}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout http-keep-alive 30s
frontend web
    bind 127.0.0.1:{port}
    {lines}
    http-request return status 200 content-type text/plain string ok
"""
_SHARED_MEMORY = pathlib.Path("/dev/shm")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes users")


def _left_by(program: Program) -> list[pathlib.Path]:
    return list(_SHARED_MEMORY.glob(f"headgate-{program.process.pid}-*"))


class Site:
    """headgate with a configuration that answers by itself."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.programs: list[Program] = []

    def start(self, *, workers: int = 3, settings: str = "", lines: str = "", master: bool = False) -> Program:
        path = self.directory / "site.cfg"
        path.write_text(_CONFIG.format(workers=workers, settings=settings, lines=lines, port=self.port))
        words = ["-W", "-S", f"{self.directory}/master.sock,mode,600"] if master else ["-db"]
        program = Program([headgate_command(), *words, "-f", str(path)], self.directory, f"headgate{len(self.programs)}")
        self.programs.append(program)
        program.await_ports([self.port])
        if master:
            program.await_output("Loading success")
        elif workers > 1:
            wait_until(lambda: len(children(program.process.pid)) == workers + 1, "all processes are there")
        assert self.status() == 200
        return program

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def status(self, sock: socket.socket | None = None, path: str = "/") -> int:
        """The status of the answer to a request, on a connection that is kept or on a new one; 0 without an answer."""
        with contextlib.ExitStack() as stack:
            if sock is None:
                sock = stack.enter_context(self.connect())
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            words = sock.recv(4096).split()
            return int(words[1]) if words else 0

    def ask_master(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(self.directory / "master.sock"))
            sock.sendall(line.encode() + b"\n")
            answer = b""
            while data := sock.recv(65536):
                answer += data
            return answer.decode()

    def generation(self) -> list[int]:
        """All processes of the generation that serves."""
        text = self.ask_master("show proc debug").split("# old workers")[0]
        return [int(pid) for pid in text.split("processes:")[1].split(";")[0].split()]

    def reload(self) -> None:
        assert self.ask_master("reload").startswith("Success=1\n")

    def close(self) -> None:
        for program in self.programs:
            program.stop()


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_new_clients_are_served_during_the_grace_period(site: Site, workers: int) -> None:
    lines = "monitor-uri /alive\n    monitor fail if { stopping }"
    program = site.start(workers=workers, settings="grace 1s", lines=lines)
    assert site.status(path="/alive") == 200
    begun = time.monotonic()
    program.signal(signal.SIGUSR1)
    wait_until(lambda: site.status(path="/alive") == 503, "those who ask are told")
    assert site.status() == 200
    assert program.wait() == 0
    assert time.monotonic() - begun > 0.9
    with pytest.raises(ConnectionRefusedError):
        site.connect()


@pytest.mark.parametrize("workers", [1, 3])
def test_idle_connections_are_closed_one_by_one_over_the_close_spread_time(site: Site, workers: int) -> None:
    program = site.start(workers=workers, settings="close-spread-time 2s")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(site.connect()) for _ in range(40)]
        assert all(site.status(client) == 200 for client in clients)
        begun = time.monotonic()
        program.signal(signal.SIGUSR1)
        ends = []
        for client in clients:
            client.setblocking(False)
        waiting = set(clients)
        while waiting:
            assert time.monotonic() < begun + 10
            for client in list(waiting):
                with contextlib.suppress(BlockingIOError):
                    assert client.recv(100) == b""
                    waiting.discard(client)
                    ends.append(time.monotonic() - begun)
            time.sleep(0.01)
    assert max(ends) < 5
    assert max(ends) - min(ends) > 0.5, "not all at once"
    assert program.wait() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_master_ends_with_its_generation(site: Site, workers: int) -> None:
    program = site.start(workers=workers, master=True)
    for pid in site.generation():
        os.kill(pid, signal.SIGKILL)
    assert program.wait() == 137
    assert "exit-on-failure" in program.output
    assert _left_by(program) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_or_makes_another_one_where_it_is_told_so(site: Site, workers: int) -> None:
    program = site.start(workers=workers, settings="master-worker no-exit-on-failure", master=True)
    before = site.generation()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: program.output.count("Loading success") == 2, "another generation serves")
    assert site.status() == 200
    assert not set(before) & set(site.generation())


@pytest.mark.parametrize("workers", [1, 2])
def test_generations_that_have_survived_too_many_reloads_are_ended(site: Site, workers: int) -> None:
    site.start(workers=workers, settings="mworker-max-reloads 1", master=True)
    with site.connect() as held:
        assert site.status(held) == 200  # it was accepted
        held.sendall(b"GET / HT")
        site.reload()
        assert "# old workers" in site.ask_master("show proc")
        site.reload()
        wait_until(lambda: "# old workers" not in site.ask_master("show proc"), "it is ended")


def _status_of(pid: int) -> dict[str, str]:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _rights_of(pid: int) -> dict[str, object]:
    """Where a process is shut in, who it is, and which capabilities it has and may have."""
    status = _status_of(pid)
    return {
        "root": os.readlink(f"/proc/{pid}/root"), "uid": set(status["Uid"].split()), "gid": set(status["Gid"].split()),
        "groups": "" if status["Groups"] == "65534" else status["Groups"],
        "may": int(status["CapEff"], 16), "can": int(status["CapPrm"], 16),
    }  # fmt: skip


@as_root
@pytest.mark.parametrize("master", [False, True])
def test_every_worker_is_in_the_jail_and_so_is_its_successor(site: Site, tmp_path: pathlib.Path, master: bool) -> None:
    jail = tmp_path / "jail"
    jail.mkdir()
    settings = f"user nobody\n    group nogroup\n    chroot {jail}\n    setcap cap_net_bind_service"
    program = site.start(settings=settings, master=master, lines="stick-table type ip size 10 store gpc0")
    first = site.generation()[0] if master else program.process.pid
    bind_service = 1 << 10
    confined = {
        "root": str(jail), "uid": {"65534"}, "gid": {"65534"}, "groups": "", "may": bind_service, "can": bind_service,
    }  # fmt: skip
    for _ in range(2):
        processes = children(first)
        assert len(processes) == 4
        for pid in processes:
            # One that was just forked has to get there, step by step.
            wait_until(lambda pid=pid: _rights_of(pid) == confined, lambda pid=pid: f"{confined}: {_rights_of(pid)}")
        assert _rights_of(first)["uid"] == {"65534"}
        victim = processes[2]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda gone=victim: gone not in children(first) and len(children(first)) == 4, "it is replaced")
        assert site.status() == 200
    if master:
        site.reload()
        assert site.status() == 200
    program.process.terminate()
    program.wait()
    assert _left_by(program) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("master", [False, True])
def test_nothing_is_left_in_shared_memory(site: Site, number: signal.Signals, master: bool) -> None:
    program = site.start(workers=2, lines="stick-table type ip size 10 store gpc0", master=master)
    assert _left_by(program)
    program.signal(number)
    program.wait()
    assert _left_by(program) == []


def test_without_tables_a_launcher_makes_no_directory(site: Site) -> None:
    assert _left_by(site.start(workers=2)) == []


@pytest.mark.parametrize("master", [False, True])
def test_what_a_killed_process_leaves_is_removed_by_the_next_start(site: Site, master: bool) -> None:
    lines = "stick-table type ip size 10 store gpc0"
    killed = site.start(workers=2, lines=lines, master=master)
    processes = [*site.generation(), killed.process.pid] if master else [*children(killed.process.pid), killed.process.pid]
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    assert _left_by(killed)
    other = site.start(workers=2, lines=lines, master=master)
    if _left_by(killed):  # its workers serve still, and use it
        other.stop()
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in processes), "all are gone")
    other.stop()
    site.start(workers=2, lines=lines, master=master)
    # Another program on this machine may have started in between and be at it.
    wait_until(lambda: not _left_by(killed), "what was left is removed")
