"""`option smtpchk`: a greeting, HELO or EHLO, QUIT, each answered with a code that begins with 2 (RFC 5321 4.2)."""

from __future__ import annotations

import re

from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, Step, send

#: A reply line: code, then `-` where more lines follow.
_LINE = re.compile(rb"([2-5][0-9]{2})([ -]?)([^\r\n]*)")


def judge(data: bytes, final: bool) -> Judgement | None:
    """A whole reply, of one line or several; its code is that of the last line."""
    rest = data
    while True:
        line, end, rest = rest.partition(b"\n")
        if not end and not final:
            return None
        match = _LINE.fullmatch(line.rstrip(b"\r"))
        if match is None:
            return Judgement(CheckStatus.L7RSP, None, line.rstrip(b"\r").decode("utf-8", "replace"))
        if match[2] != b"-":
            break
        if not rest and final:
            return Judgement(CheckStatus.L7RSP, None, line.rstrip(b"\r").decode("utf-8", "replace"))
    code, text = int(match[1]), match[3].decode("utf-8", "replace")
    return Judgement(CheckStatus.L7OK if code < 300 else CheckStatus.L7STS, code, text)


def steps(hello: str = "HELO localhost") -> tuple[Step, ...]:
    """The script; `hello` is the command and the domain."""
    command = hello.encode("utf-8", "surrogateescape") + b"\r\n"
    return JudgeStep(1, judge), send(2, command), JudgeStep(3, judge), send(4, b"QUIT\r\n"), JudgeStep(5, judge)
