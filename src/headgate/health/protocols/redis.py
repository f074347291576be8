"""`option redis-check`: PING must be answered with +PONG (RESP, redis.io/docs/reference/protocol-spec)."""

from __future__ import annotations

from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, Step, send

_WANTED = b"+PONG\r\n"


def judge(data: bytes, final: bool) -> Judgement | None:
    """+PONG, or what the server says instead, such as `-NOAUTH Authentication required.`."""
    if data.startswith(_WANTED):
        return Judgement(CheckStatus.L7OK, None, "Redis server is ok")
    line, end, _ = data.partition(b"\r\n")
    if not end and not final:
        return None
    return Judgement(CheckStatus.L7STS, None, line.decode("utf-8", "replace"))


def steps() -> tuple[Step, ...]:
    """The script."""
    return send(1, b"*1\r\n$4\r\nPING\r\n"), JudgeStep(2, judge, cut_short=CheckStatus.L7STS)
