"""Links: questions and answers, large messages, loss, messages that nobody takes; and how links are handed out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from headgate.runtime.loop import run as run_loop
from headgate.runtime.workers import links
from headgate.runtime.workers.links import Link, LinkLost, watch_supervision
from headgate.runtime.workers.messages import BadMessage, Kind, Message, decode, encode

KINDS = [socket.SOCK_STREAM, socket.SOCK_SEQPACKET]
Scenario = Callable[[], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    run_loop(bounded())


class Ends:
    """Both ends of a link in one loop."""

    def __init__(self, kind: int = socket.SOCK_STREAM) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self.lost: list[str] = []
        self.told: list[Message] = []
        self.left = Link(loop, ours, {}, lambda _: self.lost.append("left"))
        self.right = Link(loop, theirs, {Kind.ASK: self.echo, Kind.LINES: self.keep}, lambda _: self.lost.append("right"))

    def echo(self, link: Link, message: Message) -> None:
        if message.body[0] == "bug":
            raise RuntimeError("a bug")
        link.answer(message, message.body[0])

    def keep(self, link: Link, message: Message) -> None:
        self.told.append(message)

    def close(self) -> None:
        self.left.close()
        self.right.close()


@pytest.mark.parametrize("kind", KINDS)
def test_questions_are_answered_whatever_their_size(kind: int) -> None:
    async def scenario() -> None:
        ends = Ends(kind)
        texts = ["", "short", "x" * (3 << 20), "\udcff"]
        answers = await asyncio.gather(*[ends.left.ask(Kind.ASK, text) for text in texts])
        assert [answer[0] for answer in answers] == texts
        ends.left.tell(Kind.LINES, "buf0", (b"a", b"b"), 3)
        await ends.left.ask(Kind.ASK, "after")
        assert ends.told == [Message(Kind.LINES, 0, ("buf0", (b"a", b"b"), 3))]
        assert ends.left.waiting == 0 and not ends.lost
        ends.close()

    run(scenario)


def test_a_lost_sibling_ends_what_waits() -> None:
    async def scenario() -> None:
        ends = Ends()
        ends.right._handlers = {Kind.ASK: lambda link, message: None}
        waiting = ends.left.ask(Kind.ASK, "?")
        ends.right.close()
        with pytest.raises(LinkLost):
            await waiting
        assert ends.lost == ["left"]
        assert not ends.left.tell(Kind.PUBLISH)
        with pytest.raises(LinkLost):
            await ends.left.ask(Kind.PUBLISH)

    run(scenario)


def test_a_sibling_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(links, "MOST_WAITING", 1 << 20)
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        lost: list[Link] = []
        link = Link(loop, ours, {}, lost.append)
        sent = 0
        while link.tell(Kind.ASK, "x" * 65536):
            sent += 1
        assert lost == [link] and 16 <= sent < 40
        theirs.close()

    run(scenario)


def test_what_nobody_takes_is_counted() -> None:
    async def scenario() -> None:
        ends = Ends()
        assert await ends.left.ask(Kind.COMMAND, ("show", "info")) == (False, "COMMAND means nothing here")
        ends.left.tell(Kind.LINES, "buf0")  # without the rest of its body
        ends.left.tell(Kind.ANSWER)
        cancelled = ends.left.ask(Kind.ASK, "late")
        cancelled.cancel()
        await ends.left.ask(Kind.ASK, "after")
        assert (ends.right.stray, ends.left.stray) == (3, 1)
        ends.close()

    run(scenario)


def test_a_bug_in_a_handler_costs_that_message_only() -> None:
    async def scenario() -> None:
        said: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))
        ends = Ends()
        assert await ends.left.ask(Kind.ASK, "bug") == (False, "internal error: RuntimeError")
        assert said == ["ASK of a sibling broke"]
        assert await ends.left.ask(Kind.ASK, "on") == ("on",)
        ends.close()

    run(scenario)


@pytest.mark.parametrize(
    "data", [b"", b"x", encode(Kind.ASK, 0, ()), encode(Kind.HELLO, 0, (1, "2", 3)), b"\xe9\x01\x00\x00\x00", encode(99, 0, ())]  # type: ignore[arg-type]
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(data)


def test_links_arrive_over_the_supervision_socket_until_the_launcher_is_gone() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        launcher, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        linked: list[tuple[int, socket.socket]] = []
        gone = asyncio.Event()
        watch_supervision(loop, ours, lambda number, sock: linked.append((number, sock)), gone.set)
        one, other = socket.socketpair()
        socket.send_fds(launcher, [b"link 3"], [one.fileno()])
        socket.send_fds(launcher, [b"nonsense"], [one.fileno()])
        one.close()
        launcher.close()
        await gone.wait()
        assert [number for number, _ in linked] == [3]
        linked[0][1].send(b"hello")
        assert other.recv(10) == b"hello"
        for sock in (other, ours, linked[0][1]):
            sock.close()

    run(scenario)
