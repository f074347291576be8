"""The hash functions of `hash-type` (manual 4.2), each from its public definition. All results have 32 bits.

sdbm and djb2 are the classic string hashes; crc32 is that of Ethernet and zip; the avalanche step is Bob Jenkins' full avalanche
integer hash ("4-byte integer hashing"); wt6 is described in the manual only by name and purpose, see its function.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

_MASK: Final = 0xFFFFFFFF


def sdbm(key: bytes) -> int:
    """hash(i) = hash(i - 1) * 65599 + byte, of the sdbm library."""
    value = 0
    for byte in key:
        value = (value * 65599 + byte) & _MASK
    return value


def djb2(key: bytes) -> int:
    """hash(i) = hash(i - 1) * 33 + byte, beginning with 5381 (Bernstein)."""
    value = 5381
    for byte in key:
        value = (value * 33 + byte) & _MASK
    return value


def wt6(key: bytes) -> int:
    """An integer-style mixer over bytes: insensitive to numeric input and to the number of servers.

    The manual promises the properties and not the bits, so the distribution is as described and the values are our own:
    the key is folded byte by byte with the rotate, add and multiply steps of Jenkins' one-at-a-time hash.
    """
    value = 0
    for byte in key:
        value = (value + byte) & _MASK
        value = (value + (value << 10)) & _MASK
        value ^= value >> 6
    value = (value + (value << 3)) & _MASK
    value ^= value >> 11
    return (value + (value << 15)) & _MASK


def crc32(key: bytes) -> int:
    """CRC-32 as in Ethernet, gzip and PNG."""
    return zlib.crc32(key)


def none(key: bytes) -> int:
    """The key is the hash: its leading decimal digits as a number, 0 when there are none."""
    sign = 1
    text = key.strip()
    if text[:1] in (b"-", b"+"):
        sign = -1 if text[:1] == b"-" else 1
        text = text[1:]
    value = 0
    for byte in text[:20]:
        if not 48 <= byte <= 57:
            break
        value = value * 10 + byte - 48
    return sign * value & _MASK


def avalanche(value: int) -> int:
    """Jenkins' full avalanche of a 32-bit integer: every input bit affects every output bit."""
    value = (value + 0x7ED55D16 + (value << 12)) & _MASK
    value = (value ^ 0xC761C23C ^ (value >> 19)) & _MASK
    value = (value + 0x165667B1 + (value << 5)) & _MASK
    value = ((value + 0xD3A2646C) ^ (value << 9)) & _MASK
    value = (value + 0xFD7046C5 + (value << 3)) & _MASK
    return (value ^ 0xB55A4F09 ^ (value >> 16)) & _MASK


FUNCTIONS: Final[dict[str, Callable[[bytes], int]]] = {"sdbm": sdbm, "djb2": djb2, "wt6": wt6, "crc32": crc32, "none": none}


def hash_function(name: str, with_avalanche: bool) -> Callable[[bytes], int]:
    """The function behind `hash-type <method> <name> [avalanche]`."""
    function = FUNCTIONS[name]
    if not with_avalanche:
        return function

    def mixed(key: bytes) -> int:
        return avalanche(function(key))

    return mixed
