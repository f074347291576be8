"""Early data (0-RTT, RFC 8446 2.3) on bind lines with `allow-0rtt` (manual 5.1): who may send it, and how much.

OpenSSL's own protection against replays keeps each ticket in the memory of one process and takes it once: a client that
reaches another worker, or comes after a reload, would not even resume its session. So it is off, as the manual warns ("it is
vulnerable to replay attacks"): a server is told by `Early-Data: 1` what may be one, and can answer 425 (RFC 8470).
"""

from __future__ import annotations

from typing import Final

from OpenSSL import SSL

from headgate.tls.openssl import lib
from headgate.wire.client_hello import ClientHello

#: What a client may send, bytes: as much as OpenSSL takes unless it is told otherwise, a record's worth.
MOST: Final = 16384
#: SSL_OP_NO_ANTI_REPLAY of ssl.h, which the binding has no name for.
_NO_ANTI_REPLAY: Final = 1 << 24
#: early_data, RFC 8446 section 4.2.10.
_EXTENSION: Final = 42


def allow_early_data(context: SSL.Context) -> None:
    """Let the tickets of connections that are created from this context allow early data."""
    lib.SSL_CTX_set_max_early_data(context._context, MOST)
    context.set_options(_NO_ANTI_REPLAY)


def sends_early_data(hello: ClientHello) -> bool:
    """Whether a client says that early data follows."""
    return _EXTENSION in hello.extensions
