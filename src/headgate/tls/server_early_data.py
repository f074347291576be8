"""Early data (0-RTT, RFC 8446 2.3) to servers with `allow-0rtt` (manual 5.2): how much a session lets us send, what became of it.

Whether there is a reason to send any is decided by who has the request (`proxy.request`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from headgate.tls.early_data import MOST
from headgate.tls.facts import server_name
from headgate.tls.openssl import ffi, lib
from headgate.tls.unbound import function

#: SSL_EARLY_DATA_ACCEPTED of ssl.h.
_ACCEPTED: Final = 2
#: Seconds before the end of a ticket's life in which it carries no early data; see `ServerEarlyData.most`.
_MARGIN: Final = 2


class ServerEarlyData:
    """What OpenSSL knows about early data of clients.

    Raises:
        Unreachable: its functions can't be found (see `tls.unbound`).
    """

    __slots__ = ("_hostname", "_lifetime", "_made_at", "_protocol", "_resumable", "_status")

    def __init__(self) -> None:
        self._hostname = function("SSL_SESSION_get0_hostname")
        self._lifetime = function("SSL_SESSION_get_ticket_lifetime_hint")
        self._made_at = function("SSL_SESSION_get_time_ex")
        self._protocol = function("SSL_SESSION_get0_alpn_selected")
        self._resumable = function("SSL_SESSION_is_resumable")
        self._status = function("SSL_get_early_data_status")

    def most(self, ssl: Any, session: Any, protocols: Collection[bytes], wall: float) -> int:
        """How much early data a connection may send.

        OpenSSL looks at all of this itself, but too late: it fails the handshake where name or protocol are not the session's
        (RFC 8446 section 4.2.10), and one whose session can't be used any more. A ticket that is too old for it, as all are when
        the clock was set forward, it leaves out without a word. But it sends the early data, under a key that anybody can
        compute: made of the ClientHello, and of zeros in the ticket's place. So none is sent near the end of a ticket's life.

        Args:
            ssl: the connection, before its handshake.
            session: that it offers.
            protocols: that it offers by ALPN.
            wall: Unix time, by which OpenSSL tells a ticket's age.

        Returns:
            Bytes; 0 for none at all.
        """
        most = min(int(lib.SSL_SESSION_get_max_early_data(session)), MOST)
        if not most or self._resumable(session) != 1 or wall - self._made_at(session) > self._lifetime(session) - _MARGIN:
            return 0
        name = self._hostname(session)
        if name and ffi.string(name) != server_name(ssl):
            return 0
        protocol = self._protocol_of(session)
        return most if not protocol or protocol in protocols else 0

    def _protocol_of(self, session: Any) -> bytes:
        """That was agreed on by ALPN when the session was made; b"" for none."""
        data, size = ffi.new("unsigned char **"), ffi.new("size_t *")
        self._protocol(session, data, size)
        return bytes(ffi.buffer(data[0], size[0])[:]) if size[0] else b""

    def accepted(self, ssl: Any) -> bool:
        """Whether the server took the early data; known when the handshake is over. Otherwise it has thrown it away."""
        return bool(self._status(ssl) == _ACCEPTED)
