"""`option spop-check`: the HELLO handshake of SPOP, announced as a health check (SPOE.txt 3.2.4, 3.2.5)."""

from __future__ import annotations

from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, Step, send

_HAPROXY_HELLO, _AGENT_HELLO, _AGENT_DISCONNECT = 1, 101, 102
_NULL, _BOOLEAN, _IPV4, _IPV6, _STRING, _BINARY = 0, 1, 6, 7, 8, 9
_FLAG_FIN = 1
_MAX_FRAME = 16380
_MIN_FRAME = 256


def varint(value: int) -> bytes:
    """A number in the encoding of the peers protocol (SPOE.txt 3.1)."""
    if value < 240:
        return bytes([value])
    out = [(value & 0x0F) | 0xF0]
    value = (value - 240) >> 4
    while value >= 128:
        out.append((value & 0x7F) | 0x80)
        value = (value - 128) >> 7
    return bytes([*out, value])


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends. Raises ValueError."""
    if at >= len(data):
        raise ValueError("a number is cut short")
    value = data[at]
    at += 1
    if value < 240:
        return value, at
    shift = 4
    while True:
        if at >= len(data) or shift > 60:
            raise ValueError("a number is cut short")
        value += data[at] << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
        shift += 7


def _string(text: bytes) -> bytes:
    return varint(len(text)) + text


def hello() -> bytes:
    """The HAPROXY-HELLO frame."""
    frame = bytes([_HAPROXY_HELLO]) + _FLAG_FIN.to_bytes(4, "big") + varint(0) + varint(0)
    frame += _string(b"supported-versions") + bytes([_STRING]) + _string(b"2.0")
    frame += _string(b"max-frame-size") + bytes([3]) + varint(_MAX_FRAME)
    frame += _string(b"capabilities") + bytes([_STRING]) + _string(b"")
    frame += _string(b"healthcheck") + bytes([_BOOLEAN | 0x10])
    return len(frame).to_bytes(4, "big") + frame


def _read_string(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = read_varint(data, at)
    if at + length > len(data):
        raise ValueError("a text is cut short")
    return data[at : at + length], at + length


_WIDTHS = {_NULL: 0, _BOOLEAN: 0, _IPV4: 4, _IPV6: 16}


def _items(data: bytes, at: int) -> dict[bytes, bytes | int]:
    """A KV-LIST. Raises ValueError."""
    items: dict[bytes, bytes | int] = {}
    while at < len(data):
        name, at = _read_string(data, at)
        if at >= len(data):
            raise ValueError("a value is missing")
        kind = data[at] & 0x0F
        at += 1
        if kind in (_STRING, _BINARY):
            items[name], at = _read_string(data, at)
        elif kind in _WIDTHS:
            at += _WIDTHS[kind]
        elif kind <= 5:
            items[name], at = read_varint(data, at)
        else:
            raise ValueError("a value of an unknown type")
    return items


def _verdict(frame: bytes) -> Judgement:
    flags = int.from_bytes(frame[1:5], "big")
    if len(frame) < 7 or frame[0] not in (_AGENT_HELLO, _AGENT_DISCONNECT) or not flags & _FLAG_FIN:
        raise ValueError("invalid frame received")
    stream, at = read_varint(frame, 5)
    number, at = read_varint(frame, at)
    if stream or number:
        raise ValueError("invalid frame received")
    items = _items(frame, at)
    if frame[0] == _AGENT_DISCONNECT:
        message = items.get(b"message", b"")
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else ""
        raise ValueError(f"disconnect frame received: {text or items.get(b'status-code', '')}")
    version, size = items.get(b"version"), items.get(b"max-frame-size")
    if not isinstance(version, bytes) or b"capabilities" not in items or not isinstance(size, int):
        raise ValueError("a mandatory item is missing in the agent's HELLO")
    if version.strip().partition(b".")[0] not in (b"1", b"2"):
        raise ValueError("unsupported version")
    if not _MIN_FRAME <= size <= _MAX_FRAME:
        raise ValueError("max-frame-size too big or too small")
    return Judgement(CheckStatus.L7OK, None, "SPOA server is ok")


def judge(data: bytes, final: bool) -> Judgement | None:
    """An AGENT-HELLO whose version and frame size fit."""
    if len(data) >= 4:
        length = int.from_bytes(data[:4], "big")
        if not 0 < length <= _MAX_FRAME:
            return Judgement(CheckStatus.L7RSP, None, "invalid frame received")
        if len(data) >= 4 + length:
            try:
                return _verdict(data[4 : 4 + length])
            except ValueError as error:
                return Judgement(CheckStatus.L7RSP, None, str(error))
    return Judgement(CheckStatus.L7RSP, None, "invalid frame received") if final else None


def steps() -> tuple[Step, ...]:
    """The script."""
    return send(1, hello()), JudgeStep(2, judge)
