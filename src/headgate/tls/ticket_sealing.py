"""Encrypts and decrypts session tickets with keys from a file, in the place of those that OpenSSL makes for itself.

OpenSSL calls back for each ticket (SSL_CTX_set_tlsext_ticket_key_cb(3)); the cipher and the MAC are its own: AES in CBC mode, and
HMAC with SHA-256, as HAProxy has them.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Final

from OpenSSL import SSL

from headgate.base.diagnostics import config_error
from headgate.config.tls_options import NamedFile
from headgate.tls.openssl import ffi, lib
from headgate.tls.session_der import TLS_1_3
from headgate.tls.storage import Entry, Storage
from headgate.tls.ticket_keys import NAME, TicketKeys
from headgate.tls.unbound import Unreachable, function

_IV = 16
#: Answers of the callback: no ticket (or none that can be read), a ticket, one that is to be renewed.
_NONE, _GOOD, _RENEW = 0, 1, 2
#: OSSL_PARAM (core.h) as memory: key, data_type, data, data_size, return_size; and two of its types.
_PARAMETER: Final = struct.Struct("PIPNN")
_UTF8_STRING, _OCTET_STRING = 4, 5
_UNMODIFIED = (1 << 8 * struct.calcsize("N")) - 1


class _Key:
    """One key, as OpenSSL takes it; what points into memory keeps that alive."""

    __slots__ = ("_memory", "cipher", "name", "parameters", "secret")

    def __init__(self, key: bytes) -> None:
        half = (len(key) - NAME) // 2
        self.name = key[:NAME]
        self.secret = ffi.new("unsigned char[]", key[NAME : NAME + half])
        self.cipher = function("EVP_aes_256_cbc" if half == 32 else "EVP_aes_128_cbc")()
        texts = [(b"digest\0", _UTF8_STRING, b"SHA256"), (b"key\0", _OCTET_STRING, key[NAME + half :])]
        self._memory: list[Any] = []
        rows = b"".join(
            _PARAMETER.pack(self._placed(word), kind, self._placed(value), len(value), _UNMODIFIED) for word, kind, value in texts
        )
        self.parameters = ffi.new("unsigned char[]", rows + bytes(_PARAMETER.size))

    def _placed(self, data: bytes) -> int:
        memory = ffi.new("unsigned char[]", data)
        self._memory.append(memory)
        return int(ffi.cast("uintptr_t", memory))


def sealer_for(file: NamedFile, storage: Storage) -> TicketSealer:
    """What seals the tickets of a bind line with `tls-ticket-keys`.

    Raises:
        ConfigError: the file is wrong, or the TLS library can't be told keys.
    """
    entry = storage.keys_of_tickets(file.path, file.location)
    try:
        return TicketSealer(entry)
    except Unreachable as why:
        raise config_error(
            f"'tls-ticket-keys' can't be followed: {why}", file.location,
            remedy="leave it out: workers share the keys of tickets, and a reload keeps them",
        ) from None


def sealer_with(keys: TicketKeys) -> TicketSealer | None:
    """What seals tickets with keys that are in no file; None where the TLS library can't be told keys."""
    try:
        return TicketSealer(Entry("", keys))
    except Unreachable:
        return None


class TicketSealer:
    """Seals the tickets of the contexts that it is put on; must live as long as they do.

    Args:
        entry: the keys; what is put in their place counts from the next ticket on.

    Raises:
        Unreachable: the TLS library can't be told keys.
    """

    __slots__ = (
        "_callback", "_encrypting", "_entry", "_keys", "_known", "_put", "_set_parameters", "_to_decrypt", "_to_encrypt",
    )  # fmt: skip

    def __init__(self, entry: Entry[TicketKeys]) -> None:
        self._put = function("SSL_CTX_set_tlsext_ticket_key_evp_cb")
        self._to_encrypt, self._to_decrypt = function("EVP_EncryptInit_ex"), function("EVP_DecryptInit_ex")
        self._set_parameters = function("EVP_MAC_CTX_set_params")
        self._entry = entry
        self._known: TicketKeys = ()
        self._keys: dict[bytes, _Key] = {}
        self._learn()
        self._callback = ffi.callback(
            "int (*)(SSL *, unsigned char *, unsigned char *, void *, void *, int)", self._seal, error=_NONE
        )

    def put_on(self, context: SSL.Context) -> None:
        """Use it for the tickets of all connections that are created from a context."""
        self._put(context._context, self._callback)

    def _learn(self) -> None:
        self._known = self._entry.contents
        keys = [_Key(key) for key in self._known]
        self._keys = {key.name: key for key in keys}
        self._encrypting = keys[-2]

    def _seal(self, ssl: Any, name: Any, iv: Any, cipher: Any, mac: Any, encrypt: int) -> int:
        if self._entry.contents is not self._known:
            self._learn()
        if encrypt:
            key = self._encrypting
            ffi.memmove(name, key.name, NAME)
            ffi.memmove(iv, os.urandom(_IV), _IV)
            return _GOOD if self._prepare(self._to_encrypt, key, iv, cipher, mac) else _NONE
        found = self._keys.get(bytes(ffi.buffer(name, NAME)))
        if found is None or not self._prepare(self._to_decrypt, found, iv, cipher, mac):
            return _NONE
        # A TLS 1.3 client uses each ticket once (RFC 8446 appendix C.4): it is always given another.
        return _GOOD if found is self._encrypting and lib.SSL_version(ssl) != TLS_1_3 else _RENEW

    def _prepare(self, begin: Any, key: _Key, iv: Any, cipher: Any, mac: Any) -> bool:
        if begin(cipher, key.cipher, ffi.NULL, key.secret, iv) == 1 and self._set_parameters(mac, key.parameters) == 1:
            return True
        lib.ERR_clear_error()
        return False
