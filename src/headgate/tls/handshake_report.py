"""A handshake record as plain facts (whatever JSON can carry), for the runtime API, `headgate handshakes` and log formats.

Pure. What peers have sent is text without control characters here, and lists have an end: a ClientHello may offer thousands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from headgate.base.handshake_causes import Cause
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.alerts import alert_name
from headgate.tls.handshake_words import printable
from headgate.wire.client_hello import ClientHello, version_name, without_grease
from headgate.wire.fingerprints import ja3, ja4
from headgate.wire.tls_names import cipher_name, group_name, signature_name

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord

#: Entries of a list that are shown.
_MOST: Final = 100

Facts = dict[str, Any]


def record_facts(record: HandshakeRecord) -> Facts:
    """All that a record knows. Keys are there in every record; what is not known is None, "" or an empty list."""
    cause = record.cause
    hello = record.hello
    return {
        "number": record.number,
        "at": round(record.at, 3),
        "milliseconds": record.milliseconds,
        "frontend": record.proxy,
        "listener": record.line_name,
        "client": record.client.decode("ascii", "replace"),
        "client_port": record.client_port,
        "address": record.address.decode("ascii", "replace"),
        "port": record.port,
        "outgoing": record.outgoing,
        "result": "ok" if cause is Cause.NONE else "probe" if cause.probe else "failed",
        "cause": cause.code,
        "severity": cause.gravity.name.lower(),
        "blame": cause.blame.value,
        "advice": record.advice,
        "step": record.step.value,
        "ended_by": record.ended.value,
        "alert_received": alert_name(record.alert) if record.alert is not None else None,
        "alert_sent": alert_name(record.alert_sent) if record.alert_sent is not None else None,
        "openssl": {"number": record.error_number, "text": record.error},
        "verify": _verification(record),
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "sni": printable(record.name) or None,
        "offered": _offer(hello) if hello is not None else None,
        "allowed": _line(record),
        "chosen": {
            "version": record.version, "cipher": record.cipher, "group": record.group,
            "alpn": printable(record.alpn.decode("latin-1")), "resumed": record.resumed,
            "certificates": [one.path for one in record.line.certificates] if record.line is not None else [],
        },
    }  # fmt: skip


def _offer(hello: ClientHello) -> Facts:
    return {
        "versions": [version_name(one) for one in without_grease(hello.versions)[:_MOST]],
        "ciphers": [cipher_name(one) for one in without_grease(hello.ciphers)[:_MOST]],
        "groups": [group_name(one) for one in without_grease(hello.groups)[:_MOST]],
        "key_shares": [group_name(one) for one in without_grease(hello.key_shares)[:_MOST]],
        "signature_algorithms": [signature_name(one) for one in without_grease(hello.signature_algorithms)[:_MOST]],
        "alpn": [printable(one.decode("latin-1")) for one in hello.alpn[:_MOST]],
        "extensions": list(without_grease(hello.extensions)[:_MOST]),
        "grease": [f"0x{one:04x}" for one in hello.grease],
        "resumes": hello.has_ticket or hello.offers_psk,
        "early_data": hello.offers_early_data,
        "status_request": hello.wants_status,
        "ja3": ja3(hello),
        "ja4": ja4(hello),
    }


def _line(record: HandshakeRecord) -> Facts | None:
    line = record.line
    if line is None:
        return None
    return {
        "line": line.location.short if line.location is not None else None,
        "versions": list(line.versions),
        "ciphers": list(record.allowed[:_MOST]),
        "groups": list(line.groups),
        "alpn": list(line.alpn),
        "strict_sni": line.strict_sni,
        "requires_certificate": line.requires_certificate,
    }


def _verification(record: HandshakeRecord) -> Facts | None:
    findings = record.findings
    number = findings.fatal if findings is not None and findings.fatal else record.verify_error
    if not number:
        return None
    subject = ""
    if findings is not None and findings.certificate:
        try:
            subject = printable(readable(x509.load_der_x509_certificate(findings.certificate).subject))
        except ValueError:
            pass
    return {"error": number, "depth": findings.depth if findings is not None else 0, "subject": subject}
