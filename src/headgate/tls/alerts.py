"""TLS alerts: names, those in bytes that were never handed to OpenSSL, and which one OpenSSL sends for an error of its own.

What OpenSSL sends can only be watched through callbacks that each handshake would pay for; it follows from the reason of the
error, so a table says it.
"""

from __future__ import annotations

from typing import Final

#: Alert descriptions (RFC 8446 section 6, RFC 5246 section 7.2).
ALERTS: Final = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow",
    30: "decompression_failure", 40: "handshake_failure", 41: "no_certificate", 42: "bad_certificate",
    43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
    60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
    86: "inappropriate_fallback", 90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
    110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 114: "bad_certificate_hash_value", 115: "unknown_psk_identity",
    116: "certificate_required", 117: "general_error", 120: "no_application_protocol", 121: "ech_required",
}  # fmt: skip

_ALERT_RECORD: Final = 21
_RECORD_HEADER: Final = 5
CLOSE_NOTIFY: Final = 0


def alert_name(number: int) -> str:
    """`unknown_ca` for 48; the number where it has no name."""
    return ALERTS.get(number) or str(number)


def find_alert(data: bytes) -> int | None:
    """The last alert in clear among whole TLS records: what a peer said before it left, still unread in the socket.

    Args:
        data: bytes that begin with a record; a broken end is ignored.

    Returns:
        Its number, a close_notify only when there is nothing else; None without any.
    """
    found: int | None = None
    at = 0
    while len(data) >= at + _RECORD_HEADER:
        length = data[at + 3] << 8 | data[at + 4]
        body = data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        if data[at] == _ALERT_RECORD and data[at + 1] == 3 and length == 2 == len(body) and (found is None or body[1]):
            found = body[1]
        at += _RECORD_HEADER + length
    return found


#: OpenSSL's reason -> the alert that it sends, as watched with OpenSSL 4.0. Reasons that are not here: none is sent.
_SENT: Final = {
    258: 70, 396: 70, 292: 70,  # unsupported protocol, version too low, bad legacy version
    193: 40, 101: 40, 118: 40,  # no shared cipher, no suitable key share, no suitable signature algorithm
    376: 40,  # no shared signature algorithms
    181: 40,  # no ciphers available
    234: 112, 226: 112,  # the callback for names, under strict-sni
    235: 120,  # no application protocol
    373: 86,  # inappropriate fallback
    294: 50, 159: 50, 271: 50, 110: 50,  # the peer left in a message; length mismatch; bad packet; bad extension
    160: 50, 183: 50,  # length too short, no ciphers specified
    152: 47, 108: 47,  # excessive message size, bad key share
    232: 47, 342: 47,  # invalid maximum fragment length, required compression algorithm missing
    336: 50, 337: 40,  # renegotiation encoding error, renegotiation mismatch
    146: 22, 198: 22,  # data length too long, packet length too long
    244: 10, 245: 10,  # unexpected message, unexpected record
    310: 109, 209: 109, 112: 109,  # missing psk kex modes, supported groups and signature algorithms extensions
    281: 20,  # decryption failed or bad record mac
    149: 51, 123: 51,  # digest check failed, bad signature
    339: 100,  # no renegotiation
    255: 47, 253: 47,  # binder does not verify
}  # fmt: skip
#: X509_V_ERR_* -> alert (what OpenSSL says about a peer's certificate).
_OF_VERIFICATION: Final = {
    9: 42, 10: 45, 11: 42, 12: 45, 18: 48, 19: 48, 20: 48, 21: 48, 2: 48, 3: 48, 22: 48, 23: 44, 26: 43, 24: 48, 79: 48, 25: 48,
    4: 51, 5: 51, 7: 51, 8: 51, 62: 42, 64: 42, 66: 42, 67: 42, 68: 42, 17: 80, 50: 40,
}  # fmt: skip
_VERIFY_FAILED: Final = 134
_NO_CERTIFICATE: Final = 199
_HANDSHAKE_FAILURE: Final = 40
_CERTIFICATE_REQUIRED: Final = 116
_CERTIFICATE_UNKNOWN: Final = 46


def alert_sent(reason: int, verify_error: int, *, tls13: bool) -> int | None:
    """The alert by which OpenSSL has ended a handshake.

    Args:
        reason: OpenSSL's reason code.
        verify_error: what was wrong with the peer's certificate.
        tls13: the version was TLS 1.3.
    """
    if reason == _VERIFY_FAILED:
        return _OF_VERIFICATION.get(verify_error, _CERTIFICATE_UNKNOWN)
    if reason == _NO_CERTIFICATE:
        return _CERTIFICATE_REQUIRED if tls13 else _HANDSHAKE_FAILURE
    return _SENT.get(reason)
