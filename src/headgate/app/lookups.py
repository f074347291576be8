"""Who finds the addresses that rules ask for (`do-resolve`), by the role of the process.

Name servers are asked by the process that speaks for all: its counters are those of `show resolvers`, its answers serve all
workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from headgate.app.api import PATIENCE
from headgate.balance.resolution import Status
from headgate.plan.verdicts import Question
from headgate.runtime.logs.emitters import log_event
from headgate.runtime.lookups import MOST_ASKED, Finder, Found, Key, Lookups
from headgate.runtime.workers.links import Link, LinkLost
from headgate.runtime.workers.messages import Kind, Message

if TYPE_CHECKING:
    from headgate.app.process import App
    from headgate.app.resolving import Resolving
    from headgate.app.worker import Worker
    from headgate.config.model import Config

_WARNING = 4
#: How often it is said at most that names are not asked for, seconds.
_SAID_AGAIN: Final = 10.0


def lookups_of(app: App) -> Lookups:
    """What `proxy.sides.Shared.lookups` is in this process."""
    return Lookups(_finder(app), app.reactor, app.bug, _complaint(app))


def _finder(app: App) -> Finder:
    if app.worker is not None:
        return _through(app.worker, app.config)
    assert app.resolving is not None
    return _from_name_servers(app.resolving)


def _from_name_servers(resolving: Resolving) -> Finder:
    async def find(key: Key) -> Found | None:
        section, name, prefer = key
        resolver = resolving.resolvers[section]
        answer = await resolver.addresses(name, prefer)
        if answer.status is not Status.VALID or not answer.candidates:
            return None
        return Found(ipaddress.ip_address(answer.candidates[0].key), resolver.section.hold.valid)

    return find


def _through(worker: Worker, config: Config) -> Finder:
    """Asks the controller."""

    async def find(key: Key) -> Found | None:
        link = worker.link
        if link is None:
            return None  # the controller is being replaced
        body: tuple[object, ...] = ()
        with contextlib.suppress(TimeoutError, LinkLost):
            async with asyncio.timeout(2 * config.resolvers[key[0]].patience + PATIENCE):
                body = await link.ask(Kind.RESOLVE, *key)
        match body:
            case (str(address), float(seconds)) if address:
                return Found(ipaddress.ip_address(address), seconds)
        return None

    return find


def _complaint(app: App) -> Callable[[], None]:
    """Says now and then that there are too many questions."""
    last = -_SAID_AGAIN
    count = 0

    def full() -> None:
        nonlocal last, count
        count += 1
        now = app.reactor.now
        if now - last < _SAID_AGAIN:
            return
        text = f"{count} name(s) were not asked for by do-resolve: {MOST_ASKED} are being asked for already"
        log_event(app.logs.process, _WARNING, text)
        last, count = now, 0

    return full


class Asked:
    """A worker's question in the controller. Implements `proxy.services.AddressWaiter`."""

    def __init__(self, lookups: Lookups, link: Link, message: Message) -> None:
        self._lookups = lookups
        self._link = link
        self._message = message

    def answer(self) -> None:
        """Answer it, at once where that is possible."""
        section, name, prefer = self._message.body
        question = Question(section, name, prefer, 0.0, _nowhere)
        address = self._lookups.known(question)
        if address is not None:
            self.resolved(question, address)
        else:
            self._lookups.ask(question, self)

    def resolved(self, question: Question, address: object | None) -> None:
        """See `proxy.services.AddressWaiter`."""
        text = "" if address is None else str(address)
        self._link.answer(self._message, text, self._lookups.seconds_left(question))


def _nowhere(stream: object, address: object) -> None:
    """The worker has the stream."""
