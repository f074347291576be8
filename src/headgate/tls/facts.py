"""What is known about an established TLS connection, asked from OpenSSL only when a rule or a log line wants it.

Implements `plan.facts.TlsFacts`. Made once a handshake by the TLS channel, so making one costs an object and nothing more.
"""

from __future__ import annotations

from cryptography import x509
from OpenSSL import SSL

from headgate.tls.openssl import ffi, lib


class ConnectionFacts:
    """Facts of one connection after its handshake; they stay true after it is closed.

    Attributes:
        connection: the OpenSSL connection, kept alive until the exchange that it belongs to was logged.
    """

    __slots__ = ("_peer", "_peer_known", "connection")

    def __init__(self, connection: SSL.Connection) -> None:
        self.connection = connection
        self._peer: x509.Certificate | None = None
        self._peer_known = False

    @property
    def version(self) -> str:
        """`TLSv1.3` and the like; OpenSSL's `TLSv1` is `TLSv1.0` in HAProxy's logs."""
        name = self.connection.get_protocol_version_name()
        return "TLSv1.0" if name == "TLSv1" else name

    @property
    def cipher(self) -> str:
        return self.connection.get_cipher_name() or ""

    @property
    def cipher_bits(self) -> int:
        return self.connection.get_cipher_bits() or 0

    @property
    def group(self) -> bytes | None:
        """OpenSSL's name of the key exchange group, None when there was none (RSA key exchange)."""
        name = self.connection.get_group_name()
        return name.encode() if name else None

    @property
    def sni(self) -> bytes | None:
        return self.connection.get_servername()

    @property
    def alpn(self) -> bytes | None:
        return self.connection.get_alpn_proto_negotiated() or None

    @property
    def resumed(self) -> bool:
        return bool(lib.SSL_session_reused(self.connection._ssl))

    @property
    def session_id(self) -> bytes:
        session = lib.SSL_get_session(self.connection._ssl)
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
            self._peer = self.connection.get_peer_certificate(as_cryptography=True)
            self._peer_known = True
        return self._peer

    @property
    def client_certificate_sent(self) -> bool:
        # A resumed session carries the certificate of its first handshake: known, but not presented here.
        return not self.resumed and self.peer_certificate is not None

    @property
    def own_certificate(self) -> x509.Certificate | None:
        return self.connection.get_certificate(as_cryptography=True)

    @property
    def verify_error(self) -> int:
        return int(lib.SSL_get_verify_result(self.connection._ssl))


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
