"""`option ldap-check`: an anonymous simple bind must succeed (RFC 4511 4.2)."""

from __future__ import annotations

from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, Step, send

#: LDAPMessage 1, BindRequest: version 3, no name, no password.
_BIND = bytes.fromhex("300c020101600702010304008000")
_UNBIND = bytes.fromhex("30050201024200")
_SEQUENCE, _INTEGER, _BIND_RESPONSE, _ENUMERATED = 0x30, 0x02, 0x61, 0x0A
_NOT_LDAP = Judgement(CheckStatus.L7RSP, None, "Not LDAPv3 protocol")


class _Incomplete(Exception):
    """More bytes are needed."""


def _element(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the content of a BER element begins, and its length. Raises _Incomplete, or ValueError when it is another element."""
    if len(data) <= at:
        raise _Incomplete
    if data[at] != tag:
        raise ValueError
    if len(data) < at + 2:
        raise _Incomplete
    length = data[at + 1]
    if length < 0x80:
        return at + 2, length
    width = length & 0x7F
    if not 1 <= width <= 4:
        raise ValueError
    if len(data) < at + 2 + width:
        raise _Incomplete
    return at + 2 + width, int.from_bytes(data[at + 2 : at + 2 + width], "big")


def judge(data: bytes, final: bool) -> Judgement | None:
    """A BindResponse with resultCode 0 (4.1.9)."""
    try:
        at, length = _element(data, 0, _SEQUENCE)
        if length > len(data) + 65536:
            return _NOT_LDAP
        at, length = _element(data, at, _INTEGER)
        at, _ = _element(data, at + length, _BIND_RESPONSE)
        at, length = _element(data, at, _ENUMERATED)
        if length != 1:
            return _NOT_LDAP
        if len(data) <= at:
            raise _Incomplete
    except _Incomplete:
        return _NOT_LDAP if final else None
    except ValueError:
        return _NOT_LDAP
    if data[at]:
        return Judgement(CheckStatus.L7STS, data[at], "See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9")
    return Judgement(CheckStatus.L7OK)


def steps() -> tuple[Step, ...]:
    """The script. It ends with an unbind: a server that logs lost connections has nothing to log."""
    return send(1, _BIND), JudgeStep(2, judge), send(3, _UNBIND)
