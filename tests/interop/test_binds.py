"""Bind lines as clients and logs see them, the same for HAProxy: ids and names of sockets, limits of a line."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.interop.backends import Backend, LogReceiver, read_response
from tests.interop.conftest import StartProxy
from tests.interop.programs import free_ports
from tests.interop.test_http_messages import GET

MakeBackend = Callable[..., Backend]


def _range_of(count: int) -> int:
    """The first of so many free ports in a row."""
    while True:
        ports = free_ports(count)
        if ports[-1] - ports[0] == count - 1:
            return ports[0]


def test_each_socket_has_its_id_and_the_line_its_name(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str
) -> None:
    """Ports of a range count one by one, addresses of a line too; written ids and names are theirs (5.1)."""
    server = backend()
    first, one, two, named = _range_of(3), *free_ports(3)
    started = proxy(
        f"""
frontend web
    bind 127.0.0.1:{first}-{first + 2}
    bind 127.0.0.1:{one},127.0.0.1:{two}
    bind 127.0.0.1:{named} name main id 77
    log 127.0.0.1:{logs.port} local0
    log-format "socket=%[so_id]/%[so_name] port=%fp."
    default_backend app
backend app
    server s 127.0.0.1:{server.port}
""",
        extra_ports=(first, first + 1, first + 2, one, two, named),
    )
    expected = {first: "1/-", first + 1: "2/-", first + 2: "3/-", one: "4/-", two: "5/-", named: "77/main"}
    for port, said in expected.items():
        client = started.connect(port)
        client.send(GET)
        read_response(client)
        assert f"socket={said} " in logs.line(f"port={port}.")


@pytest.mark.parametrize(("option", "name"), [("", "1"), ("name entry", "entry")])
def test_a_failed_connection_names_the_socket_or_its_id(
    proxy: StartProxy, backend: MakeBackend, logs: LogReceiver, subject: str, option: str, name: str
) -> None:
    """8.2.5"""
    server = backend()
    started = proxy(
        f"listen web\n bind 127.0.0.1:{{port}} accept-proxy {option}\n log 127.0.0.1:{logs.port} local0\n"
        f" option httplog\n server s 127.0.0.1:{server.port}\n"
    )
    started.connect().send(GET)
    assert f"] web/{name}: Received something which does not look like a PROXY protocol header" in logs.line("] web/")


def test_maxconn_of_a_line_leaves_others_in_the_backlog(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    """The limit is the line's own: another line of the same frontend still accepts."""
    server = backend()
    (other,) = free_ports(1)
    started = proxy(
        f"listen web\n bind 127.0.0.1:{{port}} maxconn 1\n bind 127.0.0.1:{other}\n server s 127.0.0.1:{server.port}\n",
        extra_ports=(other,),
    )
    with socket.create_connection(("127.0.0.1", started.port)) as first:
        first.sendall(b"GET / HTTP/1.1\r\n")
        waiting = socket.create_connection(("127.0.0.1", started.port), 20)
        waiting.sendall(GET)
        beside = started.connect(other)
        beside.send(GET)
        assert read_response(beside).body == b"one"
        waiting.settimeout(0.3)
        with waiting, pytest.raises(TimeoutError):
            waiting.recv(1)
            raise AssertionError("the second connection was served")


def test_maxconn_of_a_line_accepts_again(proxy: StartProxy, backend: MakeBackend, subject: str) -> None:
    server = backend()
    started = proxy(f"listen web\n bind 127.0.0.1:{{port}} maxconn 1\n server s 127.0.0.1:{server.port}\n")
    first = started.connect()
    first.send(GET)
    read_response(first)
    second = started.connect()
    second.send(GET)
    first.close()
    assert read_response(second).body == b"one"
