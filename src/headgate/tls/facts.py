"""What is known about an established TLS connection, asked from OpenSSL only when a rule or a log line wants it.

Implements `plan.facts.TlsFacts`. Made once a handshake by the TLS channel, so making one costs an object and nothing more.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509

from headgate.tls.client_auth import Findings, take_findings
from headgate.tls.key_log import Secrets, secrets_of
from headgate.tls.openssl import encoded_certificate, ffi, lib


class ConnectionFacts:
    """Facts of one connection after its handshake; they stay true after it is closed.

    Attributes:
        ssl: OpenSSL's connection, kept alive until the exchange that it belongs to was logged.
        findings: what was wrong with the client's certificates and was ignored; None when all was well, or nothing was
            verified: none was sent, or the session was resumed.
        early: early data was received and handed on, and the handshake is not over (`ssl_fc_has_early`).
        early_received: early data was received (`ssl_fc_early_rcvd`).
        secrets: of the connection's keys, by their label; None unless `tune.ssl.keylog` is on.
    """

    __slots__ = ("_peer", "_peer_known", "early", "early_received", "findings", "secrets", "ssl")

    def __init__(self, ssl: Any) -> None:
        self.ssl = ssl
        self.findings: Findings | None = take_findings(ssl)
        self.early = False
        self.early_received = False
        self.secrets: Secrets | None = secrets_of(ssl)
        self._peer: x509.Certificate | None = None
        self._peer_known = False

    def complete(self) -> None:
        """The handshake of a connection that has begun with early data is over."""
        self.early = False

    @property
    def version(self) -> str:
        """`TLSv1.3` and the like; OpenSSL's `TLSv1` is `TLSv1.0` in HAProxy's logs."""
        name = _text(lib.SSL_get_version(self.ssl))
        return "TLSv1.0" if name == "TLSv1" else name

    @property
    def cipher(self) -> str:
        cipher = lib.SSL_get_current_cipher(self.ssl)
        return _text(lib.SSL_CIPHER_get_name(cipher)) if cipher else ""

    @property
    def cipher_bits(self) -> int:
        cipher = lib.SSL_get_current_cipher(self.ssl)
        return int(lib.SSL_CIPHER_get_bits(cipher, ffi.NULL)) if cipher else 0

    @property
    def group(self) -> bytes | None:
        """OpenSSL's name of the key exchange group, None when there was none (RSA key exchange)."""
        name = lib.SSL_get0_group_name(self.ssl)
        return bytes(ffi.string(name)) if name else None

    @property
    def sni(self) -> bytes | None:
        return server_name(self.ssl)

    @property
    def alpn(self) -> bytes | None:
        data = ffi.new("unsigned char **")
        size = ffi.new("unsigned int *")
        lib.SSL_get0_alpn_selected(self.ssl, data, size)
        return ffi.buffer(data[0], size[0])[:] or None if size[0] else None

    @property
    def resumed(self) -> bool:
        return bool(lib.SSL_session_reused(self.ssl))

    @property
    def session_id(self) -> bytes:
        session = lib.SSL_get_session(self.ssl)
        if session == ffi.NULL:
            return b""
        size = lib.i2d_SSL_SESSION(session, ffi.NULL)
        if size <= 0:
            return b""
        memory = ffi.new("unsigned char[]", size)
        lib.i2d_SSL_SESSION(session, ffi.new("unsigned char **", memory))
        return session_id_of(ffi.buffer(memory, size)[:])

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        if not self._peer_known:
            pointer = lib.SSL_get_peer_certificate(self.ssl)
            if pointer:
                owned = ffi.gc(pointer, lib.X509_free)
                self._peer = _certificate(owned)
            self._peer_known = True
        return self._peer

    @property
    def client_certificate_sent(self) -> bool:
        # A resumed session carries the certificate of its first handshake: known, but not presented here.
        return not self.resumed and self.peer_certificate is not None

    @property
    def own_certificate(self) -> x509.Certificate | None:
        pointer = lib.SSL_get_certificate(self.ssl)
        return _certificate(pointer) if pointer else None

    @property
    def verify_error(self) -> int:
        return int(lib.SSL_get_verify_result(self.ssl))

    @property
    def certificate_error(self) -> int:
        return 0 if self.findings is None else self.findings.error

    @property
    def authority_error(self) -> int:
        return 0 if self.findings is None else self.findings.ca_error

    @property
    def authority_error_depth(self) -> int:
        return 0 if self.findings is None else self.findings.ca_depth


def server_name(ssl: Any) -> bytes | None:
    """The name that the client asked for (SNI), None when it asked for none."""
    name = lib.SSL_get_servername(ssl, 0)
    return bytes(ffi.string(name)) if name else None


def _text(pointer: Any) -> str:
    return str(ffi.string(pointer).decode("ascii", "replace")) if pointer else ""


def _certificate(pointer: Any) -> x509.Certificate | None:
    """OpenSSL's certificate as ours, by way of DER."""
    encoded = encoded_certificate(pointer)
    return None if encoded is None else x509.load_der_x509_certificate(encoded)


def session_id_of(encoded: bytes) -> bytes:
    """The session id in OpenSSL's DER form of a session: SEQUENCE { version, protocol, cipher, session id, ... }.

    Empty for bytes of another form: the binding has no call that says it directly.
    """
    at, _ = _element(encoded, 0)
    for _ in range(3):
        start, size = _element(encoded, at)
        at = start + size
    start, size = _element(encoded, at)
    if at >= len(encoded) or encoded[at] != 0x04:
        return b""
    return encoded[start : start + size]


def _element(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of a DER element starts, and its length."""
    if at + 2 > len(data):
        return len(data), 0
    first = data[at + 1]
    if first < 0x80:
        return at + 2, first
    more = first & 0x7F
    return at + 2 + more, int.from_bytes(data[at + 2 : at + 2 + more], "big")
