"""Requests a second, and CPU time a request, with one worker and with two: what sharing limits and tables costs.

    python -m bench.workers [--seconds N] [--rounds N]

Subjects run on all CPUs here, and the load generator and the backend beside them: the requests a second are those of a whole
machine. CPU time a request says what sharing costs; figures are the best of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import resource
import shutil
import sys
from collections.abc import Sequence

from bench import loads
from bench.subjects import CannotStart, Place, Subject, prepare, start_backend, start_workers

HERE = pathlib.Path(__file__).parent
LISTENERS = ("bare", "limits", "tables")
WORKERS = (1, 2)


def _measure(subject: Subject, listener: str, seconds: float) -> tuple[float, float]:
    """Requests a second, CPU microseconds a request."""
    port = subject.ports[listener]
    loads.wrk(f"http://127.0.0.1:{port}/", 1.0, connections=64)
    before = subject.cpu_seconds()
    done = loads.wrk(f"http://127.0.0.1:{port}/", seconds, connections=64)
    return done / seconds, (subject.cpu_seconds() - before) / done * 1e6


def _rows(place: Place, names: Sequence[str], seconds: float, rounds: int) -> None:
    for listener in LISTENERS:
        cells = [listener]
        for name in names:
            for workers in WORKERS:
                with contextlib.ExitStack() as stack:
                    subject = start_workers(place, name, workers)
                    stack.callback(subject.stop)
                    measured = [_measure(subject, listener, seconds) for _ in range(rounds)]
                cells.append(f"{max(rate for rate, _ in measured):,.0f}/s, {min(cost for _, cost in measured):.1f} us")
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.workers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each figure (default 3)")
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many counts (default 2)")
    arguments = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    names = [name for name in ("headgate", "haproxy") if name == "headgate" or shutil.which(name)]
    place = prepare(HERE / "run")
    with contextlib.ExitStack() as stack:
        stack.callback(start_backend(place).stop)
        heads = [f"{name}, {workers} worker{'s' * (workers > 1)}" for name in names for workers in WORKERS]
        print("| shared |" + "|".join(heads) + "|\n|" + "---|" * (len(heads) + 1))
        try:
            _rows(place, names, arguments.seconds, arguments.rounds)
        except CannotStart as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
