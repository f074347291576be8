"""The sentences of `handshake_advice`: a function for each cause, or family of causes, that has something of its own to say.

Which cause has which is in the table there. Pure: everything is in the record. What peers have sent is shown escaped and cut
short, so that it can't forge log lines.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from headgate.base.handshake_causes import Cause
from headgate.tls.alerts import alert_name
from headgate.tls.handshake_diagnosis import before_hello
from headgate.tls.handshake_words import (
    alert_behind,
    asked_name,
    ca_file,
    crl_file,
    dates,
    day_of,
    expected_name,
    issuer,
    listed,
    on_line,
    our_certificates,
    peer_kind,
    place,
    presented,
    printable,
    shown_certificates,
    spoken,
    subject,
)
from headgate.tls.openssl import verify_error_text

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord

_STEPS: Final = {
    "connected": "before it sent a byte", "proxy-header": "in the PROXY header", "client-hello": "in its ClientHello",
    "negotiation": "after its ClientHello", "certificate": "after our certificate", "established": "after the handshake",
}  # fmt: skip
_BEFORE_HELLO: Final = "before a ClientHello"
#: X509_V_ERR_CRL_NOT_YET_VALID.
_CRL_NOT_YET_VALID: Final = 11
#: What most clients can sign with, whatever the kind of their key.
_USUAL_SIGNATURES: Final = ("ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256")
_OUTGOING_STEPS: Final = {
    "connected": "before we sent anything", "client-hello": "after our ClientHello", "certificate": "after its certificate",
}  # fmt: skip


# --- certificates ---


def rejected(what: str, remedy: str) -> Callable[[HandshakeRecord], str]:
    def write(record: HandshakeRecord) -> str:
        alert = alert_behind(record)
        said = what.format(shown=shown_certificates(record), name=asked_name(record))
        return f"The client {said}{alert}.{remedy.format(where=place(record))}"

    return write


def rejected_ca(record: HandshakeRecord) -> str:
    likely = _likely_issuer(record) or (
        "Either the chain in the file is not the right one, or the client lacks the root: a private CA must be given to it."
    )
    return f"The client does not know the CA of {shown_certificates(record)}{alert_behind(record)}. {likely}"


def _likely_issuer(record: HandshakeRecord) -> str:
    """What is seen on our certificate that makes clients doubt its issuer; "" for nothing."""
    line, certificates = record.line, our_certificates(record)
    if line is not None and line.ca_sign_file is not None and certificates:
        return f"`generate-certificates` has made it: give the clients the CA of ca-sign-file {line.ca_sign_file}."
    if any(one.self_signed for one in certificates):
        return "It is self-signed: use one of a CA that clients trust, or give it to them."
    if certificates and not any(one.chain for one in certificates):
        file = shlex.quote(certificates[0].path)
        return f"No intermediate CA is sent with it: if there is one, append it to the file (cat intermediate.pem >> {file})."
    return ""


def rejected_unknown(record: HandshakeRecord) -> str:
    text = f"The client does not accept {shown_certificates(record)} and does not say why{alert_behind(record)}."
    likely = _likely_issuer(record)
    return f"{text}{likely and ' '}{likely} Java and browsers do this for an unknown CA, a missing intermediate or a name."


def rejected_name(record: HandshakeRecord) -> str:
    names = listed(dict.fromkeys(name for one in our_certificates(record) for name in one.names))
    valid = f" is valid for {names}" if names else " is for another name"
    asked = f"asked for {asked_name(record)}" if record.name else "asked for no name"
    alert = alert_behind(record)
    text = f"The client {asked} and rejects {shown_certificates(record)}, which{valid}{alert}."
    filtered = record.line.named_by if record.line is not None else None
    if filtered is not None and not any(one.covers(record.name.lower().rstrip(".")) for one in our_certificates(record)):
        # The filter goes before the names of whatever else there is.
        return f"{text} The filter on {filtered.short} gives it that name: put a certificate for the name on that line."
    return f"{text} Add `crt` with a certificate for it on {place(record)}."


def rejected_expired(record: HandshakeRecord) -> str:
    old = [one for one in our_certificates(record) if one.not_after and one.not_after < record.at]
    alert = alert_behind(record)
    if old:
        return f"The client rejects the certificate {old[0].path}{alert}: it has expired on {day_of(old[0].not_after)}. Renew it."
    return (
        f"The client says that {shown_certificates(record)} has expired{alert}; by our clock it has not: look at its chain, and"
        " at both clocks."
    )


def rejected_bad(record: HandshakeRecord) -> str:
    early = [one for one in our_certificates(record) if one.not_before > record.at]
    if early:
        alert = alert_behind(record)
        day = day_of(early[0].not_before)
        return (
            f"The client rejects the certificate {early[0].path}{alert}: it is not valid before {day}. Use an older one until"
            " then."
        )
    return rejected(
        "finds {shown} bad", " With many clients that means the name: compare what they ask for with the names in it.",
    )(record)


def missing(record: HandshakeRecord) -> str:
    text = (
        f"The client sent no certificate, and {place(record, 'verify')} has `verify required` with {ca_file(record)}."
        " Install one of that CA in the client, or write `verify optional` and decide in rules with ssl_c_used."
    )
    asked = record.line.asked_signatures if record.line is not None else ()
    if not asked:
        return text
    absent = listed(one for one in _USUAL_SIGNATURES if one not in asked)
    return (
        f"{text} If it has one, its key fits none of the `client-sigalgs` on {place(record, 'client-sigalgs')} ({listed(asked)}):"
        f" {f'add {absent} to them, or ' if absent else ''}leave the option out."
    )


def client_certificate(text: str) -> Callable[[HandshakeRecord], str]:
    """Advice about the peer's certificate: `{subject}` is it, or the CA certificate that the trouble is with."""
    option = next((one for one in ("ca-file", "crl-file") if "{" + one.replace("-", "_") + "}" in text), "verify")

    def write(record: HandshakeRecord) -> str:
        filled = text.format(
            peer=peer_kind(record), subject=subject(record), issuer=issuer(record), ca_file=ca_file(record),
            crl_file=crl_file(record), until=dates(record, end=True), since=dates(record, end=False),
            where=place(record, option), on=on_line(record, "ciphers"), words=verify_error_text(record.verify_failure),
            name=expected_name(record), presented=presented(record),
        )  # fmt: skip
        return filled[:1].upper() + filled[1:]

    return write


def crl_invalid(record: HandshakeRecord) -> str:
    remedy = "Compare its date with our clock." if record.verify_failure == _CRL_NOT_YET_VALID else "Fetch it anew from its CA."
    return client_certificate(
        "the CRL of {issuer} in {crl_file} ({where}) can't be used ({words}), so no certificate of that CA is accepted. " + remedy
    )(record)


# --- what servers say of us ---


def server_requires_certificate(record: HandshakeRecord) -> str:
    return f"The server requires a client certificate, and {place(record)} has none. Add `crt` with one that it accepts."


def server_rejected_certificate(record: HandshakeRecord) -> str:
    alert = f"alert {alert_name(record.alert or 0)}"
    return f"The server does not accept {shown_certificates(record)} of {place(record)} ({alert}). Replace it."


def server_unknown_name(record: HandshakeRecord) -> str:
    return f"The server does not serve {asked_name(record)}. See `sni` on {place(record)}."


# --- the end of input ---


def left(record: HandshakeRecord) -> str:
    step = record.step.value
    steps = _STEPS | _OUTGOING_STEPS if record.outgoing else _STEPS
    if 0.0 <= record.idle < record.timeout / 2 and record.bytes_in > 0:
        text = (
            f"The {peer_kind(record)} was too slow {steps.get(step, 'in the handshake')}: {record.bytes_in} bytes received in"
            f" {record.timeout:g} s, the last of them {round(record.idle, 2):g} s before the end."
        )
        return text + _LEFT.get(record.cause, "")
    verb = "was silent" if record.timeout else "reset the connection" if record.errno else "closed the connection"
    waited = f" for {record.timeout:g} s" if record.timeout else ""
    got = f", {record.bytes_in} bytes received" if record.bytes_in >= 0 else ""
    where = _BEFORE_HELLO if before_hello(record) else steps.get(step, "during the handshake")
    text = f"The {peer_kind(record)} {verb} {where}{waited}{got}."
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
        return f"The server answers in plain HTTP. Remove `ssl` {on_line(record)}, or use the server's TLS port."
    return (
        f"The client speaks plain HTTP to the TLS port of {place(record)}. Give it an https:// address, or add a bind line"
        " without `ssl` on another port, with `http-request redirect scheme https unless { ssl_fc }`."
    )


def not_tls(record: HandshakeRecord) -> str:
    if record.outgoing:
        start = printable(record.first_bytes.splitlines()[0].decode("latin-1")) if record.first_bytes else ""
        said = f" (it begins with {start!r})" if start else ""
        return f"The server does not speak TLS on this port{said}. Remove `ssl` {on_line(record)}, or use the server's TLS port."
    start = printable(record.first_bytes[:16].decode("latin-1"))
    return f"What the client sent is not TLS (it begins with {start!r}); {place(record)} has `ssl`. A wrong port, or a scanner."


def header_expected(record: HandshakeRecord) -> str:
    return (
        f"{place(record)} has `accept-proxy`, and the client began without a PROXY protocol header. Let the proxy in front"
        " send one (send-proxy), or remove `accept-proxy`."
    )


def header_unexpected(record: HandshakeRecord) -> str:
    if record.takes_header:
        return (
            f"Two PROXY protocol headers came to {place(record)}, whose `accept-proxy` takes one: there are two proxies in front,"
            " and each sends one. The nearer one must take that of the other (accept-proxy), or the other must send none (no"
            " send-proxy)."
        )
    return (
        f"The client sent a PROXY protocol header to {place(record)}, which expects none. Add `accept-proxy` to it if a proxy"
        " that you trust is in front, or let that one not send it (no send-proxy)."
    )


def header_invalid(record: HandshakeRecord) -> str:
    return f"The PROXY protocol header is not valid ({printable(record.header)}). See the proxy in front of {place(record)}."


def in_openssl_words(record: HandshakeRecord) -> str:
    """For what is wrong with the peer's messages: OpenSSL says it best."""
    return record.cause.meaning + (f" OpenSSL says: {record.error}." if record.error else "")


def peer_alert(record: HandshakeRecord) -> str:
    name = alert_name(record.alert) if record.alert is not None else "unknown"
    if before_hello(record) and record.cause is Cause.PEER_ALERT:
        return (
            f"The client ended the handshake with alert {name} {_BEFORE_HELLO}: its own versions, ciphers or signature algorithms"
            " may leave it nothing to offer."
        )
    chosen = f" {spoken(record.version)} with {record.cipher} was chosen." if record.version and record.cipher else ""
    return (
        f"The {peer_kind(record)} ended the handshake with alert {name}:"
        f" {record.cause.meaning[0].lower()}{record.cause.meaning[1:]}{chosen}"
    )


def configuration(record: HandshakeRecord) -> str:
    """With the option that is to blame, where OpenSSL's reason says it."""
    option, remedy = _BLAMED.get(record.error_number, ("ciphers", "Look at its certificate, key, `ciphers` and `curves`."))
    return f"{place(record, option)} can't serve this ({record.error}). {remedy}"


#: By reason.
_BLAMED: Final = {
    118: (
        "client-sigalgs",
        "TLS 1.3 can't ask for a certificate with any of the signature algorithms of its `client-sigalgs`: add"
        f" {listed(_USUAL_SIGNATURES)} to them, or leave the option out.",
    ),
    181: (
        "ciphersuites",
        "Its `ciphersuites` leave none for TLS 1.3: name some, leave the option out, or write `ssl-max-ver TLSv1.2`.",
    ),
}  # fmt: skip
