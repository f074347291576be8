"""`option mysql-check`: the server's handshake, and with a user the client's authentication and its answer.

MySQL's client/server protocol: packets of a 3-byte length and a sequence number; ERR packets begin with 0xff and a code. After
the authentication QUIT is sent at once, so that the server does not count an aborted connection.
"""

from __future__ import annotations

from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, Step, send

_HEADER = 4
_LONGEST = 4096
_OK, _SWITCH, _ERROR = 0x00, 0xFE, 0xFF
_QUIT = b"\x01\x00\x00\x00\x01"
# Capabilities: CLIENT_PROTOCOL_41 and CLIENT_SECURE_CONNECTION; CLIENT_TRANSACTIONS-era flags of old clients; CLIENT_PLUGIN_AUTH.
_PROTOCOL_41, _SECURE, _PLUGIN_AUTH = 0x0200, 0x8000, 0x80000
_UTF8 = 0x21
_PLUGIN = b"mysql_native_password\0"


def _packet(payload: bytes, number: int) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def authentication(user: str, version: str) -> bytes:
    """The client's authentication without a password, and QUIT behind it."""
    name = user.encode("utf-8", "surrogateescape") + b"\0"
    if version == "pre-41":
        payload = _SECURE.to_bytes(2, "little") + b"\x00\x00\x01" + name + b"\0"
    else:
        capabilities = _PROTOCOL_41 | _SECURE | (_PLUGIN_AUTH if version == "post-80" else 0)
        head = capabilities.to_bytes(4, "little") + b"\x00\x80\x00\x01" + bytes([_UTF8]) + bytes(23)
        payload = head + name + b"\0" + (_PLUGIN if version == "post-80" else b"")
    return _packet(payload, 1) + _QUIT


def _payload(data: bytes, final: bool) -> bytes | Judgement | None:
    """The first packet's payload; a judgement when there is none, None while it is not complete."""
    wrong = Judgement(CheckStatus.L7RSP, None, "not a MySQL packet")
    if len(data) < _HEADER:
        return wrong if final else None
    length = int.from_bytes(data[:3], "little")
    if not 0 < length <= _LONGEST:
        return wrong
    if len(data) < _HEADER + length:
        return wrong if final else None
    return data[_HEADER : _HEADER + length]


def _refusal(payload: bytes) -> Judgement:
    """An ERR packet: its code and text; behind a `#` five characters of an SQL state come first."""
    if len(payload) < 3:
        return Judgement(CheckStatus.L7RSP, None, "not a MySQL packet")
    return Judgement(CheckStatus.L7STS, int.from_bytes(payload[1:3], "little"), payload[3:].decode("utf-8", "replace"))


def judge_handshake(data: bytes, final: bool) -> Judgement | None:
    """Protocol version 9 or 10 with the server's version and the challenge behind it, or an error."""
    payload = _payload(data, final)
    if payload is None or isinstance(payload, Judgement):
        return payload
    if payload[0] == _ERROR:
        return _refusal(payload)
    if payload[0] not in (9, 10) or data[3] != 0 or b"\0" not in payload[1:]:
        return Judgement(CheckStatus.L7RSP, None, "not a MySQL handshake")
    return Judgement(CheckStatus.L7OK)


def judge_authentication(data: bytes, final: bool) -> Judgement | None:
    """OK, or a request for another way of authentication: the server works; or an error."""
    payload = _payload(data, final)
    if payload is None or isinstance(payload, Judgement):
        return payload
    if payload[0] == _ERROR:
        return _refusal(payload)
    if payload[0] in (_OK, _SWITCH):
        return Judgement(CheckStatus.L7OK)
    return Judgement(CheckStatus.L7RSP, None, "not an answer to an authentication")


def steps(user: str = "", version: str = "post-41") -> tuple[Step, ...]:
    """The script; without a user the handshake is all."""
    handshake = JudgeStep(1, judge_handshake)
    if not user:
        return (handshake,)
    return handshake, send(2, authentication(user, version)), JudgeStep(3, judge_authentication)
