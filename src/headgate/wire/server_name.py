"""The server name in a ClientHello and nothing else, for those who need it before every handshake: in a tenth of the time.

The slow, clear way is `client_hello.parse_client_hello`; both say the same of every valid hello.
"""

from __future__ import annotations

from headgate.wire.client_hello import parse_client_hello
from headgate.wire.errors import ProtocolViolation


def server_name(data: bytes) -> bytes | None:
    """The host name asked for (RFC 6066 section 3), in lower case.

    Args:
        data: the beginning of a connection, the whole hello in it.

    Returns:
        None without one, and for what is no hello.
    """
    try:
        if data[0] == 22 and data[5] == 1 and 4 + int.from_bytes(data[6:9], "big") == data[3] << 8 | data[4]:
            at = 44 + data[43]  # record and message header, version, random, session id
            at += 2 + (data[at] << 8 | data[at + 1])  # cipher suites
            at += 1 + data[at]  # compression methods
            end = at + 2 + (data[at] << 8 | data[at + 1])
            at += 2
            while at < end and (data[at] or data[at + 1]):
                at += 4 + (data[at + 2] << 8 | data[at + 3])
            if at >= end:
                return None
            # Only the usual form: a list with one host name, which fills the extension.
            size = data[at + 7] << 8 | data[at + 8]
            if data[at + 6] == 0 and data[at + 4 : at + 6] == (size + 3).to_bytes(2, "big") == _less(data[at + 2 : at + 4]):
                name = data[at + 9 : at + 9 + size]
                if len(name) == size and size and b"\0" not in name and end <= len(data):
                    return name.lower()
        hello = parse_client_hello(data)
    except (IndexError, ProtocolViolation):
        return None
    return hello.sni if hello is not None else None


def _less(length: bytes) -> bytes:
    """Two bytes of length, less the two that the list has for its own."""
    return max(0, (length[0] << 8 | length[1]) - 2).to_bytes(2, "big")
