"""Hashing converters (manual 7.3.1): checksums, non-cryptographic hashes, digests."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac as hmac_
import zlib
from collections.abc import Callable

import google_crc32c
import xxhash

from headgate.base.diagnostics import NOWHERE, config_error
from headgate.plan.facts import Stream, Value
from headgate.plan.registry import Argument, converter, pure
from headgate.plan.samples import Convert, Type
from headgate.plan.scope import Scope
from headgate.plan.string_hashes import avalanche, djb2, sdbm
from headgate.plan.variables import check_name, reader

STRING, INTEGER = Argument.STRING, Argument.INTEGER


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    return int(google_crc32c.value(data))


def _numeric(name: str, function: Callable[[bytes], int]) -> None:
    @converter(name, takes=Type.BIN, result=Type.SINT, arguments=(INTEGER,), required=0)
    def compile_(scope: Scope, mixed: int | None) -> Convert:
        return (lambda value: avalanche(function(value))) if mixed else function


_numeric("crc32", zlib.crc32)
_numeric("crc32c", crc32c)
_numeric("djb2", djb2)
_numeric("sdbm", sdbm)


def _signed(number: int) -> int:
    """64-bit hashes become HAProxy's signed integers."""
    return number - (1 << 64) if number >> 63 else number


def _seeded(name: str, function: Callable[[bytes, int], int]) -> None:
    @converter(name, takes=Type.BIN, result=Type.SINT, arguments=(INTEGER,), required=0)
    def compile_(scope: Scope, seed: int | None) -> Convert:
        start = seed or 0
        return lambda value: function(value, start)


_seeded("xxh32", lambda value, seed: xxhash.xxh32_intdigest(value, seed))
_seeded("xxh64", lambda value, seed: _signed(xxhash.xxh64_intdigest(value, seed)))
_seeded("xxh3", lambda value, seed: _signed(xxhash.xxh3_64_intdigest(value, seed)))

pure("sha1", takes=Type.BIN, result=Type.BIN, convert=lambda value: hashlib.sha1(value).digest())


@converter("sha2", takes=Type.BIN, result=Type.BIN, arguments=(INTEGER,), required=0)
def sha2(scope: Scope, bits: int | None) -> Convert:
    size = 256 if bits is None else bits
    if size not in (224, 256, 384, 512):
        raise config_error(f"'sha2' takes 224, 256, 384 or 512, not {size}", None)
    make = getattr(hashlib, f"sha{size}")
    return lambda value: make(value).digest()


def _algorithm(name: bytes) -> str:
    """OpenSSL's name of a digest, checked."""
    text = name.decode("latin-1").lower()
    text = text.replace("sha-", "sha") if text.startswith("sha-") else text
    if text not in hashlib.algorithms_available or text.startswith("shake"):
        raise config_error(
            f"there is no digest '{text}'", None, allowed=tuple(sorted(hashlib.algorithms_guaranteed)), written=text
        )
    return text


@converter("digest", takes=Type.BIN, result=Type.BIN, arguments=(STRING,))
def digest(scope: Scope, name: bytes) -> Convert:
    algorithm = _algorithm(name)
    return lambda value: hashlib.new(algorithm, value).digest()


@converter("hmac", takes=Type.BIN, result=Type.BIN, arguments=(STRING, STRING), live=True)
def hmac(scope: Scope, name: bytes, key: bytes) -> Callable[[Stream, bytes], Value]:
    """The key is base64, or a variable that holds base64 (7.3.1 "hmac")."""
    algorithm = _algorithm(name)
    text = key.decode("latin-1")
    if "." in text:
        place, full = check_name(text, NOWHERE)
        read = reader(place, full)

        def from_variable(stream: Stream, value: bytes) -> Value:
            secret = read(stream)
            if not isinstance(secret, bytes):
                return None
            try:
                return hmac_.digest(base64.b64decode(secret, validate=True), value, algorithm)
            except binascii.Error:
                return None

        return from_variable
    try:
        decoded = base64.b64decode(key, validate=True)
    except binascii.Error:
        # The key itself must not appear in the message.
        raise config_error("the key of 'hmac' must be base64, or a variable", None) from None
    return lambda stream, value: hmac_.digest(decoded, value, algorithm)


@converter("secure_memcmp", takes=Type.BIN, result=Type.BOOL, arguments=(STRING,), live=True)
def secure_memcmp(scope: Scope, variable: bytes) -> Callable[[Stream, bytes], Value]:
    place, key = check_name(variable.decode("latin-1"), NOWHERE)
    read = reader(place, key)

    def compare(stream: Stream, value: bytes) -> Value:
        other = read(stream)
        return isinstance(other, bytes) and hmac_.compare_digest(value, other)

    return compare
