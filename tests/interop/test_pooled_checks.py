"""Checks over a connection that they keep, against nginx, which counts its connections itself."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Callable

import pytest

from tests.interop.conftest import StartProxy
from tests.interop.programs import Program, ask_socket, free_port, wait_until

pytestmark = pytest.mark.needs("nginx")

Connections = Callable[[], list[int]]


@pytest.fixture(params=["plain", "tls"])
def nginx(request: pytest.FixtureRequest, tmp_path: pathlib.Path, certificates: pathlib.Path) -> object:
    """Start nginx; answers the options of a server line, and the connection numbers of the requests so far."""
    over_tls, port, log = request.param == "tls", free_port(), tmp_path / "access.log"
    tls = f"ssl_certificate {certificates}/site.pem; ssl_certificate_key {certificates}/site.pem;" if over_tls else ""
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n"
        f"log_format number $connection;\naccess_log {log} number;\n"
        f"server {{ listen 127.0.0.1:{port}{' ssl' if over_tls else ''}; {tls} location / {{ return 200 up; }} }} }}\n"
    )
    program = Program(["nginx", "-c", str(config), "-p", str(tmp_path)], tmp_path, "nginx")
    program.await_ports([port])
    yield f"127.0.0.1:{port}{' ssl verify none' if over_tls else ''}", lambda: [int(line) for line in log.read_text().split()]
    program.stop()


@pytest.mark.parametrize("workers", [1, 2])
def test_one_connection_for_all_checks(
    proxy: StartProxy, tmp_path: pathlib.Path, nginx: tuple[str, Connections], workers: int
) -> None:
    line, connections = nginx
    program = proxy(f"""
global
    nbthread {workers}
    stats socket {tmp_path}/stats.sock level admin
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    timeout check 10s
    option httpchk GET / HTTP/1.1
    http-check send hdr Host a.example
    default-server check inter 50ms
frontend f
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    server kept {line} check-reuse-pool
""").program
    wait_until(lambda: len(connections()) >= 10, "ten checks")
    assert len(set(connections())) == 1
    seen = len(connections())
    ask_socket(tmp_path / "stats.sock", "set server app/kept state maint")
    ask_socket(tmp_path / "stats.sock", "set server app/kept state ready")
    wait_until(lambda: len(connections()) >= seen + 10, "ten more")
    assert len(set(connections())) <= 2 and "L7OK" in ask_socket(tmp_path / "stats.sock", "show stat")
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(10) is not None
