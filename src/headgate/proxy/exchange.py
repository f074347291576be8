"""One HTTP exchange: what its request half and its response half share. State, times, replies of our own, and the end.

An exchange is `HttpStream` (http_stream.py), built on `ResponsePath` (response.py), built on this. It acts on its client
through the session's channel and on its server through a `ServerConnection`; nothing here blocks or reads a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headgate.balance.server import ServerState
from headgate.base.compiled import traceable
from headgate.base.termination import Blame, Outcome
from headgate.plan.verdicts import Reply
from headgate.proxy.accounts import count_end, own_backend
from headgate.proxy.resolving import Resolving
from headgate.proxy.seeking import AWAIT_SLOT, PREPARE
from headgate.proxy.services import Cancellable, Lookups
from headgate.proxy.sides import CLOSE, KEEP_ALIVE, Backend, Frontend
from headgate.proxy.tracking import stream_ends
from headgate.wire.http1.chunked import ChunkedBody
from headgate.wire.http1.dechunk import Dechunker
from headgate.wire.http1.framing import Framing
from headgate.wire.http1.heads import RequestHead, parse_response_head

if TYPE_CHECKING:
    from headgate.proxy.http_session import HttpSession
    from headgate.proxy.server_connection import ServerConnection
    from headgate.proxy.service import ServiceRun

# Where an exchange stands, in the order of its life; 0, 3, 4 and 5 are those of `seeking`.
BUFFER_REQUEST: Final = 1  # option http-buffer-request: the body is awaited before any rule
TARPIT: Final = 2
AWAIT_HEAD: Final = 6  # request sent or being sent, no response yet
TRANSFER: Final = 7  # the response's body
FLUSH: Final = 8  # all is received, the client still has to take the rest
RELAY: Final = 9  # tunnel
OVER: Final = 10
SERVE: Final = 11  # a service of ours answers

# What was done about early data; both may be true.
TOLD: Final = 1  # the server is told that the request may be a replay
SENT: Final = 2  # the request, or its beginning, went with the ClientHello of its connection to the server

# on the hot path: a member of an enumeration is found through a descriptor
_COMPLETE: Final = Outcome.COMPLETE
_LOCAL_REPLY: Final = Outcome.LOCAL_REPLY
_NOBODY: Final = Blame.NOBODY
_PROXY: Final = Blame.PROXY


class Exchange(Resolving):
    """The shared half. See `plan.facts.Stream` for the facts, `Seeking` for the way to a server; what stands here is the machine.

    Attributes:
        side: the live frontend of the session, here because each step needs it.
        framing: of the request; None when there never was a valid one.
        connection: the server connection while the exchange has one.
        raw: the request head as received, for forwarding unedited.
        held: body bytes that wait for a connection.
        replay: head and body as sent, kept for retry-on; None when nothing is kept (any more).
        request_done, response_done: whole message received.
        keep_client, keep_server: whether the connections may be used again.
        head_sent: the client was sent a response head.
        ending: how the exchange ends once the client has taken the rest (FLUSH).
        service: what answers in place of a server (SERVE).
        early: what was done about early data (RFC 8470), `TOLD` and `SENT`; 0 for nothing.
    """

    __slots__ = (
        "client_gone", "connection", "dechunker", "early", "ending", "framing", "head_only", "head_sent", "held", "interim",
        "keep_client", "keep_server", "owner", "raw", "replay", "request_done", "response_at",
        "response_chunks", "response_done", "response_left", "service", "side", "stale_retry", "tunnel_eofs",
    )

    owner: HttpSession

    def __init__(self, owner: HttpSession, head: RequestHead | None, framing: Framing | None) -> None:
        Resolving.__init__(self, owner)
        self.owner = self.timed = owner
        side = self.side = owner.side
        self.scheduler = side.shared.scheduler
        self.request = head
        self.framing = framing
        self.link: Backend | None = None
        self.target_server: ServerState | None = None
        self.connection: ServerConnection | None = None
        self.attempt: Cancellable | None = None
        self.phase = PREPARE
        self.raw = b""
        self.held = b""
        self.replay: bytes | None = None
        self.request_done = framing is None or framing.length == 0
        self.response_done = False
        self.retries_left = 0
        self.keep_client = framing is not None and framing.persistent
        self.keep_server = False
        self.head_sent = False
        self.head_only = head is not None and head.method == b"HEAD"
        self.response_left = 0
        self.response_chunks: ChunkedBody | None = None
        self.pending_verdict = None
        self.service: ServiceRun | None = None
        self.ending = _COMPLETE
        self.dechunker: Dechunker | None = None
        self.interim = 0
        self.stale_retry = False
        self.early = 0
        self.client_gone = False
        self.tunnel_eofs = 0
        self.queued_at = 0.0
        self.attempt_at = 0.0
        self.connected_at = 0.0
        self.response_at = 0.0

    def lookups(self) -> Lookups | None:
        """See `Resolving`."""
        return self.side.shared.lookups

    # --- times ---

    @property
    def client_patience(self) -> float:
        """`timeout client`, or what set-timeout says; seconds."""
        override = self.client_timeout
        return self.side.t_client if override is None else override

    @property
    def server_patience(self) -> float:
        """`timeout server`, or what set-timeout says; seconds."""
        if self.server_timeout is not None:
            return self.server_timeout
        return self.link.t_server if self.link is not None else 0.0

    # --- replies of our own ---

    def reply(self, reply: Reply, outcome: Outcome) -> None:
        """Answer the client ourselves and end the exchange."""
        owner = self.owner
        channel = owner.channel
        self.status = reply.status
        self.drop_server()
        if reply.raw:
            self.keep_client = False
            channel.cork()
            self.send_client(reply.head)
        else:
            keep = self.keep_client = (
                self.keep_client
                and self.request_done
                and (outcome.blame is _NOBODY or outcome.blame is _PROXY)
                and self.side.mode != CLOSE
                and not (self.side.shared.stopping and self.side.shared.closes(self.session))
                and not self.client_gone
            )
            head = reply.head
            if self._after_response_rules():
                head = self._edit_reply(head)
            version = self.request.version if self.request is not None else 11
            if not keep:
                channel.cork()
                head += b"connection: close\r\n"
            elif version == 10:
                head += b"connection: keep-alive\r\n"
            self.send_client(head + b"\r\n" + (b"" if self.head_only else reply.body))
        self.head_sent = True
        self.termination = outcome.state
        if channel.blocked:
            self.phase = FLUSH
            self.ending = outcome
            self.wait(self.client_patience)
        else:
            self.finish(outcome)

    def fail(self, outcome: Outcome, status: int = 0) -> None:
        """End the exchange with an error: with an error page when the client can still be told, else by closing."""
        self._fail(outcome, status or outcome.status)

    @traceable
    def _fail(self, outcome: Outcome, status: int) -> None:
        if self.pending_verdict is not None:
            self.give_up_resolving()
            self.pending_verdict = None  # what was waited for may come while the client takes the error page
        self.keep_client = False
        self.keep_server = False
        if self.head_sent or not status or self.client_gone:
            self.drop_server()
            self.finish(outcome, abort_client=self.head_sent)
            return
        replies = self.link.error_replies if self.link is not None else self.side.plan.error_replies
        reply = replies.get(status)
        if reply is None:
            self.drop_server()
            self.finish(outcome)
        else:
            self.reply(reply, outcome)

    def _after_response_rules(self) -> bool:
        link = self.link
        return self.side.http_after_response is not None or (link is not None and link.http_after_response is not None)

    def run_after_response_rules(self) -> None:
        """http-after-response of the backend, then of the frontend."""
        side = self.owner.side
        link = self.link
        if link is not None and link.http_after_response is not None and link.spec is not side.spec:
            link.http_after_response(self)
        if side.http_after_response is not None:
            side.http_after_response(self)

    def _edit_reply(self, head: bytes) -> bytes:
        """Run http-after-response rules on a reply of our own (manual, "http-after-response": on all responses)."""
        self.response = parse_response_head(head[:-2])
        self.run_after_response_rules()
        self.status = self.response.status
        return self.response.encode()[:-2]

    @traceable
    def send_client(self, data: bytes) -> None:
        """Send to the client, counted."""
        self.bytes_out += len(data)
        self.owner.channel.send(data)

    # --- replies that are written piece by piece ---

    def begin_reply(self, status: int, head: bytes) -> None:
        """Send the head of a reply of our own whose body follows in pieces.

        Args:
            status: HTTP status.
            head: status line and fields, without those of framing and connection.
        """
        version = self.request.version if self.request is not None else 10
        keep = self.keep_client = (
            self.keep_client
            and self.request_done
            and version == 11
            and self.side.mode != CLOSE
            and not (self.side.shared.stopping and self.side.shared.closes(self.session))
            and not self.client_gone
        )
        self.status = status
        if self._after_response_rules():
            head = self._edit_reply(head)
        if version == 11:
            head += b"transfer-encoding: chunked\r\n"
        if not keep:
            head += b"connection: close\r\n"
        self.head_sent = True
        self.send_client(head + b"\r\n")

    def send_piece(self, data: bytes) -> None:
        """Send a piece of the body; not an empty one."""
        chunked = self.request is not None and self.request.version == 11
        self.send_client(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    def end_reply(self) -> None:
        """The body is complete."""
        if not self.head_only and self.request is not None and self.request.version == 11:
            self.send_client(b"0\r\n\r\n")
        self.response_done = True
        self.termination = _LOCAL_REPLY.state
        if self.owner.channel.blocked:
            self.phase = FLUSH
            self.ending = _LOCAL_REPLY
            self.wait(self.client_patience)
        else:
            self.finish(_LOCAL_REPLY)

    # --- letting go ---

    def drop_server(self) -> None:
        """Give up whatever there is towards a server: the queue place, the attempt, the connection, the slot."""
        if self.attempt is not None:
            self.attempt.cancel()
            self.attempt = None
        connection = self.connection
        if connection is not None:
            self.connection = None
            if self.response_done and self.request_done:
                connection.close()
            else:
                connection.abort()
        link = self.link
        if link is not None:
            if self.phase == AWAIT_SLOT:
                link.state.dequeue(self)
            elif self.target_server is not None:
                self.release_slot()

    def release_server(self) -> None:
        """The exchange with the server is complete: keep the connection for others, or close it; free the slot."""
        connection = self.connection
        if connection is not None:
            self.connection = None
            connection.stream = None
            if not self.keep_server or not self._keep(connection):
                connection.close()
        self.release_slot()

    def _keep(self, connection: ServerConnection) -> bool:
        """Put the connection where the next exchange finds it; False when it should be closed."""
        link = self.link
        if link is None or link.mode != KEEP_ALIVE or self.side.mode != KEEP_ALIVE or self.side.shared.stopping:
            return False
        if connection.channel.tls is not None and self.side.shared.tls.wanted():
            return False
        most = connection.server.spec.max_reuse
        if 0 <= most <= connection.reuses:
            return False
        if connection.paused:
            connection.paused = False
            connection.channel.resume()
        if link.reuse == "never" or connection.private:
            owner = self.owner
            if not self.keep_client or owner.kept is not None:
                return False
            owner.kept = connection
            return True
        return connection.pool.put(connection)

    # --- the end ---

    @traceable
    def finish(self, outcome: Outcome, *, abort_client: bool = False) -> None:
        """The exchange is over: count it, log it, tell the session."""
        if self.phase >= OVER:
            if self.phase == OVER:
                return
            if self.service is not None:
                self.service.stop()
        self.phase = OVER
        owner = self.owner
        side = self.side
        now = self.scheduler.now
        self.t_total = int((now - owner.first_byte_at) * 1000.0)
        if self.response_at:
            self.t_data = int((now - self.response_at) * 1000.0)
        status = self.status
        status_class = status // 100 if 100 <= status < 600 else 0
        self._count(side, status_class)
        if outcome is _COMPLETE:
            side.write_log(self, failed=status >= 500)
        else:
            self.termination = outcome.state
            server = self.server
            count_end(outcome, side, owner.counted, self.link, server if isinstance(server, ServerState) else None)
            side.write_log(self, failed=outcome.blame is not _NOBODY or status >= 500)
        if self.tracks is not None or owner.tracks is not None:
            stream_ends(self, outcome)
        if abort_client:
            owner.close(abort=outcome.blame is not Blame.SERVER)
        else:
            owner.exchange_done(keep=self.keep_client and self.request_done)

    def _count(self, side: Frontend, status_class: int) -> None:
        """Bytes, status and times, for frontend, listener, backend and server."""
        counters = side.counters
        counters.responses[status_class] += 1
        if self.request is None:
            return  # what could not be understood was nobody's request
        taken, given = self.bytes_in, self.bytes_out
        counters.bytes_in += taken
        counters.bytes_out += given
        listener = self.owner.counted
        if listener is not None:
            listener.bytes_in += taken
            listener.bytes_out += given
        link = self.link
        if link is None:
            link = own_backend(side)
            if link is None:
                return
        else:
            link.counters.responses[status_class] += 1
        below = link.counters
        below.bytes_in += taken
        below.bytes_out += given
        server = self.server
        if isinstance(server, ServerState):
            used = server.counters
            used.bytes_in += taken
            used.bytes_out += given
            if self.response_at:
                queued = self.t_queue
                used.note(queued if queued > 0 else 0, self.t_connect, self.t_response, self.t_total)
