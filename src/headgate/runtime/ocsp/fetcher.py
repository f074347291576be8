"""Gets an answer for one certificate: every responder, every way to it, a few times, until one answer passes its checks.

Tries are staggered: the next begins when one has failed, or has not answered for a while, and the first good answer ends the
others. So neither a dead responder nor a path that swallows packets holds up the good one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from headgate.base.records import dataclass, field
from headgate.runtime.ocsp.eyeballs import Dialler
from headgate.runtime.ocsp.http import HttpAnswer, exchange, target_of
from headgate.runtime.ocsp.names import Place
from headgate.tls.ocsp import failures
from headgate.tls.ocsp.attempts import Attempt, summed_up
from headgate.tls.ocsp.failures import Failure
from headgate.tls.ocsp.request import HttpRequest
from headgate.tls.ocsp.response import LONGEST

T = TypeVar("T")

#: All tries of an update together, seconds.
UPDATE_LIMIT = 60.0
#: The next try begins when one has not ended within this time, seconds.
STAGGER = 1.5
#: Tries at a time.
_MOST_PARALLEL = 3
MOST_REDIRECTS = 3
#: Waits between tries at the same addresses, seconds: doubled each time, with chance.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How the last exchange went, for its log line. Milliseconds, -1 for what was not reached; status 0 for no response."""

    method: str
    uri: str
    began: float
    connected: int
    answered: int
    total: int
    status: int
    size: int
    retries: int


@dataclass(slots=True)
class _Update:
    """One update under way."""

    useless: dict[str, list[Place]] = field(default_factory=dict)  # by URI, addresses that answered badly, or are being asked
    final: set[str] = field(default_factory=set)  # URIs that are not worth another try
    tries: Counter[str] = field(default_factory=Counter)
    attempts: list[Attempt] = field(default_factory=list)
    failed: Timing | None = None


class Fetcher:
    """Fetches with the settings of the configuration.

    Args:
        dialler: connects.
        retries: how often a responder is asked again (`httpclient.retries`); once in any case: there may be another address.
        proxy: host and port of `ocsp-update.httpproxy`, None for none.
        tls: makes the context for https, at its first use.
        random: from [0, 1).
        clock: seconds since the epoch, for log lines.
    """

    def __init__(
        self,
        dialler: Dialler,
        *,
        retries: int,
        proxy: tuple[str, int] | None,
        tls: Callable[[], ssl.SSLContext],
        random: Callable[[], float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._dialler = dialler
        self._retries = max(retries, 1)
        self._proxy = proxy
        self._tls = tls
        self._random = random
        self._clock = clock
        self._context: ssl.SSLContext | None = None

    async def fetch(self, requests: Sequence[HttpRequest], check: Callable[[HttpAnswer], T]) -> tuple[T | Failure, Timing | None]:
        """Ask until there is an answer that passes.

        Args:
            requests: one for each responder, in the order in which they are to be asked.
            check: makes something of an answer; raises Failure where it can't.

        Returns:
            What `check` made, or the failure that sums up all attempts, and how the last exchange went that failed on the way.
        """
        update = _Update()
        running: set[asyncio.Task[T]] = set()
        try:
            async with asyncio.timeout(UPDATE_LIMIT):
                return await self._race(requests, check, update, running), update.failed
        except Failure as failure:
            return failure, update.failed
        except TimeoutError:
            update.attempts.append(Attempt("", "", failures.TIMEOUT, f"no answer within {UPDATE_LIMIT:g} s"))
            return summed_up(update.attempts, update.tries.total()), update.failed
        finally:
            for task in running:
                task.add_done_callback(_forget)
                task.cancel()

    async def _race(
        self, requests: Sequence[HttpRequest], check: Callable[[HttpAnswer], T], update: _Update, running: set[asyncio.Task[T]]
    ) -> T:
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            request = self._next(requests, update)
            now = loop.time()
            if request is not None and now >= next_at and len(running) < _MOST_PARALLEL:
                update.tries[request.uri] += 1
                running.add(asyncio.ensure_future(self._try(request, check, update)))
                next_at = now + STAGGER
                continue
            if not running:
                if request is None:
                    raise summed_up(update.attempts, update.tries.total())
                await asyncio.sleep(next_at - now)
                continue
            wait = None if request is None or len(running) >= _MOST_PARALLEL else max(next_at - now, 0.0)
            done, _ = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            running -= done
            errors = {task: task.exception() for task in done}
            for task, error in errors.items():
                if error is None:
                    return task.result()
            for error in errors.values():
                if not isinstance(error, Failure):
                    raise error or AssertionError
            if errors:
                next_at = loop.time() + self._pause(requests, update)

    def _next(self, requests: Sequence[HttpRequest], update: _Update) -> HttpRequest | None:
        """The next responder: those that were asked least often come first."""
        open_ = [one for one in requests if one.uri not in update.final and update.tries[one.uri] <= self._retries]
        return min(open_, key=lambda one: update.tries[one.uri], default=None)

    def _pause(self, requests: Sequence[HttpRequest], update: _Update) -> float:
        """Behind a failure: none as long as there is something that was not tried yet."""
        request = self._next(requests, update)
        if request is None or not update.tries[request.uri]:
            return 0.0
        last = update.attempts[-1]
        ways = {place.family for place in update.useless.get(request.uri, ())}
        if last.way and len(ways) == 1 and update.tries[request.uri] == 1:
            return 0.0  # perhaps the other family answers
        wait: float = min(_FIRST_PAUSE * 2 ** (update.tries[request.uri] - 1), _LONGEST_PAUSE)
        return wait * (0.5 + self._random())

    async def _try(self, request: HttpRequest, check: Callable[[HttpAnswer], T], update: _Update) -> T:
        """One try; a failure is noted."""
        began, start = self._clock(), time.monotonic()
        progress = _Progress()
        try:
            answer = await self._follow(request, update, progress)
            progress.status, progress.size = answer.status, len(answer.body)
            if answer.status != 200:
                text = f"{answer.status} from the responder"
                raise Failure(failures.HTTP_STATUS, text, answer.retry_after)
            return check(answer)
        except Failure as failure:
            attempt = Attempt(progress.host, progress.way, failure.cause, failure.text, failure.retry_after)
            update.attempts.append(attempt)
            # Each address has its say; a second time only where that may change something.
            if not attempt.may_pass and update.tries[request.uri] > 1:
                update.final.add(request.uri)
            total = int((time.monotonic() - start) * 1000)
            update.failed = Timing(
                request.method, request.uri, began, progress.connected, progress.answered, total, progress.status,
                progress.size, update.tries.total() - 1,
            )  # fmt: skip
            raise

    async def _follow(self, request: HttpRequest, update: _Update, progress: _Progress) -> HttpAnswer:
        """Ask, and go where redirects point to."""
        useless = update.useless.setdefault(request.uri, [])
        seen = {request.uri}
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._ask(request, useless, update, progress)
            if not answer.location:
                return answer
            if answer.location in seen:
                raise Failure(failures.REDIRECTS, "the responder redirects in a circle")
            if request.uri.startswith("https:") and not answer.location.startswith("https:"):
                raise Failure(failures.REDIRECTS, "the responder redirects from https to http")
            seen.add(answer.location)
            if answer.status == 303 and request.method != "GET":
                request = HttpRequest("GET", answer.location, accept=request.accept)
            else:
                request = HttpRequest(request.method, answer.location, request.body, request.content_type, request.accept)
            useless = []
        raise Failure(failures.REDIRECTS, f"the responder redirects more than {MOST_REDIRECTS} times")

    async def _ask(
        self, request: HttpRequest, useless: list[Place], update: _Update, progress: _Progress
    ) -> HttpAnswer:
        progress.host, progress.way = "", ""
        target = target_of(request.uri, self._proxy)
        progress.host = target.host
        start = time.monotonic()
        connected = await self._dialler.connect(target.host, target.port, tuple(useless))
        if connected.sock is None or connected.place is None:
            *before, last = connected.attempts
            update.attempts += before
            progress.way = last.way
            through = "" if self._proxy is None else f" (to the proxy {target.host}:{target.port})"
            raise Failure(last.cause, f"{last.text}{through}")
        update.attempts += connected.attempts
        place = connected.place
        progress.way = place.way
        progress.connected = int((time.monotonic() - start) * 1000)
        if place not in useless:
            useless.append(place)  # whoever tries next, while this one waits, takes another one
        secure = self._secure(connected.sock) if target.secure else None
        answer = await exchange(connected.sock, request, target, secure, LONGEST)
        progress.answered = int((time.monotonic() - start) * 1000) - progress.connected
        return answer

    def _secure(self, sock: socket.socket) -> ssl.SSLContext:
        if self._context is None:
            try:
                self._context = self._tls()
            except OSError as error:
                sock.close()
                raise Failure(failures.TLS, f"the CA certificates can't be loaded: {error.strerror or error}") from None
        return self._context


def _forget(task: asyncio.Task[T]) -> None:
    """Nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


@dataclass(slots=True)
class _Progress:
    """How far a try came."""

    host: str = ""
    way: str = ""
    connected: int = -1
    answered: int = -1
    status: int = 0
    size: int = 0
