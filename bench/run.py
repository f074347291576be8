"""`make bench`: CPU microseconds a unit and memory a connection of headgate, HAProxy and nginx, side by side in one run.

    python -m bench.run [--only CASE]... [--subject NAME]... [--seconds N] [--rounds N] [--write]

Subjects are measured in short turns, round by round, so that what else goes on in the machine meets all of them alike. A figure
is the median of the rounds. A ratio is headgate's cost divided by the other's, the median of what each round had; below 1
headgate is cheaper. Absolute figures differ from machine to machine and from hour to hour; the ratios are what to look at.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import operator
import os
import pathlib
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import loads
from bench.subjects import STARTERS, CannotStart, Place, Subject, prepare, start_backend, versions

HERE = pathlib.Path(__file__).parent
IDLE_CONNECTIONS = 5000


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        name: for `--only`.
        title: what one unit is.
        listener: which of the subject's ports is driven.
        load: (port, seconds) -> units done.
        unit: what the figure is in.
        scale: seconds of CPU a unit -> figure.
    """

    name: str
    title: str
    listener: str
    load: Callable[[int, float], float]
    unit: str = "us"
    scale: float = 1e6


CASES = (
    Case("get", "small keep-alive GET", "plain", loads.small_get),
    Case("rules", "the same, ten browser headers, six rules", "rules", loads.browser_get),
    Case("64k", "64 KB response", "plain", loads.get_64k),
    Case("connect", "new plain connection, one GET", "plain", loads.new_connections),
    Case("tls-get", "TLS keep-alive GET", "tls", loads.tls_get),
    Case("ecdsa", "full TLS 1.3 handshake, ECDSA", "tls", loads.full_handshakes),
    Case("rsa", "full TLS 1.3 handshake, RSA", "tls_rsa", loads.full_handshakes),
    Case("resumed", "resumed TLS 1.3 handshake", "tls", loads.resumed_handshakes),
    Case("tcp-gb", "TCP passthrough, 1 GB", "tcp", loads.passthrough_gigabytes, "ms", 1e3),
    Case("tls-gb", "TLS download, 1 GB", "tls", loads.tls_gigabytes, "ms", 1e3),
)
#: Rows that are not CPU time: name -> (title, unit).
OTHERS = {
    "idle": (f"idle plain connection, of {IDLE_CONNECTIONS:,}", "KB"),
    "idle-tls": (f"idle TLS connection, of {IDLE_CONNECTIONS:,}", "KB"),
    "start": ("command to first accepted connection", "ms wall"),
    "version": ("`-v`", "ms wall"),
}
#: Rows that do not differ from one moment to the next, or take long.
_ONCE = ("idle", "idle-tls", "start", "version")
Figures = dict[str, dict[str, list[float]]]  # row -> subject -> what each round had


def measure_cpu(case: Case, subject: Subject, seconds: float) -> float:
    """CPU cost of one unit."""
    port = subject.ports[case.listener]
    before = subject.cpu_seconds()
    units = case.load(port, seconds)
    return (subject.cpu_seconds() - before) / units * case.scale


def _await_steady(subject: Subject) -> int:
    """The memory once it has stopped moving."""
    previous = subject.memory_bytes()
    for _ in range(20):
        time.sleep(0.1)
        current = subject.memory_bytes()
        if abs(current - previous) < 65536:
            break
        previous = current
    return subject.memory_bytes()


def measure_idle(subject: Subject, *, secure: bool) -> float:
    """KB of memory that one idle keep-alive connection costs, beyond what a few have cost already."""
    port = subject.ports["tls" if secure else "plain"]
    opened = loads.open_idle(port, 50, secure=secure)
    try:
        before = _await_steady(subject)
        opened += loads.open_idle(port, IDLE_CONNECTIONS, secure=secure)
        return (_await_steady(subject) - before) / IDLE_CONNECTIONS / 1024
    finally:
        for connection in opened:
            connection.close()


def measure_version(subject: Subject) -> float:
    """Milliseconds until the version is printed; the best of five."""
    program = str(pathlib.Path(sys.executable).with_name("headgate")) if subject.name == "headgate" else subject.name
    times = []
    for _ in range(5):
        begin = time.monotonic()
        subprocess.run([program, "-v"], capture_output=True, check=True)
        times.append(time.monotonic() - begin)
    return min(times) * 1e3


def _rows(only: list[str]) -> list[tuple[str, Callable[[Subject, float], float]]]:
    """The rows asked for, each with its measurement."""
    rows: dict[str, Callable[[Subject, float], float]] = {}
    for case in CASES:
        rows[case.name] = lambda subject, seconds, case=case: measure_cpu(case, subject, seconds)  # type: ignore[misc]
    rows["start"] = lambda subject, seconds: subject.seconds_to_accept * 1e3
    rows["version"] = lambda subject, seconds: measure_version(subject)
    rows["idle"] = lambda subject, seconds: measure_idle(subject, secure=False)
    rows["idle-tls"] = lambda subject, seconds: measure_idle(subject, secure=True)
    return [(name, rows[name]) for name in (only or rows)]


def _run_pinned(place: Place, work: Callable[[Subject, float], float], subject: Subject, seconds: float) -> float:
    os.sched_setaffinity(0, {place.other_cpu})
    return work(subject, seconds)


def measure_all(place: Place, subjects: list[Subject], only: list[str], seconds: float, rounds: int) -> Figures:
    """Every row for every subject, printing each as it is known."""
    figures: Figures = {}
    for name, work in _rows(only):
        able = [subject for subject in subjects if name != "tcp-gb" or "tcp" in subject.ports]
        figures[name] = _measure_row(place, name, work, able, seconds, rounds)
        print(_line(name, figures[name], [subject.name for subject in subjects]), flush=True)
    return figures


def _measure_row(
    place: Place, name: str, work: Callable[[Subject, float], float], subjects: list[Subject], seconds: float, rounds: int
) -> dict[str, list[float]]:
    """What each round had for each subject; of one that fails, nothing."""
    found: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    once = name in _ONCE
    # The round in front warms pools, caches and branch predictors up.
    for number in range(1 if once else rounds + 1):
        for subject in subjects if number % 2 else subjects[::-1]:
            if subject.name not in found:
                continue
            try:
                figure = _run_pinned(place, work, subject, seconds)
            except (loads.LoadFailed, OSError, subprocess.SubprocessError) as error:
                print(f"{name}: {subject.name}: {error}", file=sys.stderr)
                del found[subject.name]
                continue
            if number or once:
                found[subject.name].append(figure)
    return found


def _titles() -> dict[str, tuple[str, str]]:
    return {**{case.name: (case.title, case.unit) for case in CASES}, **OTHERS}


def _line(name: str, row: dict[str, list[float]], subjects: list[str]) -> str:
    title, unit = _titles()[name]
    cells = [f"{title} ({unit})"]
    cells += [f"{statistics.median(row[subject]):.1f}" if subject in row else "-" for subject in subjects]
    for other in subjects:
        if other != "headgate" and "headgate" in subjects:
            both = "headgate" in row and all(row.get(other, [0]))
            cells.append(f"{statistics.median(map(operator.truediv, row['headgate'], row[other])):.2f}" if both else "-")
    return "| " + " | ".join(cells) + " |"


def _header(subjects: list[str]) -> str:
    ratios = [f"headgate/{name}" for name in subjects if name != "headgate" and "headgate" in subjects]
    columns = ["one ...", *subjects, *ratios]
    return "| " + " | ".join(columns) + " |\n|" + "---|" * len(columns)


def write_results(figures: Figures, subjects: list[str]) -> pathlib.Path:
    """Replace the table of RESULTS.md; what stands below its closing marker is written by hand and kept."""
    path = HERE / "RESULTS.md"
    marker = "<!-- end of the generated part -->"
    kept = path.read_text().partition(marker)[2] if path.exists() else "\n"
    known = versions()
    lines = [
        "# Results", "",
        f"Measured {datetime.date.today().isoformat()} by `make bench` on {os.cpu_count()} CPUs, Linux {platform.release()}.",
        "CPU time is user and system time of the whole process tree, divided by the units done. Below 1, headgate is cheaper.",
        "",
        *[f"- {name}: {text}" for name, text in known.items()], "",
        _header(subjects),
        *[_line(name, row, subjects) for name, row in figures.items()], "",
        marker,
    ]
    path.write_text("\n".join(lines) + kept)
    return path


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", default=[], choices=list(_titles()), help="one row; repeatable")
    parser.add_argument("--subject", action="append", default=[], choices=list(STARTERS), help="one program; repeatable")
    parser.add_argument("--seconds", type=float, default=1.0, help="of load for each figure of a round (default 1)")
    parser.add_argument("--rounds", type=int, default=8, help="how often each subject has its turn (default 8)")
    parser.add_argument("--write", action="store_true", help="write the table into bench/RESULTS.md")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    missing = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    if missing:
        print(f"bench needs {' and '.join(missing)}: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    place = prepare(HERE / "run")
    with contextlib.ExitStack() as stack:
        # Access logs go to a socket that nobody reads: sending costs the subject the same, and no CPU goes to a reader.
        sink = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sink.bind(("127.0.0.1", place.log_port))
        stack.callback(start_backend(place).stop)
        subjects = []
        for name in arguments.subject or list(STARTERS):
            try:
                subject = STARTERS[name](place)
            except (CannotStart, OSError) as error:
                print(f"{name} did not start: {error}", file=sys.stderr)
                continue
            stack.callback(subject.stop)
            subjects.append(subject)
        if not subjects:
            return 1
        names = [subject.name for subject in subjects]
        print(_header(names))
        figures = measure_all(place, subjects, arguments.only, arguments.seconds, arguments.rounds)
        if arguments.write:
            print(f"written: {write_results(figures, names)}")
    return 0 if all(len(row) for row in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
