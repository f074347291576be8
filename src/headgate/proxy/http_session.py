"""A client's HTTP/1 connection: reads requests one after the other and gives each to an `HttpStream`.

Owner of the client's channel. While a stream is under way, what the client sends is either the request's body or, behind it,
the next request (pipelining), which waits in a bounded buffer with reading paused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, cast

from headgate.balance.server import ServerState
from headgate.base.compiled import traceable
from headgate.base.diagnostics import Bug
from headgate.base.termination import Outcome
from headgate.proxy.client_session import ClientSession
from headgate.proxy.handshakes import handshake_unused, renegotiation_refused
from headgate.proxy.http_stream import HttpStream
from headgate.proxy.port import Channel, Lost
from headgate.proxy.sides import CLOSE, FOREVER, Frontend
from headgate.wire.errors import ProtocolViolation
from headgate.wire.http1.chunked import ChunkedBody
from headgate.wire.http1.framing import CHUNKED, request_framing
from headgate.wire.http1.heads import parse_request_head

if TYPE_CHECKING:
    from headgate.proxy.server_connection import ServerConnection
    from headgate.tls.handshake_record import HandshakeRecord

# What the session does with the client's bytes.
AWAIT_REQUEST: Final = 0
RECEIVE_BODY: Final = 1
AWAIT_RESPONSE: Final = 2
TUNNEL: Final = 3
CLOSED: Final = 4

_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
_METHOD_START: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?: |$)")
#: How many empty lines may come before a request (RFC 9112 2.2 asks for at least one).
_EMPTY_LINES: Final = 4


class HttpSession(ClientSession):
    """One client connection that speaks HTTP/1.

    Attributes:
        stream: the exchange under way, None between requests.
        state: one of the constants above.
        early: what the client sends may be a replay: its handshake is not over (RFC 8470).
        body_left: bytes of request body still to come, with Content-Length.
        chunks: the scanner of a chunked request body.
        paused: reading is stopped.
        kept: a server connection that belongs to this session (http-reuse never).
    """

    __slots__ = ("body_left", "buffer", "chunks", "early", "first_byte_at", "kept", "paused", "state", "stream")

    def __init__(self, side: Frontend) -> None:
        ClientSession.__init__(self, side)
        self.state = AWAIT_REQUEST
        self.paused = False
        self.stream: HttpStream | None = None
        self.buffer = b""
        self.first_byte_at = 0.0
        self.body_left = 0
        self.chunks: ChunkedBody | None = None
        self.kept: ServerConnection | None = None
        self.early = False

    def start(self, channel: Channel, handshake_ms: int, early: bytes = b"") -> None:
        """See `ClientSession.start`."""
        ClientSession.start(self, channel, handshake_ms)
        channel.owner = self
        shared = self.side.shared
        if self.tls is not None:
            self.early = self.tls.early
        self.first_byte_at = now = self.idle_from
        if self.side.t_http_request:
            shared.scheduler.arm(self, now + self.side.t_http_request)
        if shared.stopping:
            self.soft_stop()
        if early:
            self.data_received(early)

    def pause(self) -> None:
        """Stop reading from the client."""
        self.paused = True
        self.channel.pause()

    def resume(self) -> None:
        """Read from the client again."""
        self.paused = False
        self.channel.resume()

    # --- events of the client's channel ---

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state == AWAIT_REQUEST:
            self._request_bytes(data)
        elif state == RECEIVE_BODY:
            self.body_bytes(data)
        elif state == TUNNEL:
            self._stream().tunnel_from_client(data)
        elif state == AWAIT_RESPONSE:
            # The next request. One read's worth is kept; the rest stays with the kernel.
            self.buffer += data
            self.pause()

    def eof_received(self) -> None:
        state = self.state
        if state == AWAIT_REQUEST:
            self._closed_while_idle(Outcome.REQUEST_ABORTED)
        elif state != CLOSED:
            self._stream().client_eof(request_complete=state == AWAIT_RESPONSE)

    def connection_lost(self, reason: Lost) -> None:
        state = self.state
        if state == CLOSED:
            return
        record = cast("HandshakeRecord | None", self.handshake)
        refused = record is not None and renegotiation_refused(self.side, self, record, self.counted)
        if state != AWAIT_REQUEST:
            self._stream().client_lost()
        elif refused and not self.buffer:
            self.close()  # all is said
        else:
            self._closed_while_idle(Outcome.REQUEST_ABORTED)

    def drained(self) -> None:
        if self.stream is not None:
            self.stream.client_drained()

    def handshake_finished(self) -> None:
        """See `runtime.early_tls_channel.HandshakeWitness`."""
        self.early = False
        if self.stream is not None:
            self.stream.handshake_finished()

    def timed_out(self) -> None:
        """The one deadline has passed: whatever was waited for did not come."""
        if self.state == AWAIT_REQUEST:
            if self.buffer or (not self.streams and not self.side.shared.stopping):
                self._closed_while_idle(Outcome.REQUEST_TIMEOUT)
            else:
                self.close()  # the keep-alive timeout: nothing was asked, nothing is said
        elif self.stream is not None:
            self.stream.timed_out()

    # --- requests ---

    def _request_bytes(self, data: bytes) -> None:
        now = self.side.shared.scheduler.now
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        else:
            self.first_byte_at = now
        end = data.find(b"\r\n\r\n")
        if end <= 0 or data[0] == 13:
            data = self._incomplete(data)
            end = data.find(b"\r\n\r\n")
            if end <= 0:
                return
        shared = self.side.shared
        if end > shared.head_limit:
            self._refuse("request head larger than tune.bufsize less tune.maxrewrite", 400, data)
            return
        try:
            head = parse_request_head(data[:end], shared.max_fields)
            framing = request_framing(head)
        except ProtocolViolation as violation:
            self._refuse(violation.reason, violation.status, data)
            return
        end += 4
        stream = self.stream = HttpStream(self, head, framing)
        length = framing.length
        if length == 0:
            if len(data) == end:
                raw, body = data, b""
            else:
                raw, body = data[:end], b""
                self.buffer = data[end:]
                self.pause()
            self.state = AWAIT_RESPONSE
        else:
            raw, body = data[:end], data[end:]
            self.state = RECEIVE_BODY
            if length == CHUNKED:
                self.chunks = ChunkedBody()
            else:
                self.body_left = length
        stream.bytes_in = end
        self.streams += 1
        stream.start(raw)
        if body and self.state == RECEIVE_BODY:
            self.body_bytes(body)

    def _incomplete(self, data: bytes) -> bytes:
        """A head that is not whole yet, or begins with empty lines. Keeps it, unless it can already be refused."""
        skipped = 0
        while data[:2] == b"\r\n" and skipped < _EMPTY_LINES:
            data = data[2:]
            skipped += 1
        if data.find(b"\r\n\r\n") > 0:
            return data
        limit = self.side.shared.head_limit
        if len(data) > limit:
            self._refuse("request head larger than tune.bufsize less tune.maxrewrite", 400, data)
        elif data and (_BARE.search(data[:-1] if data[-1:] == b"\r" else data) is not None):
            self._refuse("bare CR, LF or NUL in the request head", 400, data)
        elif data and _METHOD_START.match(data) is None:
            self._refuse("not an HTTP request", 400, data)
        else:
            self.buffer = data
            if (self.streams or self.side.shared.stopping) and self.side.t_http_request:
                # From the first byte on the keep-alive timeout no longer applies (manual, "timeout http-request").
                deadline = self.first_byte_at + self.side.t_http_request
                self.side.shared.scheduler.arm(self, deadline)
            elif self.side.shared.stopping:
                self.deadline = 0.0  # it is not idle any more
        return b""

    def body_bytes(self, data: bytes) -> None:
        """Bytes of the request's body, and perhaps what comes behind it."""
        stream = self._stream()
        chunks = self.chunks
        if chunks is None:
            size = len(data)
            left = self.body_left
            if size < left:
                self.body_left = left - size
                stream.request_body(data, last=False)
                return
            rest = data[left:]
            data = data[:left]
            self.body_left = 0
        else:
            try:
                end = chunks.feed(data)
            except ProtocolViolation as violation:
                self.side.shared.invalid.request(stream, self.side, stream.link, data, violation.reason, violation.offset)
                stream.request_violation(violation)
                return
            if not chunks.done:
                stream.request_body(data, last=False)
                return
            rest = data[end:]
            data = data[:end]
            self.chunks = None
        self.state = AWAIT_RESPONSE
        if rest:
            self.buffer = rest
            self.pause()
        stream.request_body(data, last=True)

    def _stream(self) -> HttpStream:
        if self.stream is None:
            raise Bug("a client session without a stream left AwaitRequest")
        return self.stream

    # --- the end of an exchange, and of the session ---

    def exchange_done(self, *, keep: bool) -> None:
        """The stream is over and logged. Wait for the next request, or close."""
        self.stream = None
        shared = self.side.shared
        if not keep or self.side.mode == CLOSE or (shared.stopping and shared.closes(self)):
            self.close(linger=self.state == RECEIVE_BODY)
            return
        scheduler = shared.scheduler
        self.state = AWAIT_REQUEST
        self.idle_from = scheduler.now
        self.handshake_ms = 0
        if self.side.t_http_keep_alive:
            scheduler.arm(self, scheduler.now + self.side.t_http_keep_alive)
        else:
            self.deadline = 0.0
        if shared.stopping:
            self.soft_stop()
        if self.buffer:
            # Not from inside: a million pipelined requests must not become a million stack frames.
            scheduler.later(self._next_pipelined)
        elif self.paused:
            self.resume()

    def _next_pipelined(self) -> None:
        if self.state != AWAIT_REQUEST:
            return
        data, self.buffer = self.buffer, b""
        self.resume()
        self._request_bytes(data)

    @traceable
    def _refuse(self, reason: str, status: int, data: bytes) -> None:
        """Answer an invalid request, log it, keep it for `show errors`, close."""
        stream = self.stream = HttpStream(self, None, None)
        self.streams += 1
        self.buffer = b""
        self.state = RECEIVE_BODY  # nothing of what follows can be trusted: it is drained at the close
        stream.refuse(reason, status)
        self.side.shared.invalid.request(stream, self.side, None, data, reason)

    def _closed_while_idle(self, outcome: Outcome) -> None:
        """The client left, or took too long, before a whole request was there."""
        side = self.side
        partial = bool(self.buffer)
        record = self.handshake
        probe = record is not None and not partial and not self.streams and outcome is Outcome.REQUEST_ABORTED
        if probe and handshake_unused(side, self, cast("HandshakeRecord", record), self.counted):
            self.close()
            return
        if not partial and (self.streams or side.ignore_probes):
            self.close()
            return
        stream = self.stream = HttpStream(self, None, None)
        stream.bytes_in = len(self.buffer)
        self.streams += 1
        self.state = AWAIT_RESPONSE
        stream.unfinished_request(outcome, silent=probe or (not partial and side.dont_log_null))

    def enter_tunnel(self) -> bytes:
        """Both ends agreed on another protocol: from now on bytes are relayed. Answers what the client has sent already."""
        self.state = TUNNEL
        rest, self.buffer = self.buffer, b""
        self.resume()
        return rest

    def close(self, *, linger: bool = False, abort: bool = False) -> None:
        """Close the client's connection and forget the session.

        Args:
            linger: the client may still be sending: read and drop for a moment, so that a reset does not destroy our answer.
            abort: close with a reset.
        """
        if self.state == CLOSED:
            return
        self.state = CLOSED
        side = self.side
        side.shared.scheduler.retire(self)
        self.buffer = b""
        kept = self.kept
        if kept is not None:
            self.kept = None
            kept.close()
        if abort:
            self.channel.abort()
        elif linger:
            self.channel.linger()
        else:
            self.channel.close()
        side.session_over(self)

    def end_stream_on(self, servers: Collection[ServerState], outcome: Outcome) -> None:
        """See `proxy.client_session.ClientSession`."""
        stream = self.stream
        if stream is not None and stream.target_server in servers:
            stream.end_from_outside(outcome)

    def end_stream(self, outcome: Outcome) -> None:
        """See `proxy.client_session.ClientSession`."""
        if self.stream is not None:
            self.stream.end_from_outside(outcome)

    def soft_stop(self) -> None:
        """When idle, close after a short time without a request (but not with `option idle-close-on-response`); otherwise after
        the response of the exchange that is under way, or of the next one."""
        if self.state != AWAIT_REQUEST or self.buffer or self.side.spec.options.idle_close_on_response:
            return
        if not hasattr(self, "channel"):
            return  # the handshake is under way: `start` comes back here
        shared = self.side.shared
        idle_time = shared.idle_time(self)
        end = shared.scheduler.now + idle_time
        if idle_time != FOREVER and (not self.deadline or end < self.deadline):
            shared.scheduler.arm(self, end)
