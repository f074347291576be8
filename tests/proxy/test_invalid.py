"""What is kept of invalid messages, and where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.proxy.invalid import fault_position
from tests.proxy.playbook import Playbook

CONFIG = """
frontend fe
    bind :80
    default_backend be
backend be
    server s1 192.0.2.10:80
"""


@pytest.mark.parametrize(
    ("data", "position"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n", 28),  # as HAProxy reports it
        (b"GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", 23),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", 16),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", 20),
        (b"GET / HTTP/1.1\r\n folded\r\n\r\n", 16),
        (b"GET /\x80 HTTP/1.1\r\n\r\n", 5),
        (b"G(T / HTTP/1.1\r\n\r\n", 1),
        (b"GET / HTTX/1.1\r\n\r\n", 6),
        (b"GET /\r\n\r\n", 5),
        (b"GET / HTTP/1.1\nHost: a\n\n", 14),
        (b"\x16\x03\x01", 0),
        (b"\r\n\r\nGET / HTTP/1.1\r\nA b: c\r\n\r\n", 21),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nbody", 56),  # each line alone is fine
        (b"", 0),
    ],
)
def test_the_first_invalid_byte_of_a_request(data: bytes, position: int) -> None:
    assert fault_position(data, False) == position


@pytest.mark.parametrize(
    ("data", "position"),
    [
        (b"HTTP/1.1 200 OK\r\nX Bad: 1\r\n\r\n", 18),  # as HAProxy reports it
        (b"HTTP/1.0 200 OK\r\nheader/bizarre:blah\r\n\r\n", 23),  # the manual's example
        (b"HTTP/1.1 2x0 OK\r\n\r\n", 10),
        (b"ICY 200 OK\r\n\r\n", 0),
        (b"HTTP/1.1 200 OK\x00\r\n\r\n", 15),
        (b"HTTP/1.1 200\r\nA: b\r\n\r\n", 22),
    ],
)
def test_the_first_invalid_byte_of_a_response(data: bytes, position: int) -> None:
    assert fault_position(data, True) == position


def test_an_invalid_request_is_kept_the_latest_of_its_frontend(tmp_path: Path) -> None:
    play = Playbook(CONFIG, tmp_path)
    for name in (b"A b", b"C d"):
        client = play.client()
        client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n" + name + b": x\r\n\r\nbehind")
    invalid = play.shared.invalid
    assert invalid.events == 2
    (kept,) = invalid.all()
    assert (kept.response, kept.proxy[0], kept.other, kept.server) == (False, "fe", ("<NONE>", -1), ("<NONE>", -1))
    assert (kept.number, kept.position, kept.source, kept.session) == (1, 26, "192.0.2.7:4711", 2)
    assert kept.data.endswith(b"C d: x\r\n\r\nbehind")
    assert "header name" in kept.reason


def test_an_invalid_response_is_kept_beside_it(tmp_path: Path) -> None:
    play = Playbook(CONFIG, tmp_path)
    client = play.client()
    client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    play.server().sends(b"HTTP/1.1 200 OK\r\nX Bad: 1\r\n\r\n")
    (kept,) = play.shared.invalid.all()
    assert (kept.response, kept.proxy[0], kept.other[0], kept.server, kept.position) == (True, "be", "fe", ("s1", 1), 18)


def test_invalid_chunks_of_both_directions(tmp_path: Path) -> None:
    play = Playbook(CONFIG, tmp_path)
    client = play.client()
    client.sends(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    server = play.server()
    server.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.sends(b"zz\r\n")
    other = play.client()
    other.sends(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    other.sends(b"xx\r\n")
    assert sorted((one.response, one.data) for one in play.shared.invalid.all()) == [(False, b"xx\r\n"), (True, b"zz\r\n")]


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    play = Playbook(CONFIG, tmp_path)
    client = play.client()
    client.sends(b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 40000)
    (kept,) = play.shared.invalid.all()
    assert len(kept.data) == play.shared.buffer
    assert kept.position <= play.shared.buffer
