"""Mails over real sockets: delivery, retries, the bound of the queue, and what is said of mails that are lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from headgate.base.addresses import Address, Family
from headgate.base.diagnostics import NOWHERE
from headgate.config.mailers import EmailAlert, Mailer, Mailers
from headgate.runtime.checks.mail import MOST_WAITING, MailQueue, Mails
from headgate.runtime.loop import run as run_loop


class MailServer:
    """Takes mails; `answers` overrides what it says to a command."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.connections = 0
        self.answers: dict[bytes, bytes] = {}
        self.news = asyncio.Event()

    async def start(self) -> Address:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        return Address(Family.INET, "127.0.0.1", port, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self.answers.get(b"", b"220 ready\r\n"))
        try:
            while line := await reader.readline():
                command = line.split()[0].upper()
                writer.write(self.answers.get(command, b"354 go\r\n" if command == b"DATA" else b"250 fine\r\n"))
                if command == b"DATA":
                    self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
                    writer.write(b"250 queued\r\n")
                if command == b"QUIT":
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.news.clear()
                await self.news.wait()


class Scene:
    """A mail server, and what sends to it."""

    def __init__(self, timeout: float = 10.0) -> None:
        self.timeout = timeout
        self.lines: list[tuple[int, str]] = []

    async def open(self) -> None:
        self.server = MailServer()
        mailer = Mailer("m1", await self.server.start(), NOWHERE)
        self.alert = EmailAlert(Mailers("team", (mailer,), NOWHERE, self.timeout), "a@x.example", "b@x.example", 5)
        self.mails = Mails(self._queue)

    def _queue(self, alert: EmailAlert, mailer: Mailer) -> MailQueue:
        def log(level: int, text: str) -> None:
            self.lines.append((level, text))
            self.server.news.set()

        return MailQueue(alert, mailer, "lb1", log=log, clock=time.monotonic, wall=time.time, pause=0.01)

    @property
    def queue(self) -> MailQueue:
        return next(iter(self.mails.queues.values()))


def run(scenario: Callable[[Scene], Awaitable[None]], **options: float) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            scene = Scene(**options)
            await scene.open()
            try:
                await scenario(scene)
            finally:
                scene.mails.stop()
                scene.server.server.close()

    run_loop(bounded())


def test_only_what_is_urgent_enough_is_sent() -> None:
    async def scenario(scene: Scene) -> None:
        scene.mails.event(None, 1, "nobody asked")
        scene.mails.event(scene.alert, 6, "not urgent")
        scene.mails.event(scene.alert, 5, "Server a/b is UP")
        scene.mails.event(scene.alert, 1, "Server a/b is DOWN")
        await scene.server.until(lambda: len(scene.server.mails) == 2)
        assert b"Subject: [HAProxy Alert] Server a/b is UP\r\n" in scene.server.mails[0]
        assert b"Subject: [HAProxy Alert] Server a/b is DOWN\r\n" in scene.server.mails[1]
        await scene.server.until(lambda: scene.queue.sent == 2)
        assert scene.mails.dropped == 0 and scene.lines == []

    run(scenario)


def test_a_passing_failure_is_tried_again() -> None:
    async def scenario(scene: Scene) -> None:
        scene.server.answers[b""] = b"421 busy\r\n"
        scene.mails.event(scene.alert, 1, "text")
        await scene.server.until(lambda: scene.server.connections == 1)
        del scene.server.answers[b""]
        await scene.server.until(lambda: len(scene.server.mails) == 1)

    run(scenario)


def test_what_can_t_be_sent_is_counted_and_said_once() -> None:
    async def scenario(scene: Scene) -> None:
        scene.server.answers[b"MAIL"] = b"451 later\r\n"
        scene.mails.event(scene.alert, 1, "one")
        scene.mails.event(scene.alert, 1, "two")
        await scene.server.until(lambda: scene.mails.dropped == 2)
        assert scene.server.connections == 6
        ((level, text),) = scene.lines
        said = 'mails do not reach mailer team/m1, 1 lost so far: Layer7 wrong status, code: 451, info: "later", check duration: '
        assert level == 4 and text.startswith(said)
        scene.server.answers.clear()
        scene.mails.event(scene.alert, 1, "three")
        await scene.server.until(lambda: len(scene.lines) == 2)
        assert scene.lines[1] == (5, "mails reach mailer team/m1 again; 2 were lost in all")

    run(scenario)


def test_a_refusal_for_good_is_not_tried_again() -> None:
    async def scenario(scene: Scene) -> None:
        scene.server.answers[b"RCPT"] = b"550 no such user\r\n"
        scene.mails.event(scene.alert, 1, "one")
        await scene.server.until(lambda: scene.mails.dropped == 1)
        assert scene.server.connections == 1

    run(scenario)


def test_a_server_that_says_nothing_is_left_after_the_timeout() -> None:
    async def scenario(scene: Scene) -> None:
        scene.server.answers[b""] = b""
        scene.mails.event(scene.alert, 1, "one")
        await scene.server.until(lambda: scene.mails.dropped == 1)
        assert "Layer7 timeout" in scene.lines[0][1]

    run(scenario, timeout=0.5)


def test_the_queue_is_bounded_and_the_oldest_goes() -> None:
    async def scenario(scene: Scene) -> None:
        for number in range(MOST_WAITING + 10):
            scene.mails.event(scene.alert, 1, f"number {number}")
        assert scene.mails.dropped == 10
        assert scene.lines[0][1].endswith("1 lost so far: too many mails wait")
        scene.mails.stop()
        assert scene.mails.dropped == MOST_WAITING + 10

    run(scenario)
