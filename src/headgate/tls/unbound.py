"""Functions of the OpenSSL inside `cryptography` that its binding has no name for: ticket keys, `client-sigalgs`, providers.

They are public functions of OpenSSL, and they are there: the library is linked into the extension module, which does not export
them. Its symbol table says where they are (System V gABI, "Symbol Table"), and three functions that the binding has as well must
lie where it has them, or nothing found is used. A module without that table (a stripped one, or one that takes OpenSSL from the
system) is `Unreachable`, and what needs these functions is an error that says so.

See docs/decisions/2026-11-28-functions-without-a-name.md.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, Final

from cryptography.hazmat.bindings import _rust

from headgate.tls.openssl import ffi

#: Functions of the binding: by the first it is known where the module lies in memory, by the others that this is so.
_KNOWN: Final = ("SSL_new", "SSL_CTX_free", "SSL_CTX_set_timeout")
#: What the binding puts in front of its own names.
_PREFIX: Final = "_cffi_d_"

#: Types of the functions (ssl.h, evp.h, provider.h of OpenSSL 3.3 and newer); what the binding has no type for is a `void *`.
_TYPES: Final = {
    "SSL_CTX_add_custom_ext":
        "int (*)(SSL_CTX *, unsigned int, unsigned int,"
        " int (*)(SSL *, unsigned int, unsigned int, unsigned char **, size_t *, void *, size_t, int *, void *),"
        " void (*)(SSL *, unsigned int, unsigned int, unsigned char *, void *), void *,"
        " int (*)(SSL *, unsigned int, unsigned int, unsigned char *, size_t, void *, size_t, int *, void *), void *)",
    "SSL_CTX_ctrl": "long (*)(SSL_CTX *, int, long, void *)",
    "SSL_CTX_sess_set_get_cb": "void (*)(SSL_CTX *, SSL_SESSION *(*)(SSL *, unsigned char *, int, int *))",
    "SSL_CTX_set_num_tickets": "int (*)(SSL_CTX *, size_t)",
    "SSL_SESSION_get0_alpn_selected": "void (*)(SSL_SESSION *, unsigned char **, size_t *)",
    "SSL_SESSION_get0_hostname": "char *(*)(SSL_SESSION *)",
    "SSL_SESSION_get_ticket_lifetime_hint": "unsigned long (*)(SSL_SESSION *)",
    "SSL_SESSION_get_time_ex": "long long (*)(SSL_SESSION *)",
    "SSL_SESSION_is_resumable": "int (*)(SSL_SESSION *)",
    "SSL_get_early_data_status": "int (*)(SSL *)",
    "SSL_CTX_set_tlsext_ticket_key_evp_cb":
        "int (*)(SSL_CTX *, int (*)(SSL *, unsigned char *, unsigned char *, void *, void *, int))",
    "EVP_EncryptInit_ex": "int (*)(void *, void *, void *, unsigned char *, unsigned char *)",
    "EVP_DecryptInit_ex": "int (*)(void *, void *, void *, unsigned char *, unsigned char *)",
    "EVP_MAC_CTX_set_params": "int (*)(void *, void *)",
    "EVP_set_default_properties": "int (*)(void *, char *)",
    "OSSL_PROVIDER_do_all": "int (*)(void *, int (*)(void *, void *), void *)",
    "OSSL_PROVIDER_get0_name": "char *(*)(void *)",
    "OSSL_PROVIDER_load": "void *(*)(void *, char *)",
    "OSSL_PROVIDER_set_default_search_path": "int (*)(void *, char *)",
    "EVP_aes_128_cbc": "void *(*)(void)",
    "EVP_aes_256_cbc": "void *(*)(void)",
}  # fmt: skip

_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _FUNCTION = 2, 2  # SHT_SYMTAB, STT_FUNC


class Unreachable(Exception):
    """There is no way to the functions; the text says why."""


@cache
def function(name: str) -> Any:
    """A function of OpenSSL, ready to be called.

    Args:
        name: one of those that this module knows.

    Raises:
        Unreachable: it can't be found.
    """
    found = _found()
    if name not in found:
        raise Unreachable(f"the TLS library has no {name}")
    return ffi.cast(_TYPES[name], found[name])


@cache
def _found() -> dict[str, int]:
    """Addresses of all functions that were found."""
    path = _rust.__file__ or ""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as module:
            places = _places(module, {*_TYPES, *(_PREFIX + name for name in _KNOWN)})
    except (OSError, ValueError, struct.error) as error:
        raise Unreachable(f"{path!r}, which has the TLS library, can't be read: {error}") from None
    bases = {_address(name) - places.get(_PREFIX + name, -1) for name in _KNOWN}
    if len(bases) != 1:
        raise Unreachable("the TLS library of this installation does not tell where its functions are (its symbols are stripped)")
    base = bases.pop()
    return {name: base + place for name, place in places.items()}


def _address(name: str) -> int:
    """Where the binding has a function."""
    return int(ffi.cast("uintptr_t", ffi.addressof(_rust._openssl.lib, name)))


def _places(module: mmap.mmap, wanted: Collection[str]) -> dict[str, int]:
    """Where an ELF file's functions lie, behind its beginning; none that are there twice. Raises ValueError."""
    if module[:6] != b"\x7fELF\x02\x01":
        raise ValueError("it is no ELF file of 64 bits, little endian")
    found: dict[str, set[int]] = {}
    for _, kind, _, _, offset, size, link, *_ in _sections(module):
        if kind != _SYMTAB:
            continue
        strings = _SECTION_HEADER.unpack_from(module, _section_offset(module, link))
        names = module[strings[4] : strings[4] + strings[5]]
        numbers = {number: name for name in wanted for number in _positions(names, name.encode() + b"\0")}
        for number, info, _, section, value, _ in _SYMBOL.iter_unpack(module[offset : offset + size]):
            if number in numbers and info & 15 == _FUNCTION and section:
                found.setdefault(numbers[number], set()).add(value)
    return {name: places.pop() for name, places in found.items() if len(places) == 1}


def _sections(module: mmap.mmap) -> Iterator[tuple[int, ...]]:
    (count,) = struct.unpack_from("<H", module, 60)
    for number in range(count):
        yield _SECTION_HEADER.unpack_from(module, _section_offset(module, number))


def _section_offset(module: mmap.mmap, number: int) -> int:
    (offset,) = struct.unpack_from("<Q", module, 40)
    (size,) = struct.unpack_from("<H", module, 58)
    return int(offset + number * size)


def _positions(text: bytes, part: bytes) -> Iterator[int]:
    """Where a name stands, be it as the end of a longer one: linkers share these."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)
