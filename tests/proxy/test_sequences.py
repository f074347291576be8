"""Whatever clients, servers and the clock do, in whatever order: nothing raises, nothing leaks, each exchange is logged once.

Events are only delivered as `proxy.port` promises: none to a channel after its end, no bytes after an end of file, none while
reading is paused.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.proxy.port import Lost
from tests.proxy.playbook import HEADER, Channel, PendingAttempt, Playbook

BODY = """
frontend fe
    bind :80
    default_backend be
    timeout client-fin 3s
{frontend}backend be
    option redispatch 1
    retries 2
    timeout queue 5s
    timeout tunnel 50s
{backend}    server s1 192.0.2.10:80 maxconn 1
    server s2 192.0.2.11:80 maxconn 1
"""
VARIANTS = {
    "plain": ("", ""),
    "retry-on": ("", "    retry-on all-retryable-errors\n"),
    "http-reuse never": ("", "    http-reuse never\n"),
    "buffered": ("    option http-buffer-request\n    http-request tarpit if { path /t }\n", "    option abortonclose\n"),
    "server-close": ("    option http-server-close\n", ""),
}
REQUESTS = (
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD /t HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n",
    b"GET /w HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"nonsense\r\n\r\n",
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil close",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    b"junk",
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            "client-says client-says server-says server-says server-says client-eof server-eof client-lost server-lost "
            "block-client block-server drain connect connect connect refuse time turn turn new-client soft-stop".split()
        ),
        st.integers(0, 9),
        st.integers(0, 200),
    ),
    max_size=40,
)


class Wire(Channel):
    """A channel that insists on the promises of the port."""

    ended = False
    input = b""

    @property
    def live(self) -> bool:
        return self.fate == "open" and not self.ended


class Scene:
    def __init__(self, play: Playbook) -> None:
        self.play = play
        self.clients: list[Wire] = []
        self.servers: list[Wire] = []
        self.lost: set[Wire] = set()

    def pick(self, wires: list[Wire], number: int) -> Wire | None:
        live = [wire for wire in wires if wire.fate == "open" and wire not in self.lost]
        return live[number % len(live)] if live else None

    def attempt(self, number: int) -> PendingAttempt | None:
        pending = self.play.connector.attempts = [one for one in self.play.connector.attempts if not one.cancelled]
        return pending.pop(number % len(pending)) if pending else None

    def new_client(self) -> None:
        client = self.play.client().channel
        client.__class__ = Wire
        assert isinstance(client, Wire)
        self.clients.append(client)

    def says(self, wire: Wire | None, texts: tuple[bytes, ...], which: int, cut: int) -> None:
        """The peer sends some of what it has to say; the rest stays with it until another time."""
        if wire is None or not wire.live or not wire.reading:
            return
        if not wire.input:
            wire.input = texts[which % len(texts)]
            if cut % 3 == 0:
                wire.input += texts[(which + cut) % len(texts)]
        size = 1 + cut % len(wire.input) if cut % 2 else len(wire.input)
        data, wire.input = wire.input[:size], wire.input[size:]
        wire.owner.data_received(data)

    def step(self, kind: str, number: int, cut: int) -> None:
        side, _, verb = kind.rpartition("-")
        if kind == "new-client":
            if not self.play.shared.stopping:
                self.new_client()
        elif kind == "soft-stop":
            if cut == 7:
                self.play.shared.stopping = True
                for session in list(self.play.shared.live):
                    session.soft_stop()
        elif kind in ("connect", "refuse"):
            self.answer(kind, number)
        elif kind == "time":
            self.play.clock.settle()
            self.play.clock.advance((0.5, 1.0, 4.0, 20.0)[cut % 4])
        elif kind == "turn":
            self.play.clock.settle()
        elif kind == "drain":
            self.drain(number)
        elif side == "block":
            wire = self.pick(self.clients if verb == "client" else self.servers, number)
            if wire is not None:
                wire.blocked = True
        else:
            wires, texts = (self.clients, REQUESTS) if side == "client" else (self.servers, RESPONSES)
            self.happens(self.pick(wires, number), verb, texts, number, cut)

    def happens(self, wire: Wire | None, verb: str, texts: tuple[bytes, ...], number: int, cut: int) -> None:
        if verb == "says":
            self.says(wire, texts, number, cut)
        elif wire is not None and verb == "eof":
            if not wire.ended and wire.reading:
                wire.ended = True
                wire.owner.eof_received()
        elif wire is not None:
            self.lost.add(wire)
            wire.owner.connection_lost(Lost.RESET)

    def answer(self, kind: str, number: int) -> None:
        attempt = self.attempt(number)
        if attempt is None:
            return
        if kind == "refuse":
            attempt.fail()
            return
        wire = Wire()
        attempt.attempt.connected(wire)
        self.servers.append(wire)

    def drain(self, number: int) -> None:
        wire = self.pick([one for one in self.clients + self.servers if one.blocked], number)
        if wire is not None:
            wire.blocked = False
            wire.owner.drained()

    def end(self) -> None:
        """Everybody leaves."""
        for wire in self.clients:
            if wire.fate == "open" and wire not in self.lost:
                self.lost.add(wire)
                wire.owner.connection_lost(Lost.RESET)
        self.play.clock.settle()

    def check(self) -> None:
        play = self.play
        assert play.shared.sessions == 0
        assert not play.shared.live
        assert play.frontends["fe"].sessions == 0
        state = play.backends["be"].state
        assert (state.sessions, state.queued) == (0, 0)
        assert [server.sessions for server in state.servers] == [0, 0]
        assert all(attempt.cancelled for attempt in play.connector.attempts)
        assert all(wire.fate != "open" for wire in self.clients)
        assert len(play.log.lines) == play.shared.request_number
        pooled = sum(pool.idle for pool in play.backends["be"].pools.values())
        assert sum(wire.fate == "open" and wire not in self.lost for wire in self.servers) == pooled


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_http_sessions_end_well(tmp_path: Path, variant: str, steps: list[tuple[str, int, int]]) -> None:
    frontend, backend = VARIANTS[variant]
    scene = Scene(Playbook(BODY.format(frontend=frontend, backend=backend), tmp_path))
    play_out(scene, steps)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_relays_end_well(tmp_path: Path, steps: list[tuple[str, int, int]]) -> None:
    rules = "    tcp-request inspect-delay 2s\n    tcp-request content reject if { req.len gt 150 }\n"
    header = HEADER.replace("mode http", "mode tcp").replace("httplog", "tcplog")
    play_out(Scene(Playbook(BODY.format(frontend=rules, backend=""), tmp_path, header)), steps)


def play_out(scene: Scene, steps: list[tuple[str, int, int]]) -> None:
    for _ in range(3):
        scene.new_client()
    for kind, number, cut in steps:
        scene.step(kind, number, cut)
    scene.end()
    scene.check()
