"""Access log lines as a syslog server gets them: fields, timers, termination states (manual 8)."""

from __future__ import annotations

import pathlib
import re
import socket
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, LogReceiver, Wire, answer, read_head, read_request, read_response, response
from tests.interop.conftest import StartProxy
from tests.interop.programs import free_port
from tests.interop.test_http_messages import GET, one_server
from tests.interop.tls_client import client_context, visit

MakeBackend = Callable[..., Backend]

HTTP_LINE = re.compile(
    r"127\.0\.0\.1:(?P<client_port>\d+) \[(?P<date>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] (?P<frontend>\S+) "
    r"(?P<backend>[^/ ]+)/(?P<server>\S+) (?P<timers>[-+\d/]+) (?P<status>-?\d+) (?P<bytes>\+?\d+) (?P<request_cookie>\S+) "
    r"(?P<response_cookie>\S+) (?P<state>\S{4}) (?P<counters>[+\d/]+) (?P<queues>\d+/\d+) "
    r"(?:\{(?P<captured>[^}]*)\} )*\"(?P<request>.*)\"$"
)


def log_line(logs: LogReceiver, *parts: str) -> re.Match[str]:
    """The first access log line with these parts, taken apart."""
    line = logs.line(*parts)
    match = HTTP_LINE.search(line)
    assert match, line
    return match


def test_httplog(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    server = backend(answer(response(b"hello")))
    client = proxy(one_server(server, f"log 127.0.0.1:{logs.port} local0", "option httplog")).connect()
    client.send(GET)
    read_response(client)
    line = log_line(logs, "GET / HTTP/1.1")
    assert int(line["client_port"]) == client.socket.getsockname()[1]
    assert (line["frontend"], line["backend"], line["server"]) == ("web", "web", "one")
    assert (line["status"], line["state"], line["queues"]) == ("200", "----", "0/0")
    assert (line["request_cookie"], line["response_cookie"]) == ("-", "-")
    assert re.fullmatch(r"\d+/0/\d+/\d+/\d+", line["timers"])
    assert re.fullmatch(r"1/1/0/0/0", line["counters"])
    assert int(line["bytes"]) >= 5
    whole = logs.line("GET / HTTP/1.1")
    assert whole.startswith("<134>")  # local0.info
    assert "haproxy[" in whole


def test_tcplog(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    lines = ("mode tcp", f"log 127.0.0.1:{logs.port} local0", "option tcplog")
    client = proxy(one_server(backend(answer(response(b"12345"))), *lines)).connect()
    client.send(GET)
    read_response(client)
    client.close()
    line = logs.line("web/one")
    assert re.search(r"\] web web/one \d+/\d+/\d+ \d+ -- 1/1/0/0/0 0/0$", line), line


def _fails(wire_work: Callable[[Wire], None]) -> Callable[[Backend, Wire], None]:
    def serve(server: Backend, wire: Wire) -> None:
        server.record(read_request(wire))
        wire_work(wire)

    return serve


def _partial(wire: Wire) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def _silent(wire: Wire) -> None:
    wire.rest()


def _partial_then_silent(wire: Wire) -> None:
    _partial(wire)
    wire.rest()


def _silent_after_half(server: Backend, wire: Wire) -> None:
    head = read_head(wire)
    wire.exactly(len(b"half"))  # what follows is the end of the connection, not of a race to connect
    server.record(head)
    wire.rest()


@pytest.mark.parametrize(
    ("work", "status", "state"),
    [
        (lambda wire: None, 502, "SH--"),
        (lambda wire: wire.send(b"nonsense\r\n\r\n"), 502, "PH--"),
        (lambda wire: wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), 502, "PH--"),
        (_silent, 504, "sH--"),
        (_partial, 200, "SD--"),
        (_partial_then_silent, 200, "sD--"),
    ],
    ids=["closes", "nonsense", "two lengths", "silent", "dies in the body", "stalls in the body"],
)
def test_states_of_failing_servers(
    work: Callable[[Wire], None], status: int, state: str,
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str,
) -> None:
    lines = (f"log 127.0.0.1:{logs.port} local0", "option httplog", "retries 0", "timeout server 300ms")
    client = proxy(one_server(backend(_fails(work)), *lines)).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answered = client.rest()
    assert answered.startswith(b"HTTP/1.1 %d " % status), answered
    line = log_line(logs, "GET / HTTP/1.1")
    assert (int(line["status"]), line["state"]) == (status, state)


def test_server_that_refuses(proxy: StartProxy, logs: LogReceiver, subject: str) -> None:
    config = f"""
listen web
    bind 127.0.0.1:{{port}}
    log 127.0.0.1:{logs.port} local0
    option httplog
    retries 0
    server one 127.0.0.1:{free_port()}
"""
    client = proxy(config).connect()
    client.send(GET)
    assert read_response(client).status == 503
    line = log_line(logs, "GET / HTTP/1.1")
    assert (line["status"], line["state"], line["server"]) == ("503", "SC--", "one")


def test_request_that_never_completes(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    lines = (f"log 127.0.0.1:{logs.port} local0", "option httplog", "timeout http-request 300ms")
    client = proxy(one_server(backend(), *lines)).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    assert read_response(client).status == 408
    assert client.at_end()
    line = log_line(logs, " 408 ")
    assert (line["state"], line["server"]) == ("cR--", "<NOSRV>")


def test_client_that_leaves_in_its_request(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    lines = (f"log 127.0.0.1:{logs.port} local0", "option httplog")
    client = proxy(one_server(backend(), *lines)).connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    client.close()
    assert log_line(logs, "CR--")["server"] == "<NOSRV>"


def test_client_that_leaves_in_its_body(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    lines = (f"log 127.0.0.1:{logs.port} local0", "option httplog")
    server = backend(_silent_after_half)
    client = proxy(one_server(server, *lines)).connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
    server.wait_for(lambda self: self.requests, "the request reaches the server")
    client.close()
    assert log_line(logs, "POST / HTTP/1.1")["state"] in ("CH--", "CD--")
    server.wait_for(lambda self: not self.open_connections, "the server is told")


def test_client_that_leaves_while_answered(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    lines = (f"log 127.0.0.1:{logs.port} local0", "option httplog")
    client = proxy(one_server(backend(answer(response(bytes(64 << 20)))), *lines)).connect()
    client.send(GET)
    client.exactly(1000)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    line = log_line(logs, "GET / HTTP/1.1")
    assert (line["status"], line["state"]) in (("200", "CD--"), ("200", "CL--"))


def test_connection_without_a_byte_is_not_logged_with_dontlognull(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str
) -> None:
    lines = (f"log 127.0.0.1:{logs.port} local0", "option httplog", "option dontlognull")
    started = proxy(one_server(backend(), *lines))
    started.connect().close()
    client = started.connect()
    client.send(GET)
    read_response(client)
    log_line(logs, "GET / HTTP/1.1")
    assert not [line for line in logs.lines if "BADREQ" in line or "NOSRV" in line]


def test_captures_cookie_and_own_format(proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    server = backend(answer(response(b"x", "200 OK", "Server: thing/1")))
    lines = (
        f"log 127.0.0.1:{logs.port} len 4096 format raw local0",
        "capture request header Host len 20", "capture response header Server len 5",
        'log-format "client=%ci backend=%b server=%s status=%ST state=%ts bytes=%B req=%{+Q}r caps=%hr|%hs method=%HM path=%HP"',
    )
    client = proxy(one_server(server, *lines)).connect()
    client.send(b"GET /p?q=1 HTTP/1.1\r\nHost: site.example\r\n\r\n")
    read_response(client)
    line = logs.line("client=")
    assert line.startswith("client=127.0.0.1 backend=web server=one status=200 state=-- bytes="), line
    assert line.endswith('req="GET /p?q=1 HTTP/1.1" caps={site.example}|{thing} method=GET path=/p'), line


def test_unix_datagram_socket(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path, subject: str) -> None:
    receiver = LogReceiver(str(tmp_path / "log.sock"))
    try:
        lines = (f"log {tmp_path}/log.sock format rfc5424 local3 info", "option httplog")
        client = proxy(one_server(backend(), *lines)).connect()
        client.send(GET)
        read_response(client)
        line = receiver.line("GET / HTTP/1.1")
        assert re.match(r"<158>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line), line
    finally:
        receiver.close()


def test_stdout(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    started = proxy(one_server(backend(), "log stdout format raw local0", "option httplog"))
    client = started.connect()
    client.send(GET)
    read_response(client)
    started.program.await_output('"GET / HTTP/1.1"')


@pytest.mark.parametrize("line", ["option dontlog-normal", "http-request set-log-level silent if { path /good }"])
def test_lines_that_are_left_out(line: str, proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str) -> None:
    lines = (f"log 127.0.0.1:{logs.port} local0", "option httplog", "retries 0", line)
    server = backend(answer(lambda request: b"broken\r\n\r\n" if request.target == "/bad" else response(b"ok")))
    client = proxy(one_server(server, *lines)).connect()
    for target, status in (("/good", 200), ("/bad", 502)):
        client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert read_response(client).status == status
    log_line(logs, "/bad")
    assert not [one for one in logs.lines if "/good" in one]


def test_log_line_of_a_tls_frontend(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, certificates: pathlib.Path, subject: str
) -> None:
    config = f"""
frontend secure
    bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem
    log 127.0.0.1:{logs.port} local0
    log-format "%ci %ft %sslv %sslc %[ssl_fc_sni]"
    default_backend app
backend app
    server one 127.0.0.1:{backend().port}
"""
    started = proxy(config)
    visit(client_context(certificates), ("127.0.0.1", started.port))
    assert re.search(r"127\.0\.0\.1 secure~ TLSv1\.3 TLS_\S+ localhost$", logs.line("secure~"))


def test_httpslog(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, certificates: pathlib.Path, subject: str
) -> None:
    config = f"""
frontend secure
    bind 127.0.0.1:{{port}} ssl crt {certificates}/site.pem
    log 127.0.0.1:{logs.port} local0
    option httpslog
    error-log-format "%ci %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[fc_err_str] %ts"
    default_backend app
backend app
    server one 127.0.0.1:{backend().port}
"""
    started = proxy(config)
    visit(client_context(certificates), ("127.0.0.1", started.port))
    line = logs.line("GET / HTTP/1.1")
    assert line.endswith('"GET / HTTP/1.1" 0/0000000000000000/0/0/0 localhost/TLSv1.3/TLS_AES_256_GCM_SHA384')
    client = started.connect()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    client.rest()
    assert logs.line("SSL handshake failure").endswith("127.0.0.1 34/000000000A00009C/0/0/0 SSL handshake failure PR")


def test_error_log_format_is_for_what_was_no_request(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str
) -> None:
    formats = ('log-format "normal %HU %ST %ts"', 'error-log-format "error %ST %ts"')
    lines = (f"log 127.0.0.1:{logs.port} local0", *formats, "retries 0")
    server = backend(answer(lambda request: b"broken\r\n\r\n" if request.target == "/bad" else response(b"ok")))
    started = proxy(one_server(server, *lines))
    for request, logged in (
        (b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n", "normal /good 200 --"),
        (b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n", "normal /bad 502 PH"),
        (b"no request at all\r\n\r\n", "error 400 PR"),
    ):
        client = started.connect()
        client.send(request)
        read_response(client)
        client.close()
        logs.line(logged)


def test_both_ends_of_the_server_connection(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str
) -> None:
    """%bi %bp %si %sp: of a new connection, and of one that is used again."""
    server = backend()
    config = one_server(server, f"log 127.0.0.1:{logs.port} local0", 'log-format "%HP: %bi %bp %si %sp."')
    client = proxy(config).connect()
    seen = []
    for target in (b"/first", b"/again"):
        client.send(GET.replace(b"/ ", target + b" ", 1))
        read_response(client)
        seen.append(logs.line(f"{target.decode()}: ").partition(": ")[2].partition(f"{target.decode()}: ")[2])
    assert server.connections == 1
    assert re.fullmatch(rf"127\.0\.0\.1 [1-9]\d* 127\.0\.0\.1 {server.port}\.", seen[0])
    assert seen[0] == seen[1]


def test_be_name_without_a_backend_is_the_frontends(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str
) -> None:
    config = one_server(
        backend(), f"log 127.0.0.1:{logs.port} local0", "http-request deny", 'log-format "in %[be_name]."'
    )
    client = proxy(config).connect()
    client.send(GET)
    read_response(client)
    assert logs.line("in web.")
