"""Sends mails about servers (manual 12.3): a bounded queue for each mail server, one mail at a time, tried again when it fails.

What can't be sent is counted and said in the process's log, once for each row of failures. Built by `app` where a proxy has
`email-alert`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from headgate.base.diagnostics import NOWHERE
from headgate.config.checks import CheckSpec
from headgate.config.mailers import EmailAlert, Mailer
from headgate.config.model import Server, ServerCheck
from headgate.health import mail
from headgate.health.programs import Script
from headgate.health.results import CheckResult, Outcome
from headgate.runtime.checks.exchange import run_check
from headgate.runtime.checks.plans import CheckPlan

#: Mails that may wait for one mail server.
MOST_WAITING = 64
#: How often one is tried, and how long between two tries, seconds: longer each time.
TRIES = 3
_PAUSE = 1.0
_NOTICE, _WARNING = 5, 4


class MailQueue:
    """Mails of one kind for one server.

    Args:
        alert: who writes to whom.
        mailer: the mail server.
        host_name: of this machine.
        log: for the process's log: (level, text).
        clock, wall: seconds, monotonic and of the day.
        pause: seconds before the second try.

    Attributes:
        sent, dropped: mails.
    """

    def __init__(
        self,
        alert: EmailAlert,
        mailer: Mailer,
        host_name: str,
        *,
        log: Callable[[int, str], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
        pause: float = _PAUSE,
    ) -> None:
        self._alert = alert
        self._mailer = mailer
        self._host_name = host_name
        self._log = log
        self._clock = clock
        self._wall = wall
        self._pause = pause
        self._waiting: deque[str] = deque()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self.sent = 0
        self.dropped = 0

    def put(self, text: str) -> None:
        """Send a mail about an event, as soon as those before it are done; the oldest is dropped where there are too many."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._lost("too many mails wait")
        self._waiting.append(text)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"mail {self._mailer.name}")

    def stop(self) -> None:
        """Give up what waits."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.dropped += len(self._waiting)
        self._waiting.clear()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._deliver(self._waiting.popleft())
        finally:
            self._task = None

    async def _deliver(self, text: str) -> None:
        content = mail.message(self._alert, text, self._wall(), self._host_name)
        for attempt in range(1, TRIES + 1):
            result = await self._send(content)
            if result.outcome is Outcome.PASSED:
                self.sent += 1
                if self._failing:
                    self._failing = False
                    self._log(_NOTICE, f"mails reach {self._title} again; {self.dropped} were lost in all")
                return
            # 5xx: the server has decided, and would decide so again (RFC 5321 4.2.1)
            if attempt == TRIES or (result.code or 0) >= 500:
                self._lost(result.reason)
                return
            await asyncio.sleep(self._pause * attempt)

    async def _send(self, content: bytes) -> CheckResult:
        timeout = self._alert.mailers.timeout
        server = Server(self._mailer.name, self._mailer.address, NOWHERE, 0)
        script = Script(CheckSpec(kind="mail"), mail.steps(self._alert, content, self._host_name))
        plan = CheckPlan(server, ServerCheck(inter=timeout), b"", b"", None, False, None, script, timeout, None)
        return await run_check(plan, self._mailer.address, clock=self._clock)

    @property
    def _title(self) -> str:
        return f"mailer {self._alert.mailers.name}/{self._mailer.name}"

    def _lost(self, why: str) -> None:
        self.dropped += 1
        if not self._failing:
            self._failing = True
            self._log(_WARNING, f"mails do not reach {self._title}, {self.dropped} lost so far: {why}")


class Mails:
    """All queues; an event goes to every mail server of its proxy."""

    def __init__(self, make: Callable[[EmailAlert, Mailer], MailQueue]) -> None:
        self._make = make
        self.queues: dict[tuple[EmailAlert, str], MailQueue] = {}

    def event(self, alert: EmailAlert | None, level: int, text: str) -> None:
        """Mail an event, unless it is less urgent than the proxy wants (4.2 email-alert level)."""
        if alert is None or level > alert.level:
            return
        for mailer in alert.mailers.mailers:
            key = alert, mailer.name
            if key not in self.queues:
                self.queues[key] = self._make(alert, mailer)
            self.queues[key].put(text)

    @property
    def dropped(self) -> int:
        """Mails that nobody got."""
        return sum(queue.dropped for queue in self.queues.values())

    def stop(self) -> None:
        """Give up what waits."""
        for queue in self.queues.values():
            queue.stop()
