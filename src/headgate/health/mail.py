"""A mail about a server's change (manual 12.3): the message, and the SMTP dialogue as steps of a check (RFC 5321). Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

from headgate.config.mailers import EmailAlert
from headgate.health.protocols.smtp import judge
from headgate.health.results import CheckStatus
from headgate.health.steps import Judgement, JudgeStep, Step, send

_GO_AHEAD = 354
#: RFC 5322 2.1.1: longest line.
_LONGEST_LINE = 998


def message(alert: EmailAlert, text: str, when: float, host_name: str) -> bytes:
    """The mail, with CRLF line ends and its dots stuffed (RFC 5321 4.5.2).

    Args:
        text: of the event.
        when: wall clock, seconds.
        host_name: of this machine, for the Message-ID.
    """
    line = " ".join(text.split())[:_LONGEST_LINE - 30]
    stamp = format_datetime(datetime.fromtimestamp(when, UTC))
    lines = [
        f"From: {alert.sender}", f"To: {alert.recipient}", f"Date: {stamp}",
        f"Message-ID: <{when:.6f}.{abs(hash(line)) % 10**10}@{host_name}>", f"Subject: [HAProxy Alert] {line}", "", line,
    ]
    stuffed = [f".{one}" if one.startswith(".") else one for one in lines]
    return "\r\n".join(stuffed).encode("ascii", "replace") + b"\r\n.\r\n"


def _go_ahead(data: bytes, final: bool) -> Judgement | None:
    """The answer to DATA."""
    judgement = judge(data, final)
    if judgement is not None and judgement.code == _GO_AHEAD:
        return Judgement(CheckStatus.L7OK, _GO_AHEAD, judgement.info)
    if judgement is not None and judgement.status is CheckStatus.L7OK:
        return Judgement(CheckStatus.L7STS, judgement.code, judgement.info)
    return judgement


def steps(alert: EmailAlert, content: bytes, host_name: str) -> tuple[Step, ...]:
    """The dialogue. It is over when the mail was taken: how the server answers QUIT is no matter."""
    commands = [f"HELO {alert.host_name or host_name}", f"MAIL FROM:<{alert.sender}>", f"RCPT TO:<{alert.recipient}>"]
    script: list[Step] = [JudgeStep(1, judge)]
    for command in commands:
        number = len(script) + 1
        script += [send(number, command.encode("utf-8", "replace") + b"\r\n"), JudgeStep(number + 1, judge)]
    number = len(script) + 1
    return (
        *script, send(number, b"DATA\r\n"), JudgeStep(number + 1, _go_ahead), send(number + 2, content),
        JudgeStep(number + 3, judge), send(number + 4, b"QUIT\r\n"),
    )
