"""Start with a directory of certificates, headgate beside HAProxy: time until connections are accepted, and memory.

Run with `python -m bench.certificates`. Each file holds a certificate, its intermediate and a key; half are ECDSA, half RSA. Keys
are few and used again, which changes nothing for who reads them. Both programs have one thread or worker. After the start, the
last name of the directory is asked for, so that nobody gains by not having read it.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Sequence

from bench.subjects import Subject, free_port
from headgate.tls.authority import Issued, issue, make_authority

_KEYS = 4
_CONFIG = """\
global
    nbthread 1
defaults
    mode http
    timeout client 10s
    timeout connect 1s
    timeout server 10s
frontend www
    bind 127.0.0.1:{port} ssl crt {directory}/
    http-request return status 204
"""


def make_directory(directory: pathlib.Path, count: int, kinds: Sequence[str]) -> None:
    """Write `count` certificates for s00000.example and so on, with keys of the kinds in turn."""
    root = make_authority("Bench Root")
    intermediate = make_authority("Bench Intermediate", parent=root)
    keys: list[Issued] = [issue(root, ["key"], key=kind) for _ in range(_KEYS) for kind in kinds]
    for number in range(count):
        one = issue(intermediate, [f"s{number:05}.example"], private=keys[number % len(keys)].key)
        (directory / f"s{number:05}.pem").write_bytes(one.pem)


def ask(port: int, name: str) -> None:
    """A handshake for a name, which the certificate must be for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as sock, context.wrap_socket(sock, server_hostname=name) as tls:
        if name.encode() not in (tls.getpeercert(binary_form=True) or b""):
            raise SystemExit(f"{name} is not served")


def measure(name: str, command: Sequence[str], port: int, folder: pathlib.Path, last: str) -> tuple[float, float, int]:
    """Seconds to the first accepted connection, CPU seconds, and bytes of memory behind a handshake."""
    cpus = os.sched_getaffinity(0)
    subject = Subject(name, command, {"tls": port}, cpus, folder / f"{name}.log", patience=120.0)
    try:
        ask(port, last)
        return subject.seconds_to_accept, subject.cpu_seconds(), subject.memory_bytes()
    finally:
        subject.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10000, help="certificates in the directory")
    parser.add_argument("--rounds", type=int, default=3, help="starts of each program; the best counts")
    parser.add_argument("--kinds", default="ecdsa,rsa", help="kinds of keys, separated by commas")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-certificates-"))
    try:
        directory = folder / "certs"
        directory.mkdir()
        make_directory(directory, options.count, options.kinds.split(","))
        last = f"s{options.count - 1:05}.example"
        best: dict[str, tuple[float, float, int]] = {}
        for _ in range(options.rounds):
            for name in ("haproxy", "headgate"):
                port = free_port()
                config = folder / f"{name}.cfg"
                config.write_text(_CONFIG.format(port=port, directory=directory))
                program = ["haproxy"] if name == "haproxy" else [sys.executable, "-m", "headgate"]
                found = measure(name, [*program, "-db", "-f", str(config)], port, folder, last)
                best[name] = found if name not in best else tuple(map(min, best[name], found))  # type: ignore[assignment]
        print(f"{options.count} certificates{'':10}seconds  CPU seconds  memory MB")
        for name, (seconds, cpu, memory) in best.items():
            print(f"{name:27}{seconds:9.2f}{cpu:13.2f}{memory / 1e6:11.1f}")
        ratios = [ours / theirs for ours, theirs in zip(best["headgate"], best["haproxy"], strict=True)]
        print(f"{'headgate / haproxy':27}{ratios[0]:9.2f}{ratios[1]:13.2f}{ratios[2]:11.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
