"""Real programs as children of a test: headgate, HAProxy, nginx, Apache. Each is started in the foreground with a configuration
of its own in a temporary directory, is waited for until its ports listen, and dies with the test.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence

DEADLINE = 20.0  # seconds; a limit for a machine under load, not an expectation
#: Of subjects that don't say it themselves. Try everything with more: HEADGATE_TEST_WORKERS=4.
WORKERS = os.environ.get("HEADGATE_TEST_WORKERS", "1")
_LISTEN = "0A"  # state column of /proc/net/tcp


class ProgramFailed(Exception):
    """A program ended or did not get ready; the message holds all that it printed."""


#: Below the range that the kernel takes ports of clients from: nobody's connection comes in between choosing and listening.
_PORTS = range(10_240, 32_768)
_PARTS = 32


def _own_ports() -> tuple[range, socket.socket | None]:
    """Ports that no other process which runs tests chooses from, be it of this run or of another one on this machine.

    That a port is free is not enough: headgate and HAProxy share ports (SO_REUSEPORT). Two that were started at the same time on
    the same one would both get a part of the connections, and no error.

    Returns:
        The ports, and what holds them as long as this process lives: a name that only one can have where ports are the same.
    """
    size = len(_PORTS) // _PARTS
    for number in range(_PARTS):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0headgate-tests-ports-{number}")
        except OSError:
            claim.close()
            continue
        return _PORTS[number * size : (number + 1) * size], claim
    return _PORTS, None  # more processes than parts


_own, _claim = _own_ports()
_candidates = itertools.cycle(_own)
# Where to begin: not where the one before began, whose connections may still be remembered.
collections.deque(itertools.islice(_candidates, os.getpid() % len(_own)), maxlen=0)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses on 127.0.0.1, all different."""
    found: list[int] = []
    while len(found) < count:
        port = next(_candidates)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def free_port() -> int:
    return free_ports(1)[0]


def listening(backlog: int = 256) -> socket.socket:
    """A listening socket on a port of ours: one of the kernel's may have been a server's, which the proxy of another process of
    tests still tries to reach."""
    while True:
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", free_port()), backlog=backlog)


def wait_until(condition: Callable[[], object], what: str | Callable[[], str], seconds: float = DEADLINE) -> None:
    """Poll until the condition holds; AssertionError with `what`, or what that says by then, when it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            raise AssertionError(f"never happened within {seconds:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.01)


def ask_socket(path: pathlib.Path, command: str) -> str:
    """The whole answer of a stats socket to one line, on a connection of its own. What servers sent need not be text."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(path))
        sock.sendall(command.encode() + b"\n")
        while data := sock.recv(65536):
            answer += data
    return answer.decode(errors="replace")


#: Fields of /proc/PID/stat behind the name: the parent's pid, and when the process began.
_PARENT, _BEGAN = 1, 19


def children(pid: int) -> list[int]:
    """Child processes of a process, in the order of their beginning.

    Not from /proc/PID/task/PID/children, which leaves out some while others end (proc(5)).
    """
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{entry}/stat").read_bytes().rpartition(b") ")[2].split()
                if int(fields[_PARENT]) == pid:
                    found.append((int(fields[_BEGAN]), int(entry)))
    return [child for _, child in sorted(found)]


def listening_addresses() -> set[tuple[str, int]]:
    """Address and port of every TCP socket in state LISTEN. Read from /proc: connecting would show in logs."""
    found = set()
    for table, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == _LISTEN:
                address, _, port = columns[1].rpartition(":")
                words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
                packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
                found.add((socket.inet_ntop(family, packed), int(port, 16)))
    return found


def listening_ports() -> set[int]:
    """Ports of every TCP socket in state LISTEN, on whatever address."""
    return {port for _, port in listening_addresses()}


class Program:
    """A child process with its output in a file.

    Attributes:
        process: the child.
        output_path: stdout and stderr together.
    """

    def __init__(
        self, command: Sequence[str], directory: pathlib.Path, name: str, *, pass_fds: Iterable[int] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.output_path = directory / f"{name}.out"
        # setpriv makes the kernel end the child should the test run be killed
        with self.output_path.open("wb") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=directory, start_new_session=True, pass_fds=tuple(pass_fds),
                env={**os.environ, **(environment or {})},
            )

    @property
    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def await_ports(self, ports: Iterable[int]) -> None:
        """Wait until all ports listen.

        Raises:
            ProgramFailed: it ended before, or took too long.
        """
        wanted = set(ports)
        end = time.monotonic() + DEADLINE
        while not wanted <= listening_ports():
            if self.process.poll() is not None:
                raise ProgramFailed(f"{self.name} ended with {self.process.returncode}:\n{self.output}")
            if time.monotonic() > end:
                raise ProgramFailed(f"{self.name} does not listen on {sorted(wanted - listening_ports())}:\n{self.output}")
            time.sleep(0.01)

    def await_output(self, text: str) -> None:
        wait_until(lambda: text in self.output, f"{self.name} prints {text!r}; it printed:\n{self.output}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = DEADLINE) -> int:
        """The exit code, once it ended by itself."""
        return self.process.wait(seconds)

    def resident_kb(self) -> int:
        """Resident memory now, in KB."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise ProgramFailed(f"{self.name} has no memory: it ended\n{self.output}")

    def stop(self) -> None:
        """End it and everything it started."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # nobody was left
            self.process.wait()
            return
        self.process.wait()
        # A killed process keeps its sockets until it had the time to die; the next program may want the ports.
        wait_until(lambda: not _group_lives(self.process.pid), f"all processes of {self.name} die")


def _group_lives(group: int) -> bool:
    """Whether a process group has a process that is more than a remembered exit code."""
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = path.read_text(errors="replace").rpartition(") ")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                return True
    return False


def headgate_command() -> str:
    """The installed command of the interpreter that runs the tests."""
    return str(pathlib.Path(sys.executable).with_name("headgate"))


SUBJECTS = {"headgate": headgate_command, "haproxy": lambda: "haproxy"}


def start_subject(
    subject: str, config: str, directory: pathlib.Path, ports: Iterable[int], *, pass_fds: Iterable[int] = (),
    name: str | None = None, environment: dict[str, str] | None = None, arguments: Sequence[str] = (),
) -> Program:
    """headgate or HAProxy with this configuration, listening; with one worker unless the configuration says how many."""
    name = name or subject
    if "nbthread" not in config:
        config = f"{config.rstrip()}\n\nglobal\n    nbthread {WORKERS}\n"
    path = directory / f"{name}.cfg"
    path.write_text(config)
    command = [SUBJECTS[subject](), *(arguments or ("-db",)), "-f", str(path)]
    program = Program(command, directory, name, pass_fds=pass_fds, environment=environment)
    try:
        program.await_ports(ports)
        if subject == "headgate":
            _await_workers(config)
    except BaseException:
        program.stop()
        raise
    return program


def _await_workers(config: str) -> None:
    """Ports listen before all workers serve: wait for them where there is a stats socket to ask."""
    count, sockets = re.search(r"nbthread (\d+)", config), re.search(r"stats socket (/\S+)", config)
    if count is None or sockets is None or int(count[1]) == 1:
        return
    path = pathlib.Path(sockets[1])

    def all_answer() -> bool:
        try:
            answer = ask_socket(path, "show activity")
        except OSError:
            return False
        columns = re.search(r"\[ ([0-9. ]+) \]", answer)
        return (columns is not None and len(columns[1].split()) == int(count[1])) or "denied" in answer

    wait_until(all_answer, f"all of {count[1]} workers answer")


def check_config(subject: str, path: pathlib.Path, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of `-c`."""
    done = subprocess.run(
        [SUBJECTS[subject](), "-c", "-V", "-f", str(path)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stdout + done.stderr


_NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type text/plain;
{servers}
}}
"""

_APACHE_MODULES = ("mpm_event", "authn_core", "authz_core", "setenvif", "headers", "socache_shmcb", "ssl", "alias", "dir")
_APACHE = """
ServerRoot {directory}
ServerName localhost
PidFile {directory}/apache.pid
DefaultRuntimeDir {directory}
Mutex file:{directory}
ErrorLog /dev/stderr
{modules}
<IfModule unixd_module>
User {user}
</IfModule>
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
MinSpareThreads 1
MaxSpareThreads 8
DocumentRoot {directory}/files
<Directory {directory}/files>
Require all granted
</Directory>
{servers}
"""


def _readable_directory(directory: pathlib.Path) -> pathlib.Path:
    """A directory that Apache's and nginx's unprivileged workers can read; pytest's own are closed to them."""
    files = directory / "files"
    files.mkdir(exist_ok=True)
    for path in (files, directory, *directory.parents):
        if path.owner() != "root" or path == pathlib.Path("/tmp"):
            break
        path.chmod(path.stat().st_mode | 0o011)
    files.chmod(0o755)
    return files


def start_nginx(servers: str, directory: pathlib.Path, ports: Iterable[int]) -> Program:
    """nginx with these `server { ... }` blocks."""
    _readable_directory(directory)
    path = directory / "nginx.conf"
    path.write_text(_NGINX.format(directory=directory, servers=servers))
    program = Program(["nginx", "-e", "stderr", "-p", str(directory), "-c", str(path)], directory, "nginx")
    program.await_ports(ports)
    return program


def start_apache(servers: str, directory: pathlib.Path, ports: Iterable[int]) -> Program:
    """Apache with these `Listen` and `<VirtualHost>` directives."""
    _readable_directory(directory)
    modules = pathlib.Path("/usr/lib/apache2/modules")
    loads = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in _APACHE_MODULES)
    path = directory / "apache.conf"
    path.write_text(_APACHE.format(directory=directory, modules=loads, servers=servers, user="www-data"))
    program = Program(["apache2", "-DFOREGROUND", "-f", str(path)], directory, "apache")
    program.await_ports(ports)
    return program


def remove_tree(directory: pathlib.Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
