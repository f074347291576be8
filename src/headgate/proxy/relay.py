"""TCP mode: a client connection relayed to a server, after perhaps a look at its first bytes (`tcp-request content`).

`RelaySession` owns the client's channel and the deadline, `RelayStream` is the exchange that rules and logs see. Bytes are passed
as they come; when a direction turns out to be bulk and both ends are plain, the kernel takes over (`Splicer`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, cast

from headgate.balance.server import ServerState
from headgate.base.compiled import traceable
from headgate.base.termination import Blame, Outcome
from headgate.observe.counters import ProxyCounters, ServerCounters
from headgate.plan.frontends import Rules
from headgate.plan.verdicts import Kind, Verdict
from headgate.proxy.accounts import count_end, own_backend
from headgate.proxy.client_session import ClientSession
from headgate.proxy.handshakes import handshake_unused, renegotiation_refused
from headgate.proxy.port import Channel, Lost
from headgate.proxy.resolving import Resolving
from headgate.proxy.seeking import AWAIT_SLOT, CONNECT, TURN_AROUND, last_failure, observe_failure
from headgate.proxy.services import Cancellable, Lookups
from headgate.proxy.sides import Backend, Frontend
from headgate.proxy.tracking import stream_ends

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord

# Where a relay stands, in the order of its life; 3, 4 and 5 are those of `seeking`.
INSPECT_FRONTEND: Final = 0
INSPECT_BACKEND: Final = 1
RELAY: Final = 6
OVER: Final = 7

#: A read of at least this many bytes means bulk: worth two pipes.
_BULK: Final = 65536


class RelaySession(ClientSession):
    """One client connection in TCP mode. Owner of the client's channel; see `HttpSession` for its sibling."""

    __slots__ = ("stream",)

    def __init__(self, side: Frontend) -> None:
        ClientSession.__init__(self, side)
        self.stream = RelayStream(self)

    def start(self, channel: Channel, handshake_ms: int, early: bytes = b"") -> None:
        """See `ClientSession.start`."""
        ClientSession.start(self, channel, handshake_ms)
        channel.owner = self
        self.streams = 1
        self.stream.start(early)

    def data_received(self, data: bytes) -> None:
        self.stream.from_client(data)

    def eof_received(self) -> None:
        self.stream.client_eof()

    def connection_lost(self, reason: Lost) -> None:
        self.stream.client_lost()

    def drained(self) -> None:
        self.stream.client_drained()

    def timed_out(self) -> None:
        self.stream.timed_out()

    def end_stream_on(self, servers: Collection[ServerState], outcome: Outcome) -> None:
        """See `proxy.client_session.ClientSession`."""
        if self.stream.target_server in servers:
            self.stream.finish(outcome)

    def end_stream(self, outcome: Outcome) -> None:
        """See `proxy.client_session.ClientSession`."""
        self.stream.finish(outcome)

    def soft_stop(self) -> None:
        """A relay that is under way is finished, however long it takes (hard-stop-after ends it)."""


class RelayStream(Resolving):
    """The relay itself.

    Attributes:
        held: client bytes that wait for a server, also what content rules look at (`request_buffer`).
        rules: content rules that are still to be run.
        eofs: 1: the client has shut its half, 2: the server has.
    """

    __slots__ = (
        "eofs", "inspect_until", "owner", "response_checked", "rules", "server_channel", "spliced",
    )

    owner: RelaySession

    def __init__(self, owner: RelaySession) -> None:
        Resolving.__init__(self, owner)
        self.owner = self.timed = owner
        self.scheduler = owner.side.shared.scheduler
        self.link: Backend | None = None
        self.phase = INSPECT_FRONTEND
        self.attempt: Cancellable | None = None
        self.attempt_at = 0.0
        self.connected_at = 0.0
        self.queued_at = 0.0
        self.inspect_until = 0.0
        self.rules: Rules | None = None
        self.pending_verdict = None
        self.eofs = 0
        self.spliced = False
        self.retries_left = 0
        self.server_channel: Channel | None = None
        self.target_server: ServerState | None = None
        self.response_checked = False

    # --- before there is a server ---

    @traceable
    def start(self, early: bytes) -> None:
        """Begin; `early` was read before."""
        owner = self.owner
        shared = owner.side.shared
        shared.request_number += 1
        self.number = shared.request_number
        self.started_at = owner.accepted_at
        self.t_handshake = owner.handshake_ms
        self.request_buffer = early
        self.bytes_in = len(early)
        if owner.side.plan.unique_id is not None:
            self.unique_id = owner.side.plan.unique_id(self)
        self._begin_inspection(owner.side.spec.request_inspect_delay, owner.side.plan.tcp_request_content)
        self._inspect()

    def _begin_inspection(self, delay: float, rules: Rules | None) -> None:
        self.rules = rules
        scheduler = self.owner.side.shared.scheduler
        self.inspect_until = scheduler.now + delay if delay else 0.0
        whole = self.eofs & 1 or len(self.request_buffer) >= self.owner.side.shared.buffer
        self.request_complete = not delay or bool(whole)

    def _inspect(self) -> None:
        """Run content rules until they decide; first the frontend's, then the backend's."""
        side = self.owner.side
        if self.phase == INSPECT_FRONTEND:
            if not self._rules_pass():
                return
            backend = side.choose_backend(self)
            if backend is None:
                self.finish(Outcome.NO_SERVER)
                return
            self.backend = backend
            self.link = side.shared.backends[backend.name]
            self.link.stream_started(side.shared.scheduler.now)
            self.phase = INSPECT_BACKEND
            if self.link.spec is not side.spec:
                self._begin_inspection(self.link.spec.request_inspect_delay, self.link.plan.tcp_request_content)
        if self.phase == INSPECT_BACKEND and self.link is not None:
            if not self._rules_pass():
                return
            self.retries_left = self.link.retries if self.max_retries is None else self.max_retries
            self.queued_at = side.shared.scheduler.now
            self.owner.deadline = 0.0
            self.assign(None)

    def _rules_pass(self) -> bool:
        """Whether the stream may go on now; waits or ends it otherwise."""
        while self.rules is not None:
            self.need_more = False
            verdict = self.rules(self)
            if verdict is None or verdict.kind is Kind.ACCEPT:
                self.rules = None
            elif verdict.kind is Kind.WAIT:
                self.scheduler.arm(self.owner, self.inspect_until)
                return False
            elif verdict.kind is Kind.RESOLVE:
                self.rules = verdict.rest  # not those in front of it again, whatever comes
                if self.suspend(verdict):
                    return False
            else:
                self.finish(Outcome.DENIED)
                return False
        return True

    def lookups(self) -> Lookups | None:
        """See `Resolving`."""
        return self.owner.side.shared.lookups

    def go_on(self, verdict: Verdict) -> None:
        """See `Resolving`."""
        self._inspect()

    def _hold(self, data: bytes) -> None:
        """Keep bytes until a server is there; bounded by tune.bufsize plus one read."""
        self.request_buffer += data
        if len(self.request_buffer) >= self.owner.side.shared.buffer:
            self.owner.channel.pause()
            self.request_complete = True

    # --- a server ---

    def _use(self, server: ServerState) -> None:
        link = self.link
        if link is None:
            return
        now = self.scheduler.now
        self._chosen(server)
        self.phase = CONNECT
        self.attempt_at = now
        server.counters.connections += 1
        server.counters.session_rate.tick(now)
        link.counters.connections += 1
        self.wait(link.t_connect)
        self.attempt = self.owner.side.shared.connector.connect(server, self, self)

    def _connect(self, server: ServerState) -> None:
        self._use(server)

    def connected(self, channel: Channel) -> None:
        """The server's connection is ready."""
        self.attempt = None
        scheduler = self.owner.side.shared.scheduler
        self.connected_at = scheduler.now
        self.t_connect = int((scheduler.now - self.attempt_at) * 1000.0)
        self.server_channel = channel
        self.server_tls = channel.tls
        self.server_error = 0
        if channel.tls is not None:
            self.owner.side.shared.server_handshake(channel.tls)
        if self.target_server is not None and self.target_server.observer is not None:
            self.target_server.observer.connected(True)
        channel.owner = ServerHalf(self)
        self.phase = RELAY
        self.response_checked = self.owner.side.plan.tcp_response_content is None and (
            self.link is None or self.link.plan.tcp_response_content is None
        )
        sticking = None if self.link is None else self.link.state.sticking
        if sticking is not None:
            sticking.store(self, response=False)
            self.response_checked = self.response_checked and not sticking.looks_at_responses
        held = self.request_buffer
        self.request_buffer = b""
        if held:
            channel.send(held)
        if self.eofs & 1:
            channel.shutdown_write()
        elif channel.blocked:
            self.owner.channel.pause()
        else:
            self.owner.channel.resume()
        self._touch()

    def early_request(self, most: int) -> bytes:
        """See `proxy.services.Attempt`: a client's early data waits for its handshake, and `retry-on` is about requests."""
        return b""

    def connect_failed(self, reason: Lost) -> None:
        """The attempt failed: again, here or elsewhere, or give up."""
        self.attempt = None
        server = self.target_server
        link = self.link
        if server is None or link is None:
            return
        observe_failure(server, reason)
        if self.retries_left <= 0:
            self.finish(last_failure(reason))
            return
        self._try_again(server, immediately=reason is Lost.TIMEOUT)

    # --- the relay ---

    def from_client(self, data: bytes) -> None:
        """Bytes of the client."""
        self.bytes_in += len(data)
        if self.phase == RELAY and self.server_channel is not None:
            channel = self.server_channel
            channel.send(data)
            if channel.blocked:
                self.owner.channel.pause()
            if len(data) >= _BULK:
                self._try_splice()
            self._touch()
        elif self.phase != OVER:
            self._hold(data)
            if self.phase <= INSPECT_BACKEND and self.pending_verdict is None:
                self._inspect()

    def from_server(self, data: bytes) -> None:
        """Bytes of the server."""
        if not self.response_checked:
            data = self._check_response(data)
            if not data:
                return
        self.bytes_out += len(data)
        channel = self.owner.channel
        channel.send(data)
        if channel.blocked and self.server_channel is not None:
            self.server_channel.pause()
        if len(data) >= _BULK:
            self._try_splice()
        self._touch()

    def _check_response(self, data: bytes) -> bytes:
        """tcp-response content rules on the server's first bytes; empty when the relay ended or waits for more."""
        self.response_buffer += data
        self.request_complete = True  # the rules are asked once, with what is there
        link = self.link
        for rules in (link.plan.tcp_response_content if link is not None else None, self.owner.side.plan.tcp_response_content):
            if rules is None:
                continue
            verdict = rules(self)
            if verdict is not None and verdict.kind is not Kind.ACCEPT and verdict.kind is not Kind.WAIT:
                self.finish(Outcome.RESPONSE_DENIED)
                return b""
        if link is not None and link.state.sticking is not None:
            link.state.sticking.store(self, response=True)
        self.response_checked = True
        held, self.response_buffer = self.response_buffer, b""
        return held

    def _try_splice(self) -> None:
        """Let the kernel pass on what comes, from both sides, unless content rules still want to see it."""
        splice = self.owner.side.shared.splice
        if not self.spliced and splice is not None and self.server_channel is not None and self.response_checked:
            self.spliced = True
            splice.start(self.owner.channel, self.server_channel, self)

    def client_passed(self, count: int) -> None:
        """The kernel moved bytes of the client."""
        self.bytes_in += count
        self.owner.side.shared.counters.spliced_bytes += count
        if self.server_channel is not None and self.server_channel.blocked:
            self.owner.channel.pause()
        self._touch()

    def server_passed(self, count: int) -> None:
        """The kernel moved bytes of the server."""
        self.bytes_out += count
        self.owner.side.shared.counters.spliced_bytes += count
        if self.owner.channel.blocked and self.server_channel is not None:
            self.server_channel.pause()
        self._touch()

    def client_drained(self) -> None:
        """The client took what was waiting."""
        if self.eofs & 2:
            self._half_closed()
            return
        if self.server_channel is not None:
            self.server_channel.resume()
        self._touch()

    def server_drained(self) -> None:
        """The server took what was waiting."""
        if self.eofs & 1:
            self._half_closed()
            return
        self.owner.channel.resume()
        self._touch()

    def client_eof(self) -> None:
        """The client shut its half."""
        self.eofs |= 1
        phase = self.phase
        if phase == RELAY and self.server_channel is not None:
            self.server_channel.shutdown_write()
            self._half_closed()
        elif phase <= INSPECT_BACKEND:
            self.request_complete = True
            if not self.request_buffer:
                self.finish(Outcome.CONNECT_ABORTED if phase == INSPECT_BACKEND else Outcome.REQUEST_ABORTED)
            elif self.pending_verdict is None:
                self._inspect()
        elif self.link is not None and self.link.abort_on_close:
            self.finish(Outcome.QUEUE_ABORTED if phase == AWAIT_SLOT else Outcome.CONNECT_ABORTED)

    def server_eof(self) -> None:
        """The server shut its half."""
        self.eofs |= 2
        self.owner.channel.shutdown_write()
        self._half_closed()

    def _half_closed(self) -> None:
        server = self.server_channel
        if self.eofs == 3 and not self.owner.channel.blocked and not (server is not None and server.blocked):
            self.finish(Outcome.COMPLETE)
        else:
            self._touch()  # a slow reader's timeouts stand until it has everything

    def client_lost(self) -> None:
        """The client's connection broke."""
        phase = self.phase
        if phase == RELAY:
            self.finish(Outcome.DATA_ABORTED_BY_CLIENT)
        else:
            self.finish(Outcome.QUEUE_ABORTED if phase == AWAIT_SLOT else Outcome.CONNECT_ABORTED)

    def server_lost(self) -> None:
        """The server's connection broke."""
        self.finish(Outcome.DATA_ABORTED_BY_SERVER)

    # --- deadlines ---

    def _touch(self) -> None:
        """Something moved: the shorter of the sides' timeouts begins anew; `timeout tunnel` stands for both (4.2)."""
        if self.phase != RELAY or self.link is None:
            return
        link = self.link
        if self.eofs:
            # Half closed: that side's own timeout, which data of the other half renews (4.2, "timeout client-fin").
            fin = self.owner.side.t_client_fin if self.eofs & 1 else link.t_server_fin
            if fin:
                self.wait(fin)
                return
        tunnel = link.t_tunnel if self.tunnel_timeout is None else self.tunnel_timeout
        if not tunnel:
            client = self.owner.side.t_client if self.client_timeout is None else self.client_timeout
            server = link.t_server if self.server_timeout is None else self.server_timeout
            tunnel = min(client, server) if client and server else client or server
        self.wait(tunnel)

    def timed_out(self) -> None:
        """The deadline passed."""
        phase = self.phase
        if phase <= INSPECT_BACKEND:
            if self.give_up_resolving() is None:
                self.request_complete = True  # inspect-delay is over
            self._inspect()
        elif phase == CONNECT:
            if self.attempt is not None:
                self.attempt.timed_out()
            self.connect_failed(Lost.TIMEOUT)
        elif phase == AWAIT_SLOT:
            self.finish(Outcome.QUEUE_TIMEOUT)
        elif phase == TURN_AROUND:
            self._after_turn_around()
        elif phase == RELAY:
            link = self.link
            client_side = link is None or not link.t_server or 0 < self.owner.side.t_client <= link.t_server
            self.finish(Outcome.DATA_CLIENT_TIMEOUT if client_side else Outcome.DATA_SERVER_TIMEOUT)

    # --- the end ---

    def fail(self, outcome: Outcome) -> None:
        """See `Seeking`: a client that speaks no protocol that we know can only be left."""
        self.finish(outcome)

    @traceable
    def finish(self, outcome: Outcome) -> None:
        """The relay is over: close both ends, count, log."""
        if self.phase == OVER:
            return
        phase = self.phase
        self.phase = OVER
        if self.pending_verdict is not None:
            self.give_up_resolving()
        owner = self.owner
        side = owner.side
        scheduler = side.shared.scheduler
        scheduler.retire(owner)
        if self.attempt is not None:
            self.attempt.cancel()
        clean = outcome is Outcome.COMPLETE
        if self.server_channel is not None:
            if clean:
                self.server_channel.close()
            else:
                self.server_channel.abort()
        link = self.link
        if link is not None and phase == AWAIT_SLOT:
            link.state.dequeue(self)
        self.release_slot()
        self.t_total = int((scheduler.wall - owner.accepted_at) * 1000.0)
        if phase == RELAY:
            self.t_data = int((scheduler.now - self.connected_at) * 1000.0)
        if not clean:
            self.termination = outcome.state
        self._count(outcome, link, relayed=phase == RELAY)
        if owner.handshake is not None:
            self._account_for_handshake(outcome, cast("HandshakeRecord", owner.handshake))
        if not (side.dont_log_null and not self.bytes_in and not self.bytes_out and outcome.blame is Blame.CLIENT):
            side.write_log(self, failed=outcome.blame is not Blame.NOBODY)
        if self.tracks is not None or owner.tracks is not None:
            stream_ends(self, outcome)
        if clean or outcome.blame is not Blame.CLIENT:
            owner.channel.close()
        else:
            owner.channel.abort()
        side.session_over(owner)

    def _account_for_handshake(self, outcome: Outcome, record: HandshakeRecord) -> None:
        """The client's handshake turned out to be of no use, or a second one was wanted."""
        owner = self.owner
        side = owner.side
        if not self.bytes_in and (outcome.blame is Blame.CLIENT or self.eofs & 1):
            handshake_unused(side, owner, record, owner.counted)
        else:
            renegotiation_refused(side, owner, record, owner.counted)

    def _count(self, outcome: Outcome, link: Backend | None, *, relayed: bool) -> None:
        """Bytes and times, and what a failure adds; `relayed`: the server's connection was there."""
        owner = self.owner
        side = owner.side
        taken, given = self.bytes_in, self.bytes_out
        listener = owner.counted
        if listener is not None:
            listener.bytes_in += taken
            listener.bytes_out += given
        server = self.server if isinstance(self.server, ServerState) else None
        if outcome is not Outcome.COMPLETE:
            count_end(outcome, side, listener, link, server)
        below = link if link is not None else own_backend(side)
        touched: list[ProxyCounters | ServerCounters] = [side.counters]
        if below is not None:
            touched.append(below.counters)
        if server is not None:
            touched.append(server.counters)
        for counters in touched:
            counters.bytes_in += taken
            counters.bytes_out += given
        if server is not None and relayed:
            server.counters.note(max(self.t_queue, 0), max(self.t_connect, 0), 0, self.t_total)


class ServerHalf:
    """Owner of the server's channel of a relay."""

    __slots__ = ("stream",)

    def __init__(self, stream: RelayStream) -> None:
        self.stream = stream

    def data_received(self, data: bytes) -> None:
        self.stream.from_server(data)

    def eof_received(self) -> None:
        self.stream.server_eof()

    def connection_lost(self, reason: Lost) -> None:
        self.stream.server_lost()

    def drained(self) -> None:
        self.stream.server_drained()
