"""Why a TLS handshake with a server was a full one: a closed list, with what the operator can do about it.

Counted in `key_exchanges`, found by `tls.session_store`.
"""

from __future__ import annotations

import enum
from typing import Final


class Cause(enum.IntEnum):
    """Why a handshake was a full one. The number is the place in `KeyExchanges.causes` and `ServerCounters.tls_causes`."""

    FIRST_CONTACT = 0
    NO_SESSION = 1
    EXPIRED = 2
    REFUSED = 3
    UNCLEAN_BY_US = 4
    UNCLEAN_BY_SERVER = 5
    OTHER_NAME = 6
    OTHER_ALPN = 7
    OTHER_POLICY = 8
    OTHER_ADDRESS = 9
    EVICTED = 10
    DISABLED = 11

    @property
    def word(self) -> str:
        """As JSON and metrics write it."""
        return self.name.lower()


#: Each cause as a sentence, for operators.
TEXTS: Final = {
    Cause.FIRST_CONTACT: "first contact: there was no session yet",
    Cause.NO_SESSION: "the server gave no session to resume",
    Cause.EXPIRED: "the session had expired",
    Cause.REFUSED: "the server refused the session",
    Cause.UNCLEAN_BY_US: "the session was lost by a connection that we ended without close_notify",
    Cause.UNCLEAN_BY_SERVER: "the session was lost by a connection that the server ended without close_notify",
    Cause.OTHER_NAME: "there were sessions for other names (SNI) only",
    Cause.OTHER_ALPN: "there were sessions for another ALPN only",
    Cause.OTHER_POLICY: "the line's certificates or TLS options have changed",
    Cause.OTHER_ADDRESS: "the server's address has changed",
    Cause.EVICTED: "the session was evicted: there are more names than sessions are kept for",
    Cause.DISABLED: "no-ssl-reuse is set",
}

#: What the operator can do about the causes that are a server's.
REMEDIES: Final = {
    Cause.NO_SESSION: "enable session tickets or the session cache of the server",
    Cause.EXPIRED: "raise the lifetime of sessions on the server",
    Cause.REFUSED: "look at the server's session cache and ticket keys: behind one address all machines must share them, and "
    "a cache that is too small or off refuses what it gave; write 'no-ssl-reuse' to stop asking",
    Cause.UNCLEAN_BY_US: "look for aborted transfers: servers that insist on close_notify, as Java's do, drop the session then",
    Cause.UNCLEAN_BY_SERVER: "make the server close its TLS connections with close_notify; if it resumes no session whatever "
    "comes before, enable its session tickets or its session cache",
}
