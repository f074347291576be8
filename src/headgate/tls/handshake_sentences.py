"""The sentences of `handshake_advice`: a function for each cause, or family of causes, that has something of its own to say.

Which cause has which is in the table there. Pure: everything is in the record. What peers have sent is shown escaped and cut
short, so that it can't forge log lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509

from headgate.base.handshake_causes import Cause
from headgate.tls.alerts import alert_name
from headgate.tls.handshake_diagnosis import common_ciphers, known_maximum, negotiated_version, offered_versions
from headgate.wire.client_hello import without_grease
from headgate.wire.tls_names import cipher_key_type, cipher_name, group_name, is_tls13_cipher, signature_key_type, signature_name

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.line_facts import ShownCertificate

_MOST = 4
_LONGEST = 100
_VERSIONS: Final = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_KEYS: Final = {"rsa": "RSA", "ecdsa": "ECDSA", "dsa": "DSA", "eddsa": "Ed25519"}
_STEPS: Final = {
    "connected": "before it sent a byte", "proxy-header": "in the PROXY header", "client-hello": "in its ClientHello",
    "negotiation": "after its ClientHello", "certificate": "after our certificate", "established": "after the handshake",
}  # fmt: skip
_OUTGOING_STEPS: Final = {
    "connected": "before we sent anything", "client-hello": "after our ClientHello", "certificate": "after its certificate",
}  # fmt: skip


# --- words ---


def _peer(record: HandshakeRecord) -> str:
    return "server" if record.outgoing else "client"


def _where(record: HandshakeRecord) -> str:
    """`haproxy.cfg:14`, or what it is a line of."""
    if record.location is not None:
        return record.location.short
    return "the server line" if record.outgoing else "the bind line"


def _on(record: HandshakeRecord) -> str:
    return "on that server line" if record.outgoing else "on that bind line"


def _listed(names: Iterable[str], most: int = _MOST) -> str:
    """`a, b and c`, `a, b, c, d and 3 more`."""
    names = [*names]
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _version(name: str) -> str:
    return name.replace("TLSv", "TLS ")


def _plural(word: str, names: Sequence[str]) -> str:
    """`the group P-256`, `the groups P-256 and P-384`."""
    return f"the {word}{'' if len(names) == 1 else 's'} {_listed(names)}"


def _versions(names: Sequence[str]) -> str:
    """`TLS 1.0 and 1.1`."""
    return "TLS " + _listed([one.removeprefix("TLSv") for one in names], 6)


def _allowed(names: Sequence[str]) -> str:
    """`TLS 1.2 and up`, `TLS 1.0 to TLS 1.2`, `TLS 1.3 only`."""
    if not names:
        return "no version"
    lowest, highest = _version(names[0]), _version(names[-1])
    if names[-1] == _VERSIONS[-1]:
        return f"{lowest} and up" if len(names) > 1 else f"{lowest} only"
    return f"{lowest} to {highest}" if len(names) > 1 else f"{lowest} only"


def printable(text: str) -> str:
    """What a peer sent, for a message: no control characters, no line ends, and not too long."""
    shown = "".join([one if " " <= one <= "~" else "?" for one in text[:_LONGEST]])
    return shown + "..." if len(text) > _LONGEST else shown


def _name(record: HandshakeRecord) -> str:
    name = record.name
    return f"the name {printable(name)!r}" if name else "no name"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _certificates(record: HandshakeRecord) -> tuple[ShownCertificate, ...]:
    return record.line.certificates if record.line is not None else ()


def _shown(record: HandshakeRecord) -> str:
    """`the certificate site.pem`, of which the client has seen one."""
    paths = _listed([one.path for one in _certificates(record)])
    return f"the certificate {paths}" if paths else "our certificate"


def _key_kinds(record: HandshakeRecord) -> str:
    return _listed(dict.fromkeys(_KEYS.get(one.kind, one.kind) for one in _certificates(record))) or "another"


def _subject(record: HandshakeRecord) -> str:
    """`the client's certificate "CN=alice"`, or that of the CA above it that something is wrong with."""
    findings = record.findings
    if findings is None or not findings.certificate:
        return f"the {_peer(record)}'s certificate"
    try:
        certificate = x509.load_der_x509_certificate(findings.certificate)
        subject = printable(certificate.subject.rfc4514_string())
    except ValueError:
        return f"the {_peer(record)}'s certificate"
    if not findings.depth:
        return f"""the {_peer(record)}'s certificate "{subject}\""""
    return f'the CA certificate "{subject}", {findings.depth} above its own,'


def _issuer(record: HandshakeRecord) -> str:
    findings = record.findings
    if findings is not None and findings.certificate:
        try:
            issuer = x509.load_der_x509_certificate(findings.certificate).issuer.rfc4514_string()
        except ValueError:
            return "its issuer"
        return f'its issuer "{printable(issuer)}"'
    return "its issuer"


def _dates(record: HandshakeRecord, *, end: bool) -> str:
    findings = record.findings
    if findings is None or not findings.certificate:
        return ""
    try:
        certificate = x509.load_der_x509_certificate(findings.certificate)
    except ValueError:
        return ""
    moment = certificate.not_valid_after_utc if end else certificate.not_valid_before_utc
    return f" on {moment:%Y-%m-%d}" if end else f" before {moment:%Y-%m-%d}"


def _presented(record: HandshakeRecord) -> str:
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
    return f": it is for {_listed([printable(one) for one in names])}" if names else ": it has no names"


def _ca_file(record: HandshakeRecord) -> str:
    line = record.line
    return f"ca-file {line.ca_file}" if line is not None and line.ca_file else "ca-file"


def _crl_file(record: HandshakeRecord) -> str:
    line = record.line
    return f"crl-file {line.crl_file}" if line is not None and line.crl_file else "crl-file"


# --- nothing in common ---


def no_version(record: HandshakeRecord) -> str:
    peer = _peer(record)
    allowed = record.line.versions if record.line is not None else ()
    if record.outgoing:
        return (
            f"The server speaks none of the TLS versions that {_where(record)} allows ({_allowed(allowed)})."
            f" Lower `ssl-min-ver` {_on(record)}, or enable a newer version on the server."
        )
    hello = record.hello
    offered = offered_versions(hello) if hello is not None else ()
    known = [one for one in offered if one in _VERSIONS]
    if hello is not None and len(hello.versions) == 1 and known_maximum(hello):
        said = f"The {peer} offers {_version(offered[-1])} at most"  # it says no more than that
    else:
        said = f"The {peer} offers {_versions(offered)} only" if offered else f"The {peer} offers no common TLS version"
    text = f"{said}; {_where(record)} allows {_allowed(allowed)}."
    if not known:
        return text + " Nothing that this TLS library still speaks: the client must be updated."
    newest = known[-1]
    if allowed and _VERSIONS.index(newest) > _VERSIONS.index(allowed[-1]):
        return f"{text} To serve it anyway: `ssl-max-ver {newest}` {_on(record)}."
    old = _VERSIONS.index(newest) < 2
    more = " and `ciphers DEFAULT:@SECLEVEL=0`" if old else ""
    return f"{text} To serve it anyway: `ssl-min-ver {newest}` {_on(record)}{more}."


def sslv3(record: HandshakeRecord) -> str:
    return (
        f"The client speaks SSLv3 at most, which is broken and which this TLS library no longer contains; {_where(record)} allows"
        f" {_allowed(record.line.versions if record.line is not None else ())}. The client must be updated."
    )


def sslv2(record: HandshakeRecord) -> str:
    return (
        "The client greets in the form of SSLv2, as very old programs and scanners do. It must be updated: nothing can be set"
        " here."
    )


def no_cipher(record: HandshakeRecord) -> str:
    hello = record.hello
    if record.outgoing or hello is None:
        return (
            f"The {_peer(record)} accepts no cipher suite that {_where(record)} allows. See `ciphers` and `ciphersuites`"
            f" {_on(record)}."
        )
    newest = record.line is not None and negotiated_version(hello, record.line.versions) == "TLSv1.3"
    offered = [cipher_name(one) for one in without_grease(hello.ciphers)]
    offered = [one for one in offered if is_tls13_cipher(one) is newest and not one.endswith("_SCSV")]
    option = "ciphersuites" if newest else "ciphers"
    common = common_ciphers(hello, record)
    if common:  # of the wrong kind of key
        wanted = _listed(dict.fromkeys(_KEYS.get(cipher_key_type(one), "another") for one in common))
        return (
            f"The client and {_where(record)} have only ciphers for {wanted} keys in common ({_listed(common)}), and"
            f" {_shown(record)} has {_article(_key_kinds(record))} key. Add `crt` with {_article(wanted)} certificate for the"
            " same name."
        )
    what = f"offers {_listed(offered)}" if offered else f"offers no cipher suite of {'TLS 1.3' if newest else 'TLS 1.2 or older'}"
    add = f" To serve it anyway: add one of these to `{option}` {_on(record)}." if offered else ""
    return f"The client {what}, none of which {_where(record)} allows.{add}"


def _article(word: str) -> str:
    return f"an {word}" if word[:1] in "AEIOR" else f"a {word}"


def no_group(record: HandshakeRecord) -> str:
    hello = record.hello
    allowed = record.line.groups if record.line is not None else ()
    if hello is None:
        return (
            f"The {_peer(record)} supports no key exchange group of {_where(record)} ({_listed(allowed)}). See `curves`"
            f" {_on(record)}."
        )
    offered = [group_name(one) for one in without_grease(hello.groups)]
    add = "" if set(offered) & set(allowed) else next((one for one in offered if not one.startswith("0x")), "")
    remedies = [f"add {add} to `curves`"] if add else []
    text = f"The client supports {_plural('group', offered)}; {_where(record)} allows {_listed(allowed)}"
    curves = [one.curve for one in _certificates(record)]
    if record.line is not None and negotiated_version(hello, record.line.versions) != "TLSv1.3" and curves and all(
        curve and curve not in offered for curve in curves
    ):
        # RFC 8422 section 5.1: before TLS 1.3 the list is also that of the curves of certificates.
        text += f", and the key of {_shown(record)} is on {_listed(curves)}"
        remedies.append("add `crt` with an RSA certificate for the same name")
    return f"{text}. To serve it anyway: {' and '.join(remedies)} {_on(record)}." if remedies else f"{text}."


def no_signature(record: HandshakeRecord) -> str:
    hello = record.hello
    kinds = _key_kinds(record)
    if hello is None:
        return f"The {_peer(record)} accepts no signature that {_shown(record)} ({kinds}) can make."
    offered = without_grease(hello.signature_algorithms)
    names = _plural("signature algorithm", [signature_name(one) for one in offered])
    wanted = list(dict.fromkeys(_KEYS[kind] for one in offered if (kind := signature_key_type(one)) in ("rsa", "ecdsa")))
    wanted = [one for one in wanted if one not in kinds]
    remedy = f" Add `crt` with {_article(wanted[0])} certificate for the same name {_on(record)}." if wanted else ""
    return f"The client accepts {names} only, and {_shown(record)} has {_article(kinds)} key.{remedy}"


def no_protocol(record: HandshakeRecord) -> str:
    ours = _listed(record.line.alpn) if record.line is not None else ""
    hello = record.hello
    theirs = _listed([printable(one.decode("latin-1")) for one in hello.alpn]) if hello is not None else ""
    offers = f"The client offers the ALPN protocols {theirs}" if theirs else f"The {_peer(record)} speaks none of ours"
    return f"{offers}; {_where(record)} has `alpn {ours.replace(' and ', ',').replace(', ', ',')}`. Add one of the peer's to it."


def no_certificate(record: HandshakeRecord) -> str:
    line = record.line
    near = line.near(record.name) if line is not None and line.near is not None else ()
    known = f" Names most like it: {_listed(near)}." if near else ""
    return (
        f"The client asks for {_name(record)}, which no certificate of {_where(record)} matches, and strict-sni is set.{known}"
        f" Add a certificate for it, or remove `strict-sni` to answer with the default one."
    )


def no_name(record: HandshakeRecord) -> str:
    return (
        f"The client names no host (SNI), and {_where(record)} has strict-sni: very old clients, health checks and scanners do"
        " that. Let checks send the name, or remove `strict-sni`."
    )


def fallback(record: HandshakeRecord) -> str:
    return (
        "The client says that it speaks more than it offers now (TLS_FALLBACK_SCSV): an earlier attempt with a newer version was"
        " disturbed, by a box between or by an attacker. Nothing is to be changed here."
    )


# --- certificates ---


def rejected(what: str, remedy: str) -> Callable[[HandshakeRecord], str]:
    def write(record: HandshakeRecord) -> str:
        alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
        return f"The client {what.format(shown=_shown(record), name=_name(record))}{alert}.{remedy.format(where=_where(record))}"

    return write


def rejected_ca(record: HandshakeRecord) -> str:
    certificates = _certificates(record)
    alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
    text = f"The client does not know the CA of {_shown(record)}{alert}."
    if any(one.self_signed for one in certificates):
        return f"{text} It is self-signed: use one of a CA that clients trust, or give it to them."
    if certificates and not any(one.chain for one in certificates):
        return (
            f"{text} No intermediate CA is sent with it: if there is one, append it to the file (cat intermediate.pem >>"
            " site.pem)."
        )
    return (
        f"{text} Either the chain in the file is not the right one, or the client lacks the root: a private CA must be given to"
        " it."
    )


def rejected_name(record: HandshakeRecord) -> str:
    names = _listed(dict.fromkeys(name for one in _certificates(record) for name in one.names))
    valid = f" is valid for {names}" if names else " is for another name"
    asked = f"asked for {_name(record)}" if record.name else "asked for no name"
    alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
    return (
        f"The client {asked} and rejects {_shown(record)}, which{valid}{alert}. Add `crt` with a certificate for it on"
        f" {_where(record)}."
    )


def rejected_expired(record: HandshakeRecord) -> str:
    old = [one for one in _certificates(record) if one.not_after and one.not_after < record.at]
    alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
    if old:
        return f"The client rejects the certificate {old[0].path}{alert}: it has expired on {_day(old[0].not_after)}. Renew it."
    return (
        f"The client says that {_shown(record)} has expired{alert}; by our clock it has not: look at its chain, and at both"
        " clocks."
    )


def rejected_bad(record: HandshakeRecord) -> str:
    early = [one for one in _certificates(record) if one.not_before > record.at]
    if early:
        alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
        day = _day(early[0].not_before)
        return (
            f"The client rejects the certificate {early[0].path}{alert}: it is not valid before {day}. Use an older one until"
            " then."
        )
    return rejected(
        "finds {shown} bad", " With many clients that means the name: compare what they ask for with the names in it.",
    )(record)


def missing(record: HandshakeRecord) -> str:
    return (
        f"The client sent no certificate, and {_where(record)} has `verify required` with {_ca_file(record)}. Install one of"
        " that CA in the client, or write `verify optional` and decide in rules with ssl_c_used."
    )


def client_certificate(text: str) -> Callable[[HandshakeRecord], str]:
    """Advice about the peer's certificate: `{subject}` is it, or the CA certificate that the trouble is with."""

    def write(record: HandshakeRecord) -> str:
        filled = text.format(
            peer=_peer(record), subject=_subject(record), issuer=_issuer(record), ca_file=_ca_file(record), where=_where(record),
            crl_file=_crl_file(record), until=_dates(record, end=True), since=_dates(record, end=False), on=_on(record),
            name=record.name or (record.line.verify_host if record.line is not None else ""), presented=_presented(record),
        )  # fmt: skip
        return filled[:1].upper() + filled[1:]

    return write


# --- what servers say of us ---


def server_requires_certificate(record: HandshakeRecord) -> str:
    return f"The server requires a client certificate, and {_where(record)} has none. Add `crt` with one that it accepts."


def server_rejected_certificate(record: HandshakeRecord) -> str:
    return f"The server does not accept {_shown(record)} of {_where(record)} (alert {alert_name(record.alert or 0)}). Replace it."


def server_unknown_name(record: HandshakeRecord) -> str:
    return f"The server does not serve {_name(record)}. See `sni` on {_where(record)}."


# --- the end of input ---


def left(record: HandshakeRecord) -> str:
    step = record.step.value
    steps = _STEPS | _OUTGOING_STEPS if record.outgoing else _STEPS
    verb = "was silent" if record.timeout else "reset the connection" if record.errno else "closed the connection"
    waited = f" for {record.timeout:g} s" if record.timeout else ""
    got = f", {record.bytes_in} bytes received" if record.bytes_in >= 0 else ""
    text = f"The {_peer(record)} {verb} {steps.get(step, 'during the handshake')}{waited}{got}."
    return text + _LEFT.get(record.cause, "")


_SILENT: Final = " Clients that reject a certificate without saying so do this: look at its chain, name and dates."
_LEFT: Final = {
    Cause.CLOSED_AFTER_CERTIFICATE: _SILENT,
    Cause.RESET_AFTER_CERTIFICATE: _SILENT,
    Cause.TIMEOUT_AFTER_CERTIFICATE: " Large packets may be lost on the way (MTU), or it waits for its user.",
    Cause.TIMEOUT_BEFORE_ANY_BYTE: " Browsers keep spare connections, which `timeout client-hs` ends: harmless.",
    Cause.TIMEOUT_IN_CLIENT_HELLO: (
        " Packets may be lost on the way (MTU), or it holds connections open on purpose: `timeout client-hs` bounds that."
    ),
}


# --- what is spoken ---


def plain_http(record: HandshakeRecord) -> str:
    if record.outgoing:
        return f"The server answers in plain HTTP. Remove `ssl` {_on(record)}, or use the server's TLS port."
    return (
        f"The client speaks plain HTTP to the TLS port of {_where(record)}. Give it an https:// address, or add a bind line"
        " without `ssl` on another port, with `http-request redirect scheme https`."
    )


def not_tls(record: HandshakeRecord) -> str:
    if record.outgoing:
        start = printable(record.first_bytes.splitlines()[0].decode("latin-1")) if record.first_bytes else ""
        said = f" (it begins with {start!r})" if start else ""
        return f"The server does not speak TLS on this port{said}. Remove `ssl` {_on(record)}, or use the server's TLS port."
    start = printable(record.first_bytes[:16].decode("latin-1"))
    return f"What the client sent is not TLS (it begins with {start!r}); {_where(record)} has `ssl`. A wrong port, or a scanner."


def header_expected(record: HandshakeRecord) -> str:
    return (
        f"{_where(record)} has `accept-proxy`, and the client began without a PROXY protocol header. Let the proxy in front"
        " send one (send-proxy), or remove `accept-proxy`."
    )


def header_unexpected(record: HandshakeRecord) -> str:
    return (
        f"The client sent a PROXY protocol header to {_where(record)}, which expects none. Add `accept-proxy` to it if a proxy"
        " that you trust is in front, or let that one not send it (no send-proxy)."
    )


def header_invalid(record: HandshakeRecord) -> str:
    return f"The PROXY protocol header is not valid ({printable(record.header)}). See the proxy in front of {_where(record)}."


def in_openssl_words(record: HandshakeRecord) -> str:
    """For what is wrong with the peer's messages: OpenSSL says it best."""
    return record.cause.meaning + (f" OpenSSL says: {record.error}." if record.error else "")


def peer_alert(record: HandshakeRecord) -> str:
    name = alert_name(record.alert) if record.alert is not None else "unknown"
    chosen = f" {_version(record.version)} with {record.cipher} was chosen." if record.version and record.cipher else ""
    return (
        f"The {_peer(record)} ended the handshake with alert {name}:"
        f" {record.cause.meaning[0].lower()}{record.cause.meaning[1:]}{chosen}"
    )


def configuration(record: HandshakeRecord) -> str:
    return f"{_where(record)} can't serve this ({record.error}). Look at its certificate, key, `ciphers` and `curves`."
