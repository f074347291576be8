"""What was wrong with a server's certificate: which one of its chain, at which depth, and what it says.

OpenSSL keeps nothing of a certificate that it has refused, so its verify callback notes it, for the handshake record. Nothing is
decided here. Called by `client_context`.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.base.records import dataclass
from headgate.tls.openssl import address_of, encoded_certificate, ffi, lib

_ssl_index: Final[int] = lib.SSL_get_ex_data_X509_STORE_CTX_idx()
#: Handshakes that fail at the same time, and of which is noted why.
_KEPT: Final = 1024


@dataclass(slots=True)
class Refusal:
    """One certificate that was refused; implements `handshake_record.Findings`.

    Attributes:
        fatal: OpenSSL's number of the error.
        depth: 0 for the server's own certificate, then that of its issuer, and so on.
        certificate: in DER, None when it could not be had.
    """

    fatal: int
    depth: int
    certificate: bytes | None


class ServerVerification:
    """Verifies the servers of one line as OpenSSL does, and keeps what it refuses until somebody asks."""

    __slots__ = ("_callback", "_refused")

    def __init__(self) -> None:
        self._refused: dict[int, Refusal] = {}
        self._callback: Any = ffi.callback("int (*)(int, X509_STORE_CTX *)", self._judge, error=0)

    def put_on(self, context: Any) -> None:
        """Require a certificate from servers. This object must live as long as the `SSL_CTX*`."""
        lib.SSL_CTX_set_verify(context, lib.SSL_VERIFY_PEER, self._callback)

    def take(self, ssl: Any) -> Refusal | None:
        """What was refused in a handshake; it is forgotten with that."""
        return self._refused.pop(address_of(ssl), None)

    def _judge(self, fine: int, store: Any) -> int:
        if not fine:
            refused = self._refused
            while len(refused) >= _KEPT:
                del refused[next(iter(refused))]
            ssl = lib.X509_STORE_CTX_get_ex_data(store, _ssl_index)
            certificate = lib.X509_STORE_CTX_get_current_cert(store)
            refused[address_of(ssl)] = Refusal(
                lib.X509_STORE_CTX_get_error(store),
                lib.X509_STORE_CTX_get_error_depth(store),
                encoded_certificate(certificate) if certificate else None,
            )
        return int(fine)
