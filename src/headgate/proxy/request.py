"""The way of a request to its server: an idle connection or a new one, sending, retrying. Early data is in `early_request`."""

from __future__ import annotations

from headgate.balance.server import ServerState
from headgate.base.termination import Outcome
from headgate.plan.verdicts import Reply
from headgate.proxy.early_request import IDEMPOTENT, EarlyRequestPath
from headgate.proxy.exchange import AWAIT_HEAD, SENT
from headgate.proxy.port import Channel, Lost
from headgate.proxy.seeking import CONNECT, PREPARE, last_failure, observe_failure
from headgate.proxy.server_connection import ServerConnection
from headgate.proxy.sides import TOO_EARLY


class RequestPath(EarlyRequestPath):
    """See the module."""

    __slots__ = ()

    # --- a connection ---

    def _use(self, server: ServerState) -> None:
        link = self.link
        if link is None:
            return
        self._chosen(server)
        if server.spec.redir is not None and self.original_method in (b"GET", b"HEAD"):
            location = server.spec.redir.encode() + self.original_target
            head = b"HTTP/1.1 302 Found\r\ncache-control: no-cache\r\ncontent-length: 0\r\nlocation: " + location + b"\r\n"
            self.reply(Reply(302, head, b""), Outcome.LOCAL_REPLY)
            return
        if link.send_name is not None and self.request is not None:
            self.request.set(link.send_name, server.name.encode())
        connection = self._idle_connection(server)
        if connection is not None:
            link.counters.reused_connections += 1
            server.counters.reused_connections += 1
            server.counters.session_rate.tick(self.scheduler.now)
            self.t_connect = 0
            connection.reuses += 1
            self.source_address, self.source_port, self.server_address, self.server_port = connection.ends
            self._attach(connection)
        else:
            self._connect(server)

    def _idle_connection(self, server: ServerState) -> ServerConnection | None:
        """An idle connection that this request may use (manual, "http-reuse")."""
        owner = self.owner
        link = self.link
        kept = owner.kept
        if kept is not None:
            owner.kept = None
            if not kept.gone and kept.server is server and kept.key == kept.pool.identity.of(self, owner):
                return kept
            kept.close()
        if link is None or link.reuse == "never":
            return None
        pool = link.pools[server.name]
        if not pool.idle:
            return None
        first = owner.streams <= 1
        if first and link.reuse == "safe":
            return None  # its client could not repeat it unasked
        identity = pool.identity
        key = identity.of(self, owner) if identity.matters else None
        return pool.take(key, proven=first and link.reuse == "aggressive")

    def _connect(self, server: ServerState) -> None:
        link = self.link
        if link is None:
            return
        shared = self.side.shared
        self.phase = CONNECT
        self.attempt_at = shared.scheduler.now
        server.counters.connections += 1
        server.counters.session_rate.tick(self.attempt_at)
        link.counters.connections += 1
        self.wait(link.t_connect)
        self.attempt = shared.connector.connect(server, self, self)

    def connected(self, channel: Channel) -> None:
        """The new connection is ready."""
        server = self.target_server
        link = self.link
        self.attempt = None
        if server is None or link is None:
            channel.close()
            return
        self.t_connect = int((self.scheduler.now - self.attempt_at) * 1000.0)
        if server.observer is not None:
            server.observer.connected(True)
        if channel.tls is not None:
            self.side.shared.server_handshake(channel.tls)
        pool = link.pools[server.name]
        connection = ServerConnection(channel, server, pool, pool.identity.of(self, self.owner))
        connection.ends = (self.source_address, self.source_port, self.server_address, self.server_port)
        self._attach(connection)

    def connect_failed(self, reason: Lost) -> None:
        """The attempt failed: try again, here or elsewhere, or give up."""
        self.attempt = None
        server = self.target_server
        link = self.link
        if server is None or link is None:
            return
        observe_failure(server, reason)
        repeatable = link.retry_failure
        if self.early & SENT:
            repeatable = self._repeatable_early(link, reason)
            self.early &= ~SENT
        if not repeatable or self.retries_left <= 0:
            self.release_slot()
            self.fail(last_failure(reason))
            return
        self._try_again(server, immediately=reason is Lost.TIMEOUT)

    def _attach(self, connection: ServerConnection) -> None:
        """Send the request."""
        request = self.request
        link = self.link
        owner = self.owner
        if request is None or link is None:
            return
        self.connection = connection
        connection.stream = self
        self.server_tls = connection.channel.tls
        self.server_error = 0
        self.connected_at = self.scheduler.now
        self.phase = AWAIT_HEAD
        if owner.early or self.early:
            if self.early & SENT:
                if not self._early_data_answered(connection, request, link):
                    return
            else:
                self._tell_early(request)
        data = request.encode() if request.edited else self.raw
        held = self.held
        if held:
            data += held
            self.held = b""
        if connection.reuses or link.keeps_request:
            # A kept request is bounded by tune.bufsize; a larger one is never retried.
            self.replay = data if len(data) <= self.side.shared.buffer else None
        channel = connection.channel
        channel.send(data)
        if self.request_done:
            self.wait(self.server_patience)
        else:
            if not channel.blocked:
                owner.resume()
            self.wait(self.client_patience)

    # --- retries of a request that was sent ---

    def retry_request(self) -> bool:
        """See `ResponsePath.retry_request`."""
        if self.replay is None or self.l7_retry_disabled or self.retries_left <= 0 or not self.request_done or self.head_sent:
            return False
        server = self.target_server
        if server is None:
            return False
        self._recall()
        self._try_again(server, immediately=True)
        return True

    def retry_status(self, status: int) -> bool:
        """See `ResponsePath.retry_status`."""
        link = self.link
        if status == TOO_EARLY and link is not None and not link.retry_too_early and not self._early_by_us():
            return False
        return self.retry_request()

    def retry_stale(self) -> bool:
        """See `ResponsePath.retry_stale`."""
        server = self.target_server
        request = self.request
        link = self.link
        if self.replay is None or self.stale_retry or request is None or request.method not in IDEMPOTENT or server is None:
            return False
        if not self.request_done or self.l7_retry_disabled or link is None or not link.retry_failure or self.retries_left <= 0:
            return False  # it is a failed connection that only shows late; what forbids its retry forbids this one
        self.stale_retry = True
        self._recall()
        self._try_again(server, immediately=True)
        return True

    def _recall(self) -> None:
        """Take the request back from the connection it was sent on."""
        connection = self.connection
        self.connection = None
        self.connected_at = 0.0
        if connection is not None:
            connection.abort()
        self.early &= ~SENT
        replay = self.replay or b""
        head_end = replay.find(b"\r\n\r\n") + 4
        self.held = replay[head_end:]
        self.response_buffer = b""
        self.phase = PREPARE
