"""Sessions that OpenSSL holds in the memory of this process, as opposed to those that are in a ticket: their IDs.

In TLS 1.3 OpenSSL would give two sessions behind a full handshake, and `SSL_get_session` shows the last one only; it is told to
give one (`session_context.give_one_session`). Called by `runtime.tls_channel`.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.tls.openssl import lib
from headgate.tls.session_der import TLS_1_3, encode_session, read_session_id

#: Longest form of a session that is looked at, bytes: it has the client's certificate in it.
_MOST: Final = 1 << 16

_version, _reused, _session = lib.SSL_version, lib.SSL_session_reused, lib.SSL_get_session


def held_session(ssl: Any, *, tickets: bool) -> bytes:
    """The ID of the session that a handshake left in memory.

    Args:
        ssl: a server's connection behind its handshake.
        tickets: they were not turned off.

    Returns:
        b"" when it is in a ticket, or was there before.
    """
    # TLS 1.3 makes a new session at each resumption, TLS 1.2 goes on with the old one.
    if tickets if _version(ssl) >= TLS_1_3 else _reused(ssl):
        return b""
    encoded = encode_session(_session(ssl), _MOST)
    return read_session_id(encoded) if encoded else b""
