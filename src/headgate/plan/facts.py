"""What rules, logs and balancing can know about a connection and an exchange.

`Session` is one client connection, `Stream` one exchange (or one TCP relay) on it. They hold facts only; the machines in `proxy`
extend them with behaviour and fill the facts in. Slotted, because there is one per request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from headgate.wire.http1.heads import RequestHead, ResponseHead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headgate.base.connection_errors import ConnectionFailure
    from headgate.base.handshake_causes import Cause
    from headgate.plan.frontends import BackendPlan, FrontendPlan
    from headgate.plan.tables import StickTableFacts, Tracks
    from headgate.wire.client_hello import ClientHello

#: A sample's value. HAProxy's string and binary types are both bytes here; types are checked when a rule is compiled.
#: Addresses are `ipaddress` objects. None: the sample does not exist.
Value = bool | int | bytes | object | None


class TlsFacts(Protocol):
    """What the TLS layer tells about one connection; properties are computed when asked for.

    A handshake that failed has facts too, as far as it came: `established` tells them apart.
    """

    @property
    def early(self) -> bool:
        """Early data was received and handed on, and the handshake is not over yet: it may be a replay (RFC 8446 8)."""

    @property
    def early_received(self) -> bool:
        """Early data was received, before this handshake was over; of a connection to a server: it took ours."""

    @property
    def secrets(self) -> Mapping[str, bytes] | None:
        """The secrets of its keys in hexadecimal, by their label in an SSLKEYLOGFILE; None unless `tune.ssl.keylog` is on."""

    @property
    def established(self) -> bool:
        """Whether the handshake was completed."""

    @property
    def error(self) -> int:
        """OpenSSL's packed code of the first error met (of its queue the last), as `openssl errstr` takes it; 0 for none."""

    @property
    def error_text(self) -> str:
        """`error` in OpenSSL's words, "" for none (`ssl_fc_err_str`)."""

    @property
    def failure(self) -> ConnectionFailure:
        """What `fc_err` calls the failure of a handshake that is not `established`."""

    @property
    def version(self) -> str:
        """`TLSv1.2`, `TLSv1.3`; "" before anything was heard of the peer."""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite, "(NONE)" before there is one."""

    @property
    def cipher_bits(self) -> int:
        """Secret bits of the cipher that are used, 0 before there is a cipher."""

    @property
    def cipher_algorithm_bits(self) -> int:
        """Key size that the cipher's algorithm supports, in bits, 0 before there is a cipher."""

    @property
    def group(self) -> bytes | None:
        """OpenSSL's name of the key exchange group (`x25519`, `X25519MLKEM768`), None when there was none."""

    @property
    def sni(self) -> bytes | None:
        """The server name that the client asked for."""

    @property
    def alpn(self) -> bytes | None:
        """The protocol that was agreed on."""

    @property
    def resumed(self) -> bool:
        """Whether the session was resumed."""

    @property
    def session_id(self) -> bytes:
        """The TLS session identifier."""

    @property
    def session_key(self) -> bytes:
        """The session's master secret, b"" before there is one. Never logged unless the configuration says so."""

    @property
    def client_random(self) -> bytes:
        """The client's random bytes, b"" before its hello was taken in."""

    @property
    def server_random(self) -> bytes:
        """The server's random bytes, b"" before there are any."""

    @property
    def unique_id(self) -> bytes:
        """`tls-unique` of RFC 5929 section 3: the first Finished message; b"" before there is one."""

    @property
    def client_certificate_sent(self) -> bool:
        """Whether the peer presented a certificate in this very connection (`ssl_fc_has_crt`)."""

    @property
    def peer_certificate(self) -> object | None:
        """The peer's certificate (cryptography.x509.Certificate), also from a resumed session (`ssl_c_used`), or None."""

    @property
    def peer_chain(self) -> Sequence[bytes]:
        """The certificates as the peer sent them, in DER; on the server's side without the client's own. Empty when resumed."""

    @property
    def root_certificate(self) -> object | None:
        """Where the verified chain of the peer ends (cryptography.x509.Certificate), None when none was verified."""

    @property
    def own_certificate(self) -> object | None:
        """The certificate that we presented (cryptography.x509.Certificate)."""

    @property
    def own_certificate_name(self) -> bytes | None:
        """What the configuration calls the certificate that we presented (`ssl_fc_crtname`)."""

    @property
    def verify_error(self) -> int:
        """OpenSSL's verification result for the peer's certificate, 0 for none (`ssl_c_verify`)."""

    @property
    def certificate_error(self) -> int:
        """The first verification error of the peer's own certificate, ignored or not, 0 for none (`ssl_c_err`)."""

    @property
    def authority_error(self) -> int:
        """The first verification error of a certificate above the peer's own, 0 for none (`ssl_c_ca_err`)."""

    @property
    def authority_error_depth(self) -> int:
        """How far above the peer's own certificate that one was, 0 for none (`ssl_c_ca_err_depth`)."""

    def cipher_name(self, number: int) -> str:
        """OpenSSL's name of a cipher suite that may have been offered, "" for one that it does not know."""


class HandshakeFacts(Protocol):
    """The record of a connection's TLS handshake, failed or not; computed when asked for. See `tls.handshake_record`."""

    @property
    def hello(self) -> ClientHello | None:
        """What the client offered; None when it did not come to that, or for what is no TLS."""

    @property
    def cause(self) -> Cause:
        """Why it failed, `Cause.NONE` when it did not."""

    @property
    def advice(self) -> str:
        """A sentence for a person: what happened and what to change; "" on success."""

    @property
    def error_number(self) -> int:
        """OpenSSL's reason code, 0 for none (`ssl_fc_err` has the library in front of it)."""

    @property
    def error(self) -> str:
        """OpenSSL's reason in its own words, "" for none."""

    def facts(self) -> Mapping[str, object]:
        """All of it, as JSON can carry it (`ssl_fc_handshake`)."""


class ServerFacts(Protocol):
    """The server of an exchange, as rules and logs see it."""

    name: str
    sessions: int  # connections being served now, for %sc
    queued: int

    def usable(self) -> bool:
        """Whether it can take traffic (`srv_is_up`)."""


class BackendFacts(Protocol):
    """A backend's live state, for fetches such as nbsrv, be_conn, avg_queue."""

    name: str
    sessions: int
    queued: int

    def usable(self) -> int:
        """How many servers can take traffic (`nbsrv`)."""

    def server(self, name: str) -> ServerFacts | None:
        """The server called `name`."""


class FrontendFacts(Protocol):
    """A frontend's live state, for fe_conn and the like."""

    name: str
    sessions: int


class World(Protocol):
    """Everything live that a fetch may look at besides its own stream."""

    process_variables: dict[bytes, Value]

    @property
    def sessions(self) -> int:
        """Client connections of the process (`act_conn`)."""

    @property
    def backends(self) -> Mapping[str, BackendFacts]:
        """All backends, by name."""

    @property
    def frontends(self) -> Mapping[str, FrontendFacts]:
        """All frontends, by name."""

    @property
    def tables(self) -> Sequence[StickTableFacts]:
        """The stick tables, in the order of the configuration."""

    def now(self) -> float:
        """Wall clock, in seconds since the epoch, cached once per loop turn."""


class Session:
    """One client connection.

    Attributes:
        source, source_port: the client's address text (b"" for unix sockets); what PROXY protocol or set-src says wins.
        destination, destination_port: the address that the client connected to.
        accepted_at: wall clock of the accept, seconds.
        listener_name: so_name: `name` of the bind line, "" without one.
        listener_id: so_id.
        tls: facts of the client's TLS connection, None for plain.
        hello: the ClientHello of a TLS client, once it was seen.
        handshake: the record of its handshake, None for plain connections and before it began.
        variables: scope `sess`.
        tracks: entries of stick tables that the session follows, by the number of the sticky counter.
        unfinished: facts of a TLS handshake that failed, as far as it came; then `tls` stays None.
        error_code: number of what failed before there was a session (`base.connection_errors`), 0 while nothing did.
        error_text: the same in words for the error log.
        counted_tls: it came over an `ssl` bind line, and stands among the TLS connections of the process.
    """

    __slots__ = (
        "accepted_at", "counted_tls", "destination", "destination_port", "error_code", "error_text", "frontend", "handshake",
        "hello", "listener_id", "listener_name",
        "source", "source_port", "streams", "tls", "tracks", "unfinished", "unique_prefix", "variables", "world",
    )

    def __init__(self, world: World, frontend: FrontendPlan) -> None:
        self.world = world
        self.frontend = frontend
        self.source = b""
        self.source_port = 0
        self.destination = b""
        self.destination_port = 0
        self.accepted_at = 0.0
        self.listener_name = ""
        self.listener_id = 0
        self.tls: TlsFacts | None = None
        self.hello: ClientHello | None = None
        self.handshake: HandshakeFacts | None = None
        self.variables: dict[bytes, Value] | None = None
        self.streams = 0
        self.unique_prefix = b""
        self.tracks: Tracks | None = None
        self.error_code = 0
        self.error_text = ""
        self.unfinished: TlsFacts | None = None
        self.counted_tls = False


class Stream:
    """One request/response exchange, or one TCP relay.

    Attributes:
        session: the client connection.
        backend: the backend's plan once chosen, else None.
        server: the server once chosen.
        request, response: heads, once parsed.
        request_buffer: bytes that have arrived and are not consumed, for req.len and payload fetches.
        response_buffer: the server's first bytes while tcp-response content rules look at them.
        request_complete: no more bytes will come from the client (or the inspection buffer is full).
        need_more: set by a fetch that would need more bytes than there are; content rules wait while it is set (tcp-request
            inspect-delay).
        number: %rt, the request counter of the process.
        variables, request_variables: scopes `txn`, and `req`/`res`.
        tracks: entries of stick tables that the stream follows, by the number of the sticky counter.
        stick_keys: what `stick store-request` rules found: table and key.
        captures_request, captures_response: slots of captured headers.
        captured_request_cookie, captured_response_cookie: %CC, %CS.
        status: status sent to the client, -1 when none was.
        bytes_in, bytes_out: bytes read from the client (%U) and sent to it (%B).
        started_at: wall clock of the first byte of the request (accept for TCP).
        t_handshake, t_idle, t_request, t_queue, t_connect, t_response, t_data, t_total: timers in milliseconds, -1 for "not
            reached" (%Th %Ti %TR %Tw %Tc %Tr %Td %Ta/%Tt; manual 8.4).
        termination: two to four characters of the termination state (8.5), b"--" while all is well.
        cookie_states: third and fourth character (persistence cookie), for %tsc.
        retries: connection retries (%rc); redispatched puts the `+` in front.
        queue_position_server, queue_position_backend: %sq, %bq.
        log_level: what set-log-level asked for, None for the default, -1 for silent.
        unique_id: %ID once made.
        client_timeout, server_timeout, tunnel_timeout: overrides of set-timeout, None for the proxy's.
        max_retries: override of set-retries, None for the proxy's.
        l7_retry_disabled: disable-l7-retry was executed.
        persistence: what the client's persistence cookie said; belongs to `balance.persistence`, None without a cookie line.
        server_error: number of what became of the connection to the server (`bc_err`), 0 while nothing failed.
        destination: where the client connected to by `set-dst` and `set-dst-port`, address text and port; None: see the session.
        original_method, original_target: as received, for %r and the log (rules may change the head).
    """

    __slots__ = (
        "backend",
        "bytes_in",
        "bytes_out",
        "captured_request_cookie",
        "captured_response_cookie",
        "captures_request",
        "captures_response",
        "client_timeout",
        "cookie_states",
        "destination",
        "l7_retry_disabled",
        "log_level",
        "max_retries",
        "need_more",
        "number",
        "original_method",
        "original_target",
        "original_version",
        "persistence",
        "queue_position_backend",
        "queue_position_server",
        "redispatched",
        "request",
        "request_buffer",
        "request_complete",
        "request_variables",
        "response",
        "response_buffer",
        "retries",
        "server",
        "server_address",
        "server_error",
        "server_port",
        "server_timeout",
        "server_tls",
        "session",
        "source_address",
        "source_port",
        "started_at",
        "status",
        "stick_keys",
        "t_connect",
        "t_data",
        "t_handshake",
        "t_idle",
        "t_queue",
        "t_request",
        "t_response",
        "t_total",
        "termination",
        "tracks",
        "tunnel_timeout",
        "unique_id",
        "variables",
    )

    def __init__(self, session: Session) -> None:
        self.session = session
        self.backend: BackendPlan | None = None
        self.server: ServerFacts | None = None
        self.request: RequestHead | None = None
        self.response: ResponseHead | None = None
        self.request_buffer = b""
        self.response_buffer = b""
        self.request_complete = False
        self.need_more = False
        self.number = 0
        self.variables: dict[bytes, Value] | None = None
        self.request_variables: dict[bytes, Value] | None = None
        self.captures_request: list[bytes | None] | None = None
        self.captures_response: list[bytes | None] | None = None
        self.captured_request_cookie: bytes | None = None
        self.captured_response_cookie: bytes | None = None
        self.status = -1
        self.bytes_in = 0
        self.bytes_out = 0
        self.started_at = 0.0
        self.t_handshake = -1
        self.t_idle = -1
        self.t_request = -1
        self.t_queue = -1
        self.t_connect = -1
        self.t_response = -1
        self.t_data = -1
        self.t_total = -1
        self.termination = b"--"
        self.cookie_states = b"--"
        self.retries = 0
        self.redispatched = False
        self.queue_position_server = 0
        self.queue_position_backend = 0
        self.log_level: int | None = None
        self.unique_id: bytes | None = None
        self.client_timeout: float | None = None
        self.server_timeout: float | None = None
        self.tunnel_timeout: float | None = None
        self.max_retries: int | None = None
        self.l7_retry_disabled = False
        self.destination: tuple[bytes, int] | None = None
        self.original_method = b""
        self.original_target = b""
        self.original_version = 11
        self.server_address = b""
        self.server_port = 0
        self.source_address = b""
        self.source_port = 0
        self.server_tls: TlsFacts | None = None
        self.server_error = 0
        self.persistence: object | None = None
        self.tracks: Tracks | None = None
        self.stick_keys: list[tuple[int, bytes]] | None = None


def destination_of(stream: Stream) -> tuple[bytes, int]:
    """Where the client of a stream connected to, as far as rules see it: address text (b"" for unix sockets) and port."""
    moved = stream.destination
    if moved is not None:
        return moved
    session = stream.session
    return session.destination, session.destination_port
