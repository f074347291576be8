"""Sessions with servers under load, HAProxy beside: tens of thousands of connections, hundreds of servers that are checked."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import time

import pytest

from tests.interop.programs import ask_socket, free_port, free_ports, start_nginx, start_subject
from tests.interop.strict_servers import Jetty, start_java

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.needs("haproxy", "nginx", "java", "openssl", "wrk")]

_SITE = """
global
    nbthread {workers}
    maxconn 4000
    stats socket {directory}/{subject}.sock level admin
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend f
    bind 127.0.0.1:{port}
    default_backend app
backend app
    {more}
{servers}
"""

#: What two measurements of the same may differ by.
_ALLOWED = 1.1


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants."""
    pids, ticks = [pid], 0
    for one in pids:
        with contextlib.suppress(OSError):
            for children in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
                pids += [int(word) for word in children.read_text().split()]
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def info(directory: pathlib.Path, subject: str, name: str) -> int:
    answer = ask_socket(directory / f"{subject}.sock", "show info")
    found = re.search(rf"^{name}: (\d+)$", answer, re.MULTILINE)
    assert found is not None, answer
    return int(found[1])


def reuse(directory: pathlib.Path, kind: str) -> list[dict[str, object]]:
    lines = json.loads(ask_socket(directory / "headgate.sock", "show ssl reuse json"))
    return [line for line in lines if line["kind"] == kind]


def side_by_side(
    stack: contextlib.ExitStack, directory: pathlib.Path, workers: int, servers: dict[str, int], wanted: int = 50_000
) -> list[dict[str, object]]:
    """So many requests, each over a new connection to a server, with headgate and then with HAProxy.

    Returns:
        The lines of `show ssl reuse` for the traffic of headgate.
    """
    lines: list[dict[str, object]] = []
    for subject in ("headgate", "haproxy"):
        port = free_port()
        options = "ssl verify none" + (" no-sni-auto" if subject == "headgate" else "")
        text = _SITE.format(
            workers=workers, directory=directory, subject=subject, port=port, more="option http-server-close",
            servers="\n".join(f"    server {name} 127.0.0.1:{server} {options}" for name, server in servers.items()),
        )
        program = start_subject(subject, text, directory, [port])
        stack.callback(program.stop)
        most = done = 0
        began = cpu_seconds(program.process.pid)
        while done < wanted:
            load = subprocess.run(
                ["wrk", "-t1", "-c8", "-d5s", f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
            )
            count = re.search(r"(\d+) requests in", load.stdout)
            assert count is not None and int(count[1]) and "Non-2xx" not in load.stdout, load.stdout
            done += int(count[1])
            most = max(most, info(directory, subject, "SslBackendMaxKeyRate"))
        cost = (cpu_seconds(program.process.pid) - began) / done * 1e6
        print(f"{subject}, {workers} workers: {done} requests, {cost:.0f} us of CPU each, at most {most} keys/s")
        if subject == "headgate":
            lines = reuse(directory, "traffic")
            print(lines)
        program.stop()
    return lines


def assert_resumed(line: dict[str, object], workers: int) -> None:
    """One full handshake from each worker, and one where a session has expired."""
    causes = line["causes"]
    assert isinstance(causes, dict) and set(causes) <= {"first_contact", "expired"} and not line["failed"], line
    assert causes["first_contact"] <= workers and causes.get("expired", 0) <= workers, line


@pytest.mark.parametrize("workers", [1, 2])
def test_fifty_thousand_connections_to_java(
    stack: contextlib.ExitStack, certificates: pathlib.Path, tmp_path: pathlib.Path, workers: int
) -> None:
    (server,) = start_java(stack, certificates, tmp_path, 1)
    (line,) = side_by_side(stack, tmp_path, workers, {"s1": server})
    assert_resumed(line, workers)


@pytest.mark.needs("jetty9")
@pytest.mark.parametrize(("workers", "tickets"), [(1, True), (2, False)], ids=["tickets", "numbers"])
def test_fifty_thousand_connections_to_jetty(
    stack: contextlib.ExitStack, certificates: pathlib.Path, tmp_path: pathlib.Path, workers: int, tickets: bool
) -> None:
    """Half of them over TLS 1.2, half over TLS 1.3."""
    jetty = Jetty(stack, certificates, tmp_path, tickets=tickets)
    lines = side_by_side(stack, tmp_path, workers, jetty.ports)
    assert len(lines) == 2
    for line in lines:
        connections, full = line["connections"], line["full"]
        assert isinstance(connections, int) and connections >= 20_000, line
        if tickets or line["server"] == "TLSv1.2":
            assert_resumed(line, workers)
        else:
            # Without tickets Java takes a session of TLS 1.3 once and gives one for it: of connections that begin at a time with
            # the last one that a worker has, all but one are refused.
            assert isinstance(full, int) and full <= 0.02 * connections, line
            assert set(line["causes"]) <= {"first_contact", "expired", "refused"}, line  # type: ignore[call-overload]


def checks(directory: pathlib.Path, subject: str, ports: list[int], interval: str, more: str) -> str:
    servers = "\n".join(f"    server s{port} 127.0.0.1:{port} ssl verify none check inter {interval}" for port in ports)
    return _SITE.format(workers=1, directory=directory, subject=subject, port=free_port(), more=more, servers=servers)


def nginx_servers(ports: list[int], certificate: pathlib.Path, version: str) -> str:
    listen = "".join(f"listen 127.0.0.1:{port} ssl; " for port in ports)
    return (
        f"ssl_certificate {certificate}; ssl_certificate_key {certificate}; ssl_protocols {version};"
        f" ssl_session_cache shared:TLS:10m; server {{ {listen} location / {{ return 200; }} }}"
    )


def measure(directory: pathlib.Path, ports: list[int], interval: str, more: str, warm_up: float, seconds: float) -> None:
    """Let headgate and HAProxy check the same servers at the same time, with the same load around them.

    Checks of headgate are resumed, there are no full handshakes behind the first round, and all of them cost no more CPU, though
    HAProxy makes fewer of them (it waits for the interval from the end of a check on).
    """
    subjects = ("headgate", "haproxy")
    with contextlib.ExitStack() as inner:
        pids = {}
        for subject in subjects:
            text = checks(directory, subject, ports, interval, more)
            program = start_subject(subject, text, directory, [int(re.findall(r"bind 127.0.0.1:(\d+)", text)[0])])
            inner.callback(program.stop)
            pids[subject] = program.process.pid
        time.sleep(warm_up)
        before = {subject: cpu_seconds(pid) for subject, pid in pids.items()}
        most = dict.fromkeys(subjects, 0)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.5)
            for subject in subjects:
                most[subject] = max(most[subject], info(directory, subject, "SslBackendKeyRate"))
        shares = {subject: 100 * (cpu_seconds(pid) - before[subject]) / seconds for subject, pid in pids.items()}
        for subject in subjects:
            print(f"{subject}, {more or 'handshake'}: {shares[subject]:.1f} % of a CPU, at most {most[subject]} keys/s")
        lines = reuse(directory, "checks")
    # A first check that takes longer than the interval is given up, and the next one begins without a session, too.
    assert all(set(line["causes"]) == {"first_contact"} for line in lines), lines  # type: ignore[call-overload]
    connections, resumed = (sum(int(str(line[name])) for line in lines) for name in ("connections", "resumed"))
    print(f"{resumed} of {connections} checks were resumed")
    assert resumed >= 0.95 * connections
    assert most["headgate"] <= 1
    assert shares["headgate"] <= _ALLOWED * shares["haproxy"], shares


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("kind", ["", "option httpchk"], ids=["handshake", "http"])
def test_a_hundred_servers_every_fifth_of_a_second(
    stack: contextlib.ExitStack, certificates: pathlib.Path, tmp_path: pathlib.Path, version: str, kind: str
) -> None:
    ports = free_ports(100)
    nginx = start_nginx(nginx_servers(ports, certificates / "site.pem", version), tmp_path, ports)
    stack.callback(nginx.stop)
    measure(tmp_path, ports, "200ms", kind, 3.0, 10.0)


def test_five_hundred_servers_half_of_them_java(
    stack: contextlib.ExitStack, certificates: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    java = start_java(stack, certificates, tmp_path, 250)
    ports = free_ports(250)
    nginx = start_nginx(nginx_servers(ports, certificates / "site.pem", "TLSv1.3"), tmp_path, ports)
    stack.callback(nginx.stop)
    measure(tmp_path, [*java, *ports], "2s", "option httpchk", 6.0, 60.0)
