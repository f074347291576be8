"""`option pgsql-check`: a StartupMessage must be answered with a request for authentication (PostgreSQL's protocol, 55.2.1)."""

from __future__ import annotations

from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, Step, send

_VERSION_3 = b"\x00\x03\x00\x00"
_LONGEST = 16384


def startup(user: str) -> bytes:
    """The StartupMessage."""
    content = _VERSION_3 + b"user\0" + user.encode("utf-8", "surrogateescape") + b"\0\0"
    return (len(content) + 4).to_bytes(4, "big") + content


def _error(fields: bytes) -> str:
    """`FATAL: no such role` of the fields of an ErrorResponse, each a letter and a text that ends with a zero byte."""
    found = {field[:1]: field[1:].decode("utf-8", "replace") for field in fields.split(b"\0") if field}
    return ": ".join([part for part in (found.get(b"S"), found.get(b"M")) if part])


def judge(data: bytes, final: bool) -> Judgement | None:
    """R: an authentication request; E: an error, whose text is told."""
    kind = data[:1]
    if kind not in (b"R", b"E"):
        return Judgement(CheckStatus.L7STS, None, "PostgreSQL unknown error")
    length = int.from_bytes(data[1:5], "big") if len(data) >= 5 else None
    if length is not None and not 8 <= length <= _LONGEST and kind == b"R":
        return Judgement(CheckStatus.L7STS, None, "PostgreSQL unknown error")
    complete = length is not None and len(data) > length
    if not complete and not final:
        return None
    if kind == b"E":
        return Judgement(CheckStatus.L7RSP, None, _error(data[5:]))
    if not complete:
        return Judgement(CheckStatus.L7STS, None, "PostgreSQL unknown error")
    return Judgement(CheckStatus.L7OK, None, "PostgreSQL server is ok")


def steps(user: str) -> tuple[Step, ...]:
    """The script."""
    return send(2, startup(user)), JudgeStep(3, judge)
