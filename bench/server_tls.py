"""CPU time of a resumed TLS connection to a server, and of one health check, plain and over TLS, beside HAProxy.

    python -m bench.server_tls [--seconds N] [--servers N]

A request is a keep-alive GET of the client's that goes over a new connection to the server; it is made in turns. Checks are made
every 200 ms, by all programs at the same time and on one CPU, each with servers of its own, so that what else goes on in the
machine meets all of them alike. What one costs is the CPU time divided by the connections that the servers counted, since not all
programs keep to the interval; the share of a CPU is what all of them cost.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import sys
import time
import urllib.request
from typing import TypeVar

from bench import loads
from bench.subjects import CannotStart, Place, Subject, free_port, prepare

HERE = pathlib.Path(__file__).parent
#: "" is without TLS.
VERSIONS = ("", "TLSv1.2", "TLSv1.3")
#: How long sessions have to be made before anything is measured, seconds.
_WARM_UP = 2.0
#: Between two checks of a server, seconds.
_INTERVAL = 0.2
#: How many turns each program has with its requests, and how long one is, as a part of all.
_TURNS = 5


class Servers:
    """nginx with one address for traffic and many to be checked, for the program `name`."""

    def __init__(self, place: Place, name: str, version: str, count: int) -> None:
        self.secure, self._status, *self.checked = (free_port() for _ in range(count + 2))
        self.options = "ssl verify none " if version else ""
        ssl = " ssl" if version else ""
        listen = "\n".join(f"        listen 127.0.0.1:{port}{ssl} backlog=1024;" for port in (self.secure, *self.checked))
        values = {"version": version or "TLSv1.3", "status": str(self._status), "listen": listen, "name": f"secure-{name}"}
        config = place.write_config("secure.conf", f"secure-{name}.conf", values)
        log = place.directory / f"secure-{name}.err"
        command = ["nginx", "-e", str(log), "-p", str(place.directory), "-c", str(config)]
        self._subject = Subject("nginx", command, {"status": self._status}, {place.other_cpu}, log.with_suffix(".log"))

    def connections(self) -> int:
        """How many were accepted so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._status}/", timeout=10) as answer:
            return int(answer.read().split(b"\n")[2].split()[0])

    def stop(self) -> None:
        self._subject.stop()


def start(place: Place, name: str, servers: Servers, option: str | None) -> Subject:
    """headgate or haproxy. `option` is the backend's for checks; None: nobody is checked."""
    ports = {"plain": free_port()}
    lines = "" if option is None else "\n".join(
        f"    server s{port} 127.0.0.1:{port} {servers.options}check inter {_INTERVAL * 1000:.0f}ms" for port in servers.checked
    )
    values = {
        "plain": str(ports["plain"]), "secure": str(servers.secure), "option": option or "", "servers": lines, "name": name,
    }  # fmt: skip
    config = place.write_config("server_tls.cfg", f"{name}.cfg", values)
    program = str(pathlib.Path(sys.executable).with_name("headgate")) if name == "headgate" else name
    return Subject(name, [program, "-db", "-f", str(config)], ports, {place.subject_cpu}, place.directory / f"{name}.log")


def key_rate(place: Place, name: str) -> int:
    """Full handshakes with servers in the last second."""
    with socket.socket(socket.AF_UNIX) as stats:
        stats.connect(str(place.directory / f"{name}.sock"))
        stats.sendall(b"show info\n")
        answer = b"".join(iter(lambda: stats.recv(65536), b""))
    found = re.search(rb"SslBackendKeyRate: (\d+)", answer)
    return int(found[1]) if found else -1


def measure_traffic(subjects: list[Subject], seconds: float) -> list[float]:
    """Microseconds of CPU for a request."""
    costs: list[list[float]] = [[] for _ in subjects]
    for turn in range(_TURNS + 1):  # the first one warms up
        for subject, found in zip(subjects, costs, strict=True):
            before = subject.cpu_seconds()
            done = loads.small_get(subject.ports["plain"], seconds / _TURNS)
            if turn:
                found.append((subject.cpu_seconds() - before) / done * 1e6)
    return [statistics.median(found) for found in costs]


def measure_checks(subjects: list[Subject], servers: list[Servers], seconds: float) -> list[tuple[float, float]]:
    """For each program microseconds of CPU for a check, and checks a second."""

    def counts() -> list[tuple[float, int]]:
        return [(subject.cpu_seconds(), mine.connections()) for subject, mine in zip(subjects, servers, strict=True)]

    time.sleep(_WARM_UP)
    before = counts()
    time.sleep(seconds)
    found = []
    for mine, (cpu, count), (cpu_before, count_before) in zip(servers, counts(), before, strict=True):
        made: float = count - count_before
        if made < seconds:  # HAProxy resets a plain connection before nginx accepts it: taken as made at the interval
            made = len(mine.checked) * seconds / _INTERVAL
        found.append(((cpu - cpu_before) / made * 1e6, made / seconds))
    return found


#: Title, the backend's option, and whether there is such a thing without TLS.
_ROWS = (
    ("request", None, False), ("handshake check", "", False), ("connect check", "", True), ("HTTP check", "option httpchk", True),
    ("HTTP check", "option httpchk", False),
)  # fmt: skip


Stoppable = TypeVar("Stoppable", Servers, Subject)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.server_tls", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure (default 5)")
    parser.add_argument("--servers", type=int, default=100, help="that are checked (default 100)")
    titles = list(dict.fromkeys(title for title, _, _ in _ROWS))
    parser.add_argument("--only", nargs="+", choices=titles, default=titles, metavar="TITLE", help=f"of {', '.join(titles)}")
    arguments = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    names = [name for name in ("headgate", "haproxy") if name == "headgate" or shutil.which(name)]
    place = prepare(HERE / "run")
    os.chmod(place.directory, 0o755)
    print("| TLS to a server | " + " | ".join(names) + " | ratio |\n|" + "---|" * (len(names) + 2))
    try:
        for version in VERSIONS:
            for title, option, plain in _ROWS:
                if plain is bool(version) or title not in arguments.only:
                    continue
                with contextlib.ExitStack() as stack:
                    servers = [_stopped(stack, Servers(place, name, version, arguments.servers)) for name in names]
                    subjects = [
                        _stopped(stack, start(place, name, mine, option)) for name, mine in zip(names, servers, strict=True)
                    ]
                    cells = _cells(place, subjects, servers, option, arguments.seconds)
                    print(f"| {title}, {version or 'plain'} | {' | '.join(cells)} |", flush=True)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _stopped(stack: contextlib.ExitStack, started: Stoppable) -> Stoppable:
    stack.callback(started.stop)
    return started


def _cells(
    place: Place, subjects: list[Subject], servers: list[Servers], option: str | None, seconds: float
) -> list[str]:
    """One for each program, and their ratio."""
    if option is None:
        costs = measure_traffic(subjects, seconds)
        cells = [f"{cost:.0f} us" for cost in costs]
    else:
        measured = measure_checks(subjects, servers, seconds)
        costs = [cost for cost, _ in measured]
        cells = [
            f"{cost:.0f} us, {rate:.0f}/s, {cost * rate / 1e4:.1f} %, {key_rate(place, subject.name)} keys/s"
            for subject, (cost, rate) in zip(subjects, measured, strict=True)
        ]
    return [*cells, f"{costs[0] / costs[1]:.2f}" if len(costs) > 1 else "-"]


if __name__ == "__main__":
    sys.exit(main())
