"""The rise/fall machine of one checked server (manual 5.2: check, rise, fall, inter, fastinter, downinter, init-state).

It counts results and says when the server changes state; it runs no check and knows no clock. `runtime.checks` drives it,
`admin` reads it.

The counter is HAProxy's `check_health` (management manual 9.1): 0 to rise+fall-1, and the server is up from `rise` on:

    0 ........ rise-1 | rise ........ rise+fall-1
    DOWN   going up   | going down           UP
"""

from __future__ import annotations

import enum
from typing import Final

from headgate.config.model import ServerCheck
from headgate.health.results import CheckResult, CheckStatus, Outcome


class ServerStatus(enum.Enum):
    """What the checks make of a server; the words of the `status` column."""

    UP = "UP"
    DOWN = "DOWN"
    NOLB = "NOLB"  # http-check disable-on-404: persistent connections only


class Health:
    """The health of one server.

    Args:
        rise: consecutive successes that bring a server up, at least 1.
        fall: consecutive failures that bring it down, at least 1.
        now: seconds on the clock that all later calls use.
        init_state: where it begins, and begins again when it leaves maintenance (5.2 init-state).

    Attributes:
        status: UP, DOWN or NOLB.
        level: the counter described above. A server starts up and one failure short of being down (`init-state up`, what
            HAProxy does by default).
        hurried: the next check comes after `fastinter`, whatever the level says (5.2 on-error).
        checked: whether a check was counted yet.
        result: of the last check; INI before the first one.
        failures: checks that failed while the server was up (`chkfail`).
        falls: transitions to DOWN (`chkdown`).
        analyses: how often the traffic had too many errors (`hanafail`).
        changed_at: time of the last transition between up and down.
    """

    __slots__ = (
        "_down_before", "_init_state", "analyses", "changed_at", "checked", "failures", "fall", "falls", "hurried", "level",
        "result", "rise", "status",
    )

    def __init__(self, rise: int, fall: int, now: float = 0.0, init_state: str = "none") -> None:
        self.rise = rise
        self.fall = fall
        self._init_state = init_state
        self.status, self.level = self._beginning()
        self.hurried = False
        self.analyses = 0
        self.checked = False
        self.result = CheckResult(CheckStatus.INI)
        self.failures = 0
        self.falls = 0
        self.changed_at = now
        self._down_before = 0.0

    def _beginning(self) -> tuple[ServerStatus, int]:
        status = ServerStatus.DOWN if self._init_state in ("down", "fully-down") else ServerStatus.UP
        levels = {"fully-up": self.full, "down": self.rise - 1, "fully-down": 0}
        return status, levels.get(self._init_state, self.rise)

    @property
    def full(self) -> int:
        """The level of a server that is completely up."""
        return self.rise + self.fall - 1

    @property
    def up(self) -> bool:
        """Whether the server takes traffic at all, be it only persistent."""
        return self.status is not ServerStatus.DOWN

    def downtime(self, now: float) -> float:
        """Seconds that the server was down in all."""
        return self._down_before + (now - self.changed_at if self.status is ServerStatus.DOWN else 0.0)

    def count(self, result: CheckResult, now: float) -> ServerStatus | None:
        """Count one finished check.

        Returns:
            The state that the server has now entered, or None when it stays in its own.
        """
        self.checked = True
        self.hurried = False
        self.result = result
        return _RULES[result.outcome](self, now)

    def passed(self, now: float) -> ServerStatus | None:
        """Count a success."""
        if self.status is ServerStatus.NOLB:
            # manual, disable-on-404: "it will immediately be reinserted into the farm"
            self.level = self.full
            return self._enter(ServerStatus.UP, now)
        if self.level >= self.rise:
            self.level = self.full
            return None
        self.level += 1
        if self.level < self.rise:
            return None
        self.level = self.full
        return self._enter(ServerStatus.UP, now)

    def conditionally_passed(self, now: float) -> ServerStatus | None:
        """Count a success that asks for no new sessions. Means nothing to a server that is down ("stays stopped")."""
        if self.status is ServerStatus.DOWN:
            return None
        self.level = self.full
        return self._enter(ServerStatus.NOLB, now) if self.status is ServerStatus.UP else None

    def failed(self, now: float) -> ServerStatus | None:
        """Count a failure."""
        if self.status is ServerStatus.DOWN:
            self.level = 0  # the successes must be consecutive
            return None
        self.failures += 1
        if self.level > self.rise:
            self.level -= 1
            return None
        self.level = 0
        return self._enter(ServerStatus.DOWN, now)

    def observed(self, result: CheckResult, mode: str, now: float) -> ServerStatus | None:
        """The traffic had too many errors in a row (5.2 observe, on-error): count it as `mode` says, and hurry.

        Returns as `count`.
        """
        self.hurried = True
        self.analyses += 1
        if mode == "fastinter":
            return None
        if self.status is not ServerStatus.DOWN:
            if mode == "sudden-death":
                self.level = min(self.level, self.rise + 1)
            elif mode == "mark-down":
                self.level = min(self.level, self.rise)
        self.result = result
        return self.failed(now)

    def force(self, status: ServerStatus, now: float) -> ServerStatus | None:
        """`set server health up|stopping|down`: enter a state without a check; None when it is in it already."""
        self.level = 0 if status is ServerStatus.DOWN else self.full
        return self._enter(status, now) if status is not self.status else None

    def restore(self, status: ServerStatus, level: int, result: CheckResult | None, since: float) -> None:
        """Go on where the process before ended (`load-server-state-from-file`).

        Args:
            status, level: as they were; the level is held to what is possible here.
            result: of the last check, None when it is not known.
            since: time of the last change, on the clock of `now`.
        """
        self.status = status
        self.level = min(max(level, 0), self.full)
        if result is not None and result.status is not CheckStatus.INI:
            self.result = result
            self.checked = True
        self.changed_at = since

    def restart(self, now: float) -> ServerStatus | None:
        """The server leaves maintenance: it begins anew, yet unchecked, and its next check decides (manual, init-state)."""
        self.checked = False
        status, self.level = self._beginning()
        return self._enter(status, now) if self.status is not status else None

    def _enter(self, status: ServerStatus, now: float) -> ServerStatus:
        if status is ServerStatus.DOWN:
            self.falls += 1
            self.changed_at = now
        elif self.status is ServerStatus.DOWN:
            self._down_before += now - self.changed_at
            self.changed_at = now
        self.status = status
        return status

    def next_interval(self, timing: ServerCheck, spread: float = 0.0) -> float:
        """Seconds between the last check's start and the next one's (5.2, table at `inter`).

        Args:
            timing: the server's check options.
            spread: noise of `spread-checks`, as a fraction from -0.5 to 0.5.
        """
        if self.hurried:
            interval = timing.inter if timing.fastinter is None else timing.fastinter
        elif self.checked and self.level == self.full:
            interval = timing.inter
        elif self.checked and self.level == 0:
            interval = timing.inter if timing.downinter is None else timing.downinter
        else:
            interval = timing.inter if timing.fastinter is None else timing.fastinter
        return interval * (1.0 + spread)

    def describe(self) -> str:
        """`3/3 UP`, `1/2 DOWN`: how far the server is on its way."""
        if self.level >= self.rise:
            return f"{self.level - self.rise + 1}/{self.fall} UP"
        return f"{self.level}/{self.rise} DOWN"


def _ignored(health: Health, now: float) -> ServerStatus | None:
    return None


_RULES: Final = {
    Outcome.PASSED: Health.passed,
    Outcome.CONDITIONALLY_PASSED: Health.conditionally_passed,
    Outcome.FAILED: Health.failed,
    Outcome.NEUTRAL: _ignored,
    Outcome.UNKNOWN: _ignored,
}
