"""An exchange as its client has it: rules, the choice of the backend, the request's body, deadlines.

Made by `HttpSession` for each request; `RequestPath` sends it to a server, `ResponsePath` brings back what that one says.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.base.compiled import traceable
from headgate.base.termination import Outcome
from headgate.plan.frontends import Rules
from headgate.plan.services import Service
from headgate.plan.verdicts import Kind, Reply, Verdict
from headgate.proxy.exchange import AWAIT_HEAD, BUFFER_REQUEST, FLUSH, OVER, RELAY, SERVE, TARPIT, TRANSFER
from headgate.proxy.port import Lost
from headgate.proxy.request import RequestPath
from headgate.proxy.seeking import AWAIT_SLOT, CONNECT, PREPARE, TURN_AROUND
from headgate.proxy.service import ServiceRun
from headgate.proxy.sides import KEEP_ALIVE, Backend
from headgate.proxy.tracking import request_arrives
from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.heads import CONNECTION, PROXY_CONNECTION, UPGRADE, Field, make_field
from headgate.wire.http1.heads import KEEP_ALIVE as KEEP_ALIVE_FIELD

_PLAIN_NAME: Final = re.compile(rb"[A-Za-z0-9-]+")
_CLOSE_FIELD: Final = make_field(b"connection", b"close")
_UPGRADE_FIELD: Final = make_field(b"connection", b"Upgrade")
_HOP_BY_HOP: Final = frozenset({CONNECTION, KEEP_ALIVE_FIELD, PROXY_CONNECTION})
# on the hot path, see `exchange`
_ACCEPT: Final = Kind.ACCEPT
_WAIT: Final = Kind.WAIT
_REPLY: Final = Kind.REPLY
_DENIED: Final = Outcome.DENIED
_LOCAL_REPLY: Final = Outcome.LOCAL_REPLY
_MONITOR_OK: Final = Reply(
    200,
    b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 58\r\n",
    b"<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n",
)


class HttpStream(RequestPath):
    """One request/response exchange of a client session."""

    __slots__ = ()

    # --- from the session ---

    @traceable
    def start(self, raw: bytes) -> None:
        """Begin with a valid head.

        Args:
            raw: the head as received, with the empty line.
        """
        side = self.side
        request = self.request
        if request is None:
            return
        self.raw = raw
        self._note_arrival()
        self.t_request = int((self.scheduler.now - self.owner.first_byte_at) * 1000.0)
        self.original_method = request.method
        self.original_target = request.target
        self.original_version = request.version
        self.request_complete = self.request_done
        if side.plain:
            self.choose_backend()
        elif side.buffer_request and not self.request_done:
            self._await_body()
        else:
            self.prepare()

    def _await_body(self) -> None:
        """`option http-buffer-request`: the body first. A client that waits for our word is given it (RFC 9110 10.1.1)."""
        self.phase = BUFFER_REQUEST
        self.expect_body()
        self.wait(self.side.t_http_request)

    def expect_body(self) -> None:
        """Tell a client that waits for our word to send its body (RFC 9110 10.1.1)."""
        request = self.request
        if request is not None and self.framing is not None and self.framing.expects_continue:
            self.framing.expects_continue = False
            request.remove(b"expect")
            self.send_client(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _note_arrival(self) -> None:
        owner = self.owner
        side = self.side
        shared = side.shared
        scheduler = self.scheduler
        shared.request_number += 1
        self.number = shared.request_number
        if owner.tracks is not None:
            request_arrives(owner)
        shared.counters.requests += 1
        counters = side.counters
        counters.requests += 1
        counters.request_rate.tick(scheduler.now)
        first = owner.first_byte_at
        self.started_at = scheduler.wall - (scheduler.now - first)
        self.t_handshake = owner.handshake_ms
        idle = int((first - owner.idle_from) * 1000.0)
        self.t_idle = idle if idle > 0 else 0

    def prepare(self) -> None:
        """Frontend rules, then the backend's, then a server."""
        side = self.side
        plan = side.plan
        self.phase = PREPARE
        if side.monitor_uri is not None and self.original_target == side.monitor_uri:
            self._monitor()
            return
        if side.capture_request is not None:
            side.capture_request(self)
        if plan.unique_id is not None:
            self.unique_id = plan.unique_id(self)
            if side.spec.logging.unique_id_header is not None and self.request is not None:
                self.request.add(side.spec.logging.unique_id_header.encode(), self.unique_id)
        if plan.tcp_request_content is not None and self._obey(self._content_verdict(plan.tcp_request_content)):
            return
        if side.http_request is not None and self._obey(side.http_request(self)):
            return
        self.choose_backend()

    def choose_backend(self) -> None:
        """use_backend and default_backend, then the backend's own rules."""
        side = self.side
        backend = side.choose_backend(self)
        if backend is None:
            self.fail(Outcome.NO_SERVER)
            return
        self.backend = backend
        link = self.link = side.shared.backends[backend.name]
        link.stream_started(self.scheduler.now)
        if link.plain:
            self.retries_left = link.retries if self.max_retries is None else self.max_retries
            framing = self.framing
            if not side.undressed or (framing is not None and framing.hop_by_hop):
                self._dress_request()
            self.queued_at = self.scheduler.now
            self.assign(None)
        elif link.buffer_request and not self.request_complete and not self.request_done:
            self._await_body()
        else:
            self._enter_backend(link)

    def _enter_backend(self, link: Backend) -> None:
        """The backend's rules, then a server."""
        side = self.side
        backend = link.plan
        self.retries_left = link.retries if self.max_retries is None else self.max_retries
        if link.spec is not side.spec:
            content = backend.tcp_request_content
            if content is not None and self._obey(self._content_verdict(content)):
                return
            if link.http_request is not None and self._obey(link.http_request(self)):
                return
        self._leave_rules(link)

    def _leave_rules(self, link: Backend) -> None:
        """All rules have passed: a server."""
        self._dress_request()
        if link.restrict_names is not None and self._names_refused(link.restrict_names):
            return
        self.queued_at = self.scheduler.now
        self.assign(None)

    def _content_verdict(self, rules: Rules) -> Verdict | None:
        """tcp-request content rules in HTTP mode: they look at a whole head, so there is nothing left to wait for.

        Rules that ask for more than is there are run again with what is missing counted as absent; were they skipped,
        a reject behind them would be skipped too.
        """
        verdict = rules(self)
        if verdict is not None and verdict.kind is _WAIT:
            complete = self.request_complete
            self.request_complete = True
            verdict = rules(self)
            self.request_complete = complete
        return verdict

    def _obey(self, verdict: Verdict | None) -> bool:
        """Carry out a verdict; True when it ended (or suspended) the exchange."""
        if verdict is None or verdict.kind is _ACCEPT or verdict.kind is _WAIT:
            return False
        kind = verdict.kind
        if kind is _REPLY and verdict.reply is not None:
            self.reply(verdict.reply, _DENIED if verdict.reply.denied else _LOCAL_REPLY)
        elif kind is Kind.SERVICE and verdict.service is not None:
            self._serve(verdict.service)
        elif kind is Kind.TARPIT:
            self.phase = TARPIT
            self.pending_verdict = verdict
            self.queued_at = self.scheduler.now
            self.owner.pause()
            self.wait(self.side.t_tarpit or 0.001)
        elif kind is Kind.RESOLVE:
            return self.suspend(verdict) or self._obey(self._rest_of(verdict))
        elif kind is Kind.HANDSHAKE:
            self.pending_verdict = verdict
            self.wait(self.client_patience)
        else:
            self.keep_client = False
            self.head_sent = True  # nothing is said
            self.finish(Outcome.DENIED, abort_client=True)
        return True

    def handshake_finished(self) -> None:
        """The client's TLS handshake is over: go on where rules waited for it."""
        verdict = self.pending_verdict
        if verdict is None or verdict.kind is not Kind.HANDSHAKE or self.phase == OVER:
            return
        self.pending_verdict = None
        self.go_on(verdict)

    def go_on(self, verdict: Verdict) -> None:
        """See `Resolving`."""
        if self._obey(self._rest_of(verdict)):
            return
        link = self.link
        if verdict.content:
            rules = self.side.http_request if link is None else link.http_request
            if rules is not None and self._obey(rules(self)):
                return
        if link is None:
            self.choose_backend()
        else:
            self._leave_rules(link)

    def _rest_of(self, verdict: Verdict) -> Verdict | None:
        """What the rules behind one that had to wait say."""
        rest = verdict.rest
        if rest is None:
            return None
        return self._content_verdict(rest) if verdict.content else rest(self)

    def _serve(self, service: Service) -> None:
        """Let a service answer."""
        services = self.side.shared.services
        if services is None:
            self.fail(Outcome.NO_RESOURCE)
            return
        self.server = service
        self.phase = SERVE
        self.service = ServiceRun(self, service, services)
        self.service.start()

    def _monitor(self) -> None:
        """`monitor-uri`: answered here, before any rule, and not logged at level info (4.2)."""
        plan = self.side.plan
        self.log_level = -1 if self.log_level is None else self.log_level
        if plan.monitor_fail is not None and plan.monitor_fail(self):
            self.fail(Outcome.LOCAL_REPLY, 503)
        else:
            self.reply(_MONITOR_OK, Outcome.LOCAL_REPLY)

    def _dress_request(self) -> None:
        """Connection handling and the headers that the proxy adds."""
        request = self.request
        framing = self.framing
        link = self.link
        side = self.side
        if request is None or framing is None or link is None:
            return
        if framing.hop_by_hop:
            upgrade = framing.upgrade
            request.fields = [
                field for field in request.fields if field.kind not in _HOP_BY_HOP and (upgrade or field.kind != UPGRADE)
            ]
            if upgrade:
                request.fields.append(_UPGRADE_FIELD)
            request.edited = True
        if side.forwardfor is not None:
            self._add_line(side.forwardfor(self))
        elif link.forwardfor is not None:
            self._add_line(link.forwardfor(self))
        originalto = side.plan.originalto or link.plan.originalto
        if originalto is not None:
            self._add_line(originalto(self))
        if (link.mode != KEEP_ALIVE or side.mode != KEEP_ALIVE) and not framing.upgrade and not link.pretend_keep_alive:
            request.fields.append(_CLOSE_FIELD)
            request.edited = True

    def _names_refused(self, policy: str) -> bool:
        """`option http-restrict-req-hdr-names` (4.2): what is not letters, digits and `-` in a name; True when it refused."""
        request = self.request
        if request is None:
            return False
        fields = [field for field in request.fields if _PLAIN_NAME.fullmatch(field.name) is not None]
        if len(fields) == len(request.fields):
            return False
        if policy == "reject":
            self.fail(Outcome.DENIED)
            return True
        request.fields = fields
        request.edited = True
        return False

    def _add_line(self, line: bytes | None) -> None:
        if line is not None and self.request is not None:
            name, _, value = line.partition(b": ")
            self.request.fields.append(Field(name.lower(), value, line, 0))
            self.request.edited = True

    # --- the request's body ---

    def request_body(self, data: bytes, *, last: bool) -> None:
        """Body bytes, as they came; `last` with the end of the body."""
        self.bytes_in += len(data)
        if last:
            self.request_done = True
        phase = self.phase
        connection = self.connection
        owner = self.owner
        if phase in (AWAIT_HEAD, TRANSFER) and connection is not None:
            replay = self.replay
            if replay is not None:
                self.replay = replay + data if len(replay) + len(data) <= self.side.shared.buffer else None
            channel = connection.channel
            channel.send(data)
            if last:
                self.wait(self.server_patience)
            elif channel.blocked:
                owner.pause()
                self.wait(self.server_patience)
            else:
                self.wait(self.client_patience)
        elif phase < AWAIT_HEAD:
            self.held += data
            if phase == BUFFER_REQUEST:
                self.request_buffer = self.held
                if last or len(self.held) >= self.side.shared.buffer:
                    self.request_complete = True
                    if not last:
                        owner.pause()
                    if self.link is None:
                        self.prepare()
                    else:
                        self.phase = PREPARE
                        self._enter_backend(self.link)
                return
            if not last:
                owner.pause()
        elif phase == SERVE and self.service is not None:
            self.service.body(data, last=last)
        # after an early response the rest of the body is dropped

    def request_violation(self, violation: ProtocolViolation) -> None:
        """The request's body is not valid. What the server has of it can't be completed: its connection goes."""
        if self.phase == OVER:
            return
        if self.head_sent:
            self.fail(Outcome.DATA_ABORTED_BY_CLIENT)
        else:
            self.fail(Outcome.REQUEST_INVALID, violation.status)

    def refuse(self, reason: str, status: int) -> None:
        """The head was not valid: tell the client, log, close."""
        self._note_arrival()
        self.fail(Outcome.REQUEST_INVALID, status)

    def unfinished_request(self, outcome: Outcome, *, silent: bool) -> None:
        """The client left or was too slow before its request was whole.

        Args:
            outcome: REQUEST_ABORTED or REQUEST_TIMEOUT.
            silent: not a byte came, and there is to be no log line for that.
        """
        self._note_arrival()
        if silent:
            self.log_level = -1
        if outcome is Outcome.REQUEST_ABORTED:
            self.client_gone = True
            self.status = outcome.status
        if not self.bytes_in:
            self.t_idle = -1
        self.fail(outcome)

    # --- what the client does meanwhile ---

    def client_eof(self, *, request_complete: bool) -> None:
        """The client will send no more."""
        phase = self.phase
        if phase == RELAY:
            self.tunnel_client_eof()
            return
        self.keep_client = False
        if not request_complete and phase != OVER:
            self.client_gone = phase < TRANSFER
            self._client_aborted()
            return
        link = self.link
        if phase == SERVE and self.service is not None:
            self.service.client_finished()
        elif phase in (TARPIT, AWAIT_SLOT, CONNECT, TURN_AROUND):
            if link is None or link.abort_on_close:
                self.client_gone = True
                self._client_aborted()
        elif phase in (AWAIT_HEAD, TRANSFER) and link is not None and link.abort_on_close:
            # Told to the server as it was told to us; the server decides (manual, "option abortonclose").
            self.keep_server = False
            self.tunnel_eofs |= 1
            if self.connection is not None:
                self.connection.channel.shutdown_write()

    def client_lost(self) -> None:
        """The client's connection broke."""
        self.client_gone = True
        self.keep_client = False
        if self.phase == RELAY:
            self.tunnel_over(Outcome.DATA_ABORTED_BY_CLIENT)
        else:
            self._client_aborted()

    def _client_aborted(self) -> None:
        if self.phase == SERVE and self.service is not None:
            self.service.client_left()
            return
        self.fail(_ABORTED.get(self.phase, Outcome.DATA_ABORTED_BY_CLIENT))

    def end_from_outside(self, outcome: Outcome) -> None:
        """End the exchange, whatever it is doing. A client that has no answer yet is told, as HAProxy does.

        Args:
            outcome: KILLED_BY_ADMIN, SERVER_WENT_DOWN or BACKUP_NOT_NEEDED.
        """
        self.fail(_ENDED.get((outcome, self.phase), outcome))

    # --- deadlines ---

    def timed_out(self) -> None:
        """The session's deadline passed during the exchange."""
        phase = self.phase
        if phase == CONNECT:
            if self.attempt is not None:
                self.attempt.timed_out()
            self.connect_failed(Lost.TIMEOUT)
        elif phase == TURN_AROUND:
            self._after_turn_around()
        elif phase == AWAIT_SLOT:
            self.fail(Outcome.QUEUE_TIMEOUT)
        elif phase == TARPIT:
            verdict = self.pending_verdict
            self.t_queue = int((self.scheduler.now - self.queued_at) * 1000.0)
            if verdict is not None and verdict.reply is not None:
                self.reply(verdict.reply, Outcome.TARPITTED)
        elif phase in (PREPARE, BUFFER_REQUEST):  # do-resolve, wait-for-handshake, option http-buffer-request
            unanswered = self.give_up_resolving()
            if unanswered is not None:
                self.go_on(unanswered)
            else:
                self.fail(Outcome.REQUEST_TIMEOUT)
        elif phase == AWAIT_HEAD:
            self._head_timed_out()
        elif phase == TRANSFER:
            blocked = self.owner.channel.blocked
            self.fail(Outcome.DATA_CLIENT_TIMEOUT if blocked else Outcome.DATA_SERVER_TIMEOUT)
        elif phase == RELAY:
            self.tunnel_over(Outcome.DATA_CLIENT_TIMEOUT)
        elif phase == FLUSH:
            self.fail(Outcome.LAST_DATA_TIMEOUT)
        elif phase == SERVE and self.service is not None:
            self.service.timed_out()

    def _head_timed_out(self) -> None:
        connection = self.connection
        if not self.request_done and (connection is None or not connection.channel.blocked):
            self.fail(Outcome.RESPONSE_CLIENT_TIMEOUT)
            return
        self.observe_failure("Read timeout (http)")
        link = self.link
        if link is not None and link.retry_timeout and self.retry_request():
            return
        self.fail(Outcome.RESPONSE_TIMEOUT)

    def log_early(self) -> None:
        """See `ResponsePath.log_early`."""
        self.t_total = int((self.scheduler.now - self.owner.first_byte_at) * 1000.0)
        self.side.write_log(self, failed=False)
        self.log_level = -1


#: How an end from outside is called before there is a response.
_ENDED: Final = {
    (Outcome.KILLED_BY_ADMIN, AWAIT_SLOT): Outcome.KILLED_IN_QUEUE,
    (Outcome.KILLED_BY_ADMIN, CONNECT): Outcome.KILLED_IN_CONNECT,
    (Outcome.KILLED_BY_ADMIN, TURN_AROUND): Outcome.KILLED_IN_CONNECT,
    (Outcome.KILLED_BY_ADMIN, AWAIT_HEAD): Outcome.KILLED_BEFORE_RESPONSE,
    (Outcome.SERVER_WENT_DOWN, AWAIT_HEAD): Outcome.SERVER_WENT_DOWN_BEFORE_RESPONSE,
    (Outcome.BACKUP_NOT_NEEDED, AWAIT_HEAD): Outcome.BACKUP_NOT_NEEDED_BEFORE_RESPONSE,
}

#: What a client that goes away ends, by phase.
_ABORTED: Final = {
    PREPARE: Outcome.REQUEST_ABORTED,
    BUFFER_REQUEST: Outcome.REQUEST_ABORTED,
    TARPIT: Outcome.TARPITTED,
    AWAIT_SLOT: Outcome.QUEUE_ABORTED,
    CONNECT: Outcome.CONNECT_ABORTED,
    TURN_AROUND: Outcome.CONNECT_ABORTED,
    AWAIT_HEAD: Outcome.RESPONSE_ABORTED_BY_CLIENT,
    TRANSFER: Outcome.DATA_ABORTED_BY_CLIENT,
    RELAY: Outcome.DATA_ABORTED_BY_CLIENT,
    FLUSH: Outcome.LAST_DATA_ABORTED,
}
