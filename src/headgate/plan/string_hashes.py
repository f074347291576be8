"""The string hashes of fetches and converters that are plain arithmetic, apart from those that need a library."""

from __future__ import annotations


def avalanche(number: int) -> int:
    """Bob Jenkins' full avalanche hash of 32 bits (public domain, burtleburtle.net/bob/hash/integer.html)."""
    number = (number + 0x7ED55D16 + (number << 12)) & 0xFFFFFFFF
    number = number ^ 0xC761C23C ^ (number >> 19)
    number = (number + 0x165667B1 + (number << 5)) & 0xFFFFFFFF
    number = ((number + 0xD3A2646C) ^ (number << 9)) & 0xFFFFFFFF
    number = (number + 0xFD7046C5 + (number << 3)) & 0xFFFFFFFF
    return (number ^ 0xB55A4F09 ^ (number >> 16)) & 0xFFFFFFFF


def sdbm(data: bytes) -> int:
    """The hash of the sdbm database library: `hash * 65599 + byte`, 32 bits."""
    number = 0
    for byte in data:
        number = (number * 65599 + byte) & 0xFFFFFFFF
    return number


def djb2(data: bytes) -> int:
    """Daniel J. Bernstein's hash: `hash * 33 + byte` from 5381, 32 bits."""
    number = 5381
    for byte in data:
        number = (number * 33 + byte) & 0xFFFFFFFF
    return number
