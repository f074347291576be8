"""Where a connection goes: `set-dst`, `set-dst-port`, and servers that are wherever the client wanted to go (manual 4.4, 5.2)."""

from __future__ import annotations

import contextlib
import pathlib

import pytest

from tests.interop.backends import Message, Wire, read_response
from tests.interop.conftest import StartProxy
from tests.interop.programs import ask_socket
from tests.interop.test_resolvers import Farm

SITE = """
global
    stats socket {socket} level admin

frontend web
    bind 127.0.0.1:{{port}}
    http-request set-dst hdr(x-to)
    http-request set-dst-port hdr(x-port)
    http-request return status 200 hdr x-dst "%[dst]:%[dst_port]" if {{{{ path /shown }}}}
    default_backend anywhere

backend anywhere
    {lines}
    server clear 0.0.0.0:0
"""


def ask(client: Wire, target: str, *headers: str) -> Message:
    """A request on a connection that stays."""
    lines = "".join(f"{header}\r\n" for header in headers)
    client.send(f"GET {target} HTTP/1.1\r\nHost: site.example\r\n{lines}\r\n".encode())
    return read_response(client)


@pytest.fixture
def farm(stack: contextlib.ExitStack) -> Farm:
    return Farm(stack, ["127.0.0.11", "127.0.0.12"])


def site(tmp_path: pathlib.Path, lines: str = "") -> str:
    return SITE.format(socket=tmp_path / "stats.sock", lines=lines).replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("reuse", ["safe", "always", "never"])
def test_a_server_with_any_address_is_where_the_rules_say(
    proxy: StartProxy, farm: Farm, tmp_path: pathlib.Path, reuse: str, subject: str
) -> None:
    """Also on connections that could be reused: they lead to one address only."""
    client = proxy(site(tmp_path, f"http-reuse {reuse}")).connect()
    for host in ("127.0.0.11", "127.0.0.12", "127.0.0.12", "127.0.0.11"):
        assert ask(client, "/", f"x-to: {host}", f"x-port: {farm.port}").body.decode() == host


def test_what_rules_change_lasts_for_one_request(proxy: StartProxy, tmp_path: pathlib.Path, subject: str) -> None:
    started = proxy(site(tmp_path))
    client = started.connect()
    for headers, seen in (
        (("x-to: 192.0.2.9",), f"192.0.2.9:{started.port}"), (("x-port: 7",), "127.0.0.1:7"), ((), f"127.0.0.1:{started.port}"),
        (("x-to: 2001:db8::1", "x-port: 8"), "2001:db8::1:8"), (("x-to: nonsense", "x-port: 70000"), None),
    ):
        reply = ask(client, "/shown", *headers)
        if seen is not None:
            assert reply.one("x-dst") == seen


def test_the_connection_itself_can_be_redirected(proxy: StartProxy, farm: Farm, subject: str) -> None:
    text = f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen web
    bind 127.0.0.1:{{port}}
    tcp-request connection set-dst str(127.0.0.12)
    tcp-request content set-dst-port int({farm.port})
    server any 0.0.0.0:0
"""
    assert ask(proxy(text).connect(), "/").body == b"127.0.0.12"


def test_a_server_is_sent_elsewhere_while_running(proxy: StartProxy, farm: Farm, tmp_path: pathlib.Path) -> None:
    """From any address to one and back: idle connections are never used for another address."""
    client = proxy(site(tmp_path, "http-reuse always")).connect()
    to = ("x-to: 127.0.0.11", f"x-port: {farm.port}")
    assert ask(client, "/", *to).body == b"127.0.0.11"
    ask_socket(tmp_path / "stats.sock", f"set server anywhere/clear addr 127.0.0.12 port {farm.port}")
    assert ask(client, "/", *to).body == b"127.0.0.12"
    ask_socket(tmp_path / "stats.sock", "set server anywhere/clear addr 0.0.0.0 port 0")
    assert [ask(client, "/", f"x-to: 127.0.0.{n}", to[1]).body for n in (12, 11)] == [b"127.0.0.12", b"127.0.0.11"]
