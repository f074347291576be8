"""Load generators. Each drives one listener for some seconds and answers how many units it did; what the generator itself costs
does not matter, since only the subjects' CPU time is read. Called by `bench.run`, as functions or as processes pinned to the
other CPU.
"""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence

GIGABYTE = 1 << 30
_BROWSER_HEADERS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://www.example.com/some/page.html",
    "Cookie: session=8c1f2b7a90d34e5fa6; theme=dark; consent=yes",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Cache-Control: max-age=0",
)
_LOCAL_REQUEST = b"GET /local HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n"


class LoadFailed(Exception):
    """The generator saw errors, so its figures would say nothing."""


def wrk(url: str, seconds: float, *, connections: int = 32, headers: Sequence[str] = ()) -> float:
    """Requests done by wrk in `seconds` over keep-alive connections."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    for header in headers:
        command += ["-H", header]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
    count = re.search(r"(\d+) requests in", done.stdout)
    faults = re.findall(r"Non-2xx or 3xx responses: \d+|Socket errors: [^\n]+", done.stdout)
    # wrk counts the connections that it drops at the end of a read as errors where the peer closes; only a share matters
    bad = sum(int(number) for fault in faults for number in re.findall(r"\d+", fault.split(":", 1)[1]))
    if count is None or int(count[1]) == 0 or bad > int(count[1]) // 100:
        raise LoadFailed("; ".join(faults) or done.stderr or done.stdout)
    return float(count[1])


def small_get(port: int, seconds: float) -> float:
    return wrk(f"http://127.0.0.1:{port}/", seconds)


def browser_get(port: int, seconds: float) -> float:
    return wrk(f"http://127.0.0.1:{port}/", seconds, headers=_BROWSER_HEADERS)


def get_64k(port: int, seconds: float) -> float:
    return wrk(f"http://127.0.0.1:{port}/64k", seconds)


def new_connections(port: int, seconds: float) -> float:
    return wrk(f"http://127.0.0.1:{port}/", seconds, headers=("Connection: close",))


def tls_get(port: int, seconds: float) -> float:
    return wrk(f"https://127.0.0.1:{port}/", seconds)


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _exchange(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """One connection with one locally answered request; the session to resume next."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        with context.wrap_socket(plain, server_hostname="bench.example", session=session) as secure:
            if secure.session_reused != (session is not None):
                raise LoadFailed("the session was not resumed" if session else "resumed without being asked")
            secure.sendall(_LOCAL_REQUEST)
            answer = secure.recv(4096)
            while part := secure.recv(4096):
                answer += part
            if not answer.startswith(b"HTTP/1.1 200"):
                raise LoadFailed(f"answered {answer[:80]!r}")
            return secure.session


def full_handshakes(port: int, seconds: float) -> float:
    """Full TLS 1.3 handshakes, each with one request that the subject answers by itself."""
    context = _client_context()
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        _exchange(context, port, None)
        count += 1
    return float(count)


def resumed_handshakes(port: int, seconds: float) -> float:
    """TLS 1.3 handshakes that each resume the session of the one before."""
    context = _client_context()
    session = _exchange(context, port, None)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        session = _exchange(context, port, session)
        if session is None:
            raise LoadFailed("no session to resume was offered")
        count += 1
    return float(count)


def _request_gigabyte(connection: socket.socket) -> None:
    connection.sendall(b"GET /1g HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n")


def passthrough_gigabytes(port: int, seconds: float) -> float:
    """Gigabytes read through a TCP relay, one connection after the other."""
    buffer = bytearray(1 << 20)
    total, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            _request_gigabyte(connection)
            # MSG_TRUNC makes TCP throw the bytes away without copying them (tcp(7))
            while count := connection.recv_into(buffer, len(buffer), socket.MSG_TRUNC):
                total += count
    return _checked(total)


def tls_gigabytes(port: int, seconds: float) -> float:
    """Gigabytes downloaded over TLS."""
    context = _client_context()
    buffer = bytearray(1 << 18)
    total, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as secure:
            _request_gigabyte(secure)
            while count := secure.recv_into(buffer):
                total += count
    return _checked(total)


def _checked(total: int) -> float:
    if total % GIGABYTE > 1 << 20 or total < GIGABYTE:
        raise LoadFailed(f"{total} bytes received: not whole files")
    return total / GIGABYTE


def open_idle(port: int, count: int, *, secure: bool) -> list[socket.socket]:
    """Open `count` connections, make one request on each, leave them idle. The caller closes them."""
    context = _client_context()
    opened: list[socket.socket] = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), 10)
        if secure:
            connection = context.wrap_socket(connection)
        opened.append(connection)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n")
        answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise LoadFailed(f"answered {answer[:80]!r} on connection {len(opened)}")
    return opened
