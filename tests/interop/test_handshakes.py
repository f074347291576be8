"""Handshakes that fail, by real clients: each has its cause and its advice, no alert is lost, and probes are no failures."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from headgate.observe.handshakes import FOLDING_PERIOD, LINES_MOST
from headgate.tls.authority import Authority, issue, make_authority
from tests.interop.backends import LogReceiver
from tests.interop.conftest import Proxy, StartProxy
from tests.interop.handshake_clients import Visit, hello_of
from tests.interop.programs import ask_socket, start_subject, wait_until
from tests.interop.strict_servers import packets_received
from tests.interop.tls_client import TLS_1_2, TLS_1_3, client_context
from tests.interop.tls_records import ALERT, HANDSHAKE, ClientSide, record

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
_VERSIONS = {"1.2": TLS_1_2, "1.3": TLS_1_3}
NAME = "site.example"


class Scene:
    """A running headgate with one TLS frontend, and what it says about handshakes."""

    def __init__(self, proxy: Proxy, directory: pathlib.Path, logs: LogReceiver) -> None:
        self.port = proxy.port
        self.program = proxy.program
        self.directory = directory
        self.logs = logs
        self._socket = directory / "stats"
        self._begun = time.monotonic()

    def ask(self, command: str) -> str:
        return ask_socket(self._socket, command)

    def handshakes(self, words: str = "failed") -> list[dict[str, Any]]:
        found = json.loads(self.ask(f"show ssl handshakes {words} json last 1024"))
        assert isinstance(found, list)
        return found

    def total(self, cause: str) -> int:
        rows = json.loads(self.ask("show ssl handshake-counters json"))["counters"]
        return sum(row["total"] for row in rows if row["cause"] == cause)

    def await_total(self, cause: str, count: int) -> None:
        wait_until(
            lambda: self.total(cause) >= count, lambda: f"{count} times {cause}: {self.ask('show ssl handshake-counters')}"
        )
        assert self.total(cause) == count

    def record(self, cause: str) -> dict[str, Any]:
        """The one record of that cause; its advice is in the log too."""
        self.await_total(cause, 1)
        (one,) = self.handshakes(f"cause {cause}")
        return one

    def logged(self, cause: str) -> int:
        """Failures that the log tells of: lines of their own, and those that are folded."""
        lines = [line for line in self.logs.lines if f"({cause}: " in line]
        folded = [int(found[1]) for line in lines if (found := re.search(r": (\d+) more in the last", line))]
        return len(lines) - len(folded) + sum(folded)

    def most_lines(self) -> int:
        """Lines that one worker may have logged by now of failures of one kind, since a flood is folded."""
        periods = 1 + (time.monotonic() - self._begun) // FOLDING_PERIOD
        return int(periods) * (LINES_MOST + 1)

    def raw(self, data: bytes = b"") -> socket.socket:
        """A connection that has sent this."""
        connection = socket.create_connection(("127.0.0.1", self.port), 20)
        connection.sendall(data)
        return connection


@pytest.fixture
def scene(proxy: StartProxy, tmp_path: pathlib.Path, logs: LogReceiver, authority: Authority) -> Callable[..., Scene]:
    (tmp_path / "site.pem").write_bytes(issue(authority, [NAME]).pem)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "other.pem").write_bytes(make_authority("Other CA").certificate_pem)

    def start(options: str = "", *, frontend: str = "", lines: str = "", workers: int = 1) -> Scene:
        config = f"""
global
    nbthread {workers}
    stats socket {tmp_path}/stats level admin
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    log 127.0.0.1:{logs.port} len 8192 local0
    {lines}
frontend web
    bind 127.0.0.1:{{port}} name tls ssl crt {tmp_path}/site.pem {options}
    {frontend}
    http-request return status 200 content-type text/plain string ok
"""
        return Scene(proxy(config), tmp_path, logs)

    return start


def s_client(scene: Scene, *arguments: str) -> str:
    """OpenSSL's own client; answers what it printed."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{scene.port}", "-servername", NAME, *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def packets_of_an_answer(running: Scene, context: ssl.SSLContext) -> int:
    """How many packets come behind the server's first flight, when the request is sent together with our Finished."""
    client = ClientSide(running.directory, context, NAME)
    with running.raw() as sock:
        client.read_flight(sock)
        before = packets_received(sock)
        sock.sendall(client.answer + client.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        answer = b""
        while not answer.endswith(b"ok"):
            answer += client.hear(sock.recv(65536))
        return packets_received(sock) - before


def test_a_request_that_comes_with_the_handshake_is_answered_with_the_tickets(scene: Callable[..., Scene]) -> None:
    """One packet, not three, and one turn of the loop; unless it is here before the server has looked for it the first time."""
    running = scene()
    context = ssl.create_default_context(cafile=str(running.directory / "ca.pem"))
    assert min(packets_of_an_answer(running, context) for _ in range(10)) == 1


# --- a client that rejects our certificate: its alert is never lost ---


def _openssl(scene: Scene, version: str) -> None:
    untrusting = ("-CAfile", str(scene.directory / "other.pem"), "-verify_return_error", f"-tls{version.replace('.', '_')}")
    assert "unable to" in s_client(scene, *untrusting)


def _python(scene: Scene, version: str) -> None:
    context = ssl.create_default_context(cafile=str(scene.directory / "other.pem"))
    context.minimum_version = context.maximum_version = _VERSIONS[version]
    with socket.create_connection(("127.0.0.1", scene.port), 20) as sock, pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(sock, server_hostname=NAME)


def _curl(scene: Scene, version: str) -> None:
    command = [
        "curl", "-sS", "--cacert", str(scene.directory / "other.pem"), f"--tlsv{version}", "--tls-max", version,
        "--connect-to", f"{NAME}:443:127.0.0.1:{scene.port}", f"https://{NAME}/",
    ]  # fmt: skip
    assert subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 60


@VERSIONS
@pytest.mark.parametrize(
    ("client", "times"),
    [
        pytest.param(_python, 100, id="python"),
        pytest.param(_openssl, 20, id="openssl", marks=pytest.mark.needs("openssl")),
        pytest.param(_curl, 20, id="curl", marks=pytest.mark.needs("curl")),
        pytest.param(_openssl, 100, id="openssl-100", marks=[pytest.mark.needs("openssl"), pytest.mark.slow]),
        pytest.param(_curl, 100, id="curl-100", marks=[pytest.mark.needs("curl"), pytest.mark.slow]),
    ],
)
def test_no_alert_is_lost(scene: Callable[..., Scene], client: Callable[[Scene, str], None], times: int, version: str) -> None:
    running = scene(workers=2)
    for _ in range(times):
        client(running, version)
    running.await_total("client-rejected-certificate-unknown-ca", times)
    kept = running.handshakes("cause client-rejected-certificate-unknown-ca")
    assert len(kept) == times and {one["alert_received"] for one in kept} == {"unknown_ca"}
    one = kept[0]
    assert (one["sni"], one["step"], one["ended_by"], one["result"]) == (NAME, "certificate", "peer", "failed")
    assert one["offered"]["ja4"].startswith("t1") and one["allowed"]["line"].endswith(".cfg:13")
    assert "No intermediate CA is sent with it" in one["advice"]
    line = running.logs.line("client-rejected-certificate-unknown-ca")
    assert re.search(r"127\.0\.0\.1:\d+ \[[^]]+\] web/tls: SSL handshake failure \(client-rejected", line), line
    lines = [line for line in running.logs.lines if "client-rejected-certificate-unknown-ca" in line]
    assert len(lines) <= 2 * running.most_lines(), "a flood is folded"


@pytest.mark.parametrize("mode", ["http", "tcp"])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
def test_a_client_that_rejects_when_all_is_said(
    scene: Callable[..., Scene], tmp_path: pathlib.Path, authority: Authority, mode: str, reset: bool
) -> None:
    """With TLS 1.3 an alert may come behind the client's Finished, when the handshake is over for us: it failed all the same."""
    inspect = "mode tcp\n    tcp-request inspect-delay 5s\n    tcp-request content accept if { req.len gt 0 }"
    (tmp_path / "rsa.pem").write_bytes(issue(authority, [NAME], key="rsa").pem)
    running = scene(f"crt {tmp_path}/rsa.pem", frontend=inspect if mode == "tcp" else "")
    client = ClientSide(running.directory, client_context(running.directory, version=TLS_1_3), NAME)
    unknown_ca = bytes([2, 48])
    with running.raw() as sock:
        client.read_flight(sock)
        sock.sendall(client.answer + client.enciphered(ALERT, unknown_ca, secret="CLIENT_TRAFFIC_SECRET_0"))
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    record = running.record("client-rejected-certificate-unknown-ca")
    assert (record["alert_received"], record["step"], record["chosen"]["version"]) == ("unknown_ca", "established", "TLSv1.3")
    assert record["chosen"]["certificates"] == [str(tmp_path / "site.pem")]
    assert running.handshakes("ok") == [] and running.total("closed-without-request") == 0
    assert "SSL handshake failure (client-rejected-certificate-unknown-ca: " in running.logs.line("SSL handshake failure")
    assert "BADREQ" not in "".join(running.logs.lines)


@pytest.mark.needs("openssl")
def test_renegotiation_is_refused(scene: Callable[..., Scene]) -> None:
    running = scene()
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{running.port}", "-tls1_2", "-legacy_renegotiation"]
    subprocess.run(command, input=b"R\n", capture_output=True, timeout=20, check=False)
    assert running.record("renegotiation-refused")["step"] == "established"


# --- probes ---


def test_probes_are_counted_apart_and_not_logged_as_failures(scene: Callable[..., Scene]) -> None:
    running = scene(lines="option dontlognull")
    for _ in range(3):
        running.raw().close()
    running.await_total("closed-before-any-byte", 3)
    for _ in range(3):
        reset = running.raw()
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.close()
    wait_until(lambda: running.total("reset-before-any-byte") + running.total("closed-before-any-byte") == 6, "six probes")
    for version in _VERSIONS.values():
        context = client_context(running.directory, version=version)
        for _ in range(5):
            with running.raw() as sock, context.wrap_socket(sock, server_hostname=NAME):
                pass
    running.await_total("closed-without-request", 10)
    assert running.handshakes("failed") == []
    assert json.loads(running.ask("show headgate"))["tls"]["failures"] == 0
    assert not [line for line in running.logs.lines if "SSL" in line], running.logs.lines


@pytest.mark.parametrize("checker", [pytest.param("haproxy", marks=pytest.mark.needs("haproxy")), "headgate"])
@pytest.mark.parametrize("lines", ["", "option httplog", "option httpslog", "option dontlognull"])
def test_checks_are_probes(
    scene: Callable[..., Scene], stack: contextlib.ExitStack, tmp_path: pathlib.Path, lines: str, checker: str
) -> None:
    """Layer-6 checks finish the handshake and close, some with a reset: none is a failure, none is logged."""
    running = scene(lines=lines)
    config = f"""
global
    stats socket {tmp_path}/checker
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend unused
    bind {tmp_path}/unused
    default_backend checked
backend checked
    server one 127.0.0.1:{running.port} check inter 250ms ssl verify none
"""
    stack.callback(start_subject(checker, config, tmp_path, (), name="checks").stop)
    wait_until(lambda: running.total("closed-without-request") >= 12, "a dozen checks")
    assert "L6OK" in ask_socket(tmp_path / "checker", "show stat")
    assert running.handshakes("failed") == []
    assert not [line for line in running.logs.lines if "SSL" in line or "BADREQ" in line or "Connect from" in line]
    assert json.loads(running.ask("show headgate"))["tls"]["failures"] == 0


def test_null_connections_are_logged_without_dontlognull(scene: Callable[..., Scene]) -> None:
    """As the manual has it."""
    running = scene()
    running.raw().close()
    assert "web/tls: Connection closed during SSL handshake (closed-before-any-byte: " in running.logs.line("SSL handshake")


# --- timeouts, at each step ---


def test_timeouts_say_where(scene: Callable[..., Scene]) -> None:
    running = scene(frontend="timeout client-hs 300ms")
    with running.raw(), running.raw(b"\x16\x03\x01\x02\x00\x01"):
        record = running.record("timeout-in-client-hello")
        assert record["bytes_in"] == 6 and "6 bytes received" in record["advice"] and record["ended_by"] == "timeout"
        assert running.record("timeout-before-any-byte")["step"] == "connected"
    line = running.logs.line("Timeout during SSL handshake (timeout-in-client-hello: ")
    assert "for 0.3 s" in line


@pytest.mark.parametrize(
    ("sizes", "pause", "words"),
    [
        ((5, 295), 0.02, "was silent in its ClientHello for 1 s, 300 bytes received."),
        ((20,) * 4, 0.3, "was too slow in its ClientHello: 80 bytes received in 1 s, the last of them 0."),
    ],
)
def test_a_timeout_counts_all_that_came(scene: Callable[..., Scene], sizes: tuple[int, ...], pause: float, words: str) -> None:
    running = scene(frontend="timeout client-hs 1s")
    hello = record(HANDSHAKE, b"\1\0\1\xfc" + bytes(508))
    with running.raw() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in sizes:
            sock.sendall(hello[:size])
            hello = hello[size:]
            time.sleep(pause)
        found = running.record("timeout-in-client-hello")
    assert found["bytes_in"] == sum(sizes) and words in found["advice"], found["advice"]


def test_a_timeout_behind_the_certificate(scene: Callable[..., Scene]) -> None:
    running = scene(frontend="timeout client-hs 300ms")
    outgoing = ssl.MemoryBIO()
    client = client_context(running.directory).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with running.raw(outgoing.read()):
        record = running.record("timeout-after-certificate")
    assert (record["sni"], record["step"]) == (NAME, "certificate")
    assert record["chosen"]["certificates"] == [str(running.directory / "site.pem")]


# --- what is no TLS, or too old ---


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain-http"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not-tls"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy-header-unexpected"),
        (bytes([0x80, 0x2E, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]) + bytes(0x25), "sslv2-hello"),
        (b"\x16\x03\x01\xff\xff" + b"x" * 100, "record-too-large"),
    ],
)
def test_what_is_no_tls(scene: Callable[..., Scene], data: bytes, cause: str) -> None:
    running = scene()
    with running.raw(data):
        record = running.record(cause)
    assert f"SSL handshake failure ({cause}: " in running.logs.line("SSL handshake failure")
    assert record["advice"]


@pytest.mark.parametrize(
    ("pieces", "cause", "alert"),
    [
        ((b"\x15\x03\x01\x00\x02\x02\x28",), "peer-alert", "handshake_failure"),
        ((b"\x15\x03", b"\x01\x00\x02\x02\x30"), "peer-alert", "unknown_ca"),
        ((b"\x15\x03\x01\x00\x02\x01\x5a\x15\x03\x01\x00\x02\x01\x00",), "peer-cancelled", "user_canceled"),
        ((b"\x15\x03\x01\x00\x02\x01\x00",), "closed-before-any-byte", "close_notify"),
    ],
)
def test_an_alert_is_all_that_comes(scene: Callable[..., Scene], pieces: tuple[bytes, ...], cause: str, alert: str) -> None:
    running = scene()
    with running.raw() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.05)
        running.await_total(cause, 1)
        (record,) = running.handshakes(f"probes cause {cause}" if cause.startswith("closed") else f"cause {cause}")
    assert (record["alert_received"], record["ended_by"], record["step"]) == (alert, "peer", "connected")
    assert "before a ClientHello" in record["advice"] or cause == "peer-cancelled"


@pytest.mark.needs("openssl")
def test_a_client_that_has_nothing_to_offer(scene: Callable[..., Scene]) -> None:
    running = scene()
    assert "no ciphers available" in s_client(running, "-tls1_2", "-sigalgs", "RSA+SHA1")
    assert running.record("peer-alert")["alert_received"] == "internal_error"


@pytest.mark.needs("openssl")
def test_an_old_client_has_its_name_and_its_offer(scene: Callable[..., Scene]) -> None:
    running = scene()
    s_client(running, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    record = running.record("no-common-version")
    assert record["sni"] == NAME and record["alert_sent"] == "protocol_version"
    assert record["openssl"] == {"number": 258, "text": "unsupported protocol"}
    assert record["advice"].startswith("The client offers TLS 1.1 at most; ")
    assert "`ssl-min-ver TLSv1.1` on that bind line and `ciphers DEFAULT:@SECLEVEL=0`." in record["advice"]
    text = running.ask("show ssl handshakes failed")
    assert "no-common-version sni=site.example step=negotiation" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_count_that_waits_is_logged_when_the_process_ends(scene: Callable[..., Scene], number: signal.Signals) -> None:
    running = scene()
    for _ in range(LINES_MOST + 5):
        with running.raw(b"GET / HTTP/1.0\r\n\r\n"):
            pass
    running.await_total("plain-http", LINES_MOST + 5)
    running.program.signal(number)
    assert ": 5 more in the last" in running.logs.line("more in the last")


@pytest.mark.needs("openssl")
def test_a_proxy_header_is_missing(scene: Callable[..., Scene]) -> None:
    running = scene("accept-proxy")
    s_client(running)
    assert "send-proxy" in running.record("proxy-header-expected")["advice"]


@pytest.mark.parametrize("headers", [1, 2])
def test_a_proxy_header_too_much(scene: Callable[..., Scene], headers: int) -> None:
    running = scene("accept-proxy" if headers > 1 else "")
    with running.raw(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" * headers):
        record = running.record("proxy-header-unexpected")
    assert ("Add `accept-proxy` to it" in record["advice"]) is (headers == 1)
    assert ("Two PROXY protocol headers came" in record["advice"]) is (headers == 2)


def test_a_hello_in_pieces(scene: Callable[..., Scene]) -> None:
    """What could not be peeked at once is known all the same."""
    running = scene("strict-sni")
    outgoing = ssl.MemoryBIO()
    client = client_context(running.directory).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="else.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with running.raw() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(hello), 7):
            sock.sendall(hello[start : start + 7])
        record = running.record("no-certificate-for-name")
    assert record["sni"] == "else.example" and record["offered"]["versions"]


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("request_first", [False, True])
def test_a_refused_renegotiation_is_logged_before_and_after_a_request(scene: Callable[..., Scene], request_first: bool) -> None:
    running = scene()
    command = ["openssl", "s_client", "-tls1_2", "-legacy_renegotiation", "-connect", f"127.0.0.1:{running.port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None and client.stdout is not None
        if request_first:
            client.stdin.write(b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n")
            client.stdin.flush()
            while not client.stdout.readline().startswith(b"HTTP/1.1 200 "):
                pass
        else:
            while not client.stdout.readline().startswith(b"---"):
                pass
        client.stdin.write(b"R\n")
        client.stdin.flush()
        record = running.record("renegotiation-refused")
        client.kill()
    assert record["result"] == "failed" and record["step"] == "established"
    line = running.logs.line("renegotiation-refused: ")
    assert "Rejected a client-initiated SSL renegotiation attempt (" in line


# --- blocking who fails ---


def test_a_rule_can_block_an_offender(scene: Callable[..., Scene]) -> None:
    running = scene(frontend="""stick-table type ip size 100 expire 1m store tls_fail_cnt,tls_fail_rate(10s)
    tcp-request connection reject if { src_tls_fail_cnt ge 3 }
    tcp-request connection track-sc0 src""")
    for _ in range(3):
        with running.raw(b"GET / HTTP/1.1\r\n\r\n") as sock:
            assert sock.recv(100) == b""
    running.await_total("plain-http", 3)
    with running.raw() as sock:
        assert sock.recv(100) == b""
    assert "tls_fail_cnt=3 tls_fail_rate(10000)=3" in running.ask("show table web")
    assert json.loads(running.ask("show headgate"))["tls"]["failures"] == 3


def test_behind_a_proxy_the_client_is_the_offender(scene: Callable[..., Scene]) -> None:
    """Rules for sessions never see a handshake that fails, but what they track is where it counts."""
    running = scene("accept-proxy", frontend="""stick-table type ip size 100 expire 1m store conn_cnt,tls_fail_cnt
    tcp-request session reject if { src_tls_fail_cnt ge 3 }
    tcp-request session track-sc0 src""")
    for _ in range(3):
        with running.raw(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\nGET / HTTP/1.1\r\n\r\n") as sock:
            assert sock.recv(100) == b""
    running.await_total("plain-http", 3)
    with running.raw(b"PROXY TCP9 192.0.2.7 192.0.2.1 4711 443\r\n"):
        running.await_total("proxy-header-invalid", 1)
    (entry,) = (line for line in running.ask("show table web").splitlines() if "key=" in line)
    assert "key=192.0.2.7 " in entry and "conn_cnt=0 tls_fail_cnt=3" in entry, "the proxy is not blamed for its clients"
    for client, served in ((b"192.0.2.7", b""), (b"192.0.2.8", b"HTTP/1.1 200 ")):
        found = b""
        with running.raw(b"PROXY TCP4 %b 192.0.2.1 4711 443\r\n" % client) as sock, contextlib.suppress(OSError):
            with client_context(running.directory).wrap_socket(sock, server_hostname=NAME) as wrapped:
                wrapped.sendall(b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n")
                found = wrapped.recv(13)
        assert found == served


def test_the_log_can_have_it_as_json(scene: Callable[..., Scene]) -> None:
    running = scene(lines="error-log-format %{+bin}o%[ssl_fc_handshake]")
    with running.raw(b"GET / HTTP/1.1\r\n\r\n"):
        line = running.logs.line('"cause":"plain-http"')
    record = json.loads(line[line.index("{"):])
    assert (record["result"], record["frontend"], record["listener"]) == ("failed", "web", "tls")


def test_a_flood_is_one_line_with_a_count(scene: Callable[..., Scene]) -> None:
    running = scene()
    threads = [threading.Thread(target=lambda: [running.raw(b"HELLO\r\n").close() for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running.await_total("not-tls", 200)
    lines = [line for line in running.logs.lines if "(not-tls: " in line]
    assert len(lines) <= running.most_lines()


@pytest.mark.slow
def test_a_large_flood(scene: Callable[..., Scene], tmp_path: pathlib.Path) -> None:
    """20,000 failures of raw sockets: memory stays, the log is short, and what was folded adds up."""
    running = scene(lines="option dontlognull")
    hello = hello_of()(Visit(0, "1.3", tmp_path))[:100]

    def visit(count: int) -> None:
        for number in range(count):
            running.raw(b"GET / HTTP/1.0\r\n\r\n" if number % 2 else hello).close()

    def flood(count: int) -> None:
        threads = [threading.Thread(target=visit, args=(count,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    causes = ("plain-http", "closed-in-client-hello")
    flood(1000)  # fills the rings
    for cause in causes:
        running.await_total(cause, 2000)
    before = running.program.resident_kb()
    flood(4000)
    for cause in causes:
        running.await_total(cause, 10_000)
    assert running.program.resident_kb() - before < 5_000
    assert json.loads(running.ask("show headgate"))["tls"]["failures"] == 20_000
    for cause in causes:
        wait_until(lambda cause=cause: running.logged(cause) == 10_000, f"10000 in the log: {running.logged(cause)}", 60.0)
    assert len(running.logs.lines) <= len(causes) * running.most_lines()
