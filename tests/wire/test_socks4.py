"""SOCKS4 requests and answers."""

from __future__ import annotations

import pytest

from headgate.wire.socks4 import REPLY_SIZE, connect_request, refusal


def test_request() -> None:
    assert connect_request("66.102.7.99", 80) == b"\x04\x01\x00\x50\x42\x66\x07\x63headgate\0"


@pytest.mark.parametrize("host", ["::1", "example.com", ""])
def test_other_hosts_can_t_be_asked_for(host: str) -> None:
    with pytest.raises(ValueError):
        connect_request(host, 80)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"\0\x5a" + bytes(6), ""),
        (b"\0\x5b" + bytes(6), "SOCKS4 proxy refused the request with code 91"),
        (b"\x05\0" + bytes(6), "not a SOCKS4 answer"),
    ],
)
def test_answers(reply: bytes, why: str) -> None:
    assert len(reply) == REPLY_SIZE
    assert refusal(reply) == why
