"""How one check ended: HAProxy's status words (management manual 9.1, column `check_status`) and their descriptions.

Pure values: `scripts` and `runtime.checks` make them, `state` counts them, `events` and `admin` print them.
"""

from __future__ import annotations

import enum

from headgate.base.records import dataclass


class Outcome(enum.IntEnum):
    """What a result means for the server; the numbers are those of `srv_check_result` in `show servers state`."""

    UNKNOWN = 0
    NEUTRAL = 1
    FAILED = 2
    PASSED = 3
    CONDITIONALLY_PASSED = 4


class CheckStatus(enum.Enum):
    """The status words, each with its number in `show servers state`, its outcome and its description."""

    UNK = ("UNK", 0, Outcome.UNKNOWN, "Unknown")
    INI = ("INI", 1, Outcome.UNKNOWN, "Initializing")
    CHECKED = ("CHECKED", 3, Outcome.NEUTRAL, "No status change")
    HANA = ("HANA", 4, Outcome.FAILED, "Health analyze")
    SOCKERR = ("SOCKERR", 5, Outcome.FAILED, "Socket error")
    L4OK = ("L4OK", 6, Outcome.PASSED, "Layer4 check passed")
    L4TOUT = ("L4TOUT", 7, Outcome.FAILED, "Layer4 timeout")
    L4CON = ("L4CON", 8, Outcome.FAILED, "Layer4 connection problem")
    L6OK = ("L6OK", 9, Outcome.PASSED, "Layer6 check passed")
    L6TOUT = ("L6TOUT", 10, Outcome.FAILED, "Layer6 timeout")
    L6RSP = ("L6RSP", 11, Outcome.FAILED, "Layer6 invalid response")
    L7TOUT = ("L7TOUT", 12, Outcome.FAILED, "Layer7 timeout")
    L7RSP = ("L7RSP", 13, Outcome.FAILED, "Layer7 invalid response")
    L7OK = ("L7OK", 15, Outcome.PASSED, "Layer7 check passed")
    L7OKC = ("L7OKC", 16, Outcome.CONDITIONALLY_PASSED, "Layer7 check conditionally passed")
    L7STS = ("L7STS", 17, Outcome.FAILED, "Layer7 wrong status")
    PROCERR = ("PROCERR", 18, Outcome.FAILED, "External check error")
    PROCTOUT = ("PROCTOUT", 19, Outcome.FAILED, "External check timeout")
    PROCOK = ("PROCOK", 20, Outcome.PASSED, "External check passed")

    def __init__(self, word: str, number: int, outcome: Outcome, description: str) -> None:
        self.word = word
        self.number = number
        self.outcome = outcome
        self.description = description

    @property
    def has_code(self) -> bool:
        """Whether results of this kind come with a code, which is 0 where the protocol has none."""
        return self.number >= CheckStatus.L7OK.number


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One finished check.

    Attributes:
        status: how it ended.
        code: the status code of layer 7, or None.
        info: what the server or the system said, "" for nothing. Printable, at most `LONGEST_INFO` characters.
        duration: seconds that the check took.
    """

    status: CheckStatus
    code: int | None = None
    info: str = ""
    duration: float = 0.0

    @property
    def outcome(self) -> Outcome:
        return self.status.outcome

    @property
    def shown_code(self) -> int | None:
        """The code as events and statistics show it."""
        return (self.code or 0) if self.status.has_code else None

    @property
    def milliseconds(self) -> int:
        return int(self.duration * 1000)

    @property
    def reason(self) -> str:
        """The result as HAProxy's events print it: `Layer7 wrong status, code: 500, info: "...", check duration: 2ms`."""
        text = self.status.description
        if self.shown_code is not None:
            text += f", code: {self.shown_code}"
        if self.info:
            text += f', info: "{self.info}"'
        # What was seen in the traffic took no time of its own.
        return text if self.status is CheckStatus.HANA else f"{text}, check duration: {self.milliseconds}ms"


#: Longest text of a peer's that is kept: it goes to logs and to `show stat`.
LONGEST_INFO = 400


def printable(text: str) -> str:
    """`text` fit for a log line and a CSV cell: control characters and quotes replaced, bounded in length."""
    kept = text[:LONGEST_INFO]
    return "".join([one if one.isprintable() and one != '"' else "." for one in kept])
