"""The machine that runs a check: one step after the other, told what happened, saying what is to be done next.

Pure: bytes and events in, effects and a verdict out; it knows no socket and no clock. `runtime.checks.exchange` drives it. All
checks are scripts for it: rules of the configuration (`plan.checks`), protocols (`protocols`), agents (`agent`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from headgate.base.records import dataclass
from headgate.health.http_answer import HttpAnswer
from headgate.health.results import CheckResult, CheckStatus, Outcome, printable
from headgate.health.steps import JudgeStep, RandomStep, Step
from headgate.plan.checks import ActStep, CheckStream, ConnectStep, ExpectStep, SendStep
from headgate.wire.errors import ProtocolViolation

#: What is kept of an answer when nothing else is said; the rest is not looked at (manual, tune.bufsize).
LONGEST_ANSWER: Final = 16384


@dataclass(frozen=True, slots=True)
class Connect:
    """Close the connection that there is, and open another one.

    Attributes:
        step: how, None for the connection that is implied.
        port: that the step names, None for the check's own.
    """

    step: ConnectStep | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for more."""


Effect = Connect | Send | Receive | CheckResult

RECEIVE: Final = Receive()

#: Outcomes that let a script go on.
_GOOD: Final = (Outcome.PASSED, Outcome.NEUTRAL)


class Machine:
    """One run of a check.

    Args:
        steps: the script.
        stream: what samples look at; the machine fills in what arrives.
        entropy: makes random bytes.
        limit: bytes of an answer that are looked at (`tune.bufsize`).
        named: messages of rules name the step, as those of tcp-check do.
        done: the text of a success that says nothing itself.
    """

    __slots__ = (
        "_answer", "_at", "_buffer", "_closed", "_connected", "_entropy", "_last", "_layer6", "_limit", "_named", "_quiet",
        "_steps", "_talked", "stream",
    )

    def __init__(
        self, steps: tuple[Step, ...], stream: CheckStream, entropy: Callable[[int], bytes], *, limit: int = LONGEST_ANSWER,
        named: bool = False, done: str = "",
    ) -> None:
        self.stream = stream
        self._steps = steps
        self._entropy = entropy
        self._limit = limit
        self._named = named
        self._quiet = done
        self._at = 0
        self._connected = False
        self._layer6 = False
        self._closed = False
        self._talked = False
        self._answer: HttpAnswer | None = None
        self._buffer = bytearray()
        self._last: CheckResult | None = None  # of the last step that looked at an answer

    # --- what happened -----------------------------------------------------------------------------------------------

    def connected(self, *, tls: bool) -> None:
        """The connection stands, its TLS handshake (if there was to be one) done."""
        self._connected = True
        self._layer6 = tls

    def received(self, data: bytes) -> CheckResult | None:
        """Data arrived; a result when it can be no answer at all."""
        if self._answer is None:
            self._buffer += data[: self._limit - len(self._buffer)]
            return None
        try:
            self._answer.feed(data)
        except ProtocolViolation as violation:
            return CheckResult(CheckStatus.L7RSP, None, printable(violation.reason + self._commented()))
        return None

    def closed(self) -> None:
        """The server closed the connection: no more will come."""
        self._closed = True

    # --- what to do next ---------------------------------------------------------------------------------------------

    def next(self) -> Effect:
        """Run steps until one needs the outside; a result ends the check."""
        while True:
            if self._at == len(self._steps):
                return self._passed() if self._connected else Connect()
            step = self._steps[self._at]
            if isinstance(step, ActStep):
                step.act(self.stream)
                self._at += 1
            elif isinstance(step, ConnectStep):
                return self._connect(step)
            elif not self._connected:
                return Connect()
            elif isinstance(step, (SendStep, RandomStep)):
                return self._send(step)
            else:
                effect = self._judge(step) if isinstance(step, JudgeStep) else self._expect(step)
                if effect is not None:
                    return effect
                self._at += 1

    def _connect(self, step: ConnectStep) -> Effect:
        if step.port is None:
            return Connect(step)
        port = step.port(self.stream)
        if port is None or not 0 < port < 65536:
            text = f"'{port}' is no port" if port is not None else "the port's expression has no value"
            return CheckResult(CheckStatus.SOCKERR, None, printable(text + self.place))
        return Connect(step, port)

    def opening(self) -> None:
        """The connection that `next` asked for is being opened: what the one before has said is forgotten."""
        self._connected = False
        self._closed = False
        self._buffer.clear()
        self._answer = None

    def opened(self, *, tls: bool) -> None:
        """It is open: go on behind the `connect` step, if it was one."""
        self.connected(tls=tls)
        if self._at < len(self._steps) and isinstance(self._steps[self._at], ConnectStep):
            self._at += 1

    def _send(self, step: SendStep | RandomStep) -> Effect:
        data = step.data(self._entropy(32)) if isinstance(step, RandomStep) else step.data(self.stream)
        if data is None:
            where = f" at step {step.number}" if step.number else ""
            return CheckResult(CheckStatus.L7RSP, None, f"tcp-check send : failed to build log-format string{where}")
        self._talked = True
        self._buffer.clear()
        if isinstance(step, SendStep) and step.method:
            self._answer = HttpAnswer(step.method, self._limit)
            self.stream.response = None
        self._at += 1
        return Send(data)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _empty(self, step: ExpectStep | JudgeStep, status: CheckStatus) -> CheckResult:
        comment = _comment_of(step, _QUOTE)
        return CheckResult(status, None, printable(f"TCPCHK got an empty response at step {step.number}{comment}"))

    def _judge(self, step: JudgeStep) -> Effect | None:
        self._talked = True
        data = self.stream.response_buffer = bytes(self._buffer)
        final = self._closed or len(data) >= self._limit
        if not data and final:
            return self._empty(step, step.cut_short)
        judgement = step.judge(data, final) if data else None
        if judgement is None:
            return CheckResult(step.cut_short, None, "the answer is cut short") if final else RECEIVE
        result = CheckResult(judgement.status, judgement.code, printable(judgement.info))
        if result.outcome not in _GOOD:
            return result
        self._last = result
        return None

    def _expect(self, step: ExpectStep) -> Effect | None:
        self._talked = True
        if self._answer is not None:
            return self._expect_http(step, self._answer)
        stream, rule = self.stream, step.rule
        payload = stream.response_buffer = bytes(self._buffer)
        final = self._closed or len(payload) >= self._limit
        if not payload:
            return self._empty(step, self._status(rule.error_status, CheckStatus.L7RSP)) if final else RECEIVE
        least = step.least(stream)
        if rule.min_recv >= 0:
            least = min(least, rule.min_recv) if least else rule.min_recv
        if len(payload) < least and not final:
            return RECEIVE
        return self._conclude(step, final=final or rule.min_recv >= 0, status=CheckStatus.L7RSP)

    def _conclude(self, step: ExpectStep, *, final: bool, status: CheckStatus) -> Effect | None:
        """Match; without a match, more may still change that unless it is `final`."""
        found = step.matches(self.stream)
        rule = step.rule
        if isinstance(found, str):
            return CheckResult(CheckStatus.L7RSP, None, printable(found + _comment_of(step)))
        if not found and not final:
            return RECEIVE
        if found is not rule.negated:
            self._last = self._success(step)
            return None
        missed = self._missed(step)
        if step.on_error is not None:
            missed = (step.on_error(self.stream) or b"").decode("utf-8", "replace") + _comment_of(step)
        return CheckResult(self._status(rule.error_status, status), self._code(step), printable(missed))

    def _missed(self, step: ExpectStep) -> str:
        if step.subject in ("status", "header"):
            head = self.stream.response
            phrase = head.reason.decode("latin-1") if head is not None else ""
            return phrase + _comment_of(step)
        return step.unwanted if step.rule.negated else step.missed

    def _expect_http(self, step: ExpectStep, answer: HttpAnswer) -> Effect | None:
        stream, rule = self.stream, step.rule
        head = answer.head
        if head is None:
            if not self._closed:
                return RECEIVE
            info = "connection closed before a complete response" if answer.started else "connection closed without a response"
            return CheckResult(CheckStatus.L7RSP, None, printable(info + self._commented()))
        stream.response = head
        stream.status = head.status
        # manual, disable-on-404: "it has precedence over" what is expected
        if stream.disable_on_404 and head.status == 404:
            return CheckResult(CheckStatus.L7OKC, 404)
        if step.subject != "body":
            stream.response_buffer = answer.body()[0]
            return self._conclude(step, final=True, status=CheckStatus.L7STS)
        stream.response_buffer, complete = answer.body()
        final = complete or self._closed or answer.full
        if len(stream.response_buffer) < rule.min_recv and not final:
            return RECEIVE
        return self._conclude(step, final=final or rule.min_recv >= 0, status=CheckStatus.L7RSP)

    def _code(self, step: ExpectStep) -> int | None:
        if step.code is not None:
            return step.code(self.stream)
        return self.stream.status if self._answer is not None else None

    def _success(self, step: ExpectStep) -> CheckResult:
        text = self._quiet
        if step.on_success is not None:
            text = (step.on_success(self.stream) or b"").decode("utf-8", "replace")
        return CheckResult(self._status(step.rule.ok_status, CheckStatus.L7OK), self._code(step), printable(text))

    def _status(self, word: str | None, default: CheckStatus) -> CheckStatus:
        return default if word is None else CheckStatus[word]

    @property
    def answer(self) -> HttpAnswer | None:
        """What came last over HTTP."""
        return self._answer

    # --- the end -----------------------------------------------------------------------------------------------------

    def _passed(self) -> CheckResult:
        if self._last is not None:
            return self._last
        if self._talked:
            return CheckResult(CheckStatus.L7OK, None, self._quiet)
        return CheckResult(CheckStatus.L6OK if self._layer6 else CheckStatus.L4OK, None, self._quiet)

    def _commented(self) -> str:
        return _comment_of(self._steps[self._at] if self._at < len(self._steps) else None)

    @property
    def place(self) -> str:
        """` at step 2 of tcp-check (connect port 443) comment: 'x'` for messages, "" where steps have no names."""
        step = self._steps[self._at] if self._at < len(self._steps) else None
        if self._named and not self._connected and not isinstance(step, ConnectStep):
            return " at initial connection step of tcp-check"  # the one that is implied: no rule has begun
        label = getattr(step, "label", "") or ("send" if isinstance(step, SendStep) else "")
        if not self._named or step is None or not step.number or not label:
            return ""
        return f" at step {step.number} of tcp-check ({label})" + _comment_of(step, _QUOTE)

    def timed_out(self) -> CheckResult:
        """No answer in time."""
        step = self._steps[self._at] if self._at < len(self._steps) else None
        if isinstance(step, JudgeStep):
            return CheckResult(step.timeout, None, step.late if self._buffer else "")
        word = step.rule.tout_status if isinstance(step, ExpectStep) else None
        return CheckResult(self._status(word, CheckStatus.L7TOUT), None, printable(self.place))


#: Around comments where there was no answer to look at: HAProxy puts them into quotes then.
_QUOTE: Final = "'"


def _comment_of(step: Step | None, quote: str = "") -> str:
    """What messages say behind their text."""
    comment = getattr(step, "comment", "")
    return f" comment: {quote}{comment}{quote}" if comment else ""
