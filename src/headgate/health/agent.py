"""What an agent says of its server (manual 5.2 agent-check): one line of words -> what is to be changed.

Pure. The script that fetches the line is `steps`; `runtime.checks` runs it and puts the reply into effect. An agent may send
anything: a line is bounded, and words that mean nothing are told and change nothing.
"""

from __future__ import annotations

import re

from headgate.balance.server import HEAVIEST
from headgate.base.records import dataclass
from headgate.health.results import CheckResult, CheckStatus, printable
from headgate.health.steps import Judgement, JudgeStep, Step, send

#: The longest line that is looked at.
LONGEST_LINE = 1024
#: Words about health, each with the status of a result.
_HEALTH = {"up": CheckStatus.L7OK, "down": CheckStatus.L7STS, "fail": CheckStatus.L7STS, "stopped": CheckStatus.L7STS}
_ADMIN = ("ready", "drain", "maint")
_WEIGHT = re.compile(r"(?:weight:)?(\d{1,9}%)|weight:(\d{1,9})")


@dataclass(frozen=True, slots=True)
class AgentReply:
    """One line, understood.

    Attributes:
        result: how the check ended; CHECKED where nothing is said of the server's health.
        admin: "ready", "drain" or "maint"; None where nothing is said.
        weight: "75%" or "120".
        maxconn: of the server.
    """

    result: CheckResult
    admin: str | None = None
    weight: str | None = None
    maxconn: int | None = None


def steps(message: bytes) -> tuple[Step, ...]:
    """The script: `agent-send` where there is one, then a line."""
    line = JudgeStep(2, _line, late="Ignoring incomplete line from agent")
    return (send(1, message), line) if message else (line,)


def _line(data: bytes, final: bool) -> Judgement | None:
    """All up to the first line end; what never ends is none."""
    match = re.search(rb"[\r\n]", data)
    if match is None:
        if final:
            return Judgement(CheckStatus.L7TOUT, None, "Ignoring incomplete line from agent")
        return None
    return Judgement(CheckStatus.L7OK, None, "")


def _garbage(value: str) -> str:
    """HAProxy's words for a number that is none."""
    return "Trailing garbage in maxconn string" if value[:1].isdecimal() else "maxconn string empty or preceded by garbage"


def read(line: bytes) -> AgentReply:
    """Understand what an agent sent, up to the first line end."""
    text = re.split(rb"[\r\n]", line, maxsplit=1)[0][:LONGEST_LINE].decode("utf-8", "replace")
    words, _, description = text.partition("#")
    health: str | None = None
    admin: str | None = None
    weight: str | None = None
    maxconn: int | None = None
    complaint: tuple[str, str] | None = None  # the first thing that can't be done, and how it is told where it is all there is
    for word in re.split(r"[ \t,]+", words.strip(" \t,")):
        lower = word.lower()
        weighty = _WEIGHT.fullmatch(lower)
        if lower in _HEALTH:
            health = lower
        elif lower in _ADMIN:
            admin = lower
        elif weighty is not None and (weighty[2] is None or int(weighty[2]) <= HEAVIEST):
            weight = weighty[1] or weighty[2]
        elif lower.startswith("maxconn:"):
            value = lower.removeprefix("maxconn:")
            if value.isdecimal() and len(value) <= 9:
                maxconn = int(value)
            else:
                complaint = complaint or ("agent warns", _garbage(value))
        elif word:
            complaint = complaint or ("agent reports an error", word)
    if health is not None:
        details = "; ".join(filter(None, (complaint[1] if complaint else "", description.strip())))
        info = f"via agent : {health}" + (f" ({details})" if details else "")
        result = CheckResult(_HEALTH[health], None, printable(info))
    else:
        result = CheckResult(CheckStatus.CHECKED, None, printable(" : ".join(complaint or ())))
    return AgentReply(result, admin, weight, maxconn)
