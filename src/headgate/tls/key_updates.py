"""`tune.ssl.keyupdate-rate-limit` (manual 3.2): ends connections whose peer wants new keys all the time (RFC 8446 4.6.3).

OpenSSL tells of each message behind the handshake; it is asked to once the handshake is over, so that this costs nothing before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from headgate.tls.openssl import SSL_set_info_callback, address_of, ffi, lib

#: SSL_CB_ACCEPT_LOOP and SSL_CB_CONNECT_LOOP of ssl.h: a state of the handshake is entered.
_STEPS: Final = frozenset({0x2001, 0x1001})
_KEY_UPDATES: Final = frozenset({b"TLSv1.3 read client key update", b"TLSv1.3 read server key update"})


class KeyUpdateLimit:
    """Counts key updates of the connections that it watches.

    Args:
        most: how many a connection may receive in a second; more of them end it.
        now: seconds on a clock that only goes forward.

    Attributes:
        floods: how many connections were ended.
    """

    __slots__ = ("_callback", "_counts", "_most", "_now", "floods")

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        #: Of connections that received some: the second that is counted, and how many. Few ever do.
        self._counts: dict[int, tuple[float, int]] = {}
        self._callback = ffi.callback("void (*)(SSL *, int, int)", self._told)
        self.floods = 0

    def watch(self, ssl: Any) -> None:
        """Count from now on; this object must live as long as the connection."""
        SSL_set_info_callback(ssl, self._callback)

    def unwatch(self, ssl: Any) -> None:
        """Count no more: nothing that comes is read any longer."""
        SSL_set_info_callback(ssl, ffi.NULL)

    def forget(self, ssl: Any) -> None:
        """The connection is about to go."""
        if self._counts:
            self._counts.pop(address_of(ssl), None)

    def _told(self, ssl: Any, where: int, _result: int) -> None:
        if where not in _STEPS or ffi.string(lib.SSL_state_string_long(ssl)) not in _KEY_UPDATES:
            return
        key = address_of(ssl)
        now = self._now()
        since, count = self._counts.get(key, (now, 0))
        if now - since >= 1.0:
            since, count = now, 0
        count += 1
        self._counts[key] = since, count
        if count > self._most and not lib.SSL_get_shutdown(ssl):
            self.floods += 1
            # As if the peer had said close_notify: whoever reads is told that no more comes.
            lib.SSL_set_shutdown(ssl, lib.SSL_RECEIVED_SHUTDOWN)
