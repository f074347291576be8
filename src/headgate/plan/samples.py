"""Types of samples and the casts between them (manual 7.1, the compatibility matrix).

A sample is a plain Python value: bytes for strings, binaries and methods, int, bool, `ipaddress` objects, or None when it does
not exist. Static types are known when a rule is compiled, so a cast is chosen once and costs one call, or nothing where the
representation is the same. `Type.ANY` (variables) is the exception: its cast looks at the value.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from headgate.base.addresses import ip_text
from headgate.plan.facts import Stream, Value

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: A compiled expression.
Run = Callable[[Stream], Value]
#: A pure function from value to value; None stands for "no sample" and is never passed in.
Convert = Callable[..., Value]


class Type(enum.Enum):
    """Static type of a sample; the value is how messages name it."""

    BOOL = "a boolean"
    SINT = "an integer"
    ADDR = "an address"
    STR = "a string"
    BIN = "binary data"
    METH = "a method"
    ANY = "any type"


#: Types whose values are bytes.
TEXTUAL: Final = frozenset({Type.STR, Type.BIN, Type.METH})

_INTEGER: Final = re.compile(rb"\s*([+-]?[0-9]+)")


@lru_cache(maxsize=8192)
def parse_address(text: bytes) -> Address | None:
    """The address that a text names, or None. Cached: the same clients come again and again."""
    try:
        return ipaddress.ip_address(text.decode("ascii").strip("[]"))
    except ValueError:
        return None


@lru_cache(maxsize=8192)
def address_text(address: Address) -> bytes:
    """The canonical text of an address."""
    return ip_text(address).encode()


def parse_integer(text: bytes) -> int | None:
    """The whole number that a text begins with, as HAProxy reads `Content-Length: 12 `; None when there is none."""
    match = _INTEGER.match(text)
    return int(match[1][:20]) if match is not None else None


def _bool_text(value: bool) -> bytes:
    return b"1" if value else b"0"


def _int_text(value: int) -> bytes:
    return b"%d" % value


def _int_bytes(value: int) -> bytes:
    return (value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")


def _int_address(value: int) -> Address:
    return ipaddress.IPv4Address(value & 0xFFFFFFFF)


def _address_int(value: Address) -> int | None:
    return int(value) if value.version == 4 else None


def _address_bytes(value: Address) -> bytes:
    return value.packed


def _until_nul(value: bytes) -> bytes:
    """Binary seen as a string ends at the first zero byte (manual 7.1.3)."""
    end = value.find(b"\0")
    return value if end < 0 else value[:end]


def _text_bool(value: bytes) -> bool | None:
    number = parse_integer(value)
    return None if number is None else number != 0


_CASTS: Final[dict[tuple[Type, Type], Convert | None]] = {
    (Type.BOOL, Type.SINT): int,
    (Type.BOOL, Type.STR): _bool_text,
    (Type.BOOL, Type.BIN): _int_bytes,
    (Type.SINT, Type.BOOL): bool,
    (Type.SINT, Type.STR): _int_text,
    (Type.SINT, Type.BIN): _int_bytes,
    (Type.SINT, Type.ADDR): _int_address,
    (Type.ADDR, Type.STR): address_text,
    (Type.ADDR, Type.BIN): _address_bytes,
    (Type.ADDR, Type.SINT): _address_int,
    (Type.STR, Type.BIN): None,
    (Type.STR, Type.METH): None,
    (Type.STR, Type.SINT): parse_integer,
    (Type.STR, Type.BOOL): _text_bool,
    (Type.STR, Type.ADDR): parse_address,
    (Type.BIN, Type.STR): _until_nul,
    (Type.METH, Type.STR): None,
    (Type.METH, Type.BIN): None,
}


def type_of(value: object) -> Type:
    """The type of a value that is not None."""
    if isinstance(value, bool):
        return Type.BOOL
    if isinstance(value, int):
        return Type.SINT
    if isinstance(value, bytes):
        return Type.STR
    return Type.ADDR


def _dynamic(wanted: Type) -> Convert:
    """The cast of a value whose type is only known when it is there."""

    def cast(value: object) -> Value:
        have = type_of(value)
        if have is wanted:
            return value
        convert = _CASTS.get((have, wanted), _impossible)
        return value if convert is None else convert(value)

    return cast


def _impossible(value: object) -> None:
    return None


def castable(have: Type, wanted: Type) -> bool:
    """Whether samples of one type can stand where the other is wanted."""
    return have is wanted or Type.ANY in (have, wanted) or (have, wanted) in _CASTS


def cast(have: Type, wanted: Type) -> Convert | None:
    """The function from one type to the other; None: the representation is the same. Ask `castable` first."""
    if have is wanted or wanted is Type.ANY:
        return None
    if have is Type.ANY:
        return _dynamic(wanted)
    return _CASTS[have, wanted]


def then(run: Run, convert: Convert | None) -> Run:
    """`run` followed by `convert` where there is a value."""
    if convert is None:
        return run

    def chained(stream: Stream) -> Value:
        value = run(stream)
        return None if value is None else convert(value)

    return chained
