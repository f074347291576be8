"""Runs the services that answer in place of a server, as the statistics page; `observe.service` says how they are written.

One `ServiceRun` for each such request. It asks the runtime API, waits for the clock, and sends no faster than the client takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from headgate.base.termination import Outcome
from headgate.observe.service import Ask, Begin, Pause, Question, Script, Write
from headgate.plan.replies import make_reply, status_line
from headgate.plan.services import Service
from headgate.proxy.services import Asker, Scheduler
from headgate.wire.http1.dechunk import Dechunker

if TYPE_CHECKING:
    from headgate.proxy.http_stream import HttpStream

#: Event streams of a process, and how long one question may take, seconds.
MOST_STREAMS: Final = 50
_ANSWER_PATIENCE: Final = 10.0
#: Answers that are kept for others who ask the same.
_REMEMBERED: Final = 64

# What a run waits for.
_NOTHING: Final = 0
_BODY: Final = 1
_TURN: Final = 2
_ANSWER: Final = 3
_CLOCK: Final = 4
_DRAIN: Final = 5

_BUSY: Final = make_reply(
    503, b"cache-control: no-cache\r\nretry-after: 10\r\ncontent-type: text/plain\r\n", b"Too many event streams.\n"
)


class Services:
    """The services of a process.

    Args:
        table: by the names that `plan.services.Service.kind` has.
        asker: finds the runtime API, which may come later than we do.

    Attributes:
        streams: event streams now.
    """

    def __init__(self, table: Mapping[str, Write], asker: Callable[[], Asker | None]) -> None:
        self.table = table
        self.streams = 0
        self._asker = asker
        self._answers: dict[str, tuple[float, str]] = {}
        self._waiting: dict[str, list[Callable[[str], None]]] = {}

    def ask(self, question: Ask, scheduler: Scheduler, answered: Callable[[str], None]) -> None:
        """Ask the runtime API, or tell what it said a moment ago. Never calls `answered` before it returns."""
        asker = self._asker()
        if asker is None:
            scheduler.later(partial(answered, ""))
            return
        if not question.age:
            asker.ask(question.command, answered)
            return
        waiting = self._waiting.get(question.command)
        if waiting is not None:
            waiting.append(answered)
            return
        self._waiting[question.command] = [answered]
        asker.ask(question.command, partial(self._tell, question.command, scheduler.now))

    def remembered(self, question: Ask, now: float) -> str | None:
        """An answer that is young enough."""
        found = self._answers.get(question.command)
        return found[1] if found is not None and now - found[0] <= question.age else None

    def _tell(self, command: str, asked_at: float, text: str) -> None:
        if len(self._answers) >= _REMEMBERED:
            self._answers.clear()
        self._answers[command] = (asked_at, text)
        for answered in self._waiting.pop(command, ()):
            answered(text)


class ServiceRun:
    """One request that a service answers.

    Args:
        stream: the exchange.
        service: what answers.
    """

    __slots__ = ("_awaits", "_body", "_dechunker", "_endless", "_script", "_serial", "_service", "_services", "_stream")

    def __init__(self, stream: HttpStream, service: Service, services: Services) -> None:
        self._stream = stream
        self._service = service
        self._services = services
        self._script: Script | None = None
        self._awaits = _NOTHING
        self._serial = 0
        self._endless = False
        self._body = b""
        framing = stream.framing
        self._dechunker = Dechunker() if framing is not None and framing.length < 0 else None

    def start(self) -> None:
        """Begin: at once, or for a POST once its body is there."""
        stream = self._stream
        stream.t_queue = stream.t_connect = stream.t_response = 0
        held, stream.held = stream.held, b""
        request = stream.request
        if request is not None and request.method == b"POST" and not (stream.request_done and not held):
            stream.expect_body()
            self._awaits = _BODY
            if held or stream.request_done:
                self.body(held, last=stream.request_done)
            else:
                stream.owner.resume()
                stream.wait(stream.side.t_http_request)
        else:
            self._open(complete=True)

    def body(self, data: bytes, *, last: bool) -> None:
        """Bytes of the request's body."""
        if self._awaits != _BODY:
            return
        self._body += data if self._dechunker is None else self._dechunker.feed(data)
        if len(self._body) > self._stream.side.shared.head_limit:
            self._body = b""
            self._open(complete=False)
        elif last:
            self._open(complete=True)

    def _open(self, *, complete: bool) -> None:
        stream = self._stream
        request = stream.request
        if request is None:
            return
        question = Question(self._service, request, self._body, complete, stream.scheduler.wall)
        self._script = self._services.table[self._service.kind](question)
        self._go(None)

    # --- the script ---

    def _go(self, answer: str | None) -> None:
        script = self._script
        if script is None:
            return
        self._awaits = _NOTHING
        try:
            while self._script is script:
                step = script.send(answer)  # type: ignore[arg-type]
                answer = ""
                if isinstance(step, Begin):
                    self._begin(step)
                    continue
                if isinstance(step, Ask):
                    remembered = self._services.remembered(step, self._stream.scheduler.now) if step.age else None
                    if remembered is not None:
                        answer = remembered
                        continue
                    self._ask(step)
                elif isinstance(step, Pause):
                    self._awaits = _CLOCK
                    self._stream.wait(step.seconds)
                elif step:
                    self._piece(step)
                else:
                    continue  # an empty chunk would end the body
                return
        except StopIteration:
            self._end()
        except Exception:
            self._stream.fail(Outcome.NO_RESOURCE)
            raise

    def _ask(self, question: Ask) -> None:
        self._awaits = _ANSWER
        self._serial += 1
        self._stream.wait(_ANSWER_PATIENCE)
        self._services.ask(question, self._stream.scheduler, partial(self._answered, self._serial))

    def _answered(self, serial: int, text: str) -> None:
        if self._awaits == _ANSWER and serial == self._serial:
            self._go(text)

    def _begin(self, begin: Begin) -> None:
        stream = self._stream
        head = status_line(begin.status)
        if begin.body is not None:
            self._script = None
            reply = make_reply(begin.status, begin.fields, begin.body)
            stream.reply(reply, Outcome.LOCAL_REPLY)
            return
        if begin.endless:
            if self._services.streams >= MOST_STREAMS:
                self._script = None
                stream.reply(_BUSY, Outcome.LOCAL_REPLY)
                return
            self._services.streams += 1
            self._endless = True
        stream.begin_reply(begin.status, head + begin.fields)
        if stream.head_only:
            self._end()

    def _piece(self, data: bytes) -> None:
        stream = self._stream
        stream.send_piece(data)
        if stream.owner.channel.blocked:
            self._awaits = _DRAIN
            stream.wait(stream.client_patience)
        else:
            self._awaits = _TURN
            stream.scheduler.later(self._turn)

    def _turn(self) -> None:
        if self._awaits == _TURN:
            self._go("")

    def _end(self) -> None:
        self.stop()
        self._stream.end_reply()

    # --- what happens meanwhile ---

    def drained(self) -> None:
        """The client took everything."""
        if self._awaits == _DRAIN:
            self._go("")

    def timed_out(self) -> None:
        """The stream's deadline has passed."""
        stream = self._stream
        awaits = self._awaits
        if awaits == _CLOCK:
            if self._endless and stream.side.shared.stopping:
                self._end()
            else:
                self._go("")
        elif awaits == _ANSWER:
            self._go("")
        elif awaits == _BODY:
            stream.fail(Outcome.REQUEST_TIMEOUT)
        else:
            stream.fail(Outcome.DATA_CLIENT_TIMEOUT)

    def client_left(self) -> None:
        """The client's connection broke, or it will send no more: that is how event streams end."""
        if self._endless:
            self._stream.finish(Outcome.LOCAL_REPLY, abort_client=True)
        else:
            self._stream.fail(Outcome.DATA_ABORTED_BY_CLIENT if self._stream.head_sent else Outcome.REQUEST_ABORTED)

    def client_finished(self) -> None:
        """The client sends no more but may still read."""
        if self._endless:
            self.client_left()

    def stop(self) -> None:
        """Nothing of this goes on."""
        script, self._script = self._script, None
        self._awaits = _NOTHING
        if self._endless:
            self._endless = False
            self._services.streams -= 1
        if script is not None:
            script.close()

