"""`python -m bench.ocsp`: CPU time of a full TLS 1.3 handshake with an OCSP response and without, headgate beside HAProxy.

    python -m bench.ocsp [--seconds N] [--rounds N]

The same client, which asks for a response, meets two names on one port: one has a response beside its certificate, the other
none.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import socket
import sys
import time

from OpenSSL import SSL

from bench.subjects import HERE, CannotStart, Subject, free_port
from headgate.tls.authority import make_authority
from tests.tls.ocsp.ocsp_fixtures import asking_client, asking_context, make_leaf, make_response

_CONFIG = """
global
    {threads}
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend f
    bind 127.0.0.1:{port} ssl crt {directory}/stapled.pem crt {directory}/bare.pem
    http-request return status 200
"""
_REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n"
NAMES = ("bare", "stapled")


def prepare(directory: pathlib.Path) -> None:
    """Certificates, one of them with a response."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    authority = make_authority("bench CA")
    for name in NAMES:
        leaf = make_leaf(authority, "http://ocsp.example", names=[f"{name}.example"])
        (directory / f"{name}.pem").write_bytes(leaf.pem + authority.certificate_pem)
        if name == "stapled":
            response = make_response(authority, leaf, now=time.time(), ends=86400.0)
            (directory / f"{name}.pem.ocsp").write_bytes(response)


def start(name: str, directory: pathlib.Path) -> Subject:
    """headgate or haproxy with one worker."""
    port = free_port()
    path = directory / f"{name}.cfg"
    path.write_text(_CONFIG.format(port=port, directory=directory, threads="nbthread 1"))
    program = str(pathlib.Path(sys.executable).with_name("headgate")) if name == "headgate" else name
    return Subject(name, [program, "-db", "-f", str(path)], {"tls": port}, {0}, directory / f"{name}.log")


def handshakes(port: int, name: str, seconds: float) -> int:
    """Full handshakes with one request each, asking for a response, which must be there or not as the name says."""
    context, seen = asking_context()
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            sock.settimeout(None)
            client = asking_client(context, sock, f"{name}.example")
            seen.clear()
            client.do_handshake()
            assert any(seen) == (name == "stapled"), f"{name}: {seen} is stapled"
            client.sendall(_REQUEST)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        count += 1
    return count


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.ocsp")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    directory = HERE / "run" / "ocsp"
    prepare(directory)
    print("| full TLS 1.3 handshake, ECDSA, the client asks (us) | without a response | with one | with/without |")
    print("|---|---|---|---|")
    for program in ("headgate", "haproxy"):
        try:
            subject = start(program, directory)
        except (CannotStart, OSError) as error:
            print(f"{program} did not start: {error}", file=sys.stderr)
            continue
        best = dict.fromkeys(NAMES, float("inf"))
        try:
            for name in NAMES:
                handshakes(subject.ports["tls"], name, 0.5)
            for _ in range(arguments.rounds):
                for name in NAMES:
                    before = subject.cpu_seconds()
                    count = handshakes(subject.ports["tls"], name, arguments.seconds)
                    best[name] = min(best[name], (subject.cpu_seconds() - before) / count * 1e6)
        finally:
            subject.stop()
        bare, stapled = (best[name] for name in NAMES)
        print(f"| {program} | {bare:.1f} | {stapled:.1f} | {stapled / bare:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
