"""The response half of an exchange: from the server's first byte to the last one that the client takes.

Bodies are forwarded as they come; nothing is copied or re-chunked but for HTTP/1.0 clients, which do not know chunks.
Back-pressure: while the client's channel is blocked the server is not read.
"""

from __future__ import annotations

from typing import Final

from headgate.base.compiled import traceable
from headgate.base.termination import Outcome
from headgate.observe.counters import ServerCounters
from headgate.plan.fetches.http_fields import values_of
from headgate.plan.verdicts import Kind, Verdict
from headgate.proxy.exchange import _COMPLETE, AWAIT_HEAD, FLUSH, OVER, RELAY, SERVE, TRANSFER, Exchange
from headgate.proxy.port import Lost
from headgate.proxy.sides import CLOSE, KEEP_ALIVE
from headgate.proxy.tracking import server_answers
from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.chunked import ChunkedBody
from headgate.wire.http1.dechunk import Dechunker
from headgate.wire.http1.framing import CHUNKED, UNTIL_CLOSE, Framing, response_framing
from headgate.wire.http1.heads import (
    CONNECTION,
    PROXY_CONNECTION,
    TRANSFER_ENCODING,
    ResponseHead,
    make_field,
    parse_response_head,
)
from headgate.wire.http1.heads import KEEP_ALIVE as KEEP_ALIVE_FIELD

_CLOSE_FIELD: Final = make_field(b"connection", b"close")
_KEEP_FIELD: Final = make_field(b"connection", b"keep-alive")
_HOP_BY_HOP: Final = frozenset({CONNECTION, KEEP_ALIVE_FIELD, PROXY_CONNECTION})
_FRAMING_TOO: Final = _HOP_BY_HOP | {TRANSFER_ENCODING}
#: Interim responses that one request may get before the final one.
_INTERIM_MOST: Final = 16


#: Schemes that authenticate the connection, not the request (manual, "http-reuse"), and where they are offered.
_CONNECTION_BOUND: Final = (b"ntlm", b"negotiate")
_CHALLENGES: Final = {401: b"www-authenticate", 407: b"proxy-authenticate"}


def _binds_connection(head: ResponseHead, status: int) -> bool:
    """Whether the server begins to authenticate the connection as a whole: in any of its challenges (RFC 9110 section 11.6.1)."""
    return any(challenge.lower().startswith(_CONNECTION_BOUND) for challenge in values_of(head.fields, _CHALLENGES[status]))


class ResponsePath(Exchange):
    """See the module."""

    __slots__ = ()

    # --- events of the server's channel ---

    def from_server(self, data: bytes) -> None:
        """Bytes of the response."""
        phase = self.phase
        if phase == AWAIT_HEAD:
            self.head_bytes(data)
        elif phase == TRANSFER:
            self._body_bytes(data)
        elif phase == RELAY:
            self.tunnel_from_server(data)
        # in FLUSH and OVER the connection no longer belongs to us

    def server_eof(self) -> None:
        """The server will send no more."""
        phase = self.phase
        if phase == RELAY:
            self.tunnel_server_eof()
        elif phase == TRANSFER and self.response_left == UNTIL_CLOSE and self.response_chunks is None:
            self.keep_server = False
            self._response_complete()
        else:
            self._server_gone(Lost.RESET)

    def server_lost(self, reason: Lost) -> None:
        """The server's connection broke."""
        if self.phase == RELAY:
            self.tunnel_over(Outcome.DATA_ABORTED_BY_SERVER)
        else:
            self._server_gone(reason)

    def server_drained(self) -> None:
        """The server took what was waiting: more of the request may come."""
        if self.phase == RELAY:
            self.owner.resume()
        elif not self.request_done:
            self.owner.resume()
            self.wait(self.client_patience)

    def client_drained(self) -> None:
        """The client took what was waiting."""
        phase = self.phase
        if phase == FLUSH:
            self.finish(self.ending)
        elif phase == SERVE and self.service is not None:
            self.service.drained()
        elif phase in (TRANSFER, RELAY) and self.connection is not None:
            self.connection.resume()
            self.wait(self.server_patience if phase == TRANSFER else self.tunnel_patience)

    # --- the head ---

    def head_bytes(self, data: bytes) -> None:
        """Bytes of the server while the response's head is awaited."""
        if self.response_buffer:
            data = self.response_buffer + data
            self.response_buffer = b""
        shared = self.side.shared
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > shared.head_limit or data[:5] != b"HTTP/"[: len(data)]:
                    self._bad_response("response head too large" if data[:5] == b"HTTP/" else "not an HTTP response", data)
                else:
                    self.response_buffer = data
                return
            request = self.request
            if end > shared.head_limit or request is None:
                self._bad_response("response head too large", data)
                return
            try:
                head = parse_response_head(data[:end], shared.max_fields)
                framing = response_framing(head, request.method)
            except ProtocolViolation as violation:
                self._bad_response(violation.reason, data)
                return
            if head.status >= 200:
                self._final_head(head, framing, data, end + 4)
                return
            if head.status == 101:
                self._switch_protocols(head, data, end + 4)
                return
            self.interim += 1
            if self.connection is not None:
                counters = self.connection.server.counters
                counters.requests += 1
                counters.responses[1] += 1
            if self.interim > _INTERIM_MOST:
                self._bad_response("too many interim responses", data[: end + 4])
                return
            # RFC 9110 15.2: not for HTTP/1.0 clients
            if request.version == 11:
                self.send_client(data[: end + 4])
            data = data[end + 4 :]
            if not data:
                return

    @traceable
    def _final_head(self, head: ResponseHead, framing: Framing, data: bytes, body_at: int) -> None:
        link = self.link
        side = self.side
        request = self.request
        if link is None or request is None or self.connection is None:
            return
        status = head.status
        server = self.connection.server
        if server.observer is not None:
            server.observer.answered(status)
        if status in link.retry_statuses and self.retry_status(status):
            return
        self._note_answer(head, status, server.counters)
        if (side.rules_response or link.rules_response) and self._response_rules():
            return
        if request.method == b"CONNECT" and self._connect_answered(head, data[body_at:]):
            return
        length = framing.length
        dechunk = length == CHUNKED and request.version == 10
        lasting = self.request_done and length != UNTIL_CLOSE
        self.keep_server = lasting and framing.persistent and link.mode == KEEP_ALIVE and side.mode == KEEP_ALIVE
        keep = self.keep_client = (
            lasting
            and self.keep_client
            and not dechunk
            and not self.client_gone
            and side.mode != CLOSE
            and link.mode != CLOSE
            and not (side.shared.stopping and side.shared.closes(self.session))
        )
        if side.http_after_response is not None or link.http_after_response is not None:
            self.run_after_response_rules()
            self.status = head.status
        if self.head_only or status == 304 or status == 204:
            length = 0
        if framing.hop_by_hop or dechunk or not keep or request.version == 10:
            _dress(head, framing, keep=keep, version=request.version, dechunk=dechunk)
        self.head_sent = True
        self.phase = TRANSFER
        if side.log_as_soon_as_possible:
            self._log_with_head(head)
        size = len(data) - body_at
        if size == length:
            # The whole response in one read: what most are.
            if not keep:
                self.owner.channel.cork()
            self.send_client(head.encode() + data[body_at:] if head.edited else data)
            self._response_complete()
        else:
            self._first_bytes(head, length, data, body_at, dechunk)

    def _note_answer(self, head: ResponseHead, status: int, counters: ServerCounters) -> None:
        """Count a final response, and keep what is said of it: log line, samples and rules ask for it."""
        counters.requests += 1
        counters.responses[status // 100 if status < 600 else 0] += 1
        self.response = head
        self.status = status
        if status in _CHALLENGES and self.connection is not None and _binds_connection(head, status):
            self.connection.private = True
        now = self.scheduler.now
        self.response_at = now
        self.t_response = int((now - self.connected_at) * 1000.0)
        self.replay = None
        if status >= 400 and (self.tracks is not None or self.owner.tracks is not None):
            server_answers(self, status)

    def _connect_answered(self, head: ResponseHead, rest: bytes) -> bool:
        """What CONNECT was answered with; True when there is a tunnel now."""
        if 200 <= head.status < 300:
            self._open_tunnel(head)
            self.tunnel_from_server(rest)
            return True
        # What the client sent behind it was meant for the tunnel, not as a request to us (RFC 9110 9.3.6).
        self.keep_client = False
        return False

    def _log_with_head(self, head: ResponseHead) -> None:
        """`option logasap`: the line says what goes out with it, the head (8.3.2)."""
        head_size = len(head.encode())
        self.bytes_out += head_size
        self.log_early()
        self.bytes_out -= head_size

    def _first_bytes(self, head: ResponseHead, length: int, data: bytes, body_at: int, dechunk: bool) -> None:
        """Send the head with as much of the body as came with it, in one go."""
        size = len(data) - body_at
        if length >= 0:
            if size > length:
                # More than it announced: the rest can't be the answer to anything (response splitting).
                self.keep_server = False
                data = data[: body_at + length]
                size = length
            self.response_left = length - size
            self.send_client(head.encode() + data[body_at:] if head.edited else data)
            if size == length:
                self._response_complete()
                return
        elif length == CHUNKED:
            self.response_chunks = ChunkedBody(502)
            self.response_left = 0
            self.send_client(head.encode() if head.edited else data[:body_at])
            if dechunk:
                self.dechunker = Dechunker()
            if size:
                self._body_bytes(data[body_at:])
            else:
                self._progress()
            return
        else:
            self.response_left = UNTIL_CLOSE
            self.send_client(head.encode() + data[body_at:] if head.edited else data)
        self._progress()

    def _response_rules(self) -> bool:
        """Cookie, captures, http-response of the backend, then of the frontend; True when a verdict ended the exchange."""
        side = self.side
        link = self.link
        if link is not None and link.persistence is not None:
            link.persistence.write_response(self, self.scheduler.wall)
        if link is not None and link.state.sticking is not None:
            link.state.sticking.store(self, response=True)
        if side.capture_response is not None:
            side.capture_response(self)
        verdict: Verdict | None = None
        if link is not None and link.http_response is not None and link.spec is not side.spec:
            verdict = link.http_response(self)
        if (verdict is None or verdict.kind is Kind.ACCEPT) and side.http_response is not None:
            verdict = side.http_response(self)
        if self.response is not None:
            self.status = self.response.status
        if verdict is None or verdict.kind is Kind.ACCEPT:
            return False
        self.keep_server = False
        if verdict.kind is Kind.REPLY and verdict.reply is not None:
            self.response = None
            self.reply(verdict.reply, Outcome.RESPONSE_DENIED if verdict.reply.denied else Outcome.LOCAL_REPLY)
        else:
            self.fail(Outcome.RESPONSE_DENIED)
        return True

    # --- the body ---

    def _body_bytes(self, data: bytes) -> None:
        chunks = self.response_chunks
        if chunks is None:
            left = self.response_left
            if left >= 0:
                if len(data) > left:
                    self.keep_server = False
                    data = data[:left]
                self.response_left = left = left - len(data)
            self.send_client(data)
            if left == 0:
                self._response_complete()
            else:
                self._progress()
            return
        try:
            end = chunks.feed(data)
        except ProtocolViolation as violation:
            if self.link is not None:
                self.side.shared.invalid.response(self, self.side, self.link, data, violation.reason, max(violation.offset, 0))
            self.fail(Outcome.DATA_INVALID)
            return
        if end < len(data):
            self.keep_server = False
            data = data[:end]
        if self.dechunker is not None:
            data = self.dechunker.feed(data)
        if data:
            self.send_client(data)
        if chunks.done:
            self._response_complete()
        else:
            self._progress()

    def _progress(self) -> None:
        """Some of the response went through: whom do we wait for now?"""
        connection = self.connection
        if self.owner.channel.blocked:
            if connection is not None:
                connection.pause()
            self.wait(self.client_patience)
        else:
            self.wait(self.server_patience)

    def _response_complete(self) -> None:
        """The last byte of the response is with the client's channel."""
        self.response_done = True
        self.response_buffer = b""
        if not self.request_done:
            # An early answer: the rest of the request is not wanted any more (RFC 9112 9.5).
            self.keep_client = False
            self.keep_server = False
        self.release_server()
        if self.owner.channel.blocked:
            self.phase = FLUSH
            self.wait(self.client_patience)
        else:
            self.finish(_COMPLETE)

    # --- what can go wrong ---

    def observe_failure(self, what: str) -> None:
        """Tell who watches the server that there was no valid response (5.2 observe)."""
        server = self.target_server
        if server is not None and server.observer is not None:
            server.observer.broken(what)

    @traceable
    def _bad_response(self, reason: str, data: bytes) -> None:
        self.observe_failure("Invalid http response")
        link = self.link
        if link is not None:
            self.side.shared.invalid.response(self, self.side, link, data, reason)
        if link is not None and link.retry_junk and self.retry_request():
            return
        self.keep_server = False
        self.fail(Outcome.RESPONSE_INVALID)

    def _server_gone(self, reason: Lost) -> None:
        """The server closed or broke before the response was complete."""
        phase = self.phase
        if phase == OVER or phase == FLUSH:
            return
        self.keep_server = False
        link = self.link
        connection = self.connection
        if phase == AWAIT_HEAD:
            stale = connection is not None and connection.reuses > 0 and not self.response_buffer
            if stale and self.retry_stale():
                return
            if not self.tunnel_eofs:
                self.observe_failure("Close from server (http)" if reason is Lost.RESET else "Read error (http)")
            event = link is not None and (link.retry_junk if self.response_buffer else link.retry_empty)
            if event and self.retry_request():
                return
            if self.tunnel_eofs:
                # It was told that the client had closed, and made an end too: the client's doing.
                self.fail(Outcome.RESPONSE_ABORTED_BY_CLIENT, 400)
            elif stale and self.owner.streams > 1:
                # As a server does between two requests: the client may repeat this one (manual, "http-reuse").
                self._fail(Outcome.RESPONSE_EMPTY, 0)
            else:
                self.fail(Outcome.RESPONSE_EMPTY)
        elif phase == TRANSFER:
            self.fail(Outcome.DATA_ABORTED_BY_SERVER)

    # --- other protocols ---

    def _switch_protocols(self, head: ResponseHead, data: bytes, rest_at: int) -> None:
        """101: the connection changes hands, if the client asked for it."""
        framing = self.framing
        if framing is None or not framing.upgrade:
            self._bad_response("101 without a request to upgrade", data[:rest_at])
            return
        if self.connection is not None:
            counters = self.connection.server.counters
            counters.requests += 1
            counters.responses[1] += 1
        self.response = head
        self.status = 101
        link = self.link
        ruled = self.side.http_response is not None or (link is not None and link.http_response is not None)
        if ruled and self._response_rules():
            return
        self._open_tunnel(head)
        if len(data) > rest_at:
            self.tunnel_from_server(data[rest_at:])

    def _open_tunnel(self, head: ResponseHead) -> None:
        owner = self.owner
        now = self.scheduler.now
        self.response_at = now
        self.t_response = int((now - self.connected_at) * 1000.0)
        if self._after_response_rules():
            self.run_after_response_rules()
        self.head_sent = True
        self.phase = RELAY
        self.keep_client = False
        self.keep_server = False
        self.request_done = True
        self.replay = None
        self.send_client(head.encode())
        if self.side.log_as_soon_as_possible:
            self.log_early()
        self.wait(self.tunnel_patience)
        rest = owner.enter_tunnel()
        if rest:
            self.tunnel_from_client(rest)

    @property
    def tunnel_patience(self) -> float:
        """`timeout tunnel`, else the server's; client-fin and server-fin once one half is shut; seconds."""
        if self.tunnel_eofs:
            fin = self._fin_patience()
            if fin:
                return fin
        if self.tunnel_timeout is not None:
            return self.tunnel_timeout
        link = self.link
        return (link.t_tunnel if link is not None else 0.0) or self.server_patience

    def _fin_patience(self) -> float:
        if self.tunnel_eofs & 1:
            return self.side.t_client_fin
        return self.link.t_server_fin if self.link is not None else 0.0

    def tunnel_from_client(self, data: bytes) -> None:
        """Bytes of the client in a tunnel."""
        connection = self.connection
        if connection is None:
            return
        self.bytes_in += len(data)
        connection.channel.send(data)
        if connection.channel.blocked:
            self.owner.pause()
        self.wait(self.tunnel_patience)

    def tunnel_from_server(self, data: bytes) -> None:
        """Bytes of the server in a tunnel."""
        if not data:
            return
        self.send_client(data)
        connection = self.connection
        if connection is not None and self.owner.channel.blocked:
            connection.pause()
        self.wait(self.tunnel_patience)

    def tunnel_client_eof(self) -> None:
        """The client shut its half: so do we towards the server."""
        self.tunnel_eofs |= 1
        if self.connection is not None:
            self.connection.channel.shutdown_write()
        if self.tunnel_eofs == 3:
            self.tunnel_over(Outcome.COMPLETE)
        else:
            self.wait(self.tunnel_patience)

    def tunnel_server_eof(self) -> None:
        """The server shut its half."""
        self.tunnel_eofs |= 2
        self.owner.channel.shutdown_write()
        if self.tunnel_eofs == 3:
            self.tunnel_over(Outcome.COMPLETE)
        else:
            self.wait(self.tunnel_patience)

    def tunnel_over(self, outcome: Outcome) -> None:
        """Both halves are shut, or one side broke."""
        self.response_done = outcome is Outcome.COMPLETE
        self.drop_server()
        self.finish(outcome, abort_client=outcome is not Outcome.COMPLETE)

    # --- what the request half offers ---

    def retry_request(self) -> bool:
        """Send the kept request once more, perhaps to another server; False when that is not possible."""
        raise NotImplementedError

    def retry_status(self, status: int) -> bool:
        """As `retry_request`, because of an answer that `retry-on` is about."""
        raise NotImplementedError

    def retry_stale(self) -> bool:
        """The idle connection that we took was closed meanwhile: try another, once."""
        raise NotImplementedError

    def log_early(self) -> None:
        """option logasap: the line goes out before the data does."""
        raise NotImplementedError


def _dress(head: ResponseHead, framing: Framing, *, keep: bool, version: int, dechunk: bool) -> None:
    """Connection handling of a response head: what is between us and the server goes, what the client must know comes."""
    if framing.hop_by_hop or dechunk:
        dropped = _FRAMING_TOO if dechunk else _HOP_BY_HOP
        head.fields = [field for field in head.fields if field.kind not in dropped]
        head.edited = True
    if not keep:
        head.append(_CLOSE_FIELD)
    elif version == 10:
        head.append(_KEEP_FIELD)
