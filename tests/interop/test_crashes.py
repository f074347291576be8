"""kill -9 of each kind of process under load: what is lost is what that process held, and nothing else."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.interop.programs import Program, children, free_port, headgate_command, listening, wait_until

_CONFIG = """
global
    nbthread {workers}
    stats socket {directory}/stats.sock level admin
    {settings}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout queue 30s
    timeout http-keep-alive 30s
listen web
    bind 127.0.0.1:{port}
    {proxy}
    server s 127.0.0.1:{server} {options}
"""
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_ASK = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Origin:
    """A server that answers what it is asked, unless it is to keep everybody waiting."""

    def __init__(self) -> None:
        self.lets_go = threading.Event()
        self.lets_go.set()
        self.waiting = 0
        self._sock = listening(128)
        self.port = self._sock.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._sock.accept()[0],), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while sock.recv(4096):
                self.waiting += 1
                self.lets_go.wait(60)
                self.waiting -= 1
                sock.sendall(_ANSWER)

    def close(self) -> None:
        self.lets_go.set()
        self._sock.close()


class Client:
    """A connection that is kept."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        self.sock.settimeout(20)
        self.address = self.sock.getsockname()[1]

    def ask(self) -> None:
        self.sock.sendall(_ASK)

    def answered(self) -> bool:
        """Whether an answer comes; False when the connection has ended."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while len(data) < len(b"\r\n\r\nok") or not data.endswith(b"\r\n\r\nok"):
                more = self.sock.recv(4096)
                if not more:
                    break
                data += more
        return data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"ok")

    def works(self) -> bool:
        with contextlib.suppress(ConnectionError):
            self.ask()
            return self.answered()
        return False


class Site:
    """headgate with several workers, and who holds what."""

    def __init__(self, directory: pathlib.Path, origin: Origin, *, workers: int = 3, master: bool = False, settings: str = "",
                 proxy: str = "", options: str = "") -> None:
        self.directory = directory
        self.origin = origin
        self.port = free_port()
        path = directory / "site.cfg"
        path.write_text(_CONFIG.format(workers=workers, directory=directory, port=self.port, server=origin.port,
                                       settings=settings, proxy=proxy, options=options))
        words = ["-W", "-S", f"{directory}/master.sock,mode,600"] if master else ["-db"]
        self.program = Program([headgate_command(), *words, "-f", str(path)], directory, "headgate")
        self.has_master = master
        self._clients: list[Client] = []
        self.program.await_ports([self.port])
        if master:
            self.program.await_output("Loading success")
        wait_until(lambda: len(self.processes) == workers + 1 and self.says("show info"), "it serves")
        self.controller = self.processes[0]

    @property
    def launcher(self) -> int:
        """The first process of the generation."""
        return children(self.program.process.pid)[-1] if self.has_master else self.program.process.pid

    @property
    def processes(self) -> list[int]:
        """The controller and the workers."""
        return children(self.launcher)

    def says(self, command: str) -> str:
        """The answer of the stats socket; "" when there is none."""
        text = b""
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.settimeout(10)
            sock.connect(str(self.directory / "stats.sock"))
            sock.sendall(command.encode() + b"\n")
            while data := sock.recv(65536):
                text += data
        return text.decode()

    def clients(self, count: int = 24) -> list[Client]:
        """Connections that were served once and are kept."""
        made = [self.client() for _ in range(count)]
        assert all(client.works() for client in made)
        return made

    def client(self) -> Client:
        """A connection, closed with the site."""
        self._clients.append(Client(self.port))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.sock.close()
        self.program.stop()

    def kill(self, pids: list[int]) -> None:
        """All at the same time; and wait until as many others are there."""
        count = len(self.processes)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(self.processes) == count and not set(pids) & set(self.processes), "they are replaced", 5.0)

    def queued(self) -> tuple[int, int]:
        """Sessions at the server, and streams that wait for it."""
        rows = [line.split(",") for line in self.says("show stat").splitlines()]
        row = next((row for row in rows if row[:2] == ["web", "BACKEND"]), None)
        server = next((row for row in rows if row[:2] == ["web", "s"]), None)
        return (-1, -1) if row is None or server is None else (int(server[4]), int(row[2]) + int(server[2]))


def _holders(processes: list[int], ports: set[int], of: int) -> dict[int, int]:
    """Which process holds the connection from each of these client ports to port `of`."""
    inodes = {}
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        local, remote = (int(columns[index].rpartition(":")[2], 16) for index in (1, 2))
        if local == of and remote in ports:
            inodes[f"socket:[{columns[9]}]"] = remote
    holders = {}
    for pid in processes:
        for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                port = inodes.get(os.readlink(link))
                if port is not None:
                    holders[port] = pid
    return holders


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Iterator[Callable[..., Site]]:
    with contextlib.ExitStack() as stack:

        def make(**how: object) -> Site:
            origin = Origin()
            stack.callback(origin.close)
            made = Site(tmp_path, origin, **how)  # type: ignore[arg-type]
            stack.callback(made.close)
            return made

        yield make


def test_of_a_worker_its_own_clients_are_lost_and_no_others(site: Callable[..., Site]) -> None:
    made = site()
    clients = made.clients()
    holders = _holders(made.processes[1:], {client.address for client in clients}, made.port)
    assert len(holders) == len(clients)
    made.origin.lets_go.clear()
    for client in clients:
        client.ask()
    wait_until(lambda: made.origin.waiting == len(clients), "all wait for their answers")
    victim = max(set(holders.values()), key=list(holders.values()).count)
    made.kill([victim])
    made.origin.lets_go.set()
    for client in clients:
        assert client.answered() == (holders[client.address] != victim)
        client.sock.close()
    wait_until(lambda: made.queued() == (0, 0), "nothing is counted that is gone")
    made.clients()


@pytest.mark.parametrize("victim", ["controller", "launcher", "master"])
def test_of_who_carries_no_traffic_no_client_is_lost(site: Callable[..., Site], victim: str) -> None:
    made = site(master=victim != "controller")
    clients = made.clients()
    launcher, before = made.launcher, made.processes
    if victim == "controller":
        made.kill([made.controller])
    elif victim == "launcher":
        os.kill(launcher, signal.SIGKILL)
        wait_until(lambda: made.program.output.count("Loading success") == 2, "a new generation is there")
    else:
        made.program.process.kill()
        made.program.process.wait()
    try:
        if victim == "launcher":
            # Their workers leave softly now: they may still take a new connection, and close it behind its first answer.
            made.clients()
            wait_until(lambda: all(map(_is_gone, before)), "those of before have left")
            assert all(client.works() for client in made.clients())
        else:
            assert all(client.works() for client in clients)
            assert all(client.works() for client in made.clients(6))
    finally:
        if victim == "master":
            os.kill(launcher, signal.SIGTERM)
            wait_until(lambda: _is_gone(launcher), "what was left ends")


def _is_gone(pid: int) -> bool:
    """No such process, or one that only waits for its parent to notice."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True


def test_limits_and_queues_outlive_all_workers_at_once(site: Callable[..., Site]) -> None:
    made = site(workers=4, proxy="maxconn 20", options="maxconn 2")
    made.origin.lets_go.clear()
    held = [made.client() for _ in range(12)]
    for client in held:
        client.ask()
    wait_until(lambda: made.queued() == (2, 10), "two are served and ten wait")
    begun = time.monotonic()
    made.kill([pid for pid in made.processes if pid != made.controller])
    made.origin.lets_go.set()
    assert not any(client.answered() for client in held)
    clients = [made.client() for _ in range(12)]
    for client in clients:
        client.ask()
    assert all(client.answered() for client in clients)
    assert time.monotonic() - begun < 5.0
    for client in clients:
        client.sock.close()
    wait_until(lambda: made.queued() == (0, 0), "nothing is counted that is gone")


def test_workers_that_die_before_the_controller_serves_are_replaced(site: Callable[..., Site]) -> None:
    """All at once, again, and while nobody has said yet that all is well: the launcher must not give up."""
    made = site(workers=2)
    for _ in range(2):
        made.kill([pid for pid in made.processes if pid != made.controller])
        made.clients(4)
