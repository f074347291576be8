"""What is known about a TLS connection, asked from OpenSSL only when a rule or a log line wants it.

Implements `plan.facts.TlsFacts`. Made once a handshake by the TLS channel, so making one costs an object and nothing more. What a
failed handshake leaves behind has the same face. Connections that ended before OpenSSL had anything to do with them have theirs
in `tls.unbegun`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from cryptography import x509

from headgate.base.connection_errors import ConnectionFailure
from headgate.tls.key_log import Secrets, secrets_of
from headgate.tls.openssl import CERTIFICATE_VERIFY_FAILED, SSL_session_reused, encoded_certificate, error_string, ffi, lib
from headgate.tls.session_der import encode_session, read_form
from headgate.tls.unbegun import NO_CIPHER

#: Longest form of a session that is looked at, bytes.
_SESSION_MOST: Final = 1 << 20
#: Longest Finished message (SHA-512) and longest master secret (SSL_MAX_MASTER_KEY_LENGTH and TLS 1.3's SHA-384).
_LONGEST_FINISHED: Final = 64
_LONGEST_KEY: Final = 64
_RANDOM: Final = 32
#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_MISMATCHES: Final = frozenset({62, 64})



class CertificateNames(Protocol):
    """Knows what the configuration calls a certificate: the context that made the connection."""

    def certificate_name(self, certificate: x509.Certificate) -> str:
        """Its name as `show ssl cert` has it, "" when it is none of ours."""


class Findings(Protocol):
    """What the verification of a peer met, ignored or not.

    Attributes:
        error: number of the first error of the peer's own certificate, 0 for none.
        ca_error, ca_depth: of those above it, and how far above.
        leaf: the peer's own certificate, DER; OpenSSL forgets it when the handshake fails.
    """

    error: int
    ca_error: int
    ca_depth: int
    leaf: bytes | None


class ConnectionFacts:
    """Facts of one connection after its handshake, or of the handshake that failed; they stay true after it is closed.

    Attributes:
        ssl: OpenSSL's connection, kept alive until the exchange that it belongs to was logged.
        established: the handshake was completed.
        error: OpenSSL's packed code of the first error met, 0 for none.
        findings: what verification met, None when nobody took notes: then there is OpenSSL's verdict only.
        early: early data was received and handed on, and the handshake is not over (`ssl_fc_has_early`).
        early_received: early data was received (`ssl_fc_early_rcvd`); where we are the client, ours by the server.
        secrets: of the connection's keys, by their label; None unless `tune.ssl.keylog` is on.
    """

    __slots__ = (
        "_broken", "_names", "_outgoing", "_peer", "_peer_known", "_resumed", "early", "early_received", "error", "established",
        "findings", "secrets", "ssl",
    )

    def __init__(
        self, ssl: Any, names: CertificateNames | None = None, *, outgoing: bool = False, established: bool = True,
        error: int = 0, broken: bool = False,
    ) -> None:
        """
        Args:
            ssl: the `SSL*`.
            names: knows the names of our certificates.
            outgoing: we are the client.
            established: the handshake was completed.
            error: why it was not, as `error` above.
            broken: the connection was not closed but met an error of the system.
        """
        self.ssl = ssl
        self.established = established
        self.error = error
        self._broken = broken
        self.findings: Findings | None = None
        self.early = False
        self.early_received = False
        self.secrets: Secrets | None = secrets_of(ssl)
        self._names = names
        self._outgoing = outgoing
        self._peer: x509.Certificate | None = None
        self._peer_known = False
        self._resumed = -1  # not known yet

    def complete(self) -> None:
        """The handshake of a connection that has begun with early data is over."""
        self.early = False
        self.established = True

    @property
    def error_text(self) -> str:
        return error_string(self.error) if self.error else ""

    @property
    def failure(self) -> ConnectionFailure:
        """What to call the failure of this handshake (`fc_err`)."""
        if self.error and lib.ERR_GET_REASON(self.error) == CERTIFICATE_VERIFY_FAILED:
            return self._mismatch() if self._outgoing else self._distrust()
        if not self.error and not (self.server_random if self._outgoing else self.client_random):
            # Gone before it has said anything.
            return ConnectionFailure.SSL_ABORT if self._broken else ConnectionFailure.SSL_EMPTY
        return ConnectionFailure.SSL_HANDSHAKE

    def _distrust(self) -> ConnectionFailure:
        # Certificates are judged from the root down: an error of a CA that was not ignored is the last one.
        return ConnectionFailure.SSL_CRT_FAIL if self.certificate_error else ConnectionFailure.SSL_CA_FAIL

    def _mismatch(self) -> ConnectionFailure:
        """Servers' certificates: HAProxy tells only another name apart, by where the expected one came from."""
        if self.verify_error not in _MISMATCHES:
            return ConnectionFailure.SSL_HANDSHAKE
        return ConnectionFailure.SSL_MISMATCH if self.sni is None else ConnectionFailure.SSL_MISMATCH_SNI

    @property
    def version(self) -> str:
        """`TLSv1.3` and the like, in OpenSSL's words: TLS 1.0 is `TLSv1`, in HAProxy's logs and rules too."""
        if not self.established and not self.client_random:
            # OpenSSL would name the highest version that it was made for, whatever the peer wants.
            return ""
        return _text(lib.SSL_get_version(self.ssl))

    @property
    def cipher(self) -> str:
        cipher = lib.SSL_get_current_cipher(self.ssl)
        return _text(lib.SSL_CIPHER_get_name(cipher)) if cipher else NO_CIPHER

    @property
    def cipher_bits(self) -> int:
        cipher = lib.SSL_get_current_cipher(self.ssl)
        return int(lib.SSL_CIPHER_get_bits(cipher, ffi.NULL)) if cipher else 0

    @property
    def cipher_algorithm_bits(self) -> int:
        cipher = lib.SSL_get_current_cipher(self.ssl)
        if not cipher:
            return 0
        algorithm = ffi.new("int *")
        lib.SSL_CIPHER_get_bits(cipher, algorithm)
        return int(algorithm[0])

    def cipher_name(self, number: int) -> str:
        cipher = lib.SSL_CIPHER_find(self.ssl, number.to_bytes(2, "big"))
        if cipher == ffi.NULL:
            lib.ERR_clear_error()
            return ""
        return _text(lib.SSL_CIPHER_get_name(cipher))

    @property
    def group(self) -> bytes | None:
        """OpenSSL's name of the key exchange group, None when there was none (RSA key exchange)."""
        if not lib.SSL_get_session(self.ssl):
            return None  # OpenSSL would look for it there without looking whether it is there
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
        if not self.established:
            return bool(SSL_session_reused(self.ssl))
        if self._resumed < 0:
            self._resumed = int(SSL_session_reused(self.ssl))  # counters ask several times
        return self._resumed == 1

    # --- session and secrets ---

    @property
    def session_id(self) -> bytes:
        session = lib.SSL_get_session(self.ssl)
        encoded = None if session == ffi.NULL else encode_session(session, _SESSION_MOST)
        return b"" if encoded is None else read_form(encoded).session_id

    @property
    def session_key(self) -> bytes:
        session = lib.SSL_get_session(self.ssl)
        if session == ffi.NULL:
            return b""
        return _taken(lambda memory, size: lib.SSL_SESSION_get_master_key(session, memory, size), _LONGEST_KEY)

    @property
    def client_random(self) -> bytes:
        return self._random(lib.SSL_get_client_random)

    @property
    def server_random(self) -> bytes:
        return self._random(lib.SSL_get_server_random)

    def _random(self, take: Callable[[Any, Any, int], int]) -> bytes:
        found = _taken(lambda memory, size: take(self.ssl, memory, size), _RANDOM)
        return found if any(found) else b""

    @property
    def unique_id(self) -> bytes:
        # The first Finished message is the client's in a full handshake, and the server's where a session is resumed.
        ours = self.resumed is not self._outgoing
        take = lib.SSL_get_finished if ours else lib.SSL_get_peer_finished
        return _taken(lambda memory, size: take(self.ssl, memory, size), _LONGEST_FINISHED)

    # --- certificates ---

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        if not self._peer_known:
            pointer = lib.SSL_get_peer_certificate(self.ssl)
            if pointer:
                owned = ffi.gc(pointer, lib.X509_free)
                self._peer = _certificate(owned)
            elif self.findings is not None and self.findings.leaf is not None:
                self._peer = _parsed(self.findings.leaf)
            self._peer_known = True
        return self._peer

    @property
    def client_certificate_sent(self) -> bool:
        # A resumed session carries the certificate of its first handshake: known, but not presented here.
        return not self.resumed and self.peer_certificate is not None

    @property
    def peer_chain(self) -> Sequence[bytes]:
        # What a session remembers of it is the leaf only.
        return () if self.resumed else _stack(lib.SSL_get_peer_cert_chain(self.ssl))

    @property
    def root_certificate(self) -> x509.Certificate | None:
        if not self.established or self.verify_error:
            return None
        chain = _stack(lib.SSL_get0_verified_chain(self.ssl))
        return _parsed(chain[-1]) if chain else None

    @property
    def own_certificate(self) -> x509.Certificate | None:
        if not self.established and not self.server_random:
            return None  # the context has one, but it did not come to showing it
        pointer = lib.SSL_get_certificate(self.ssl)
        return _certificate(pointer) if pointer else None

    @property
    def own_certificate_name(self) -> bytes | None:
        certificate = self.own_certificate
        if certificate is None or self._names is None:
            return None
        return self._names.certificate_name(certificate).encode("utf-8", "surrogateescape") or None

    @property
    def verify_error(self) -> int:
        return int(lib.SSL_get_verify_result(self.ssl))

    @property
    def certificate_error(self) -> int:
        return self.verify_error if self.findings is None else self.findings.error

    @property
    def authority_error(self) -> int:
        return 0 if self.findings is None else self.findings.ca_error

    @property
    def authority_error_depth(self) -> int:
        return 0 if self.findings is None else self.findings.ca_depth


def _taken(take: Callable[[Any, int], int], most: int) -> bytes:
    """What a function of OpenSSL's that fills memory wrote there."""
    memory = ffi.new("unsigned char[]", most)
    return bytes(ffi.buffer(memory, min(take(memory, most), most))[:])


def _stack(stack: Any) -> list[bytes]:
    """The certificates of a stack, in DER."""
    if not stack:
        return []
    found = (encoded_certificate(lib.sk_X509_value(stack, number)) for number in range(lib.sk_X509_num(stack)))
    return [one for one in found if one is not None]


def server_name(ssl: Any) -> bytes | None:
    """The name that the client asked for (SNI), None when it asked for none."""
    name = lib.SSL_get_servername(ssl, 0)
    return bytes(ffi.string(name)) if name else None


def _text(pointer: Any) -> str:
    return str(ffi.string(pointer).decode("ascii", "replace")) if pointer else ""


def _certificate(pointer: Any) -> x509.Certificate | None:
    """OpenSSL's certificate as ours, by way of DER."""
    encoded = encoded_certificate(pointer)
    return None if encoded is None else _parsed(encoded)


def _parsed(encoded: bytes) -> x509.Certificate | None:
    """None for what OpenSSL takes and `cryptography` does not: peers send what they like."""
    try:
        return x509.load_der_x509_certificate(encoded)
    except ValueError:
        return None


