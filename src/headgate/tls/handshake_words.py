"""Words of the sentences of `handshake_advice`: lines, versions, certificates and names, as people are told of them.

Pure: everything is in the record. What peers have sent is shown escaped and cut short, so that it can't forge log lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509

from headgate.plan.fetches.certificate_names import readable
from headgate.tls.alerts import alert_name

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.line_facts import ShownCertificate

_MOST = 4
_LONGEST = 100
VERSIONS: Final = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
KEYS: Final = {"rsa": "RSA", "ecdsa": "ECDSA", "dsa": "DSA", "eddsa": "Ed25519"}


def peer_kind(record: HandshakeRecord) -> str:
    return "server" if record.outgoing else "client"


def place(record: HandshakeRecord, option: str = "") -> str:
    """`haproxy.cfg:14`, or what it is a line of; of an option that a line of a crt-list has, the place of that line."""
    location = record.line.place_of(option) if record.line is not None else None
    if location is not None:
        return location.short
    return "the server line" if record.outgoing else "the bind line"


def on_line(record: HandshakeRecord, option: str = "") -> str:
    """Where to write an option: where it stands now."""
    line = record.line
    if line is not None and line.listed is not None and line.is_listed(option):
        return f"on {line.listed.location.short}"
    if line is not None and line.is_global(option):
        return "in the global section"
    return "on that server line" if record.outgoing else "on that bind line"


def listed(names: Iterable[str], most: int = _MOST) -> str:
    """`a, b and c`, `a, b, c, d and 3 more`."""
    names = [*names]
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def spoken(name: str) -> str:
    return name.replace("TLSv", "TLS ")


def plural(word: str, names: Sequence[str]) -> str:
    """`the group P-256`, `the groups P-256 and P-384`."""
    return f"the {word}{'' if len(names) == 1 else 's'} {listed(names)}"


def version_list(names: Sequence[str]) -> str:
    """`TLS 1.0 and 1.1`."""
    return "TLS " + listed([one.removeprefix("TLSv") for one in names], 6)


def allowed_versions(names: Sequence[str]) -> str:
    """`TLS 1.2 and up`, `TLS 1.0 to TLS 1.2`, `TLS 1.3 only`, `TLS 1.0, 1.2 and 1.3`."""
    if not names:
        return "no version"
    if len(names) <= VERSIONS.index(names[-1]) - VERSIONS.index(names[0]):
        return version_list(names)
    lowest, highest = spoken(names[0]), spoken(names[-1])
    if names[-1] == VERSIONS[-1]:
        return f"{lowest} and up" if len(names) > 1 else f"{lowest} only"
    return f"{lowest} to {highest}" if len(names) > 1 else f"{lowest} only"


def printable(text: str) -> str:
    """What a peer sent, for a message: no control characters, no line ends, and not too long."""
    shown = "".join([one if " " <= one <= "~" else "?" for one in text[:_LONGEST]])
    return shown + "..." if len(text) > _LONGEST else shown


def asked_name(record: HandshakeRecord) -> str:
    name = record.name
    return f"the name {printable(name)!r}" if name else "no name"


def day_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def alert_behind(record: HandshakeRecord) -> str:
    """` (alert unknown_ca)` behind what the peer did; nothing where it sent none."""
    return f" (alert {alert_name(record.alert)})" if record.alert is not None else ""


def our_certificates(record: HandshakeRecord) -> tuple[ShownCertificate, ...]:
    return record.line.certificates if record.line is not None else ()


def shown_certificates(record: HandshakeRecord) -> str:
    """`the certificate site.pem`, of which the client has seen one."""
    paths = listed([one.path for one in our_certificates(record)])
    return f"the certificate {paths}" if paths else "our certificate"


def key_kinds(record: HandshakeRecord) -> str:
    return listed(dict.fromkeys(KEYS.get(one.kind, one.kind) for one in our_certificates(record)))


def _told(record: HandshakeRecord, tell: Callable[[x509.Certificate], str], unknown: str) -> str:
    """What is to be told of the certificate that something is wrong with; `unknown` where that can't be read."""
    findings = record.findings
    if findings is None or not findings.certificate:
        return unknown
    try:
        return tell(x509.load_der_x509_certificate(findings.certificate))
    except ValueError:
        return unknown


def subject(record: HandshakeRecord) -> str:
    """`the client's certificate "CN=alice"`, or that of the CA above it that something is wrong with."""
    whose = f"the {peer_kind(record)}'s certificate"
    depth = record.findings.depth if record.findings is not None else 0

    def tell(certificate: x509.Certificate) -> str:
        name = printable(readable(certificate.subject))
        return f'the CA certificate "{name}", {depth} above its own,' if depth else f'{whose} "{name}"'

    return _told(record, tell, whose)


def issuer(record: HandshakeRecord) -> str:
    return _told(record, lambda one: f'its issuer "{printable(readable(one.issuer))}"', "its issuer")


def dates(record: HandshakeRecord, *, end: bool) -> str:
    if end:
        return _told(record, lambda one: f" on {one.not_valid_after_utc:%Y-%m-%d}", "")
    return _told(record, lambda one: f" before {one.not_valid_before_utc:%Y-%m-%d}", "")


def expected_name(record: HandshakeRecord) -> str:
    """What the server's certificate must be valid for."""
    return record.expected.decode("ascii", "backslashreplace")


def presented(record: HandshakeRecord) -> str:
    """`: it is for a.example and b.example`."""
    findings = record.findings
    if findings is None or not findings.certificate:
        return ""
    try:
        extensions = x509.load_der_x509_certificate(findings.certificate).extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return ": it has no names"
    names = [*found.get_values_for_type(x509.DNSName), *(str(one) for one in found.get_values_for_type(x509.IPAddress))]
    return f": it is for {listed([printable(one) for one in names])}" if names else ": it has no names"


def ca_file(record: HandshakeRecord) -> str:
    line = record.line
    return f"ca-file {line.ca_file}" if line is not None and line.ca_file else "ca-file"


def crl_file(record: HandshakeRecord) -> str:
    line = record.line
    return f"crl-file {line.crl_file}" if line is not None and line.crl_file else "crl-file"


def article(word: str) -> str:
    return f"an {word}" if word[:1] in "AEIORu" else f"a {word}"
