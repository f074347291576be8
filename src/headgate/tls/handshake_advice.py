"""What to tell a person about a failed handshake: one or two sentences in terms of this configuration, with the option to write.

One row of a table for each cause; a cause without a row of its own gets its meaning from the list. How the sentences are written
is in `handshake_sentences` and `handshake_mismatches`. Pure: everything is in the record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from headgate.base.handshake_causes import Cause, similar_failures
from headgate.tls.handshake_mismatches import (
    fallback,
    no_certificate,
    no_cipher,
    no_group,
    no_name,
    no_protocol,
    no_signature,
    no_version,
    sslv2,
    sslv3,
)
from headgate.tls.handshake_sentences import (
    client_certificate,
    configuration,
    crl_invalid,
    header_expected,
    header_invalid,
    header_unexpected,
    in_openssl_words,
    left,
    missing,
    not_tls,
    peer_alert,
    plain_http,
    rejected,
    rejected_bad,
    rejected_ca,
    rejected_expired,
    rejected_name,
    rejected_unknown,
    server_rejected_certificate,
    server_requires_certificate,
    server_unknown_name,
)

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord


def advise(record: HandshakeRecord) -> str:
    """The advice for a record; "" when nothing failed."""
    cause = record.cause
    if cause is Cause.NONE:
        return ""
    write = _ADVICE.get(cause)
    text = write(record) if write is not None else cause.meaning
    return text + _similar(record)


def _similar(record: HandshakeRecord) -> str:
    if record.similar < 2:
        return ""
    return f" {similar_failures(record.similar, record.sources)}"


_TOO_LONG = "the chain of {subject} is longer than its CAs allow ({where})."
_NO_TRUST = "{subject} is of a CA that {ca_file} ({where}) does not have: {issuer}."
_INVALID = "{subject} is not accepted ({where}). OpenSSL says: {words}."
_ADVICE: Final[dict[Cause, Callable[[HandshakeRecord], str]]] = {
    Cause.NO_COMMON_VERSION: no_version,
    Cause.NO_COMMON_CIPHER: no_cipher,
    Cause.NO_COMMON_GROUP: no_group,
    Cause.NO_COMMON_SIGNATURE_ALGORITHM: no_signature,
    Cause.NO_COMMON_PROTOCOL: no_protocol,
    Cause.NO_CERTIFICATE_FOR_NAME: no_certificate,
    Cause.NO_NAME_SENT: no_name,
    Cause.FALLBACK_REFUSED: fallback,
    Cause.CLIENT_REJECTED_UNKNOWN_CA: rejected_ca,
    Cause.CLIENT_REJECTED_EXPIRED: rejected_expired,
    Cause.CLIENT_REJECTED_NAME: rejected_name,
    Cause.CLIENT_REJECTED_REVOKED: rejected("says that {shown} is revoked", " Have it issued again and replace it."),
    Cause.CLIENT_REJECTED_BAD: rejected_bad,
    Cause.CLIENT_REJECTED_UNSUPPORTED: rejected("can't use {shown}", " Look at its key type, key usage and extended key usage."),
    Cause.CLIENT_REJECTED_UNKNOWN: rejected_unknown,
    Cause.CLIENT_REJECTED_STAPLE: rejected(
        "does not accept the OCSP response stapled to {shown}", " Look at `show ssl ocsp-response`.",
    ),
    Cause.CLIENT_REJECTED_ACCESS: rejected("is not allowed to go on", ""),
    Cause.CLIENT_CERTIFICATE_MISSING: missing,
    Cause.CLIENT_CERTIFICATE_EXPIRED: client_certificate("{subject} has expired{until}: the client must renew it ({where})."),
    Cause.CLIENT_CERTIFICATE_NOT_YET_VALID: client_certificate("{subject} is not valid{since}: compare the clocks ({where})."),
    Cause.CLIENT_CERTIFICATE_UNKNOWN_CA: client_certificate(
        _NO_TRUST + " Add that CA to the file if its clients may come in; an intermediate CA may also be sent by the client.",
    ),
    Cause.CLIENT_CERTIFICATE_SELF_SIGNED: client_certificate(
        "{subject} is self-signed and not in {ca_file} ({where}). Add it to that file to accept this one client.",
    ),
    Cause.CLIENT_CERTIFICATE_REVOKED: client_certificate("{subject} is revoked by {crl_file} ({where})."),
    Cause.CLIENT_CERTIFICATE_CRL_EXPIRED: client_certificate(
        "The CRL of {issuer} in {crl_file} ({where}) is out of date, so no certificate of that CA is accepted. Fetch a new one.",
    ),
    Cause.CLIENT_CERTIFICATE_CRL_MISSING: client_certificate(
        "no CRL of {issuer} is in {crl_file} ({where}), so no certificate of that CA is accepted. Append one to the file.",
    ),
    Cause.CLIENT_CERTIFICATE_CRL_INVALID: crl_invalid,
    Cause.CLIENT_CERTIFICATE_PURPOSE: client_certificate(
        "{subject} is not meant for clients: its extended key usage must contain clientAuth ({where}).",
    ),
    Cause.CLIENT_CERTIFICATE_CHAIN_TOO_LONG: client_certificate(_TOO_LONG),
    Cause.CLIENT_CERTIFICATE_WEAK: client_certificate(
        "{subject} has a key or a signature that is too weak ({where}). Renew it, or write `ciphers DEFAULT:@SECLEVEL=0` {on}.",
    ),
    Cause.CLIENT_CERTIFICATE_CA_EXPIRED: client_certificate("{subject} is not valid now ({ca_file}, {where}): renew that CA."),
    Cause.CLIENT_CERTIFICATE_INVALID: client_certificate(_INVALID),
    Cause.SERVER_CERTIFICATE_EXPIRED: client_certificate("{subject} has expired{until}: the server must renew it ({where})."),
    Cause.SERVER_CERTIFICATE_NOT_YET_VALID: client_certificate("{subject} is not valid{since}: compare the clocks ({where})."),
    Cause.SERVER_CERTIFICATE_UNKNOWN_CA: client_certificate(
        _NO_TRUST + " Add that CA to the file, or let the server send its intermediate CA.",
    ),
    Cause.SERVER_CERTIFICATE_SELF_SIGNED: client_certificate(
        "{subject} is self-signed and not in {ca_file} ({where}). Add it to that file to trust this server.",
    ),
    Cause.SERVER_CERTIFICATE_REVOKED: client_certificate("{subject} is revoked by {crl_file} ({where})."),
    Cause.SERVER_CERTIFICATE_CRL_EXPIRED: client_certificate(
        "the CRL of {issuer} in {crl_file} ({where}) is out of date: fetch a new one.",
    ),
    Cause.SERVER_CERTIFICATE_CRL_MISSING: client_certificate("no CRL of {issuer} is in {crl_file} ({where}): append one."),
    Cause.SERVER_CERTIFICATE_CRL_INVALID: crl_invalid,
    Cause.SERVER_CERTIFICATE_PURPOSE: client_certificate(
        "{subject} is not meant for servers: its extended key usage must contain serverAuth ({where}).",
    ),
    Cause.SERVER_CERTIFICATE_CHAIN_TOO_LONG: client_certificate(_TOO_LONG),
    Cause.SERVER_CERTIFICATE_WEAK: client_certificate("{subject} has a key or a signature that is too weak ({where})."),
    Cause.SERVER_CERTIFICATE_CA_EXPIRED: client_certificate("{subject} is not valid now ({ca_file}, {where}): renew that CA."),
    Cause.SERVER_CERTIFICATE_NAME: client_certificate(
        "{subject} is not valid for the name {name!r} that is verified{presented}. See `sni` and `verifyhost` ({where}).",
    ),
    Cause.SERVER_CERTIFICATE_INVALID: client_certificate(_INVALID),
    Cause.SERVER_REQUIRES_CERTIFICATE: server_requires_certificate,
    Cause.SERVER_REJECTED_CERTIFICATE: server_rejected_certificate,
    Cause.SERVER_UNKNOWN_NAME: server_unknown_name,
    Cause.PLAIN_HTTP: plain_http,
    Cause.NOT_TLS: not_tls,
    Cause.PROXY_HEADER_EXPECTED: header_expected,
    Cause.PROXY_HEADER_UNEXPECTED: header_unexpected,
    Cause.PROXY_HEADER_INVALID: header_invalid,
    Cause.SSLV2_HELLO: sslv2,
    Cause.SSLV3_HELLO: sslv3,
    Cause.CONFIGURATION: configuration,
    **dict.fromkeys(
        (
            Cause.PEER_REJECTED_PARAMETERS, Cause.PEER_REJECTED_VERSION, Cause.PEER_WANTS_STRONGER, Cause.PEER_CANCELLED,
            Cause.PEER_ALERT,
        ),
        peer_alert,
    ),
    **dict.fromkeys(
        (
            Cause.MALFORMED_HELLO, Cause.RECORD_TOO_LARGE, Cause.MALFORMED_MESSAGE, Cause.UNEXPECTED_MESSAGE, Cause.BAD_RECORD,
            Cause.MISSING_EXTENSION, Cause.RENEGOTIATION_REFUSED, Cause.EARLY_DATA_REFUSED, Cause.RESUMPTION_FAILED,
            Cause.UNSAFE_PEER, Cause.SERVER_WRONG_CHOICE, Cause.KEY_TOO_WEAK, Cause.CLIENT_CERTIFICATE_PROOF, Cause.INTERNAL,
            Cause.UNKNOWN,
        ),
        in_openssl_words,
    ),
    **dict.fromkeys(
        (
            Cause.CLOSED_BEFORE_ANY_BYTE, Cause.RESET_BEFORE_ANY_BYTE, Cause.CLOSED_IN_PROXY_HEADER, Cause.CLOSED_IN_CLIENT_HELLO,
            Cause.CLOSED_AFTER_CLIENT_HELLO, Cause.CLOSED_AFTER_CERTIFICATE, Cause.RESET_IN_PROXY_HEADER,
            Cause.RESET_IN_CLIENT_HELLO, Cause.RESET_AFTER_CLIENT_HELLO, Cause.RESET_AFTER_CERTIFICATE,
            Cause.TIMEOUT_IN_PROXY_HEADER, Cause.TIMEOUT_BEFORE_ANY_BYTE, Cause.TIMEOUT_IN_CLIENT_HELLO,
            Cause.TIMEOUT_AFTER_CLIENT_HELLO, Cause.TIMEOUT_AFTER_CERTIFICATE,
        ),
        left,
    ),
}  # fmt: skip
