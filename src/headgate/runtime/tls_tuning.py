"""What the global section says about every TLS connection (manual 3.2): sizes of records, floods of key updates.

One object for all connections of a process; made where listeners and servers are, read by `tls_channel` and `tls_ending`.
"""

from __future__ import annotations

from typing import Final

from headgate.config.model import Global
from headgate.runtime.reactor import Reactor
from headgate.tls.key_updates import KeyUpdateLimit

#: The largest plaintext of a record. Reading no less means that OpenSSL never keeps decrypted bytes which epoll can't see.
RECORD: Final = 16384
#: How much is sent in small records before full ones follow, bytes: some three round trips of a new connection.
BEGINNING: Final = 65536


class TlsTuning:
    """Limits of connections.

    Attributes:
        most: bytes in a record (`tune.ssl.hard-maxrecord`).
        first: bytes in the first records, and after `idle` seconds without any (`tune.ssl.maxrecord`, `tune.idletimer`).
        small: whether one of these is less than a whole record, so that anything has to be looked at.
        key_updates: counts them; None: any number is fine.
    """

    __slots__ = ("first", "idle", "key_updates", "most", "small")

    def __init__(self, most: int = 0, first: int = 0, idle: float = 1.0, key_updates: KeyUpdateLimit | None = None) -> None:
        self.most = min(most or RECORD, RECORD)
        self.first = min(first or RECORD, self.most)
        self.idle = idle
        self.small = self.first < RECORD
        self.key_updates = key_updates


#: Of connections that nobody says anything about.
UNTUNED: Final = TlsTuning()


def tls_tuning(settings: Global, reactor: Reactor) -> TlsTuning:
    """As the configuration says."""
    limit = settings.tls_key_updates
    counted = KeyUpdateLimit(limit, lambda: reactor.now) if limit else None
    return TlsTuning(settings.tls_record_most, settings.tls_record_first, settings.idle_timer, counted)
