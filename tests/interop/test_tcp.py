"""TCP mode: relays, half-close, content inspection, the PROXY protocol, addresses to listen on (manual 2.9, 4.2, 5)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import ssl
import struct
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, Wire, answer, read_response, response
from tests.interop.conftest import StartProxy
from tests.interop.programs import free_ports, wait_until
from tests.interop.test_http_messages import GET, one_server
from tests.interop.tls_client import client_context, visit

MakeBackend = Callable[..., Backend]


def _echo(server: Backend, wire: Wire) -> None:
    while wire.buffer or wire.fill():
        data, wire.buffer = wire.buffer, b""
        wire.send(data)
    wire.send(b"<end>")


def _says(name: bytes) -> Callable[[Backend, Wire], None]:
    """Say its name once the client has said something."""

    def serve(server: Backend, wire: Wire) -> None:
        wire.fill()
        wire.send(name)

    return serve


def test_relay_and_half_close(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    client = proxy(one_server(backend(_echo), "mode tcp")).connect()
    client.send(b"hello")
    assert client.exactly(5) == b"hello"
    client.send(b"more")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b"more<end>"


def test_server_half_closes_first(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    heard: list[bytes] = []

    def serve(server: Backend, wire: Wire) -> None:
        wire.send(b"all I say")
        wire.socket.shutdown(socket.SHUT_WR)
        heard.append(wire.rest())

    server = backend(serve)
    client = proxy(one_server(server, "mode tcp")).connect()
    assert client.rest() == b"all I say"
    client.send(b"still talking")
    client.close()
    server.wait_for(lambda self: not self.open_connections, "the server hears the end")
    assert heard == [b"still talking"]


@pytest.mark.parametrize("options", [(), ("option splice-auto",)], ids=["plain", "splice-auto"])
def test_relay_of_much_data_both_ways(options: tuple[str, ...], proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    size = 64 << 20

    def serve(server: Backend, wire: Wire) -> None:
        left = size
        while left:
            part = wire.socket.recv(1 << 20)
            assert part
            left -= len(part)
        wire.send(b"got it")
        for _ in range(size >> 20):
            wire.send(bytes(1 << 20))

    client = proxy(one_server(backend(serve), "mode tcp", *options)).connect()
    for _ in range(size >> 20):
        client.send(bytes(1 << 20))
    assert client.exactly(6) == b"got it"
    left = size - len(client.buffer)
    while left:
        part = len(client.socket.recv(1 << 20))
        assert part
        left -= part


SNI = """
frontend names
    mode tcp
    bind 127.0.0.1:{port}
    tcp-request inspect-delay 2s
    tcp-request content accept if { req.ssl_hello_type 1 }
    tcp-request content accept if { req.len ge 4 }
    use_backend a if { req.ssl_sni -i a.example }
    use_backend b if { req.ssl_sni -m end .b.example }
    default_backend rest
backend a
    mode tcp
    server s 127.0.0.1:SA
backend b
    mode tcp
    server s 127.0.0.1:SB
backend rest
    mode tcp
    server s 127.0.0.1:SC
"""


def test_routing_by_the_name_in_the_client_hello(
    proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path, subject: str
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "site.pem")
    config = SNI.replace("SC", str(backend(_says(b"not TLS")).port))
    for word, name in (("SA", "to a"), ("SB", "to b")):
        config = config.replace(word, str(backend(name=name, tls=tls).port))
    started = proxy(config)
    context = client_context(certificates)
    context.check_hostname = False
    assert visit(context, ("127.0.0.1", started.port), name="A.example").response.body == b"to a"
    assert visit(context, ("127.0.0.1", started.port), name="x.b.example").response.body == b"to b"
    other = started.connect()
    other.send(b"SSH-2.0-test\r\n")
    assert other.rest() == b"not TLS"


def test_client_hello_in_small_pieces(proxy: StartProxy, backend: MakeBackend, certificates: pathlib.Path, subject: str) -> None:
    config = SNI.replace("SA", str(backend(_says(b"to a")).port))
    config = config.replace("SB", str(backend(_says(b"to b")).port)).replace("SC", str(backend(_says(b"rest")).port))
    config = config.replace("    tcp-request content accept if { req.len ge 4 }\n", "")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client_context(certificates).wrap_bio(incoming, outgoing, server_hostname="www.b.example")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    client = proxy(config).connect()
    data = outgoing.read()
    for start in range(0, len(data), 50):
        client.send(data[start : start + 50])
    assert client.exactly(4) == b"to b"


def test_tcp_request_connection_reject(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    started = proxy(one_server(server, "tcp-request connection reject if { src 127.0.0.1 }"))
    with contextlib.suppress(ConnectionError):  # the refusal may come as early as within connect()
        assert started.connect().at_end()
    assert server.connections == 0


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_proxy_protocol_from_one_proxy_to_the_next(option: str, proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    (inner,) = free_ports(1)
    server = backend()
    config = f"""
frontend outer
    bind 127.0.0.1:{{port}}
    default_backend next
backend next
    server inner 127.0.0.1:{inner} {option}
frontend inner
    bind 127.0.0.1:{inner} accept-proxy
    http-request set-header X-Client %[src]:%[src_port]
    default_backend app
backend app
    server one 127.0.0.1:{server.port}
"""
    started = proxy(config, extra_ports=(inner,))
    client = started.connect()
    client.send(GET)
    assert read_response(client).status == 200
    assert server.requests[0].one("x-client") == f"127.0.0.1:{client.socket.getsockname()[1]}"


def test_accept_proxy_believes_the_header(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    config = one_server(server, "option forwardfor", "http-request set-header X-Port %[dst_port]").replace(
        "{port}", "{port} accept-proxy"
    )
    started = proxy(config)
    client = started.connect()
    client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n" + GET)
    assert read_response(client).status == 200
    binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12)
    client = started.connect()
    client.send(binary + socket.inet_aton("192.0.2.8") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4711, 444) + GET)
    assert read_response(client).status == 200
    seen = [(request.one("x-forwarded-for"), request.one("x-port")) for request in server.requests]
    assert seen == [("192.0.2.7", "443"), ("192.0.2.8", "444")]


def test_accept_proxy_refuses_what_has_none(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    client = proxy(one_server(server).replace("{port}", "{port} accept-proxy")).connect()
    client.send(GET)
    assert client.at_end()
    assert server.connections == 0


def test_unix_and_abstract_sockets(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path, subject: str) -> None:
    path, name = tmp_path / "front.sock", f"headgate-test-{os.getpid()}-{subject}"
    server = backend()
    config = f"""
frontend web
    bind 127.0.0.1:{{port}}
    bind unix@{path} mode 600
    bind abns@{name}
    default_backend app
backend app
    server one 127.0.0.1:{server.port}
"""
    proxy(config)
    assert (path.stat().st_mode & 0o777) == 0o600
    for address in (str(path), "\0" + name):
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(address)
            except ConnectionRefusedError:
                # the manual's abns pads the name with zero bytes to the length of sun_path
                connection.connect(address.ljust(108, "\0"))
            wire = Wire(connection)
            wire.send(GET)
            assert read_response(wire).body == b"one"


def test_server_on_a_unix_socket(proxy: StartProxy, backend: MakeBackend, tmp_path: pathlib.Path, subject: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "back.sock"))
    listener.listen()
    backend(answer(response(b"by path")), listener=listener)
    config = f"listen web\n bind 127.0.0.1:{{port}}\n server one unix@{tmp_path}/back.sock\n"
    client = proxy(config).connect()
    client.send(GET)
    assert read_response(client).body == b"by path"


def test_inherited_listening_socket(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        port = listener.getsockname()[1]
        (other,) = free_ports(1)
        config = f"listen web\n bind fd@{number}\n bind 127.0.0.1:{other}\n server one 127.0.0.1:{backend().port}\n"
        started = proxy(config, extra_ports=(other,), pass_fds=(number,))
    client = started.connect(port)
    client.send(GET)
    assert read_response(client).body == b"one"


def test_port_range_and_ipv6(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    first = next(port for port in range(31000, 60000, 7) if not {port, port + 1, port + 2} & _busy())
    config = f"listen web\n bind 127.0.0.1:{first}-{first + 1},[::1]:{first + 2}\n server one 127.0.0.1:{backend().port}\n"
    started = proxy(config, extra_ports=(first, first + 1, first + 2))
    for host, port in (("127.0.0.1", first), ("127.0.0.1", first + 1), ("::1", first + 2)):
        client = started.connect(port, host)
        client.send(GET)
        assert read_response(client).body == b"one"


def _busy() -> set[int]:
    busy = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            busy.add(int(line.split()[1].rpartition(":")[2], 16))
    return busy


def test_idle_relay_is_cut_by_the_timeout(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend(_echo)
    client = proxy(one_server(server, "mode tcp", "timeout client 300ms", "timeout server 300ms")).connect()
    client.send(b"hello")
    assert client.exactly(5) == b"hello"
    client.rest()
    wait_until(lambda: server.open_connections == 0, "the server's side is closed too")
