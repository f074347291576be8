"""OpenSSL's side of stapling: the callback that puts a response into a handshake (RFC 6066 section 8, RFC 8446 section 4.4.2.1).

OpenSSL calls it once for each full handshake whose client asks for a response, when it has chosen the certificate. The staple is
found by the address of that certificate's object, which every context has for itself.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL

from headgate.tls.ocsp.ledger import Staple
from headgate.tls.openssl import ffi, lib

_OK, _FATAL, _NOACK = 0, 2, 3  # SSL_TLSEXT_ERR_*
_cast, _move, _NULL = ffi.cast, ffi.memmove, ffi.NULL
_certificate_of, _set_response, _malloc, _free = (
    lib.SSL_get_certificate, lib.SSL_set_tlsext_status_ocsp_resp, lib.OPENSSL_malloc, lib.OPENSSL_free,
)  # fmt: skip

Clock = Callable[[], float]
#: Staple and clock by the address of an `X509*`, as long as the context that holds it is there.
_attached: dict[int, tuple[Staple, Clock]] = {}


def _staple(ssl: Any, _argument: Any) -> int:
    found = _attached.get(int(_cast("uintptr_t", _certificate_of(ssl))))
    if found is None:
        return _NOACK
    staple, clock = found
    der = staple.der
    if not der or clock() >= staple.until:
        return _FATAL if staple.required else _NOACK
    size = len(der)
    memory = _malloc(size)  # OpenSSL frees it with the connection
    if memory == _NULL:
        return _NOACK
    _move(memory, der, size)
    if _set_response(ssl, memory, size) != 1:
        _free(memory)
        return _NOACK
    return _OK


_CALLBACK = ffi.callback("int (*)(SSL *, void *)", _staple, error=_NOACK)


class Staples:
    """What is stapled with each certificate of a process.

    Args:
        clock: seconds since the epoch: an expired response is not stapled, however late its successor is.
    """

    __slots__ = ("_clock", "_staples")

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        # Those that a ledger or a context holds: certificates that are made for unknown names come and go.
        self._staples: weakref.WeakValueDictionary[bytes, Staple] = weakref.WeakValueDictionary()

    def of(self, leaf: bytes) -> Staple:
        """The staple of a certificate (DER); an empty one as long as there is no response."""
        found = self._staples.get(leaf)
        if found is None:
            found = self._staples[leaf] = Staple()
        return found

    def attach(self, context: SSL.Context, leaf: bytes) -> None:
        """Let a context staple with the certificate (DER) that was put into it last.

        Raises:
            MemoryError: OpenSSL has none.
        """
        address = _certificate_address(context._context)
        attached = _attached[address] = (self.of(leaf), self._clock)
        lib.SSL_CTX_set_tlsext_status_cb(context._context, _CALLBACK)
        # Connections may hold what OpenSSL has of a context for longer: they find nothing then, and staple nothing.
        weakref.finalize(context, _detach, address, attached).atexit = False


def _detach(address: int, attached: tuple[Staple, Clock]) -> None:
    if _attached.get(address) is attached:
        del _attached[address]


def _certificate_address(context: Any) -> int:
    """The address of the `X509*` that was put into an `SSL_CTX*` last. The binding has no call that asks the context."""
    ssl = lib.SSL_new(context)
    if not ssl:
        lib.ERR_clear_error()
        raise MemoryError("OpenSSL has no memory for a connection")
    address = int(_cast("uintptr_t", _certificate_of(ssl)))
    lib.SSL_free(ssl)
    return address
