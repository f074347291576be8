"""What is kept about a TLS handshake, whether it succeeded or not: the seam between those who shake hands and those who explain.

Only facts, and cheap to make: a record of a success costs an object. What a ClientHello says is read again when somebody wants to
know; cause and advice are worked out once, by `handshake_diagnosis` and `handshake_advice`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, Protocol

from headgate.base.diagnostics import Location
from headgate.base.handshake_causes import Cause
from headgate.tls.handshake_advice import advise
from headgate.tls.handshake_diagnosis import diagnose
from headgate.tls.handshake_report import Facts, record_facts
from headgate.tls.line_facts import LineFacts
from headgate.tls.openssl import TlsError
from headgate.wire.client_hello import ClientHello, parse_client_hello
from headgate.wire.errors import ProtocolViolation

#: OpenSSL's reason when there is nothing to sign with, and the alert that it sends when that is about the client's certificate.
_NO_SIGNATURE: Final = 118
_INTERNAL_ERROR: Final = 80


class Step(enum.Enum):
    """How far a handshake came."""

    #: Nothing was received.
    CONNECTED = "connected"
    #: A part of a PROXY protocol header was received.
    PROXY_HEADER = "proxy-header"
    #: With a client: a part of its ClientHello was received. With a server: ours was sent.
    CLIENT_HELLO = "client-hello"
    #: The client's hello was whole: versions, certificate and ciphers are chosen.
    NEGOTIATION = "negotiation"
    #: The server's hello and certificate were sent, or received where we are the client.
    CERTIFICATE = "certificate"
    #: All is said; with TLS 1.3 the client may still reject our certificate.
    ESTABLISHED = "established"


class Ended(enum.Enum):
    """Who ended it."""

    NOBODY = "nobody"
    PEER = "peer"
    PROXY = "proxy"
    TIMEOUT = "timeout"


class Findings(Protocol):
    """What verification met.

    Attributes:
        fatal: number of the error that ended the handshake, 0 for none.
        depth: of the certificate concerned: 0 for the peer's own.
        certificate: DER of the certificate concerned, None when it is not known.
    """

    fatal: int
    depth: int
    certificate: bytes | None


class HandshakeRecord:
    """One handshake. Implements `plan.facts.HandshakeFacts`.

    Attributes:
        number: of the record, in the order of this process; 0 before it is kept.
        at: when the connection was accepted, seconds since the epoch.
        milliseconds: how long it took, PROXY header included.
        client, client_port: who asked, as logs show it; our own address for servers.
        address, port: the address that the client connected to, or that of the server.
        proxy, line_name: frontend and bind line, or backend and server.
        outgoing: we were the client (a server of a backend).
        completed: whether it succeeded.
        first_bytes: what was first received from a client, at least the ClientHello when it came whole; ours for servers: b"".
        sni: the name asked for, as OpenSSL has it; see `name`.
        expected: of a server, what its certificate must be valid for: also an address, which is not sent as SNI, or `verifyhost`.
        version, cipher, group, alpn: what was chosen; "" when it did not come to that.
        resumed: an earlier session was taken up.
        shown: the certificate of ours that a client has seen, DER, where its handshake failed; None where that is not known.
        step: how far it came; ended: who ended it.
        error, error_number, errno: OpenSSL's own words, its reason code, and the system's error; "" and 0 for none.
        closed: the peer closed the connection without a word.
        alert: number of the alert that the peer sent, None for none.
        verify_error: OpenSSL's number for what is wrong with the peer's certificate, 0 for nothing; findings: where that was.
        timeout: how long was waited, seconds, 0.0 when it was not a timeout.
        idle: how long ago the peer's last bytes had come, seconds, -1.0 where it is not known.
        header: what is known of a PROXY header that failed; "" for nothing.
        takes_header: the line has `accept-proxy`.
        bytes_in, bytes_out: on the wire, -1 where the system does not say.
        late: how the connection ended, when that was before any byte of data; None while it is of use.
        describe: fills in `line`: what the bind or server line allows.
        allowed: cipher suites that the connection could have used, OpenSSL's names; empty when it is not known.
        similar, sources: how many failures of the same cause this line had in the last hour, and from how many addresses.
    """

    __slots__ = (
        "_advice", "_alert_sent", "_cause", "_line", "address", "alert", "allowed", "alpn", "at", "bytes_in", "bytes_out",
        "cipher", "client", "client_port", "closed", "completed", "describe", "ended", "errno", "error", "error_number",
        "expected", "findings", "first_bytes", "group", "header", "idle", "late", "line_name", "milliseconds", "number",
        "outgoing", "port", "proxy", "resumed", "shown", "similar", "sni", "sources", "step", "takes_header", "timeout",
        "verify_error", "version",
    )  # fmt: skip

    def __init__(self, *, outgoing: bool) -> None:
        self.outgoing = outgoing
        self.completed = False
        self.number = 0
        self.at = 0.0
        self.milliseconds = 0
        self.client = b""
        self.client_port = 0
        self.address = b""
        self.port = 0
        self.proxy = ""
        self.line_name = ""
        self.first_bytes = b""
        self.sni: bytes | None = None
        self.expected = b""
        self.version = ""
        self.cipher = ""
        self.group = ""
        self.alpn = b""
        self.resumed = False
        self.shown: bytes | None = None
        self.step = Step.CONNECTED
        self.ended = Ended.NOBODY
        self.error = ""
        self.error_number = 0
        self.errno = 0
        self.closed = False
        self.alert: int | None = None
        self._alert_sent: int | None = None
        self.verify_error = 0
        self.findings: Findings | None = None
        self.timeout = 0.0
        self.idle = -1.0
        self.header = ""
        self.takes_header = False
        self.bytes_in = -1
        self.bytes_out = -1
        self.late: TlsError | None = None
        self.describe: Callable[[HandshakeRecord], None] | None = None
        self._line: LineFacts | None = None
        self.allowed: tuple[str, ...] = ()
        self.similar = 0
        self.sources = 0
        self._cause: Cause | None = None
        self._advice: str | None = None

    def failed(self, error: TlsError) -> None:
        """Take over what OpenSSL says."""
        self.error = error.text
        self.error_number = error.number
        self.errno = error.errno
        self.closed = error.eof
        if error.alert is not None:
            self.alert = error.alert
            self.ended = Ended.PEER
        self._cause = self._advice = None

    def showed(self, certificate: bytes | None, *, resumed: bool) -> None:
        """Which certificate of ours the client has seen: none where it took up a session."""
        self.resumed = resumed
        self.shown = certificate
        if self.describe is not None:
            self._line = None  # an answer from before that was about all that it could have seen

    @property
    def hello(self) -> ClientHello | None:
        """What the client offered, as far as it can be read; None when its hello did not come whole, or is none."""
        try:
            return parse_client_hello(self.first_bytes, lenient=True)
        except ProtocolViolation:
            return None

    @property
    def line(self) -> LineFacts | None:
        """What the line allows, asked from it when somebody wants to know; None when there is nobody to ask."""
        if self._line is None and self.describe is not None:
            self.describe(self)
        return self._line

    @line.setter
    def line(self, line: LineFacts) -> None:
        self._line = line

    @property
    def location(self) -> Location | None:
        """Of the bind or server line whose options applied."""
        line = self.line
        return line.location if line is not None else None

    @property
    def name(self) -> str:
        """The name that the client asked for, "" for none: also when OpenSSL never came to look at it."""
        sni = self.sni
        if sni is None and not self.outgoing:
            hello = self.hello
            sni = hello.sni if hello is not None else None
        return sni.decode("ascii", "backslashreplace") if sni else ""

    @property
    def cause(self) -> Cause:
        """Why it failed."""
        if self._cause is None:
            self._cause = diagnose(self)
        return self._cause

    @cause.setter
    def cause(self, cause: Cause) -> None:
        self._cause = cause
        self._advice = None

    @property
    def alert_sent(self) -> int | None:
        """Number of the alert by which we ended it, None for none."""
        if self.error_number == _NO_SIGNATURE and self.cause is Cause.CONFIGURATION:
            return _INTERNAL_ERROR
        return self._alert_sent

    @alert_sent.setter
    def alert_sent(self, number: int | None) -> None:
        self._alert_sent = number

    @property
    def verify_failure(self) -> int:
        """OpenSSL's number for what ended it in the peer's certificates, 0 for nothing."""
        findings = self.findings
        return findings.fatal if findings is not None and findings.fatal else self.verify_error

    def waited(self, seconds: float) -> None:
        """The peer was waited for in vain, for that long."""
        self.timeout = round(seconds, 2) or 0.01  # 0.0 would say that it was no timeout
        self.ended = Ended.TIMEOUT

    @property
    def advice(self) -> str:
        """A sentence for a person: what happened, and what to change; "" on success."""
        if self._advice is None:
            self._advice = advise(self)
        return self._advice

    @property
    def reason(self) -> str:
        """Why it failed, for the log: cause and advice."""
        return f"{self.cause.code}: {self.advice}"

    def facts(self) -> Facts:
        """All of it, as JSON can carry it."""
        return record_facts(self)

    @property
    def probe(self) -> bool:
        """Whether it is no failure but one who only looked."""
        return self.cause.probe

    @property
    def finished(self) -> bool:
        """Whether it is a probe that finished the handshake, and asked for nothing."""
        return self.cause is Cause.CLOSED_WITHOUT_REQUEST

    def unused(self) -> None:
        """The client left after the handshake, before it had sent anything."""
        self.closed = True
        self.cause = Cause.CLOSED_WITHOUT_REQUEST

    @property
    def size(self) -> int:
        """About how much memory it holds, bytes."""
        findings = self.findings
        certificates = len(self.shown or b"") + (len(findings.certificate or b"") if findings is not None else 0)
        return 800 + len(self.first_bytes) + certificates
