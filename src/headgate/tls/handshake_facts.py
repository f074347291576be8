"""Fills handshake records from OpenSSL and the socket: once a success, in a few cheap calls; more is asked only after a failure.

Called by the TLS channel and by checks, which own the `SSL*`. Everything else about records is pure.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any, Final

from headgate.tls.alerts import alert_sent, find_alert
from headgate.tls.facts import server_name
from headgate.tls.handshake_record import Ended, HandshakeRecord, Step
from headgate.tls.openssl import (
    SSL_CIPHER_get_name,
    SSL_get0_alpn_selected,
    SSL_get0_group_name,
    SSL_get_current_cipher,
    SSL_get_session,
    SSL_get_version,
    SSL_session_reused,
    SSL_version,
    TlsError,
    encoded_certificate,
    ffi,
    lib,
    string,
)
from headgate.tls.session_der import TLS_1_3
from headgate.wire.client_hello import is_whole, looks_like_tls

#: What is read of an unread rest, to find an alert in it.
_REST: Final = 16384
_CIPHERS_MOST: Final = 256
_ALERT: Final = b"\x15"
_GONE: Final = (errno.EPIPE, errno.ECONNRESET)
#: Reasons for which OpenSSL ends a handshake while it answers the ClientHello: our certificate has not been sent yet.
_WHILE_NEGOTIATING: Final = frozenset({193, 376, 101, 295, 410, 118, 235, 234, 226, 373, 258, 396, 394, 310, 209, 112})

#: struct tcp_info of linux/tcp.h: tcpi_last_data_recv (ms ago), tcpi_bytes_received (a FIN counts as one), tcpi_bytes_sent.
_TCP_INFO: Final = struct.Struct("=52xI72xQ64xQ")

_random: Final = ffi.new("unsigned char[]", 32)
_NO_RANDOM: Final = bytes(32)
_protocol: Final = ffi.new("unsigned char **")
_protocol_length: Final = ffi.new("unsigned int *")



def note_success(record: HandshakeRecord, ssl: Any) -> None:
    """What was chosen. A handful of calls, since every handshake pays for them."""
    record.completed = True
    record.step = Step.ESTABLISHED
    version, cipher = SSL_get_version(ssl), SSL_get_current_cipher(ssl)
    record.version = _versions.get(version) or _known_version(version)
    record.cipher = _ciphers.get(cipher) or _known_cipher(cipher)
    _note_group(record, ssl)
    record.resumed = SSL_session_reused(ssl) == 1
    SSL_get0_alpn_selected(ssl, _protocol, _protocol_length)
    length = _protocol_length[0]
    if length:
        record.alpn = ffi.buffer(_protocol[0], length)[:]


def _note_group(record: HandshakeRecord, ssl: Any) -> None:
    group = SSL_get0_group_name(ssl)
    if group:
        name = string(group)
        record.group = _groups.get(name) or _known_group(name)


#: Names by pointers into tables of OpenSSL's that stay where they are.
_versions: Final[dict[Any, str]] = {}
_ciphers: Final[dict[Any, str]] = {}
#: Names of groups by their bytes: these belong to a context, and are gone with it.
_groups: Final[dict[bytes, str]] = {}


def _known_version(pointer: Any) -> str:
    name = _versions[pointer] = _version_name(pointer)
    return name


def _version_name(pointer: Any) -> str:
    """OpenSSL's `TLSv1` is `TLSv1.0` everywhere else."""
    name = _text(pointer)
    return "TLSv1.0" if name == "TLSv1" else name


def _known_cipher(pointer: Any) -> str:
    if not pointer:
        return ""
    name = _ciphers[pointer] = _text(SSL_CIPHER_get_name(pointer))
    return name


def _known_group(encoded: bytes) -> str:
    name = _groups[encoded] = encoded.decode("ascii", "replace")
    return name


def _text(pointer: Any) -> str:
    return str(string(pointer).decode("ascii", "replace"))


def note_failure(record: HandshakeRecord, ssl: Any, sock: socket.socket, error: TlsError) -> None:
    """What ended the handshake, and how far it had come.

    Args:
        record: knows whether it is outgoing, and the first bytes of a client.
        ssl: the connection, as the failing call left it.
        sock: still open: what the peer said before it left may lie in it unread.
        error: what the failing call says.
    """
    record.failed(error)
    if record.alert is None:
        if error.errno in _GONE:
            record.alert = find_alert(unread(sock)) or None
        elif record.first_bytes[:1] == _ALERT:
            record.alert = find_alert(record.first_bytes)  # in the place of a hello, it is no alert to OpenSSL
    record.sni = server_name(ssl)
    record.verify_error = lib.SSL_get_verify_result(ssl)
    record.step = _step(record, ssl)
    if record.step is Step.CERTIFICATE:
        record.version = _version_name(SSL_get_version(ssl))
        cipher = SSL_get_current_cipher(ssl)
        record.cipher = _text(SSL_CIPHER_get_name(cipher)) if cipher else ""
        if SSL_get_session(ssl):  # OpenSSL would look for the group there without looking whether it is there
            _note_group(record, ssl)
        if not record.outgoing:
            note_shown(record, ssl)
        if _is_done(record, ssl):
            record.step = Step.ESTABLISHED
    record.ended = Ended.PEER if record.alert is not None or error.eof or error.errno else Ended.PROXY
    if record.alert is None:
        record.alert_sent = alert_sent(error.number, record.verify_error, tls13=record.version == "TLSv1.3")
    record.allowed = _cipher_list(ssl)
    note_bytes(record, sock)
    if record.step is Step.CONNECTED and record.bytes_in > 0 and not _begun_with_alert(record):
        record.step = Step.CLIENT_HELLO


def note_shown(record: HandshakeRecord, ssl: Any) -> None:
    """Which of our certificates the client has seen: of those that a name has, OpenSSL chooses by what the client can use."""
    resumed = SSL_session_reused(ssl) == 1
    pointer = ffi.NULL if resumed else lib.SSL_get_certificate(ssl)
    record.showed(encoded_certificate(pointer) if pointer else None, resumed=resumed)


def _is_done(record: HandshakeRecord, ssl: Any) -> bool:
    """The client had said its last word, and went while we sent it session tickets: a layer-6 health check, for instance."""
    gone = record.errno in _GONE and record.alert is None and not record.outgoing
    return gone and record.version == "TLSv1.3" and lib.SSL_get_peer_finished(ssl, _random, 32) > 0


def _step(record: HandshakeRecord, ssl: Any) -> Step:
    lib.SSL_get_server_random(ssl, _random, 32)
    answered = ffi.buffer(_random, 32)[:] != _NO_RANDOM
    if record.outgoing:
        return Step.CERTIFICATE if answered else Step.CLIENT_HELLO
    if not record.first_bytes or _begun_with_alert(record):
        return Step.CONNECTED
    if not is_whole(record.first_bytes) or not looks_like_tls(record.first_bytes):
        return Step.CLIENT_HELLO
    # The server's random bytes are drawn while a cipher is chosen. With TLS 1.3 that may be for a HelloRetryRequest, which asks
    # for another ClientHello: the cipher is the connection's when there are keys for the certificate's message.
    if SSL_version(ssl) == TLS_1_3:
        answered = answered and bool(SSL_get_current_cipher(ssl))
    return Step.CERTIFICATE if answered and record.error_number not in _WHILE_NEGOTIATING else Step.NEGOTIATION


def _begun_with_alert(record: HandshakeRecord) -> bool:
    """Whether a client has sent an alert and no byte of a ClientHello."""
    return not record.outgoing and record.alert is not None and record.first_bytes[:1] == _ALERT


def unread(sock: socket.socket) -> bytes:
    """What the peer sent before it left. Linux keeps it readable behind a reset; only reading it says what it was."""
    rest = b""
    try:
        while len(rest) < _REST and (piece := sock.recv(_REST)):
            rest += piece
    except OSError:
        pass
    return rest


def note_bytes(record: HandshakeRecord, sock: socket.socket) -> None:
    """Bytes on the wire and when they came, where the system counts that (not on unix sockets)."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        idle, record.bytes_in, record.bytes_out = _TCP_INFO.unpack(info)
        record.idle = idle / 1000.0
        if record.closed and record.bytes_in:
            record.bytes_in -= 1
    except (OSError, struct.error):
        pass


def _cipher_list(ssl: Any) -> tuple[str, ...]:
    """All cipher suites that this connection could have used."""
    names = []
    for index in range(_CIPHERS_MOST):
        name = lib.SSL_get_cipher_list(ssl, index)
        if not name:
            break
        names.append(_text(name))
    return tuple(names)

