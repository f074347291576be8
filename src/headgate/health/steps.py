"""Steps of checks that are no rules: an answer that a function of the protocol judges. Beside them stand those of `plan.checks`.

Pure; made by `protocols` and `agent`, run by `machine`.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.base.records import dataclass
from headgate.health.results import CheckStatus
from headgate.plan.checks import ActStep, ConnectStep, ExpectStep, SendStep


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer is worth. When `status` is one that passes, the next step follows; without one this is the result."""

    status: CheckStatus
    code: int | None = None
    info: str = ""


@dataclass(frozen=True, slots=True)
class JudgeStep:
    """Look at an answer with a function.

    Attributes:
        judge: takes what arrived and whether nothing more will; None: more is needed.
        timeout: the status when no verdict comes in time; `late` is said then, if anything has arrived.
        cut_short: the status when the server closes before a verdict.
    """

    number: int
    judge: Callable[[bytes, bool], Judgement | None]
    timeout: CheckStatus = CheckStatus.L7TOUT
    cut_short: CheckStatus = CheckStatus.L7RSP
    late: str = ""


@dataclass(frozen=True, slots=True)
class RandomStep:
    """Send what is made of 32 random bytes."""

    number: int
    data: Callable[[bytes], bytes]


Step = ConnectStep | SendStep | ExpectStep | ActStep | JudgeStep | RandomStep


def send(number: int, data: bytes) -> SendStep:
    """Send fixed bytes."""
    return SendStep(number, lambda stream: data)
