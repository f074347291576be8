"""Converters between encodings (manual 7.3.1): base64, hexadecimal, URL, JSON, integers in binary data."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from headgate.base.diagnostics import config_error
from headgate.plan.facts import Value
from headgate.plan.registry import Argument, converter, pure
from headgate.plan.samples import Convert, Type
from headgate.plan.scope import Scope

STRING, INTEGER = Argument.STRING, Argument.INTEGER


def _b64dec(value: bytes) -> Value:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return None


def _ub64dec(value: bytes) -> Value:
    if re.fullmatch(rb"[A-Za-z0-9_\-]*=*", value) is None:
        return None
    bare = value.rstrip(b"=")
    try:
        return base64.urlsafe_b64decode(bare + b"=" * (-len(bare) % 4))
    except binascii.Error:
        return None


def _hex2i(value: bytes) -> Value:
    if re.fullmatch(rb"[0-9A-Fa-f]{1,16}", value) is None:
        return None
    number = int(value, 16)
    return number - (1 << 64) if number >> 63 else number


pure("base64", takes=Type.BIN, result=Type.STR, convert=base64.b64encode)
pure("b64dec", takes=Type.STR, result=Type.BIN, convert=_b64dec)
pure("ub64enc", takes=Type.BIN, result=Type.STR, convert=lambda value: base64.urlsafe_b64encode(value).rstrip(b"="))
pure("ub64dec", takes=Type.STR, result=Type.BIN, convert=_ub64dec)
pure("hex", takes=Type.BIN, result=Type.STR, convert=lambda value: value.hex().upper().encode())
pure("hex2i", takes=Type.STR, result=Type.SINT, convert=_hex2i)
pure("base2", takes=Type.BIN, result=Type.STR, convert=lambda value: "".join([format(byte, "08b") for byte in value]).encode())
pure(
    "htonl", takes=Type.SINT, result=Type.BIN,
    convert=lambda value: (value & 0xFFFFFFFF).to_bytes(4, "big"),
)


def _chunks(value: bytes, size: int, *, whole: bool) -> list[bytes]:
    parts = [value[index : index + size] for index in range(0, len(value), size)]
    if whole and parts and len(parts[-1]) < size:
        parts.pop()
    return parts


def _decimal(name: str, order: str) -> None:
    @converter(name, takes=Type.BIN, result=Type.STR, arguments=(STRING, INTEGER, INTEGER), required=2)
    def compile_(scope: Scope, separator: bytes, size: int, truncate: int | None) -> Convert:
        if not 1 <= size <= 8:
            raise config_error("a chunk has 1 to 8 bytes", None)
        whole, byte_order = bool(truncate), order
        return lambda value: separator.join(
            [b"%d" % int.from_bytes(part, byte_order) for part in _chunks(value, size, whole=whole)]  # type: ignore[arg-type]
        )


_decimal("be2dec", "big")
_decimal("le2dec", "little")


@converter("be2hex", takes=Type.BIN, result=Type.STR, arguments=(STRING, INTEGER, INTEGER), required=0)
def be2hex(scope: Scope, separator: bytes | None, size: int | None, truncate: int | None) -> Convert:
    if size is not None and size < 1:
        raise config_error("a chunk has at least 1 byte", None)
    glue, whole = separator or b"", bool(truncate)
    width = size or 1
    return lambda value: glue.join([part.hex().upper().encode() for part in _chunks(value, width, whole=whole)])


@converter("url_dec", takes=Type.STR, result=Type.STR, arguments=(INTEGER,), required=0)
def url_dec(scope: Scope, in_form: int | None) -> Convert:
    """`+` is a space behind the question mark, or everywhere with `in_form`; a broken escape is no sample."""

    def decode(value: bytes) -> Value:
        if b"%" in value and re.search(rb"%(?![0-9A-Fa-f]{2})", value) is not None:
            return None
        path, mark, query = (b"", b"", value) if in_form else value.partition(b"?")
        return unquote_to_bytes(path) + mark + unquote_to_bytes(query.replace(b"+", b" "))

    return decode


@converter("url_enc", takes=Type.STR, result=Type.STR, arguments=(STRING,), required=0)
def url_enc(scope: Scope, kind: bytes | None) -> Convert:
    if kind not in (None, b"", b"query"):
        raise config_error(f"'url_enc' encodes for 'query' only, not '{kind.decode('latin-1') if kind else ''}'", None)
    return lambda value: quote_from_bytes(value, safe="").encode()


# --- JSON ------------------------------------------------------------------------------------------------------------

_SHORT: Final = {0x22: '\\"', 0x5C: "\\\\", 0x2F: "\\/", 0x08: "\\b", 0x0C: "\\f", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}
_MODES: Final = (b"ascii", b"utf8", b"utf8s", b"utf8p", b"utf8ps")


@converter("json", takes=Type.STR, result=Type.STR, arguments=(STRING,), required=0)
def json(scope: Scope, mode: bytes | None) -> Convert:
    decoder = mode or b"ascii"
    if decoder not in _MODES:
        raise config_error(
            f"there is no input code '{decoder.decode('latin-1')}'", None, allowed=[item.decode() for item in _MODES],
            written=decoder.decode("latin-1"),
        )
    if decoder in (b"utf8p", b"utf8ps"):
        raise config_error(f"'json({decoder.decode()})' is known but not yet supported", None)

    def encode(value: bytes) -> Value:
        if decoder == b"ascii":
            text = value.decode("latin-1")
        else:
            try:
                text = value.decode("utf-8", "strict" if decoder == b"utf8" else "ignore")
            except UnicodeDecodeError:
                return None
        out = []
        for character in text:
            code = ord(character)
            if code in _SHORT:
                out.append(_SHORT[code])
            elif 0x20 <= code < 0x7F:
                out.append(character)
            elif code <= 0xFFFF:
                out.append(f"\\u{code:04x}")
            elif decoder == b"utf8":
                return None  # "too long value": four digits are all that JSON has
        return "".join(out).encode()

    return encode
