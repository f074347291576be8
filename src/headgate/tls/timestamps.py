"""Signed certificate timestamps (`.sctl` files): sent to clients that ask for them (RFC 6962 section 3.3.1).

Up to TLS 1.2 they are in the ServerHello, in TLS 1.3 beside the certificate (RFC 8446 section 4.4.2). The one call for that in
the binding knows the former place only; where the other one can't be reached, clients of TLS 1.3 get none.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from OpenSSL import SSL

from headgate.tls.openssl import ffi, lib
from headgate.tls.unbound import Unreachable, function

#: signed_certificate_timestamp.
_TYPE: Final = 18
#: Where it may stand: SSL_EXT_CLIENT_HELLO, SSL_EXT_TLS1_2_SERVER_HELLO, SSL_EXT_TLS1_3_CERTIFICATE of ssl.h.
_CERTIFICATE: Final = 0x1000
_PLACES: Final = 0x80 | 0x100 | _CERTIFICATE


def send_timestamps(context: SSL.Context, sctl: bytes) -> None:
    """Answer clients that ask.

    Args:
        context: of a certificate, before connections get it.
        sctl: a SignedCertificateTimestampList.
    """
    try:
        put = function("SSL_CTX_add_custom_ext")
    except Unreachable:
        add, free, parse = _callbacks_of_old(sctl)
        lib.SSL_CTX_add_server_custom_ext(context._context, _TYPE, add, free, ffi.NULL, parse, ffi.NULL)
        return
    add, free, parse = _callbacks(sctl)
    put(context._context, _TYPE, _PLACES, add, free, ffi.NULL, parse, ffi.NULL)


@cache
def _callbacks(sctl: bytes) -> tuple[Any, Any, Any]:
    """Kept for ever: contexts that are no longer in use here may still be in that of a handshake."""
    memory = ffi.new("unsigned char[]", sctl)

    def add(
        _ssl: Any, _kind: int, place: int, out: Any, length: Any, _certificate: Any, above: int, _alert: Any, _argument: Any
    ) -> int:
        if place & _CERTIFICATE and above:
            return 0  # of a CA's certificate there are none
        out[0] = memory
        length[0] = len(sctl)
        return 1

    kind = "SSL *, unsigned int, unsigned int"
    return (
        ffi.callback(f"int(*)({kind}, unsigned char **, size_t *, void *, size_t, int *, void *)", add, error=0),
        ffi.callback(f"void(*)({kind}, unsigned char *, void *)", lambda *_: None),
        ffi.callback(f"int(*)({kind}, unsigned char *, size_t, void *, size_t, int *, void *)", lambda *_: 1, error=1),
    )


@cache
def _callbacks_of_old(sctl: bytes) -> tuple[Any, Any, Any]:
    """See `_callbacks`; for the call that does not say in which message the extension is."""
    memory = ffi.new("unsigned char[]", sctl)

    def add(_ssl: Any, _kind: int, out: Any, length: Any, _alert: Any, _argument: Any) -> int:
        out[0] = memory
        length[0] = len(sctl)
        return 1

    return (
        ffi.callback("int(SSL *, unsigned int, unsigned char **, size_t *, int *, void *)", add, error=0),
        ffi.callback("void(SSL *, unsigned int, unsigned char *, void *)", lambda *_: None),
        ffi.callback("int(SSL *, unsigned int, unsigned char *, size_t, int *, void *)", lambda *_: 1, error=1),
    )
