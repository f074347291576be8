"""Groups for DHE cipher suites up to TLS 1.2 (manual 3.1 ssl-dh-param-file, 3.2 tune.ssl.default-dh-param, 5.1 crt).

Parameters in the certificate's file come first, then `ssl-dh-param-file`, then the pre-defined groups of RFC 7919 when
`tune.ssl.default-dh-param` asks for them. Without any of these there is no DHE, which nobody misses: ECDHE needs none.
"""

from __future__ import annotations

import re
from base64 import encodebytes
from decimal import Decimal, localcontext
from functools import cache

from OpenSSL import SSL

from headgate.base.diagnostics import Location, config_error
from headgate.tls.openssl import ffi, lib
from headgate.tls.pem import read_file

#: Bits of a group of RFC 7919 appendix A, and what its formula adds.
_ADDENDS = {2048: 560316, 3072: 2625351, 4096: 5736041, 6144: 15705020, 8192: 10965728}
#: The smallest of them.
SMALLEST = min(_ADDENDS)
_BLOCK = re.compile(rb"-----BEGIN DH PARAMETERS-----.*?-----END DH PARAMETERS-----\s", re.DOTALL)


def read_dh_parameters(path: str, location: Location | None) -> bytes:
    """The parameters of an `ssl-dh-param-file` in PEM form.

    Raises:
        ConfigError: there are none in it, or weak ones.
    """
    remedy = f"make new ones: openssl dhparam {SMALLEST}"
    found = _BLOCK.search(read_file(path, location, "DH parameter file"))
    if found is None:
        raise config_error(f"no DH parameters in {path!r}", location, remedy=remedy)
    if not set_dh_parameters(SSL.Context(SSL.TLS_SERVER_METHOD), found[0]):
        raise config_error(f"the DH parameters in {path!r} are damaged, or too short to be secure", location, remedy=remedy)
    return found[0]


@cache
def predefined_parameters(most: int, key_bits: int) -> bytes:
    """The group of RFC 7919 that is as large as an RSA key, in PEM form.

    Args:
        most: `tune.ssl.default-dh-param`, no less than `SMALLEST`.
        key_bits: of the certificate's key; 0 for a key that has no comparable size.
    """
    wanted = min(most, key_bits or SMALLEST)
    bits = max(size for size in _ADDENDS if size <= max(wanted, SMALLEST))
    content = _der(0x02, b"\0" + _prime(bits).to_bytes(bits // 8, "big")) + _der(0x02, b"\2")  # PKCS #3 DHParameter
    return b"-----BEGIN DH PARAMETERS-----\n" + encodebytes(_der(0x30, content)) + b"-----END DH PARAMETERS-----\n"


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


def _prime(bits: int) -> int:
    """RFC 7919 appendix A: 2^b - 2^(b-64) + {[2^(b-130) e] + X } * 2^64 - 1."""
    with localcontext() as context:
        context.prec = bits // 3 + 50
        scaled = int(Decimal(1).exp() * (Decimal(2) ** (bits - 130)))
    return int(2**bits - 2 ** (bits - 64) + (scaled + _ADDENDS[bits]) * 2**64 - 1)


def set_dh_parameters(context: SSL.Context, pem: bytes) -> bool:
    """Let a context offer DHE with these parameters; whether OpenSSL accepts them."""
    memory = ffi.gc(lib.BIO_new_mem_buf(pem, len(pem)), lib.BIO_free)
    parameters = lib.PEM_read_bio_DHparams(memory, ffi.NULL, ffi.NULL, ffi.NULL)
    if parameters:
        parameters = ffi.gc(parameters, lib.DH_free)
        if lib.SSL_CTX_set_tmp_dh(context._context, parameters) == 1:
            return True
    lib.ERR_clear_error()
    return False
