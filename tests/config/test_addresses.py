"""The address forms of manual 2.9."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.base.addresses import Address, Family, Transport, ip_text
from headgate.base.diagnostics import ConfigError, Location
from headgate.config.addresses import parse_address, split_commas
from headgate.config.cursor import Word


def word(text: str) -> Word:
    return Word(text, Location("t.cfg", 1, 6, len(text), f"bind {text}"))


@pytest.mark.parametrize(
    ("text", "family", "host", "port"),
    [
        ("127.0.0.1:80", Family.INET, "127.0.0.1", 80),
        (":80", Family.INET, "", 80),
        ("*:80", Family.INET, "0.0.0.0", 80),
        (":::80", Family.INET6, "::", 80),
        ("::1:8080", Family.INET6, "::1", 8080),
        ("[::1]:8080", Family.INET6, "::1", 8080),
        ("ipv6@:80", Family.INET6, "::", 80),
        ("ipv4@localhost:80", Family.NAME, "localhost", 80),
        ("tcp4@10.0.0.1:80", Family.INET, "10.0.0.1", 80),
        ("stream+ip@10.0.0.1:80", Family.INET, "10.0.0.1", 80),
        ("app.example.com:443", Family.NAME, "app.example.com", 443),
        ("/run/x.sock", Family.UNIX, "/run/x.sock", 0),
        ("unix@x.sock", Family.UNIX, "x.sock", 0),
        ("/run/a@b:1", Family.UNIX, "/run/a@b:1", 0),
        ("abns@name", Family.ABNS, "name", 0),
        ("abnsz@name", Family.ABNSZ, "name", 0),
        ("fd@3", Family.FD, "3", 0),
        ("sockpair@4", Family.SOCKPAIR, "4", 0),
    ],
)
def test_form(text: str, family: Family, host: str, port: int) -> None:
    found = parse_address(word(text), port="optional")
    assert (found.family, found.host, found.port, found.last_port) == (family, host, port, port)
    assert found.transport is Transport.STREAM


@pytest.mark.parametrize(
    ("text", "transport", "mptcp"),
    [
        ("udp@10.0.0.1:514", Transport.DATAGRAM, False),
        ("dgram+fd@3", Transport.DATAGRAM, False),
        ("uxdg@/dev/log", Transport.DATAGRAM, False),
        ("uxst@/dev/log", Transport.STREAM, False),
        ("mptcp@10.0.0.1:514", Transport.STREAM, True),
    ],
)
def test_transport(text: str, transport: Transport, mptcp: bool) -> None:
    found = parse_address(word(text), default_transport=Transport.DATAGRAM)
    assert (found.transport, found.mptcp) == (transport, mptcp)


def test_family_prefix_restricts_a_name() -> None:
    assert parse_address(word("ipv6@example.com:1")).prefer is Family.INET6
    assert parse_address(word("example.com:1")).prefer is None


def test_range_and_offset() -> None:
    found = parse_address(word(":8000-8002"), allow_range=True)
    assert list(found.ports) == [8000, 8001, 8002]
    offset = parse_address(word("10.0.0.1:-1000"), allow_offset=True)
    assert (offset.port, offset.port_is_offset) == (-1000, True)
    assert parse_address(word("10.0.0.1:+5"), allow_offset=True).port == 5


def test_default_port_stands_in() -> None:
    assert parse_address(word("10.0.0.1"), default_port=514).port == 514


@pytest.mark.parametrize(
    ("text", "options", "message", "column"),
    [
        ("127.0.0.1", {"port": "mandatory"}, "missing port number in '127.0.0.1'", 6),
        ("127.0.0.1:", {}, "missing port number behind ':' in '127.0.0.1:'", 15),
        ("127.0.0.1:99999", {}, "port '99999' is out of range: 0 to 65535", 16),
        ("127.0.0.1:8o", {}, "invalid port '8o' in '127.0.0.1:8o'", 16),
        ("127.0.0.1:80-90", {}, "a port range ('80-90') is not allowed here", 16),
        ("127.0.0.1:90-80", {"allow_range": True}, "port range '90-80' runs backwards", 16),
        ("127.0.0.1:+1", {}, "a port offset ('+1') is not allowed here", 16),
        ("127.0.0.1:80", {"port": "forbidden"}, "a port is not allowed in '127.0.0.1:80'", 15),
        ("300.0.0.1:80", {}, "'300.0.0.1' is not an IPv4 address", 6),
        ("8080", {}, "'8080' is not an IPv4 address", 6),
        ("[::z]:80", {}, "'[::z]' is not an IPv6 address", 6),
        ("ipv4@[::1]:80", {}, "'[::1]' is not an IPv4 address, which the prefix asks for", 11),
        ("ipv6@1.2.3.4:80", {}, "'1.2.3.4' is not an IPv6 address, which the prefix asks for", 11),
        ("ho st:80", {}, "'ho st' is neither an IP address nor a host name", 6),
        ("ipv5@1.2.3.4:80", {}, "unknown address prefix 'ipv5@'", 6),
        ("raw+ip@1.2.3.4:80", {}, "unknown socket type prefix 'raw+' in 'raw+ip@1.2.3.4:80'", 6),
        ("quic4@:443", {}, "address prefix 'quic4@' is known but not yet supported", 6),
        ("fd@x", {}, "file descriptor 'x' in 'fd@x' must be a whole number", 9),
        ("unix@", {}, "socket path is missing in 'unix@'", 11),
        ("/" + "x" * 120, {}, "socket path is longer than 97 bytes", 6),
    ],
)
def test_error(text: str, options: dict[str, Any], message: str, column: int) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(word(text), **options)
    diagnostic = caught.value.diagnostic
    assert diagnostic.message == message
    assert diagnostic.location is not None
    assert diagnostic.location.column == column


def test_pieces_know_their_columns() -> None:
    pieces = split_commas(word(":80,[::1]:443"))
    assert [(piece.text, piece.location.column) for piece in pieces] == [(":80", 6), ("[::1]:443", 10)]


@given(st.text(max_size=60), st.booleans())
def test_only_config_errors(text: str, allow: bool) -> None:
    try:
        found = parse_address(word(text), allow_range=allow, allow_offset=allow)
    except ConfigError:
        return
    assert isinstance(found, Address)


@given(st.ip_addresses(v=6), st.sampled_from([0, 0xFFFF << 32, 1 << 64]), st.integers(0, 2**32 - 1))
def test_ip_addresses_are_written_as_the_system_writes_them(any_one: IPv6Address, start: int, four: int) -> None:
    for address in (any_one, IPv6Address(start + four)):
        assert ip_text(address) == socket.inet_ntop(socket.AF_INET6, address.packed)
