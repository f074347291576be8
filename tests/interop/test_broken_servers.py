"""Servers whose TLS is broken in six ways: six causes, in the status of checks, in the log of traffic, in records and metrics."""

from __future__ import annotations

import contextlib
import datetime
import json
import pathlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from headgate.tls.authority import Authority, issue, make_authority
from tests.interop.backends import Backend, LogReceiver, Wire, read_response
from tests.interop.conftest import StartProxy
from tests.interop.programs import ask_socket, wait_until
from tests.interop.strict_servers import StrictServer, server_context

DAY = datetime.timedelta(days=1)


def greeting(backend: Backend, wire: Wire) -> None:
    wire.send(b"220 mail.example ESMTP\r\n")
    wire.rest()


class Broken:
    """The servers, with what is said of each: cause, and words of the advice."""

    expected: ClassVar[dict[str, tuple[str, str]]] = {
        "stranger": ("server-certificate-unknown-ca", 'its issuer "CN=nobody you know"'),
        "expired": ("server-certificate-expired", "has expired on 20"),
        "name": ("server-certificate-wrong-name", "for the name 'www.example' that is verified: it is for other.example"),
        "address": ("server-certificate-wrong-name", "for the name '192.0.2.1' that is verified: it is for other.example"),
        "version": ("no-common-version", "Lower `ssl-min-ver`"),
        "certificate": ("server-requires-certificate", "Add `crt` with one that it accepts"),
        "certificate13": ("server-requires-certificate", "Add `crt` with one that it accepts"),
        "plain": ("not-tls", "ail.example ESMTP'"),
    }

    def __init__(self, authority: Authority, directory: pathlib.Path, stack: contextlib.ExitStack) -> None:
        now = datetime.datetime.now(datetime.UTC)
        old = {"not_before": now - 10 * DAY, "not_after": now - DAY}
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(authority.certificate_pem)
        issued = {
            "stranger": issue(make_authority("nobody you know"), ["www.example"]),
            "expired": issue(authority, ["www.example"], **old),
            "name": issue(authority, ["other.example"]),
            "good": issue(authority, ["www.example"]),
        }
        for name, one in issued.items():
            (directory / f"{name}.pem").write_bytes(one.pem)
        contexts = {name: server_context(directory / f"{name}.pem") for name in ("stranger", "expired", "name")}
        contexts["address"] = contexts["name"]
        contexts["version"] = server_context(directory / "good.pem", ssl.TLSVersion.TLSv1_2)
        # In TLS 1.3 a server says what it thinks of our certificate when our handshake is done.
        for name, version in (("certificate", ssl.TLSVersion.TLSv1_2), ("certificate13", ssl.TLSVersion.TLSv1_3)):
            contexts[name] = server_context(directory / "good.pem", version)
            contexts[name].verify_mode = ssl.CERT_REQUIRED
            contexts[name].load_verify_locations(self.ca)
        self.ports = {}
        for name, context in contexts.items():
            server = StrictServer(context)
            stack.callback(server.close)
            self.ports[name] = server.port
        plain = Backend(greeting)
        stack.callback(plain.close)
        self.ports["plain"] = plain.port

    def config(self, directory: pathlib.Path, options: str, log: int) -> str:
        named = "verifyhost www.example no-sni-auto check-sni www.example"
        # An address is verified, and not sent.
        own = {"version": f"{named} ssl-min-ver TLSv1.3", "address": "sni str(192.0.2.1) check-sni 192.0.2.1"}
        lines = "\n".join(
            f"    server {name} 127.0.0.1:{port} ssl ca-file {self.ca} {own.get(name, named)} {options}"
            for name, port in self.ports.items()
        )
        return f"""
global
    stats socket {directory}/stats.sock level admin
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    retries 0
frontend f
    bind 127.0.0.1:{{port}}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    default_backend app
backend app
    log 127.0.0.1:{log} local0
    use-server %[req.hdr(x-server)] if TRUE
{lines}
"""


@pytest.fixture
def broken(authority: Authority, tmp_path: pathlib.Path, stack: contextlib.ExitStack) -> Iterator[Broken]:
    yield Broken(authority, tmp_path, stack)


@pytest.mark.parametrize("workers", [1, 2])
def test_in_the_status_of_checks(
    broken: Broken, proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver, workers: int
) -> None:
    """And in records, which are those of the process that checks, in counters, and in what is said of key exchanges."""
    text = broken.config(tmp_path, "check inter 200ms", logs.port)
    proxy(text.replace("global\n", f"global\n    nbthread {workers}\n"))
    for name, (cause, words) in broken.expected.items():
        said = logs.line(f"Server app/{name} is DOWN", "Layer6 invalid response")
        assert cause in said and words.replace('"', ".") in said, said
    answer = ask_socket(tmp_path / "stats.sock", "show stat -1 4 -1")
    header, *rows = [line.split(",") for line in answer.removeprefix("# ").splitlines() if line]
    column = header.index("check_status")
    # With a star in front while the next check runs (management 9.1, check_status).
    assert {row[column].removeprefix("* ") for row in rows if len(row) > column} == {"L6RSP"}
    lines = json.loads(ask_socket(tmp_path / "stats.sock", "show ssl reuse json"))
    checks = {line["server"]: line for line in lines if line["kind"] == "checks"}
    assert set(checks) == set(broken.expected)
    for line in checks.values():  # a check may be between handshake and refusal
        assert line["failed"] and not line["resumed"] and line["full"] <= 1, line
    records = json.loads(ask_socket(tmp_path / "stats.sock", "show ssl handshakes failed json"))
    assert {(one["listener"], one["cause"]) for one in records} == {(name, cause) for name, (cause, _) in broken.expected.items()}
    assert {one["listener"] for one in records if one["sni"] is None} == {"address"}
    assert all("such failure" not in one["advice"] or "address" not in one["advice"] for one in records)

    def counted() -> set[str]:
        rows = json.loads(ask_socket(tmp_path / "stats.sock", "show ssl handshake-counters json"))["counters"]
        return {one["listener"] for one in rows if one["total"] > 1}

    wait_until(lambda: counted() == set(broken.expected), "two failures of each")
    # The others are only counted.
    assert len(json.loads(ask_socket(tmp_path / "stats.sock", "show ssl handshakes failed json"))) == len(broken.expected)
    shown = ask_socket(tmp_path / "stats.sock", "show ssl handshakes source 127.0.0.1")
    assert f"app/name 127.0.0.1:{broken.ports['name']} failed server-certificate-wrong-name" in shown


def test_in_traffic(
    broken: Broken, proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver
) -> None:
    at = proxy(broken.config(tmp_path, "", logs.port))

    def ask(target: str, server: str) -> bytes:
        wire = at.connect()
        wire.send(f"GET {target} HTTP/1.1\r\nhost: www.example\r\nx-server: {server}\r\nconnection: close\r\n\r\n".encode())
        response = read_response(wire)
        refused = 502 if server == "certificate13" else 503  # there, the connection stood
        assert response.status == (200 if target == "/metrics" else refused)
        return response.body

    for name, (cause, words) in broken.expected.items():
        ask("/", name)
        said = logs.line(f"Server app/{name}: TLS handshake failed")
        assert cause in said and words in said, said
    records = json.loads(ask_socket(tmp_path / "stats.sock", "show ssl handshakes failed json"))
    assert {(one["frontend"], one["listener"], one["cause"]) for one in records} == {
        ("app", name, cause) for name, (cause, _) in broken.expected.items()
    }
    metrics = ask("/metrics", "").decode()
    for name, (cause, _) in broken.expected.items():
        assert f'headgate_tls_handshake_failures_total{{proxy="app",listener="{name}",cause="{cause}"}} 1' in metrics


def one_server(directory: pathlib.Path, logs: LogReceiver, port: int, log_format: str, *, connect: str = "5s") -> str:
    """A site whose only server is on a port of this machine."""
    return f"""
global
    stats socket {directory}/stats.sock level admin
defaults
    mode http
    timeout connect {connect}
    timeout client 10s
    timeout server 10s
    retries 0
    log 127.0.0.1:{logs.port} local0
frontend f
    bind 127.0.0.1:{{port}}
    log-format "{log_format}"
    default_backend app
backend app
    server s1 127.0.0.1:{port} ssl verify none
"""


def test_servers_that_are_silent(
    proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver, stack: contextlib.ExitStack
) -> None:
    """`timeout connect` ends handshakes too: that is a failure with a cause, once, whatever the server says later."""
    speak, left = threading.Event(), threading.Event()

    def late(backend: Backend, wire: Wire) -> None:
        speak.wait(10)
        wire.send(b"no TLS\r\n")
        with contextlib.suppress(OSError):  # a reset will do
            wire.rest()
        left.set()

    mute = Backend(late)
    stack.callback(mute.close)
    at = proxy(one_server(tmp_path, logs, mute.port, "%ts %[bc_err_name] %[bc_err_str]", connect="200ms"))
    wire = at.connect()
    wire.send(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
    assert read_response(wire).status == 503
    said = logs.line("Server app/s1: TLS handshake failed")
    assert "timeout-after-client-hello: The server was silent" in said
    logs.line("sC SSL_TIMEOUT Timeout during SSL handshake")
    speak.set()
    assert left.wait(10)
    (record,) = json.loads(ask_socket(tmp_path / "stats.sock", "show ssl handshakes failed json"))
    assert record["cause"] == "timeout-after-client-hello"
    lines = json.loads(ask_socket(tmp_path / "stats.sock", "show ssl reuse json"))
    assert [(line["kind"], line["failed"]) for line in lines] == [("traffic", 1)]


def test_a_flood_of_failures_is_a_few_lines(
    broken: Broken, proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver
) -> None:
    at = proxy(broken.config(tmp_path, "", logs.port))
    for _ in range(30):
        wire = at.connect()
        wire.send(b"GET / HTTP/1.1\r\nhost: www.example\r\nx-server: plain\r\nconnection: close\r\n\r\n")
        assert read_response(wire).status == 503
    logs.line("Server app/plain: TLS handshake failed")
    assert sum("TLS handshake failed" in line for line in logs.lines) == 1


def test_tls_1_3_servers_refuse_behind_the_handshake(
    authority: Authority, tmp_path: pathlib.Path, stack: contextlib.ExitStack, proxy: StartProxy, logs: LogReceiver
) -> None:
    """A server that wants a certificate says so after our Finished: still a cause, not just a connection that broke."""
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "good.pem").write_bytes(issue(authority, ["www.example"]).pem)
    context = server_context(tmp_path / "good.pem", ssl.TLSVersion.TLSv1_3)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tmp_path / "ca.pem")
    server = StrictServer(context)
    stack.callback(server.close)
    at = proxy(f"""
global
    stats socket {tmp_path}/stats.sock level admin
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    retries 0
frontend f
    bind 127.0.0.1:{{port}}
    default_backend app
backend app
    log 127.0.0.1:{logs.port} local0
    option httpchk
    server s1 127.0.0.1:{server.port} ssl verify none no-sni-auto check inter 100ms fall 1
    server s2 127.0.0.1:{server.port} ssl verify none no-sni-auto
    use-server s2 if TRUE
""")
    down = logs.line("Server app/s1 is DOWN")
    assert "server-requires-certificate" in down
    wire = at.connect()
    wire.send(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
    assert read_response(wire).status in (502, 503)
    assert "server-requires-certificate" in logs.line("Server app/s2: TLS handshake failed")
    wait_until(lambda: "server-requires-certificate" in ask_socket(tmp_path / "stats.sock", "show ssl handshakes"), "the record")


#: What a server does with our ClientHello, and what `bc_err` says then (manual, fc_err_str).
GONE = {
    "closes": (24, "SSL_EMPTY", "Connection closed during SSL handshake"),
    "resets": (25, "SSL_ABORT", "Connection error during SSL handshake"),
    "begins": (24, "SSL_EMPTY", "Connection closed during SSL handshake"),
    "refuses": (34, "SSL_HANDSHAKE", "SSL handshake failure"),
}


@pytest.mark.parametrize("does", GONE)
def test_servers_that_go_in_the_handshake(
    proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver, stack: contextlib.ExitStack, does: str
) -> None:
    def go(backend: Backend, wire: Wire) -> None:
        wire.socket.recv(65536)
        if does == "resets":
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.socket.close()
        elif does != "closes":
            wire.send(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" if does == "begins" else b"\x15\x03\x03\x00\x02\x02\x28")
        wire.close()

    server = Backend(go)
    stack.callback(server.close)
    at = proxy(one_server(tmp_path, logs, server.port, "said %ts %[bc_err] %[bc_err_name] %[bc_err_str]"))
    wire = at.connect()
    wire.send(b"GET / HTTP/1.1\r\nhost: www.example\r\nconnection: close\r\n\r\n")
    assert read_response(wire).status == 503
    number, name, message = GONE[does]
    logs.line(f"said SC {number} {name} {message}")
