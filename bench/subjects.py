"""The programs under measurement and their backend: how each is started, how its CPU time and memory are read.

All have one worker, pinned to one CPU; the backend and the load generators have the other. Called by `bench.run`.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from headgate.tls.authority import issue, make_authority

HERE = pathlib.Path(__file__).parent
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")
#: The listeners that every subject has, by their names in configs/.
LISTENERS = ("plain", "rules", "tls", "tls_rsa", "tcp")
#: None that the kernel gives to connections (ip_local_port_range), whose number would take it before its owner binds it. Those of
#: the run before may still be remembered.
_candidates = iter(random.sample(range(10000, 32000), 22000))


class CannotStart(Exception):
    """A program ended, or did not listen in time; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens.

    Attributes:
        directory: configuration, certificates and the backend's files.
        subject_cpu, other_cpu: which CPU runs the subject, which all the rest.
        backend_port, log_port: the backend's HTTP port, the sink's UDP port.
    """

    directory: pathlib.Path
    subject_cpu: int
    other_cpu: int
    backend_port: int
    log_port: int

    def write_config(self, template: str, name: str, values: Mapping[str, str]) -> pathlib.Path:
        """Fill the template's `@words@` and write it as `name` into the directory."""
        text = (HERE / "configs" / template).read_text()
        common = {"run": str(self.directory), "backend": str(self.backend_port), "log": str(self.log_port)}
        filled = re.sub(r"@(\w+)@", lambda match: {**common, **values}.get(match[1], match[0]), text)
        path = self.directory / name
        path.write_text(filled)
        return path


class Subject:
    """A started program.

    Attributes:
        name: "headgate", "haproxy" or "nginx".
        ports: listener -> port; "tcp" is missing where the program can't relay TCP.
        seconds_to_accept: from the command to the first accepted connection.
    """

    def __init__(
        self, name: str, command: Sequence[str], ports: dict[str, int], cpus: Iterable[int], log: pathlib.Path, *,
        patience: float = 10.0,
    ) -> None:
        self.name = name
        self.ports = ports
        self._log = log
        begin = time.monotonic()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cpus),
            )
        try:
            for port in ports.values():
                self._await_listener(port, begin + patience)
        except CannotStart:
            self.stop()
            raise
        self.seconds_to_accept = time.monotonic() - begin

    def _await_listener(self, port: int, deadline: float) -> None:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise CannotStart(f"{self.name}: {self._log.read_text(errors='replace').strip()[-2000:]}")
            time.sleep(0.005)

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        found = [self._process.pid]
        for pid in found:
            for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found.extend(int(word) for word in children.read_text().split())
        return found

    def cpu_seconds(self) -> float:
        """User and system time of the whole process tree, children that ended included."""
        ticks = 0
        for pid in self.pids():
            # fields 14 to 17 of proc(5) stat, counted behind the command's closing parenthesis
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / TICKS_PER_SECOND

    def memory_bytes(self) -> int:
        """Proportional set size of the whole process tree."""
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that nobody uses, another one each time."""
    for port in _candidates:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise CannotStart("no port is free")


def prepare(directory: pathlib.Path) -> Place:
    """Make the run directory: certificates and the files that the backend serves."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "files").mkdir(parents=True)
    authority = make_authority("headgate bench CA")
    for kind in ("ecdsa", "rsa"):
        (directory / f"{kind}.pem").write_bytes(issue(authority, ["bench.example", "127.0.0.1"], key=kind).pem)
    (directory / "files" / "64k").write_bytes(os.urandom(65536))
    with (directory / "files" / "1g").open("wb") as large:
        large.truncate(1 << 30)  # sparse: read as zeros out of the page cache, so that no disk is measured
    cpus = sorted(os.sched_getaffinity(0))
    return Place(directory, cpus[0], cpus[-1], free_port(), free_port(socket.SOCK_DGRAM))


def start_backend(place: Place) -> Subject:
    """nginx, answering `/`, `/64k` and `/1g`."""
    config = place.write_config("backend.conf", "backend.conf", {})
    command = ["nginx", "-e", str(place.directory / "backend.err"), "-p", str(place.directory), "-c", str(config)]
    return Subject("backend", command, {"http": place.backend_port}, {place.other_cpu}, place.directory / "backend.log")


def _values(ports: Mapping[str, int]) -> dict[str, str]:
    return {name: str(port) for name, port in ports.items()}


def start_haproxy(place: Place) -> Subject:
    ports = {name: free_port() for name in LISTENERS}
    config = place.write_config("haproxy.cfg", "haproxy.cfg", _values(ports))
    return Subject("haproxy", ["haproxy", "-db", "-f", str(config)], ports, {place.subject_cpu}, place.directory / "haproxy.log")


def start_headgate(place: Place) -> Subject:
    ports = {name: free_port() for name in LISTENERS}
    config = place.write_config("haproxy.cfg", "headgate.cfg", _values(ports))
    command = [str(pathlib.Path(sys.executable).with_name("headgate")), "-db", "-f", str(config)]
    return Subject("headgate", command, ports, {place.subject_cpu}, place.directory / "headgate.log")


def start_workers(place: Place, name: str, workers: int) -> Subject:
    """headgate or haproxy with `workers` processes or threads on all CPUs, and what they share: see configs/workers.cfg."""
    ports = {listener: free_port() for listener in ("bare", "limits", "tables")}
    config = place.write_config("workers.cfg", f"{name}-{workers}.cfg", {**_values(ports), "workers": str(workers)})
    program = str(pathlib.Path(sys.executable).with_name("headgate")) if name == "headgate" else name
    command = [program, "-db", "-f", str(config)]
    return Subject(name, command, ports, os.sched_getaffinity(0), place.directory / f"{name}-{workers}.log")


def start_nginx(place: Place) -> Subject:
    ports = {name: free_port() for name in LISTENERS}
    values = {**_values(ports), "stream_module": "", "stream": ""}
    if STREAM_MODULE.exists():
        values["stream_module"] = f"load_module {STREAM_MODULE};"
        server = f"listen 127.0.0.1:{ports['tcp']}; proxy_pass 127.0.0.1:{place.backend_port};"
        values["stream"] = f"stream {{ server {{ {server} }} }}"
    else:
        del ports["tcp"]
    config = place.write_config("nginx.conf", "nginx.conf", values)
    command = ["nginx", "-e", str(place.directory / "nginx.err"), "-p", str(place.directory), "-c", str(config)]
    return Subject("nginx", command, ports, {place.subject_cpu}, place.directory / "nginx.log")


STARTERS: dict[str, Callable[[Place], Subject]] = {
    "headgate": start_headgate,
    "haproxy": start_haproxy,
    "nginx": start_nginx,
}


def versions() -> dict[str, str]:
    """Each program's own words about its version; missing where it is not installed."""
    headgate = str(pathlib.Path(sys.executable).with_name("headgate"))
    commands = {"headgate": [headgate, "-v"], "haproxy": ["haproxy", "-v"], "nginx": ["nginx", "-v"], "wrk": ["wrk", "-v"]}
    found = {"python": sys.version.split()[0]}
    for name, command in commands.items():
        with contextlib.suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = (done.stdout + done.stderr).strip().splitlines()
            found[name] = lines[0].strip() if lines else "no version printed"
    return found
