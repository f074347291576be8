"""Certificate revocation lists as `crl-file` takes them: a PEM file, or a directory of such files (manual 5.1, RFC 5280 5).

Reads and checks them, and puts them into OpenSSL's store of trust. Called by `client_auth`, and for servers by `client_context`.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from headgate.base.diagnostics import Bug, Location, config_error
from headgate.tls.openssl import ffi, lib
from headgate.tls.pem import DAMAGED, list_directory, read_file

_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----[ \t]*\r?\n.*?-----END X509 CRL-----", re.DOTALL)
#: What is read in a directory (manual 5.1 ca-file).
_SUFFIXES = (".pem", ".crt", ".cer", ".crl")

#: X509_V_FLAG_CRL_CHECK and X509_V_FLAG_CRL_CHECK_ALL: a list for every certificate of the chain (manual 5.1 crl-file).
_CHECK_CHAIN = lib.X509_V_FLAG_CRL_CHECK | lib.X509_V_FLAG_CRL_CHECK_ALL


def read_revocations(path: str, location: Location | None) -> tuple[x509.CertificateRevocationList, ...]:
    """Read the lists of a `crl-file`.

    Args:
        path: a PEM file, or a directory of `.pem`, `.crt`, `.cer` and `.crl` files.
        location: where the configuration names it.

    Raises:
        ConfigError: unreadable, or no list in it.
    """
    found: list[x509.CertificateRevocationList] = []
    if os.path.isdir(path):
        names = [name for name in list_directory(path, location) if name.endswith(_SUFFIXES) and not name.startswith(".")]
        for name in names:
            file = os.path.join(path, name)
            found += parse_revocations(read_file(file, location, "CRL file"), file, location)
    else:
        found += parse_revocations(read_file(path, location, "CRL file"), path, location)
    if not found:
        raise config_error(
            f"no certificate revocation list in {path!r}", location,
            remedy="crl-file takes lists in PEM form; to convert one: openssl crl -inform DER -in FILE -out FILE.pem",
        )
    return tuple(found)


def parse_revocations(data: bytes, path: str, location: Location | None) -> list[x509.CertificateRevocationList]:
    """All revocation lists of a PEM file; other blocks are passed over.

    Raises:
        ConfigError: one of them is damaged.
    """
    found = []
    for match in _BLOCK.finditer(data):
        try:
            with warnings.catch_warnings(action="ignore"):  # about names that are odd, and no reason to refuse a list
                one = x509.load_pem_x509_crl(match[0] + b"\n")
                # Parsing is lazy: touch what is used, so that nonsense is found here and not in a handshake.
                one.issuer, one.next_update_utc, one.extensions, len(one)
            if not _as_openssl_has_it(one):
                raise ValueError("OpenSSL can't read it")
        except DAMAGED as error:
            raise config_error(
                f"{path!r} holds a damaged certificate revocation list: {' '.join(str(error).split())[:120]}", location,
                remedy="look at it with: openssl crl -in FILE -noout -text",
            ) from None
        found.append(one)
    return found


def add_revocations(store: Any, lists: tuple[x509.CertificateRevocationList, ...]) -> None:
    """Put revocation lists into an `X509_STORE*`, without asking for them to be checked.

    Raises:
        Bug: OpenSSL does not read what `cryptography` has read.
    """
    for one in lists:
        if lib.X509_STORE_add_crl(store, _as_openssl_has_it(one)) != 1:
            lib.ERR_clear_error()
            raise Bug("OpenSSL refuses a certificate revocation list that was read before")


def _as_openssl_has_it(one: x509.CertificateRevocationList) -> Any:
    """An `X509_CRL*`, NULL when OpenSSL can't read it."""
    data = one.public_bytes(Encoding.DER)
    memory = ffi.gc(lib.BIO_new_mem_buf(data, len(data)), lib.BIO_free)
    pointer = lib.d2i_X509_CRL_bio(memory, ffi.NULL)
    if not pointer:
        lib.ERR_clear_error()
        return pointer
    return ffi.gc(pointer, lib.X509_CRL_free)


def check_revocations(store: Any) -> None:
    """Let an `X509_STORE*` ask for an unexpired list of every CA in a chain, and refuse what they name."""
    lib.X509_STORE_set_flags(store, _CHECK_CHAIN)
