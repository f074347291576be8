"""From the facts of a failed handshake to its cause, by tables: first bytes, end of input, alert, verification, OpenSSL's reason.

Where OpenSSL's own reason misleads, the parsed ClientHello decides, against what the line allows: up to TLS 1.2 it says "no
shared cipher" for a missing group and for a missing signature algorithm too, and "callback failed" for an unknown name. Pure:
everything is in the record. Reasons are numbers of OpenSSL's sslerr.h; they have been the same since OpenSSL 1.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headgate.base.handshake_causes import Cause
from headgate.tls.alerts import CLOSE_NOTIFY
from headgate.tls.handshake_offers import (
    can_sign,
    chose_too_old,
    common_ciphers,
    fitting_keys,
    negotiated_version,
)
from headgate.wire.client_hello import KEY_SHARE, ClientHello, without_grease
from headgate.wire.http1.first_bytes import begins_request
from headgate.wire.proxy_protocol import SIGNATURE
from headgate.wire.tls_names import cipher_needs_group, group_name, is_old_group

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.line_facts import LineFacts, ShownCertificate

_HANDSHAKE_RECORD, _ALERT_RECORD, _SSLV2 = 0x16, 0x15, 0x80
_ECONNRESET, _EPIPE, _ETIMEDOUT = 104, 32, 110

#: Verification error -> (of a client's certificate, of a server's).
_Pair = tuple[Cause, Cause]
_EXPIRED: Final = (Cause.CLIENT_CERTIFICATE_EXPIRED, Cause.SERVER_CERTIFICATE_EXPIRED)
_NOT_YET: Final = (Cause.CLIENT_CERTIFICATE_NOT_YET_VALID, Cause.SERVER_CERTIFICATE_NOT_YET_VALID)
_CA_EXPIRED: Final = (Cause.CLIENT_CERTIFICATE_CA_EXPIRED, Cause.SERVER_CERTIFICATE_CA_EXPIRED)
_UNKNOWN_CA: Final = (Cause.CLIENT_CERTIFICATE_UNKNOWN_CA, Cause.SERVER_CERTIFICATE_UNKNOWN_CA)
_SELF_SIGNED: Final = (Cause.CLIENT_CERTIFICATE_SELF_SIGNED, Cause.SERVER_CERTIFICATE_SELF_SIGNED)
_REVOKED: Final = (Cause.CLIENT_CERTIFICATE_REVOKED, Cause.SERVER_CERTIFICATE_REVOKED)
_CRL_EXPIRED: Final = (Cause.CLIENT_CERTIFICATE_CRL_EXPIRED, Cause.SERVER_CERTIFICATE_CRL_EXPIRED)
_CRL_MISSING: Final = (Cause.CLIENT_CERTIFICATE_CRL_MISSING, Cause.SERVER_CERTIFICATE_CRL_MISSING)
_CRL_INVALID: Final = (Cause.CLIENT_CERTIFICATE_CRL_INVALID, Cause.SERVER_CERTIFICATE_CRL_INVALID)
_PURPOSE: Final = (Cause.CLIENT_CERTIFICATE_PURPOSE, Cause.SERVER_CERTIFICATE_PURPOSE)
_TOO_LONG: Final = (Cause.CLIENT_CERTIFICATE_CHAIN_TOO_LONG, Cause.SERVER_CERTIFICATE_CHAIN_TOO_LONG)
_WEAK: Final = (Cause.CLIENT_CERTIFICATE_WEAK, Cause.SERVER_CERTIFICATE_WEAK)
_NAME: Final = (Cause.CLIENT_CERTIFICATE_INVALID, Cause.SERVER_CERTIFICATE_NAME)
_INVALID: Final = (Cause.CLIENT_CERTIFICATE_INVALID, Cause.SERVER_CERTIFICATE_INVALID)
_BY_VERIFICATION: Final[dict[int, _Pair]] = {
    2: _UNKNOWN_CA, 20: _UNKNOWN_CA, 21: _UNKNOWN_CA, 19: _UNKNOWN_CA, 27: _UNKNOWN_CA, 18: _SELF_SIGNED,
    9: _NOT_YET, 10: _EXPIRED, 3: _CRL_MISSING, 33: _CRL_MISSING, 12: _CRL_EXPIRED, 22: _TOO_LONG,
    25: _TOO_LONG, 23: _REVOKED, 26: _PURPOSE, 62: _NAME, 64: _NAME, 66: _WEAK, 67: _WEAK, 68: _WEAK,
    **dict.fromkeys((5, 8, 11, 15, 16, 35, 36, 44, 54, 101), _CRL_INVALID),
}  # fmt: skip
#: Dates of a CA, not of the peer's own certificate.
_OF_DATES: Final = (9, 10)

_REJECTED: Final[dict[int, Cause]] = {
    42: Cause.CLIENT_REJECTED_BAD, 43: Cause.CLIENT_REJECTED_UNSUPPORTED, 44: Cause.CLIENT_REJECTED_REVOKED,
    45: Cause.CLIENT_REJECTED_EXPIRED, 46: Cause.CLIENT_REJECTED_UNKNOWN, 48: Cause.CLIENT_REJECTED_UNKNOWN_CA,
    49: Cause.CLIENT_REJECTED_ACCESS, 112: Cause.CLIENT_REJECTED_NAME, 113: Cause.CLIENT_REJECTED_STAPLE,
}  # fmt: skip
_EITHER_WAY: Final[dict[int, Cause]] = {
    40: Cause.PEER_REJECTED_PARAMETERS, 47: Cause.PEER_REJECTED_PARAMETERS, 109: Cause.PEER_REJECTED_PARAMETERS,
    110: Cause.PEER_REJECTED_PARAMETERS, 70: Cause.PEER_REJECTED_VERSION, 71: Cause.PEER_WANTS_STRONGER, 90: Cause.PEER_CANCELLED,
    86: Cause.FALLBACK_REFUSED, 100: Cause.RENEGOTIATION_REFUSED, 120: Cause.NO_COMMON_PROTOCOL,
}  # fmt: skip
_BEFORE_HELLO: Final = {90: Cause.PEER_CANCELLED}
_REFUSED: Final[dict[int, Cause]] = {
    70: Cause.NO_COMMON_VERSION, 112: Cause.SERVER_UNKNOWN_NAME, 116: Cause.SERVER_REQUIRES_CERTIFICATE,
    **dict.fromkeys((42, 43, 44, 45, 46, 48), Cause.SERVER_REJECTED_CERTIFICATE),
}  # fmt: skip
#: Alerts that say too little: our own certificate may show more.
_VAGUE: Final = (42, 46, 112)
_HANDSHAKE_FAILURE, _NO_RENEGOTIATION, _PROTOCOL_VERSION = 40, 100, 70
#: OpenSSL's WRONG_VERSION_NUMBER.
_WRONG_VERSION: Final = 267

_CLOSED: Final = {
    "connected": Cause.CLOSED_BEFORE_ANY_BYTE, "proxy-header": Cause.CLOSED_IN_PROXY_HEADER,
    "client-hello": Cause.CLOSED_IN_CLIENT_HELLO, "negotiation": Cause.CLOSED_AFTER_CLIENT_HELLO,
    "certificate": Cause.CLOSED_AFTER_CERTIFICATE, "established": Cause.CLOSED_WITHOUT_REQUEST,
}  # fmt: skip
_RESET: Final = {
    "connected": Cause.RESET_BEFORE_ANY_BYTE, "proxy-header": Cause.RESET_IN_PROXY_HEADER,
    "client-hello": Cause.RESET_IN_CLIENT_HELLO, "negotiation": Cause.RESET_AFTER_CLIENT_HELLO,
    "certificate": Cause.RESET_AFTER_CERTIFICATE, "established": Cause.CLOSED_WITHOUT_REQUEST,
}  # fmt: skip
_TIMEOUT: Final = {
    "connected": Cause.TIMEOUT_BEFORE_ANY_BYTE, "proxy-header": Cause.TIMEOUT_IN_PROXY_HEADER,
    "client-hello": Cause.TIMEOUT_IN_CLIENT_HELLO, "negotiation": Cause.TIMEOUT_AFTER_CLIENT_HELLO,
    "certificate": Cause.TIMEOUT_AFTER_CERTIFICATE, "established": Cause.CLOSED_WITHOUT_REQUEST,
}  # fmt: skip
#: Where we are the client, our hello is sent whole before anything is waited for.
_OUTGOING: Final = {"connected": "negotiation", "client-hello": "negotiation"}


def diagnose(record: HandshakeRecord) -> Cause:
    """The cause of a failed handshake; `Cause.NONE` for one that did not fail, `Cause.UNKNOWN` for what no table knows."""
    for judge in _JUDGES:
        found = judge(record)
        if found is not None:
            return found
    return Cause.UNKNOWN


def _of_success(record: HandshakeRecord) -> Cause | None:
    failed = record.error_number or record.errno or record.closed or record.timeout or record.alert is not None or record.error
    return Cause.NONE if record.completed and not failed else None


def _of_first_bytes(record: HandshakeRecord) -> Cause | None:
    """What came is no TLS: whatever else happened, that is why."""
    data = record.first_bytes
    if record.outgoing or not data or record.step.value == "proxy-header" or data[0] in (_HANDSHAKE_RECORD, _ALERT_RECORD):
        return None
    if data[:6] == b"PROXY " or data[:12] == SIGNATURE:
        return Cause.PROXY_HEADER_UNEXPECTED
    if begins_request(data):
        return Cause.PLAIN_HTTP
    if data[0] & _SSLV2 and data[2:3] == b"\x01":
        return Cause.SSLV2_HELLO
    return Cause.NOT_TLS


def _of_alert(record: HandshakeRecord) -> Cause | None:
    alert = record.alert
    if alert is None:
        return None
    if alert == CLOSE_NOTIFY:
        return _CLOSED[_step(record)]
    if record.outgoing:
        return _refused(record, alert)
    if before_hello(record):
        return _BEFORE_HELLO.get(alert, Cause.PEER_ALERT)  # it can't be about anything of ours
    if record.completed and record.version != "TLSv1.3" and alert in (_HANDSHAKE_FAILURE, _NO_RENEGOTIATION):
        # Up to TLS 1.2 a client has accepted all before it said its Finished: what it did not get is another handshake.
        return Cause.RENEGOTIATION_REFUSED
    if alert == _PROTOCOL_VERSION and chose_too_old(record):
        return Cause.NO_COMMON_VERSION
    if alert in _VAGUE:
        return _seen_on_certificate(record) or _REJECTED[alert]
    return _REJECTED.get(alert) or _EITHER_WAY.get(alert) or Cause.PEER_ALERT


def before_hello(record: HandshakeRecord) -> bool:
    """Whether all that a client has said is an alert."""
    return record.alert is not None and record.step.value == "connected" and not record.outgoing


def _refused(record: HandshakeRecord, alert: int) -> Cause:
    """By a server."""
    line = record.line
    if alert == _HANDSHAKE_FAILURE and _step(record) == "certificate" and line is not None and not line.certificates:
        return Cause.SERVER_REQUIRES_CERTIFICATE  # how servers say it before TLS 1.3
    return _REFUSED.get(alert) or _EITHER_WAY.get(alert) or Cause.PEER_ALERT


def _seen_on_certificate(record: HandshakeRecord) -> Cause | None:
    """What is plainly wrong with the certificate that was shown."""
    line, name = record.line, record.name
    if line is None or not line.certificates:
        return None
    if any(one.not_after and one.not_after < record.at for one in line.certificates):
        return Cause.CLIENT_REJECTED_EXPIRED
    if name and not any(one.covers(name.lower().rstrip(".")) for one in line.certificates):
        return Cause.CLIENT_REJECTED_NAME
    return None


def _step(record: HandshakeRecord) -> str:
    step = record.step.value
    return _OUTGOING.get(step, step) if record.outgoing else step


def _of_header(record: HandshakeRecord) -> Cause | None:
    """The PROXY header that the line expects is wrong."""
    if not record.header:
        return None
    data = record.first_bytes
    begun = data[:6] == b"PROXY "[: len(data)] or data[:12] == SIGNATURE[: len(data)]
    return Cause.PROXY_HEADER_INVALID if begun else Cause.PROXY_HEADER_EXPECTED


def _of_end(record: HandshakeRecord) -> Cause | None:
    """The peer left, or took too long."""
    ended = record.timeout or record.closed or record.errno
    if ended and not record.outgoing and record.step.value == "negotiation" and record.hello is None:
        return Cause.MALFORMED_HELLO
    if record.timeout:
        return _TIMEOUT[_step(record)]
    if record.closed:
        return _CLOSED[_step(record)]
    if record.errno in (_ECONNRESET, _EPIPE):
        return _RESET[_step(record)]
    if record.errno == _ETIMEDOUT:
        return _TIMEOUT[_step(record)]
    return Cause.INTERNAL if record.errno else None


def _of_reason(record: HandshakeRecord) -> Cause | None:
    found = _BY_REASON.get(record.error_number)
    return found(record) if callable(found) else found


def _of_refused_hello(record: HandshakeRecord) -> Cause | None:
    """A reason that no row names, while there was only a ClientHello to be read: something in it can't be right."""
    read_hello = record.step.value in ("client-hello", "negotiation") and not record.outgoing
    return Cause.MALFORMED_HELLO if record.error_number and read_hello else None


_JUDGES: Final = (_of_success, _of_header, _of_first_bytes, _of_alert, _of_end, _of_reason, _of_refused_hello)


# --- by OpenSSL's reason ---


def _verification(record: HandshakeRecord) -> Cause:
    findings = record.findings
    error = record.verify_failure
    pair = _BY_VERIFICATION.get(error, _INVALID)
    if error in _OF_DATES and findings is not None and findings.depth:
        pair = _CA_EXPIRED
    return pair[record.outgoing]


def _no_version(record: HandshakeRecord) -> Cause:
    hello = record.hello
    if hello is not None and max(without_grease(hello.versions), default=0) <= 0x0300:
        return Cause.SSLV3_HELLO
    return Cause.NO_COMMON_VERSION


def _no_certificate(record: HandshakeRecord) -> Cause:
    """The callback that chooses a certificate said no."""
    line = record.line
    if line is not None and not line.strict_sni and line.certificates:
        return Cause.INTERNAL
    return Cause.NO_CERTIFICATE_FOR_NAME if record.name else Cause.NO_NAME_SENT


def _malformed(record: HandshakeRecord) -> Cause:
    later = record.outgoing or record.step.value in ("certificate", "established")
    return Cause.MALFORMED_MESSAGE if later else Cause.MALFORMED_HELLO


def _bad_signature(record: HandshakeRecord) -> Cause:
    return Cause.BAD_RECORD if record.outgoing else Cause.CLIENT_CERTIFICATE_PROOF


def _not_tls(record: HandshakeRecord) -> Cause:
    """A record of an unknown version: from a client that speaks TLS as `_of_first_bytes` sees it, a broken one.

    Or an alert about the version that was chosen, in a record of the version that the client wants.
    """
    if record.error_number == _WRONG_VERSION and chose_too_old(record):
        return Cause.NO_COMMON_VERSION
    return Cause.NOT_TLS if record.outgoing else _malformed(record)


def _no_cipher(record: HandshakeRecord) -> Cause:
    """OpenSSL says "no shared cipher" up to TLS 1.2 when any of cipher, key type, group and signature algorithm is missing."""
    hello, line = record.hello, record.line
    if hello is None or line is None or not record.allowed:
        return Cause.NO_COMMON_CIPHER
    version, common = negotiated_version(hello, line.versions), common_ciphers(hello, record)
    if version == "TLSv1.3" or not common:
        return Cause.NO_COMMON_CIPHER
    keys = line.certificates
    fitting = fitting_keys(line, common)
    if keys and not fitting:
        # Clients leave out the ciphers too that their signatures don't fit.
        silent = hello.signature_algorithms and keys and not can_sign(hello, line)
        return Cause.NO_COMMON_SIGNATURE_ALGORITHM if silent else Cause.NO_COMMON_CIPHER
    if keys and version == "TLSv1.2" and not can_sign(hello, replace(line, certificates=fitting)):
        return Cause.NO_COMMON_SIGNATURE_ALGORITHM
    return Cause.NO_COMMON_CIPHER if _has_group(hello, line, common, fitting) else Cause.NO_COMMON_GROUP


def _has_group(hello: ClientHello, line: LineFacts, common: list[str], keys: tuple[ShownCertificate, ...]) -> bool:
    """Whether the groups leave any of the common cipher suites up to TLS 1.2 that goes with one of our keys.

    OpenSSL agrees on none that needs a group with a client that names none, though RFC 8422 section 4 lets servers choose then.
    """
    named = {group_name(one) for one in hello.groups}
    exchanges = any(is_old_group(one) for one in named.intersection(line.groups))
    usable = [one for one in common if exchanges or not cipher_needs_group(one)]
    # Up to TLS 1.2 the groups are also the curves of the certificates that a client verifies (RFC 8422 section 5.1).
    known = [one for one in keys if not one.curve or one.curve in named]
    return bool(fitting_keys(replace(line, certificates=tuple(known)), usable)) or (bool(usable) and not line.certificates)


def _no_key_share(record: HandshakeRecord) -> Cause:
    """TLS 1.3 finds no key share: there is no common group, or the client sent none for any (RFC 8446 section 9.2)."""
    hello, line = record.hello, record.line
    if hello is None or line is None or KEY_SHARE in hello.extensions or negotiated_version(hello, line.versions) != "TLSv1.3":
        return Cause.NO_COMMON_GROUP
    named = {group_name(one) for one in hello.groups}
    return Cause.NO_COMMON_GROUP if named and named.isdisjoint(line.groups) else Cause.MISSING_EXTENSION


def _no_signature(record: HandshakeRecord) -> Cause:
    """For our certificate, or in what a client's certificate is asked for with, which is our own fault."""
    return Cause.NO_COMMON_SIGNATURE_ALGORITHM if record.line is None or record.line.can_ask else Cause.CONFIGURATION


_Found = Cause | Callable[["HandshakeRecord"], Cause]


def _reasons() -> dict[int, _Found]:
    families: tuple[tuple[_Found, tuple[int, ...]], ...] = (
        (_no_version, (258, 396, 166, 420, 191, 259)),
        (_no_cipher, (193,)),
        (_no_key_share, (101,)),
        (Cause.NO_COMMON_GROUP, (295, 410, 378, 315)),
        (_no_signature, (118,)),
        (Cause.NO_COMMON_SIGNATURE_ALGORITHM, (376, 297, 333, 370)),
        (Cause.NO_COMMON_PROTOCOL, (235,)),
        (_no_certificate, (234, 226, 275)),
        (Cause.FALLBACK_REFUSED, (373,)),
        (Cause.KEY_TOO_WEAK, (394, 241)),
        (Cause.CLIENT_CERTIFICATE_MISSING, (199,)),
        (_verification, (134,)),
        (_bad_signature, (123, 220, 264, 265)),
        (Cause.PLAIN_HTTP, (156, 155)),
        (_not_tls, (267, 252, 443, 317, 292)),
        (Cause.RECORD_TOO_LARGE, (146, 198, 150, 152, 404, 140, 194)),
        (_malformed, (
            159, 160, 271, 110, 240, 163, 157, 151, 153, 115, 108, 131, 135, 137, 162, 213, 227, 298, 300, 303, 306, 319, 320,
            332, 335, 384, 102, 132, 227, 111, 187, 215, 257, 280, 340, 341, 342, 343,
        )),
        (Cause.UNEXPECTED_MESSAGE, (244, 245, 262, 133, 103, 100, 145, 154, 260, 182, 293, 109, 205, 409, 246)),
        (Cause.BAD_RECORD, (281, 147, 129, 149)),
        (Cause.MISSING_EXTENSION, (310, 209, 112, 279, 290)),
        (Cause.RENEGOTIATION_REFUSED, (339, 345)),
        (Cause.EARLY_DATA_REFUSED, (164, 178, 233, 222, 231)),
        (Cause.RESUMPTION_FAILED, (253, 219, 114, 223, 272, 210, 197, 218, 277)),
        (Cause.UNSAFE_PEER, (338, 104, 337, 336)),
        (Cause.SERVER_WRONG_CHOICE, (261, 266, 217, 248, 214, 263, 383)),
        (Cause.CONFIGURATION, (
            179, 177, 190, 165, 168, 169, 170, 171, 221, 381, 230, 161, 181, 183, 397, 398, 399, 288, 311, 331, 377,
        )),
        (Cause.INTERNAL, (268, 269, 274, 313, 327, 130)),
    )  # fmt: skip
    return {number: found for found, numbers in families for number in numbers}


_BY_REASON: Final = _reasons()
