"""OpenSSL's side of stapling: the callback that puts a response into a handshake (RFC 6066 section 8, RFC 8446 section 4.4.2.1).

OpenSSL calls it once for each full handshake whose client asks for a response, when it has chosen the certificate. It finds the
certificate's `Staple` in the context that the connection was switched to, so a handshake looks nothing up by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headgate.tls.ocsp.ledger import Staple
from headgate.tls.openssl import ffi, lib

_OK, _FATAL, _NOACK = 0, 2, 3  # SSL_TLSEXT_ERR_*
_cast, _from_handle, _move = ffi.cast, ffi.from_handle, ffi.memmove
_certificate_of, _set_response, _malloc, _free = (
    lib.SSL_get_certificate, lib.SSL_set_tlsext_status_ocsp_resp, lib.OPENSSL_malloc, lib.OPENSSL_free,
)  # fmt: skip


class _Context:
    """Of one `SSL_CTX*`: its certificates' staples, by address of the `X509*`, and the clock."""

    __slots__ = ("clock", "handle", "staples")

    def __init__(self, staples: Mapping[int, Staple], clock: Callable[[], float]) -> None:
        self.staples = staples
        self.clock = clock
        self.handle = ffi.new_handle(self)


def _staple(ssl: Any, argument: Any) -> int:
    context: _Context = _from_handle(argument)
    staple = context.staples.get(int(_cast("uintptr_t", _certificate_of(ssl))))
    if staple is None:
        return _NOACK
    der = staple.der
    if not der or context.clock() >= staple.until:
        return _FATAL if staple.required else _NOACK
    size = len(der)
    memory = _malloc(size)  # OpenSSL frees it with the connection
    if memory == ffi.NULL:
        return _NOACK
    _move(memory, der, size)
    if _set_response(ssl, memory, size) != 1:
        _free(memory)
        return _NOACK
    return _OK


_CALLBACK = ffi.callback("int (*)(SSL *, void *)", _staple, error=_NOACK)


def staple_with(context: Any, staples: Mapping[int, Staple], clock: Callable[[], float]) -> object:
    """Let a context staple.

    Args:
        context: the `SSL_CTX*`.
        staples: by the address of the `X509*` that the context holds; it may change later.
        clock: seconds since the epoch: an expired response is not stapled, however late its successor is.

    Returns:
        What must live as long as the context.
    """
    kept = _Context(staples, clock)
    lib.SSL_CTX_set_tlsext_status_cb(context, _CALLBACK)
    lib.SSL_CTX_set_tlsext_status_arg(context, kept.handle)
    return kept
