"""What to tell a person about a failed handshake: one or two sentences in terms of this configuration, with the option to write.

One row of a table for each cause; a cause without a row of its own gets its meaning from the list. Pure: everything is in the
record.
What peers have sent is shown escaped and cut short, so that it can't forge log lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509

from headgate.base.handshake_causes import Cause, similar_failures
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


def _no_version(record: HandshakeRecord) -> str:
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


def _sslv3(record: HandshakeRecord) -> str:
    return (
        f"The client speaks SSLv3 at most, which is broken and which this TLS library no longer contains; {_where(record)} allows"
        f" {_allowed(record.line.versions if record.line is not None else ())}. The client must be updated."
    )


def _sslv2(record: HandshakeRecord) -> str:
    return (
        "The client greets in the form of SSLv2, as very old programs and scanners do. It must be updated: nothing can be set"
        " here."
    )


def _no_cipher(record: HandshakeRecord) -> str:
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


def _no_group(record: HandshakeRecord) -> str:
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


def _no_signature(record: HandshakeRecord) -> str:
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


def _no_protocol(record: HandshakeRecord) -> str:
    ours = _listed(record.line.alpn) if record.line is not None else ""
    hello = record.hello
    theirs = _listed([printable(one.decode("latin-1")) for one in hello.alpn]) if hello is not None else ""
    offers = f"The client offers the ALPN protocols {theirs}" if theirs else f"The {_peer(record)} speaks none of ours"
    return f"{offers}; {_where(record)} has `alpn {ours.replace(' and ', ',').replace(', ', ',')}`. Add one of the peer's to it."


def _no_certificate(record: HandshakeRecord) -> str:
    line = record.line
    near = line.near(record.name) if line is not None and line.near is not None else ()
    known = f" Names most like it: {_listed(near)}." if near else ""
    return (
        f"The client asks for {_name(record)}, which no certificate of {_where(record)} matches, and strict-sni is set.{known}"
        f" Add a certificate for it, or remove `strict-sni` to answer with the default one."
    )


def _no_name(record: HandshakeRecord) -> str:
    return (
        f"The client names no host (SNI), and {_where(record)} has strict-sni: very old clients, health checks and scanners do"
        " that."
        " Let checks send the name, or remove `strict-sni`."
    )


def _fallback(record: HandshakeRecord) -> str:
    return (
        "The client says that it speaks more than it offers now (TLS_FALLBACK_SCSV): an earlier attempt with a newer version was"
        " disturbed, by a box between or by an attacker. Nothing is to be changed here."
    )


# --- certificates ---


def _rejected(what: str, remedy: str) -> Callable[[HandshakeRecord], str]:
    def write(record: HandshakeRecord) -> str:
        alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
        return f"The client {what.format(shown=_shown(record), name=_name(record))}{alert}.{remedy.format(where=_where(record))}"

    return write


def _rejected_ca(record: HandshakeRecord) -> str:
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


def _rejected_name(record: HandshakeRecord) -> str:
    names = _listed(dict.fromkeys(name for one in _certificates(record) for name in one.names))
    valid = f" is valid for {names}" if names else " is for another name"
    asked = f"asked for {_name(record)}" if record.name else "asked for no name"
    alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
    return (
        f"The client {asked} and rejects {_shown(record)}, which{valid}{alert}. Add `crt` with a certificate for it on"
        f" {_where(record)}."
    )


def _rejected_expired(record: HandshakeRecord) -> str:
    old = [one for one in _certificates(record) if one.not_after and one.not_after < record.at]
    alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
    if old:
        return f"The client rejects the certificate {old[0].path}{alert}: it has expired on {_day(old[0].not_after)}. Renew it."
    return (
        f"The client says that {_shown(record)} has expired{alert}; by our clock it has not: look at its chain, and at both"
        " clocks."
    )


def _rejected_bad(record: HandshakeRecord) -> str:
    early = [one for one in _certificates(record) if one.not_before > record.at]
    if early:
        alert = f" (alert {alert_name(record.alert)})" if record.alert is not None else ""
        day = _day(early[0].not_before)
        return (
            f"The client rejects the certificate {early[0].path}{alert}: it is not valid before {day}. Use an older one until"
            " then."
        )
    return _rejected(
        "finds {shown} bad", " With many clients that means the name: compare what they ask for with the names in it.",
    )(record)


def _missing(record: HandshakeRecord) -> str:
    return (
        f"The client sent no certificate, and {_where(record)} has `verify required` with {_ca_file(record)}. Install one of"
        " that CA in"
        " the client, or write `verify optional` and decide in rules with ssl_c_used."
    )


def _client_certificate(text: str) -> Callable[[HandshakeRecord], str]:
    """Advice about the peer's certificate: `{subject}` is it, or the CA certificate that the trouble is with."""

    def write(record: HandshakeRecord) -> str:
        filled = text.format(
            peer=_peer(record), subject=_subject(record), issuer=_issuer(record), ca_file=_ca_file(record), where=_where(record),
            crl_file=_crl_file(record), until=_dates(record, end=True), since=_dates(record, end=False), on=_on(record),
            name=record.name or (record.line.verify_host if record.line is not None else ""), presented=_presented(record),
        )  # fmt: skip
        return filled[:1].upper() + filled[1:]

    return write


# --- the end of input ---


def _left(record: HandshakeRecord) -> str:
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


def _plain_http(record: HandshakeRecord) -> str:
    if record.outgoing:
        return f"The server answers in plain HTTP. Remove `ssl` {_on(record)}, or use the server's TLS port."
    return (
        f"The client speaks plain HTTP to the TLS port of {_where(record)}. Give it an https:// address, or add a bind line"
        " without"
        " `ssl` on another port, with `http-request redirect scheme https`."
    )


def _not_tls(record: HandshakeRecord) -> str:
    if record.outgoing:
        start = printable(record.first_bytes.splitlines()[0].decode("latin-1")) if record.first_bytes else ""
        said = f" (it begins with {start!r})" if start else ""
        return f"The server does not speak TLS on this port{said}. Remove `ssl` {_on(record)}, or use the server's TLS port."
    start = printable(record.first_bytes[:16].decode("latin-1"))
    return f"What the client sent is not TLS (it begins with {start!r}); {_where(record)} has `ssl`. A wrong port, or a scanner."


def _header_expected(record: HandshakeRecord) -> str:
    return (
        f"{_where(record)} has `accept-proxy`, and the client began without a PROXY protocol header. Let the proxy in front"
        " send one"
        " (send-proxy), or remove `accept-proxy`."
    )


def _header_unexpected(record: HandshakeRecord) -> str:
    return (
        f"The client sent a PROXY protocol header to {_where(record)}, which expects none. Add `accept-proxy` to it if a proxy"
        " that you"
        " trust is in front, or let that one not send it (no send-proxy)."
    )


def _header_invalid(record: HandshakeRecord) -> str:
    return f"The PROXY protocol header is not valid ({printable(record.header)}). See the proxy in front of {_where(record)}."


def _in_openssl_words(record: HandshakeRecord) -> str:
    """For what is wrong with the peer's messages: OpenSSL says it best."""
    return record.cause.meaning + (f" OpenSSL says: {record.error}." if record.error else "")


def _peer_alert(record: HandshakeRecord) -> str:
    name = alert_name(record.alert) if record.alert is not None else "unknown"
    chosen = f" {_version(record.version)} with {record.cipher} was chosen." if record.version and record.cipher else ""
    return (
        f"The {_peer(record)} ended the handshake with alert {name}:"
        f" {record.cause.meaning[0].lower()}{record.cause.meaning[1:]}{chosen}"
    )


def _configuration(record: HandshakeRecord) -> str:
    return f"{_where(record)} can't serve this ({record.error}). Look at its certificate, key, `ciphers` and `curves`."


_TOO_LONG = "the chain of {subject} is longer than its CAs allow ({where})."
_NO_TRUST = "{subject} is of a CA that {ca_file} ({where}) does not have: {issuer}."
_ADVICE: Final[dict[Cause, Callable[[HandshakeRecord], str]]] = {
    Cause.NO_COMMON_VERSION: _no_version,
    Cause.NO_COMMON_CIPHER: _no_cipher,
    Cause.NO_COMMON_GROUP: _no_group,
    Cause.NO_COMMON_SIGNATURE_ALGORITHM: _no_signature,
    Cause.NO_COMMON_PROTOCOL: _no_protocol,
    Cause.NO_CERTIFICATE_FOR_NAME: _no_certificate,
    Cause.NO_NAME_SENT: _no_name,
    Cause.FALLBACK_REFUSED: _fallback,
    Cause.CLIENT_REJECTED_UNKNOWN_CA: _rejected_ca,
    Cause.CLIENT_REJECTED_EXPIRED: _rejected_expired,
    Cause.CLIENT_REJECTED_NAME: _rejected_name,
    Cause.CLIENT_REJECTED_REVOKED: _rejected("says that {shown} is revoked", " Have it issued again and replace it."),
    Cause.CLIENT_REJECTED_BAD: _rejected_bad,
    Cause.CLIENT_REJECTED_UNSUPPORTED: _rejected("can't use {shown}", " Look at its key type, key usage and extended key usage."),
    Cause.CLIENT_REJECTED_UNKNOWN: _rejected(
        "does not accept {shown} and does not say why", " Java and browsers do this for an unknown CA, a missing intermediate"
        " or a name.",
    ),
    Cause.CLIENT_REJECTED_STAPLE: _rejected(
        "does not accept the OCSP response stapled to {shown}", " Look at `show ssl ocsp-response`.",
    ),
    Cause.CLIENT_REJECTED_ACCESS: _rejected("is not allowed to go on", ""),
    Cause.CLIENT_CERTIFICATE_MISSING: _missing,
    Cause.CLIENT_CERTIFICATE_EXPIRED: _client_certificate("{subject} has expired{until}: the client must renew it ({where})."),
    Cause.CLIENT_CERTIFICATE_NOT_YET_VALID: _client_certificate("{subject} is not valid{since}: compare the clocks ({where})."),
    Cause.CLIENT_CERTIFICATE_UNKNOWN_CA: _client_certificate(
        _NO_TRUST + " Add that CA to the file if its clients may come in; an intermediate CA may also be sent by the client.",
    ),
    Cause.CLIENT_CERTIFICATE_SELF_SIGNED: _client_certificate(
        "{subject} is self-signed and not in {ca_file} ({where}). Add it to that file to accept this one client.",
    ),
    Cause.CLIENT_CERTIFICATE_REVOKED: _client_certificate("{subject} is revoked by {crl_file} ({where})."),
    Cause.CLIENT_CERTIFICATE_CRL_EXPIRED: _client_certificate(
        "The CRL of {issuer} in {crl_file} ({where}) is out of date, so no certificate of that CA is accepted. Fetch a new one.",
    ),
    Cause.CLIENT_CERTIFICATE_CRL_MISSING: _client_certificate(
        "no CRL of {issuer} is in {crl_file} ({where}), so no certificate of that CA is accepted. Append one to the file.",
    ),
    Cause.CLIENT_CERTIFICATE_PURPOSE: _client_certificate(
        "{subject} is not meant for clients: its extended key usage must contain clientAuth ({where}).",
    ),
    Cause.CLIENT_CERTIFICATE_CHAIN_TOO_LONG: _client_certificate(_TOO_LONG),
    Cause.CLIENT_CERTIFICATE_WEAK: _client_certificate(
        "{subject} has a key or a signature that is too weak ({where}). Renew it, or write `ciphers DEFAULT:@SECLEVEL=0` {on}.",
    ),
    Cause.CLIENT_CERTIFICATE_CA_EXPIRED: _client_certificate("{subject} is not valid now ({ca_file}, {where}): renew that CA."),
    Cause.CLIENT_CERTIFICATE_INVALID: _client_certificate("{subject} is not accepted ({where})."),
    Cause.SERVER_CERTIFICATE_EXPIRED: _client_certificate("{subject} has expired{until}: the server must renew it ({where})."),
    Cause.SERVER_CERTIFICATE_NOT_YET_VALID: _client_certificate("{subject} is not valid{since}: compare the clocks ({where})."),
    Cause.SERVER_CERTIFICATE_UNKNOWN_CA: _client_certificate(
        _NO_TRUST + " Add that CA to the file, or let the server send its intermediate CA.",
    ),
    Cause.SERVER_CERTIFICATE_SELF_SIGNED: _client_certificate(
        "{subject} is self-signed and not in {ca_file} ({where}). Add it to that file to trust this server.",
    ),
    Cause.SERVER_CERTIFICATE_REVOKED: _client_certificate("{subject} is revoked by {crl_file} ({where})."),
    Cause.SERVER_CERTIFICATE_CRL_EXPIRED: _client_certificate(
        "the CRL of {issuer} in {crl_file} ({where}) is out of date: fetch a new one.",
    ),
    Cause.SERVER_CERTIFICATE_CRL_MISSING: _client_certificate("no CRL of {issuer} is in {crl_file} ({where}): append one."),
    Cause.SERVER_CERTIFICATE_PURPOSE: _client_certificate(
        "{subject} is not meant for servers: its extended key usage must contain serverAuth ({where}).",
    ),
    Cause.SERVER_CERTIFICATE_CHAIN_TOO_LONG: _client_certificate(_TOO_LONG),
    Cause.SERVER_CERTIFICATE_WEAK: _client_certificate("{subject} has a key or a signature that is too weak ({where})."),
    Cause.SERVER_CERTIFICATE_CA_EXPIRED: _client_certificate("{subject} is not valid now ({ca_file}, {where}): renew that CA."),
    Cause.SERVER_CERTIFICATE_NAME: _client_certificate(
        "{subject} is not valid for the name {name!r} that is verified{presented}. See `sni` and `verifyhost` ({where}).",
    ),
    Cause.SERVER_CERTIFICATE_INVALID: _client_certificate("{subject} is not accepted ({where})."),
    Cause.SERVER_REQUIRES_CERTIFICATE: lambda record: (
        f"The server requires a client certificate, and {_where(record)} has none. Add `crt` with one that it accepts."
    ),
    Cause.SERVER_REJECTED_CERTIFICATE: lambda record: (
        f"The server does not accept {_shown(record)} of {_where(record)} (alert {alert_name(record.alert or 0)}). Replace it."
    ),
    Cause.SERVER_UNKNOWN_NAME: lambda record: (
        f"The server does not serve {_name(record)}. See `sni` on {_where(record)}."
    ),
    Cause.PLAIN_HTTP: _plain_http,
    Cause.NOT_TLS: _not_tls,
    Cause.PROXY_HEADER_EXPECTED: _header_expected,
    Cause.PROXY_HEADER_UNEXPECTED: _header_unexpected,
    Cause.PROXY_HEADER_INVALID: _header_invalid,
    Cause.SSLV2_HELLO: _sslv2,
    Cause.SSLV3_HELLO: _sslv3,
    Cause.CONFIGURATION: _configuration,
    **dict.fromkeys(
        (
            Cause.PEER_REJECTED_PARAMETERS, Cause.PEER_REJECTED_VERSION, Cause.PEER_WANTS_STRONGER, Cause.PEER_CANCELLED,
            Cause.PEER_ALERT,
        ),
        _peer_alert,
    ),
    **dict.fromkeys(
        (
            Cause.MALFORMED_HELLO, Cause.RECORD_TOO_LARGE, Cause.MALFORMED_MESSAGE, Cause.UNEXPECTED_MESSAGE, Cause.BAD_RECORD,
            Cause.MISSING_EXTENSION, Cause.RENEGOTIATION_REFUSED, Cause.EARLY_DATA_REFUSED, Cause.RESUMPTION_FAILED,
            Cause.UNSAFE_PEER, Cause.SERVER_WRONG_CHOICE, Cause.KEY_TOO_WEAK, Cause.CLIENT_CERTIFICATE_PROOF, Cause.INTERNAL,
            Cause.UNKNOWN,
        ),
        _in_openssl_words,
    ),
    **dict.fromkeys(
        (
            Cause.CLOSED_BEFORE_ANY_BYTE, Cause.RESET_BEFORE_ANY_BYTE, Cause.CLOSED_IN_PROXY_HEADER, Cause.CLOSED_IN_CLIENT_HELLO,
            Cause.CLOSED_AFTER_CLIENT_HELLO, Cause.CLOSED_AFTER_CERTIFICATE, Cause.RESET_IN_PROXY_HEADER,
            Cause.RESET_IN_CLIENT_HELLO, Cause.RESET_AFTER_CLIENT_HELLO, Cause.RESET_AFTER_CERTIFICATE,
            Cause.TIMEOUT_IN_PROXY_HEADER, Cause.TIMEOUT_BEFORE_ANY_BYTE, Cause.TIMEOUT_IN_CLIENT_HELLO,
            Cause.TIMEOUT_AFTER_CLIENT_HELLO, Cause.TIMEOUT_AFTER_CERTIFICATE,
        ),
        _left,
    ),
}  # fmt: skip
