"""SOCKS4, the client's side (manual 5.2 socks4): a request to connect to an IPv4 address, and its answer. Bytes only."""

from __future__ import annotations

import ipaddress

#: Version 4, command CONNECT.
_CONNECT = b"\x04\x01"
_USER = b"headgate\0"
_GRANTED = 0x5A
#: Bytes of an answer.
REPLY_SIZE = 8


def connect_request(host: str, port: int) -> bytes:
    """Ask for a connection.

    Raises:
        ValueError: the host is not an IPv4 address.
    """
    return _CONNECT + port.to_bytes(2, "big") + ipaddress.IPv4Address(host).packed + _USER


def refusal(reply: bytes) -> str:
    """Why an answer of `REPLY_SIZE` bytes is no permission, "" when it is one."""
    if reply[0] != 0:
        return "not a SOCKS4 answer"
    return "" if reply[1] == _GRANTED else f"SOCKS4 proxy refused the request with code {reply[1]}"
