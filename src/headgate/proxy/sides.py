"""The live frontend and backend as the machines use them: the plan with its times and modes as plain numbers.

`Frontend` and `Backend` are made once a load. What is read for every request is an attribute here, not a look-up in the
configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from headgate.balance.backend import BackendState
from headgate.balance.hashes import avalanche
from headgate.balance.server import ServerState
from headgate.base.compiled import traceable
from headgate.config.model import ConnectionMode, Mode, Proxy
from headgate.observe.cells import Sessions
from headgate.observe.counters import ProcessCounters, ProxyCounters, ServerCounters
from headgate.observe.handshakes import HandshakeLog
from headgate.plan.facts import Session, Stream, TlsFacts, World
from headgate.plan.frontends import BackendPlan, FrontendPlan
from headgate.plan.logformat import date_ms_writer
from headgate.proxy.client_session import ClientSession
from headgate.proxy.invalid import InvalidMessages
from headgate.proxy.pool import Pool
from headgate.proxy.rates import Gate, Gates
from headgate.proxy.services import Asker, Connector, LogEmitter, Lookups, Scheduler
from headgate.proxy.sockets import listening_sockets
from headgate.proxy.tls_connections import TlsConnections
from headgate.proxy.tracking import session_ends

if TYPE_CHECKING:
    from headgate.proxy.service import Services

#: How connections end, weakest first: the stronger of frontend and backend wins (manual 4, "option httpclose").
KEEP_ALIVE: Final = 0
SERVER_CLOSE: Final = 1
CLOSE: Final = 2
_MODES: Final = {ConnectionMode.KEEP_ALIVE: KEEP_ALIVE, ConnectionMode.SERVER_CLOSE: SERVER_CLOSE, ConnectionMode.CLOSE: CLOSE}

#: Events that `retry-on` names, beside status codes.
ALL_RETRYABLE: Final = frozenset(
    {"conn-failure", "empty-response", "junk-response", "response-timeout", "0rtt-rejected", "500", "502", "503", "504"}
)

#: What a server answers that does not want to risk a replay (RFC 8470 section 5.2).
TOO_EARLY: Final = 425

#: Time between two attempts on one server (manual, "retries": "a turn-around timer of min("timeout connect", one second)").
TURN_AROUND: Final = 1.0

#: How long an idle connection is kept when a soft stop begins, seconds.
IDLE_AT_STOP: Final = 1.0
FOREVER: Final = float("inf")

_INFO: Final = 6
_ERROR: Final = 3
#: Termination state of connections that failed before they had a stream (8.5): refused by us, no request.
_REFUSED_EARLY: Final = b"PR"
_date: Final = date_ms_writer(None)


class Shared(Sessions):
    """What all sessions of a process share.

    Attributes:
        sessions, maxconn: client connections of all frontends, and how many there may be (global maxconn).
        live: the client sessions themselves.
        stopping: a soft stop is on: keep-alive connections are closed after their current response (see `closes`).
        stopping_since: since when, monotonic seconds.
        close_spread: close-spread-time, seconds; 0.0 without it.
        head_limit: longest request or response head, bytes (tune.bufsize less tune.maxrewrite).
        max_fields: tune.http.maxhdr.
        buffer: tune.bufsize: what may be kept of a request for a retry.
        gates: limits on connections in a second.
        tls: the TLS connections that there are now, and their limit.
        request_number: %rt.
        invalid: the last invalid messages.
        handshakes: the last TLS handshakes of clients, and how often they failed and why.
        asker: the runtime API, None where nothing can be asked.
        services: what answers in place of servers, None where the configuration has no such thing.
        lookups: finds addresses of names for rules, None where the configuration has no such rule.
    """

    __slots__ = (
        "asker", "backends", "buffer", "close_spread", "connector", "counters", "gates", "handshakes", "head_limit",
        "invalid", "live", "lookups", "max_fields", "maxconn", "request_number", "scheduler", "services", "session_ended",
        "splice", "stopping", "stopping_since", "tls", "world",
    )  # fmt: skip

    def __init__(
        self,
        scheduler: Scheduler,
        connector: Connector,
        world: World,
        counters: ProcessCounters,
        *,
        maxconn: int = 2000,
        bufsize: int = 16384,
        maxrewrite: int = 1024,
        max_fields: int = 101,
    ) -> None:
        super().__init__()
        self.scheduler = scheduler
        self.connector = connector
        self.world = world
        self.counters = counters
        self.stopping = False
        self.stopping_since = 0.0
        self.close_spread = 0.0
        self.live: set[ClientSession] = set()
        self.maxconn = maxconn
        self.gates = Gates()
        self.tls = self._make_tls()
        self.tls.close_idle = self.close_idle_tls
        self.head_limit = bufsize - maxrewrite
        self.max_fields = max_fields
        self.buffer = bufsize
        self.request_number = 0
        self.invalid = InvalidMessages(bufsize)
        self.handshakes = HandshakeLog()
        self.backends: Mapping[str, Backend] = {}
        #: told when a client session is over, so that a paused listener may accept again
        self.session_ended: Callable[[Frontend], None] = _ignore
        #: moves bytes between two plain channels in the kernel; None where it can't
        self.splice: Splicer | None = None
        self.asker: Asker | None = None
        self.services: Services | None = None
        self.lookups: Lookups | None = None

    def _make_tls(self) -> TlsConnections:
        return TlsConnections()

    def close_idle_tls(self) -> bool:
        """Close an idle TLS connection to a server, which makes room for another one; False when there is none."""
        return any(pool.close_oldest_tls() for backend in self.backends.values() for pool in backend.pools.values())

    @traceable
    def server_handshake(self, tls: TlsFacts) -> None:
        """Count a new TLS connection to a server."""
        counters = self.counters
        counters.tls_server_connections += 1
        if not tls.resumed:
            counters.tls_server_key_rate.tick(self.scheduler.now)

    @traceable
    def client_handshake(self, tls: TlsFacts) -> None:
        """Count a client's finished handshake; `session_over` counts its end."""
        counters = self.counters
        counters.tls_sessions += 1
        if tls.resumed:
            counters.tls_reused += 1
        else:
            counters.tls_key_rate.tick(self.scheduler.now)


    def closes(self, session: object) -> bool:
        """During a soft stop: whether this client's connection ends with the response that it is given now."""
        moment = self._moment(session)
        return self.scheduler.now >= self.stopping_since + moment

    def idle_time(self, session: object) -> float:
        """During a soft stop: for how many seconds an idle connection is still kept; infinite: as long as its timeout says.

        Not closing it at once spares clients a reset: the request that many of them are just sending is answered, with
        `Connection: close`.
        """
        return max(self._moment(session), IDLE_AT_STOP)

    def _moment(self, session: object) -> float:
        """When its turn comes within close-spread-time: sessions are strewn by a hash of where they lie in memory."""
        spread = self.close_spread
        if spread in (0.0, FOREVER):
            return spread
        return spread * avalanche(id(session) >> 4 & 0xFFFFFFFF) / 0xFFFFFFFF


def _ignore(_: Frontend) -> None:
    return None


class Splicer:
    """Relays between two plain channels without copying (see `runtime.splice`)."""

    __slots__ = ()

    def start(self, client: object, server: object, relay: object) -> bool:
        """Pass what both channels receive to each other and only tell `relay` how much; False when these two can't be spliced."""
        raise NotImplementedError


class Frontend(Sessions):
    """One frontend, live. Implements `plan.facts.FrontendFacts`.

    Attributes:
        plain: no request of this frontend needs anything done before its backend is chosen.
        undressed: the frontend adds nothing to requests.
        rules_response: something looks at responses.
        stopped: it does not listen; shut: it never will again.
        gate: rate-limit sessions.
        sockets: its listening sockets by number, with `option socket-stats`; else none.
        unasked_line: `error-log-format` in HTTP mode: also for what ended without a valid request (8.2.5), which is where
            HAProxy has no stream yet; None: those are logged like the others.
    """

    __slots__ = (
        "accept_paused", "buffer_request", "capture_request", "capture_response", "choose_backend", "counters",
        "dont_log_normal", "dont_log_null", "forwardfor", "gate", "http_after_response", "http_request", "http_response",
        "ignore_probes", "log", "log_as_soon_as_possible", "maxconn", "mode", "monitor_uri", "name", "plain", "plan",
        "rules_response", "separate_errors", "shared", "shut", "sockets", "spec", "stopped", "t_client",
        "t_client_fin", "t_client_hs", "t_http_keep_alive", "t_http_request", "t_tarpit", "unasked_line", "undressed",
    )  # fmt: skip

    def __init__(self, plan: FrontendPlan, shared: Shared, log: LogEmitter | None, maxconn: int) -> None:
        super().__init__()
        spec = plan.spec
        self.plan = plan
        self.spec = spec
        self.shared = shared
        self.name = plan.name
        self.log = log
        self.maxconn = maxconn
        self.counters = ProxyCounters()
        self.sockets = listening_sockets(plan.binds) if spec.options.socket_stats else {}
        self.stopped = False
        self.shut = False
        self.accept_paused = False
        self.mode = _MODES[spec.connection_mode]
        self.http_request = plan.http_request
        self.http_response = plan.http_response
        self.http_after_response = plan.http_after_response
        self.choose_backend = plan.choose_backend
        self.capture_request = plan.capture_request
        self.capture_response = plan.capture_response
        self.forwardfor = plan.forwardfor
        self.buffer_request = spec.options.http_buffer_request
        self.monitor_uri = spec.monitor_uri.encode() if spec.monitor_uri else None
        self.plain = (
            self.monitor_uri is None
            and plan.capture_request is None
            and plan.unique_id is None
            and plan.tcp_request_content is None
            and plan.http_request is None
            and not self.buffer_request
        )
        self.undressed = plan.forwardfor is None and plan.originalto is None and self.mode == KEEP_ALIVE
        self.rules_response = plan.http_response is not None or plan.capture_response is not None
        times = spec.timeouts
        self.t_client = times.client or 0.0
        self.t_client_fin = times.client_fin or 0.0
        self.t_client_hs = times.client_hs or times.client or 0.0
        self.t_http_request = times.http_request or times.client or 0.0
        # manual, "timeout http-keep-alive": falls back to http-request, then client
        self.t_http_keep_alive = times.http_keep_alive or times.http_request or times.client or 0.0
        self.t_tarpit = times.tarpit or times.connect or 0.0
        logging = spec.logging
        self.dont_log_null = logging.dont_log_null
        self.dont_log_normal = logging.dont_log_normal
        self.separate_errors = logging.separate_errors
        self.unasked_line = plan.error_log_line if spec.mode is Mode.HTTP else None
        self.log_as_soon_as_possible = logging.as_soon_as_possible
        self.gate = Gate(spec.rate_limit_sessions)
        self.ignore_probes = spec.options.http_ignore_probes

    def may_accept(self) -> bool:
        """Whether the frontend's and the process's maxconn allow another session."""
        shared = self.shared
        return self.sessions < self.maxconn and shared.sessions < shared.maxconn

    def gates(self, *, tls: bool) -> list[Gate]:
        """The limits on connections in a second that concern a listener of this frontend and are set."""
        shared = self.shared.gates
        gates = [self.gate, shared.connections, shared.sessions]
        if tls:
            gates.append(shared.tls)
        return [gate for gate in gates if gate.limit]

    def not_a_session(self) -> None:
        """A connection was refused before it was a session: limits on sessions in a second take it back."""
        for gate in (self.gate, self.shared.gates.sessions):
            if gate.limit:
                gate.meter.untick()

    def session_started(self, session: ClientSession, now: float) -> None:
        """Count a new client connection."""
        self._enter(session, now)
        shared = self.shared
        counters = self.counters
        self.sessions += 1
        shared.sessions += 1
        if self.sessions > counters.maximum_sessions:
            counters.maximum_sessions = self.sessions
        socket = session.counted
        if socket is not None:
            socket.sessions += 1
            if socket.sessions > socket.maximum_sessions:
                socket.maximum_sessions = socket.sessions
        if shared.sessions > shared.counters.maximum_sessions:
            shared.counters.maximum_sessions = shared.sessions

    @traceable
    def _enter(self, session: ClientSession, now: float) -> None:
        """What is counted of a new session beside its place."""
        shared = self.shared
        shared.live.add(session)
        counters = self.counters
        shared.counters.connections += 1
        counters.connections += 1
        counters.connection_rate.tick(now)
        shared.counters.connection_rate.tick(now)
        if session.counted is not None:
            session.counted.sessions_total += 1

    def session_accepted(self, now: float) -> None:
        """Count a client connection that passed the rules for connections and sessions, and its handshake."""
        counters = self.counters
        counters.sessions_total += 1
        counters.session_rate.tick(now)
        self.shared.counters.session_rate.tick(now)

    def session_denied(self, session: ClientSession) -> None:
        """Count a client connection that `tcp-request session` refused."""
        self.counters.denied_sessions += 1
        if session.counted is not None:
            session.counted.denied_sessions += 1

    def session_over(self, session: ClientSession) -> None:
        """A client connection is closed: its place is free."""
        self._leave(session)
        if session.counted is not None:
            session.counted.sessions -= 1
        self.sessions -= 1
        self.shared.sessions -= 1
        self.shared.session_ended(self)

    @traceable
    def _leave(self, session: ClientSession) -> None:
        """The opposite of `_enter`."""
        if session.tracks is not None:
            session_ends(session.tracks)
            session.tracks = None
        self.shared.live.discard(session)
        if session.tls is not None:
            self.shared.counters.tls_sessions -= 1
        if session.counted_tls:
            self.shared.tls.end()

    @traceable
    def write_failure(self, session: Session, *, quiet: bool = False) -> None:
        """Log a connection that failed before it had a stream (8.2.5): `error-log-format` if there is one, else HAProxy's line.

        Args:
            session: what is known of the connection; `error_text` says what happened.
            quiet: it is no error, whatever `option log-separate-errors` says.
        """
        log = self.log
        if log is None:
            return
        line = self.plan.error_log_line
        wall = self.shared.scheduler.wall
        if line is not None:
            stream = Stream(session)
            stream.started_at = session.accepted_at
            stream.termination = _REFUSED_EARLY
            message = line(stream)
        else:
            side = f"{self.name}/{session.listener_name or session.listener_id}".encode()
            place = b"%b:%d [%b] %b: " % (session.source, session.source_port, _date(session.accepted_at), side)
            message = place + session.error_text.encode("utf-8", "replace")
        log.emit(_ERROR if self.separate_errors and not quiet else _INFO, message, wall)

    def write_note(self, text: str) -> None:
        """Log a line about several connections together."""
        if self.log is not None:
            self.log.emit(_ERROR if self.separate_errors else _INFO, text.encode("utf-8", "replace"), self.shared.scheduler.wall)

    def write_log(self, stream: Stream, *, failed: bool) -> None:
        """Send the stream's log line, if one is wanted."""
        log = self.log
        line = self.plan.log_line
        if log is None or line is None:
            return
        if self.unasked_line is not None and not stream.original_method:
            line = self.unasked_line
        level = stream.log_level
        if level is None:
            level = _ERROR if failed and self.separate_errors else _INFO
        elif level < 0:
            return
        if not failed and self.dont_log_normal and stream.status < 500 and not stream.retries:
            return
        structured = self.plan.structured_data
        log.emit(level, line(stream), self.shared.scheduler.wall, structured(stream) if structured is not None else b"")


class Backend:
    """One backend, live: the balancing state with its times and modes.

    Attributes:
        plain: the backend has no rules for requests and adds nothing to them.
        retry_statuses: answers that may be a reason to retry, see `RequestPath.retry_status`.
        retry_too_early: 425 is one for every request, not just for what we have sent early.
        rules_response: something looks at responses.
    """

    __slots__ = (
        "abort_on_close", "buffer_request", "counters", "dynamic_cookie_key", "error_replies", "forwardfor",
        "http_after_response", "http_request", "http_response", "mode", "name", "persistence", "plain", "plan", "pools",
        "pretend_keep_alive", "redispatch", "restrict_names", "retries", "retry_early", "retry_empty", "retry_failure",
        "retry_junk", "retry_statuses", "retry_timeout", "retry_too_early", "reuse", "rules_response", "send_name", "spec",
        "state", "t_connect", "t_queue", "t_server", "t_server_fin", "t_tunnel",
    )  # fmt: skip

    def __init__(self, plan: BackendPlan, state: BackendState, scheduler: Scheduler) -> None:
        spec = plan.spec
        self.plan = plan
        self.spec = spec
        self.name = plan.name
        self.state = state
        self.counters = ProxyCounters()
        self.mode = _MODES[spec.connection_mode]
        self.http_request = plan.http_request
        self.http_response = plan.http_response
        self.http_after_response = plan.http_after_response
        self.forwardfor = plan.forwardfor
        self.error_replies = plan.error_replies
        self.persistence = state.persistence
        self.dynamic_cookie_key = spec.dynamic_cookie_key
        self.abort_on_close = _abort_on_close(spec)
        self.buffer_request = spec.options.http_buffer_request
        names = spec.options.restrict_header_names
        self.restrict_names = None if names == "preserve" else names
        self.pretend_keep_alive = spec.options.http_pretend_keepalive
        self.retries = spec.retries
        self.redispatch = spec.redispatch
        events = ALL_RETRYABLE if "all-retryable-errors" in spec.retry_on else spec.retry_on
        self.retry_failure = "conn-failure" in events
        self.retry_empty = "empty-response" in events
        self.retry_junk = "junk-response" in events
        self.retry_timeout = "response-timeout" in events
        self.retry_early = "0rtt-rejected" in events
        self.retry_too_early = "425" in events
        statuses = {int(event) for event in events if event.isdigit()}
        self.retry_statuses = frozenset(statuses | {TOO_EARLY} if self.retry_early else statuses)
        self.reuse = spec.http_reuse
        self.send_name = spec.send_name_header.encode() if spec.send_name_header else None
        self.plain = (
            plan.http_request is None
            and plan.tcp_request_content is None
            and plan.forwardfor is None
            and plan.originalto is None
            and self.restrict_names is None
            and not self.buffer_request
            and self.mode == KEEP_ALIVE
        )
        self.rules_response = plan.http_response is not None or state.persistence is not None or state.sticking is not None
        times = spec.timeouts
        self.t_connect = times.connect or 0.0
        self.t_queue = times.queue or times.connect or 0.0
        self.t_server = times.server or 0.0
        self.t_server_fin = times.server_fin or 0.0
        self.t_tunnel = times.tunnel or 0.0
        self.pools = {server.name: Pool(server, scheduler, plan.spec.source) for server in state.servers}

    @property
    def keeps_request(self) -> bool:
        """Whether requests must be kept for a retry after they were sent."""
        return self.retry_empty or self.retry_junk or self.retry_timeout or bool(self.retry_statuses)

    def redispatches(self, retries_left: int) -> bool:
        """Whether the next retry should go to another server (manual, "option redispatch").

        Args:
            retries_left: how many retries remain, the next one included.
        """
        interval = self.redispatch
        if interval == 0:
            return False
        if interval < 0:
            return retries_left <= -interval
        return (self.retries - retries_left + 1) % interval == 0

    def stream_started(self, now: float) -> None:
        """A stream chose this backend."""
        counters = self.counters
        counters.requests += 1
        counters.sessions_total += 1
        counters.session_rate.tick(now)
        if self.state.sessions >= counters.maximum_sessions:
            counters.maximum_sessions = self.state.sessions + 1

    def stream_queued(self, server: object) -> None:
        """A stream waits, for `server` or for any one (None)."""
        counters: ProxyCounters | ServerCounters = self.counters
        if isinstance(server, ServerState):
            counters = server.counters
            waiting = server.queued
        else:
            state = self.state
            waiting = state.queued - sum(one.queued for one in state.servers)
        if waiting > counters.maximum_queue:
            counters.maximum_queue = waiting

    def count_retry(self, server: ServerState, retries_left: int) -> bool:
        """Count a retry after a failure on `server`, or a redispatch: whether it is to go to another server, if there is one.

        Args:
            retries_left: as for `redispatches`.
        """
        if not self.redispatches(retries_left) or self.state.selected == (server,):
            server.counters.retries += 1
            self.counters.retries += 1
            return False
        server.counters.redispatches += 1
        self.counters.redispatches += 1
        return True


def _abort_on_close(spec: Proxy) -> bool:
    """`option abortonclose` is on by default for HTTP backends (4.2)."""
    if spec.options.abortonclose is not None:
        return spec.options.abortonclose
    return spec.mode.value == "http"

