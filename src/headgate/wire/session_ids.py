"""The sessions that a ClientHello asks to resume and that a server keeps under an ID of 32 bytes, read before every handshake.

Up to TLS 1.2 the ID is in the hello itself (RFC 5246 7.4.1.2), where TLS 1.3 has random bytes for middleboxes; in TLS 1.3 it is
the identity of a pre-shared key (RFC 8446 4.2.11). Called by `runtime.workers.handover`.
"""

from __future__ import annotations

from headgate.wire.hello_extensions import MISSING, find_extension

#: Length of the IDs that OpenSSL gives.
ID_LENGTH = 32
#: Record and message header, version and random lie before the length of the ID.
_LENGTH_AT = 43
_PRE_SHARED_KEY = 41
#: Identities that are looked at: a client has two or three.
_MOST = 4


def session_id(hello: bytes) -> bytes:
    """The session ID of a hello, b"" without one of 32 bytes. Bytes that are no hello may have one by chance.

    >>> session_id(bytes(43) + b"\\x20" + b"i" * 32) == b"i" * 32, session_id(b"GET / HTTP/1.1")
    (True, b'')
    """
    return hello[44:76] if len(hello) > 76 and hello[_LENGTH_AT] == ID_LENGTH else b""


def psk_identities(hello: bytes) -> list[bytes]:
    """The first identities of 32 bytes among the pre-shared keys that are offered.

    Args:
        hello: the beginning of a connection; a hello in several records has none.
    """
    found: list[bytes] = []
    try:
        at = find_extension(hello, _PRE_SHARED_KEY)
        if at <= MISSING:
            return found
        end = at + 2 + (hello[at] << 8 | hello[at + 1])
        at += 2
        for _ in range(_MOST):
            if at >= end:
                break
            size = hello[at] << 8 | hello[at + 1]
            if size == ID_LENGTH and at + 2 + size <= len(hello):
                found.append(hello[at + 2 : at + 2 + size])
            at += 6 + size  # behind it, how old the ticket is
    except IndexError:
        pass
    return found
