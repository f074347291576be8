"""Whether a server has asked us for a certificate. In TLS 1.3 what it thinks of the answer is said behind our handshake only.

Called by `client_context`, for connections that are to know. OpenSSL tells it by calling back when it looks for a certificate.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.tls.openssl import SSL_set_cert_cb, address_of, ffi

#: Handshakes at the same time of which it is kept.
_KEPT: Final = 1024


class CertificateRequests:
    """Notes which connections were asked, until somebody wants to know."""

    __slots__ = ("_asked", "_callback")

    def __init__(self) -> None:
        self._asked: dict[int, None] = {}
        self._callback: Any = ffi.callback("int (*)(SSL *, void *)", self._note, error=1)

    def watch(self, ssl: Any) -> None:
        """Note it of a connection that begins. This object must live as long as that."""
        SSL_set_cert_cb(ssl, self._callback, ffi.NULL)
        self._asked.pop(address_of(ssl), None)  # of one before, at the same place

    def take(self, ssl: Any) -> bool:
        """Whether the server has asked; it is forgotten with that."""
        address = address_of(ssl)
        if address not in self._asked:
            return False
        del self._asked[address]
        return True

    def _note(self, ssl: Any, _: Any) -> int:
        asked = self._asked
        while len(asked) >= _KEPT:
            del asked[next(iter(asked))]
        asked[address_of(ssl)] = None
        return 1
