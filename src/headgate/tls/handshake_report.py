"""A handshake record as plain facts (whatever JSON can carry), for the runtime API, `headgate handshakes` and log formats.

Pure. What peers have sent is text without control characters here, and lists have an end: a ClientHello may offer thousands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from headgate.base.handshake_causes import Cause
from headgate.plan.fetches.certificate_names import readable
from headgate.tls.alerts import alert_name
from headgate.tls.handshake_words import printable
from headgate.tls.openssl import verify_error_text
from headgate.wire.client_hello import ClientHello, version_name, without_grease
from headgate.wire.fingerprints import ja3, ja4
from headgate.wire.tls_names import cipher_name, group_name, signature_name

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord

#: Entries of a list that are shown.
_MOST: Final = 100
#: Bytes of a record as JSON: with what a log line has in front, it is to fit into `len 8192`.
_LONGEST: Final = 7680
#: Lists that are no longer than this don't become shorter.
_SHORT: Final = 64

Facts = dict[str, Any]


def record_facts(record: HandshakeRecord) -> Facts:
    """All that a record knows, no longer than a log line. Keys are there in every record; what is not known is None, "" or an
    empty list. Where a list is longer than what is shown, its last entry is `+<number> more`.
    """
    facts = _all_facts(record)
    _fit(facts, [part for key in ("offered", "allowed", "chosen") if (part := facts[key]) is not None])
    return facts


class _Listing:
    """The first entries of a list, and how many there are behind them."""

    __slots__ = ("_more", "_shown", "size")

    def __init__(self, values: Sequence[Any], name: Callable[[Any], Any] | None = None) -> None:
        first = values[:_MOST]
        self._shown = list(first) if name is None else [name(one) for one in first]
        self._more = len(values) - len(first)
        self.size = _size(self.written())

    def written(self) -> list[Any]:
        return [*self._shown, f"+{self._more} more"] if self._more else self._shown

    def shorten(self) -> None:
        """Show half as many."""
        gone = (len(self._shown) + 1) // 2
        self._more += gone
        del self._shown[-gone:]
        self.size = _size(self.written())


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=True))


def _fit(facts: Facts, parts: Sequence[Facts]) -> None:
    """Write lists into their parts, the longest ones shorter until all has room; and then the advice."""
    lists = [(part, key, value) for part in parts for key, value in part.items() if isinstance(value, _Listing)]
    for part, key, _ in lists:
        part[key] = ""
    room = _LONGEST - _size(facts)
    while sum(one.size for _, _, one in lists) > room:
        longest = max((one for _, _, one in lists), key=lambda one: one.size, default=None)
        if longest is None or longest.size <= _SHORT:
            break
        longest.shorten()
    for part, key, value in lists:
        part[key] = value.written()
    over = _size(facts) - _LONGEST
    if over > 0:
        advice = facts["advice"]
        facts["advice"] = advice[: max(len(advice) - over - 3, 0)] + "..."


def _all_facts(record: HandshakeRecord) -> Facts:
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
            "certificates": _Listing(record.line.certificates if record.line is not None else (), lambda one: one.path),
        },
    }  # fmt: skip


def _offer(hello: ClientHello) -> Facts:
    return {
        "versions": _Listing(without_grease(hello.versions), version_name),
        "ciphers": _Listing(without_grease(hello.ciphers), cipher_name),
        "groups": _Listing(without_grease(hello.groups), group_name),
        "key_shares": _Listing(without_grease(hello.key_shares), group_name),
        "signature_algorithms": _Listing(without_grease(hello.signature_algorithms), signature_name),
        "alpn": _Listing(hello.alpn, lambda one: printable(one.decode("latin-1"))),
        "extensions": _Listing(without_grease(hello.extensions)),
        "grease": _Listing(hello.grease, lambda one: f"0x{one:04x}"),
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
        "versions": _Listing(line.versions),
        "ciphers": _Listing(record.allowed),
        "groups": _Listing(line.groups),
        "alpn": _Listing(line.alpn),
        "strict_sni": line.strict_sni,
        "requires_certificate": line.requires_certificate,
    }


def _verification(record: HandshakeRecord) -> Facts | None:
    findings = record.findings
    number = record.verify_failure
    if not number:
        return None
    subject = ""
    if findings is not None and findings.certificate:
        try:
            subject = printable(readable(x509.load_der_x509_certificate(findings.certificate).subject))
        except ValueError:
            pass
    depth = findings.depth if findings is not None else 0
    return {"error": number, "text": verify_error_text(number), "depth": depth, "subject": subject}
