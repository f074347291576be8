"""The sentences of `handshake_advice` about hellos and lines with nothing in common: what is missing, and which option adds it.

Pure: everything is in the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.tls.handshake_diagnosis import (
    common_ciphers,
    common_signatures,
    known_maximum,
    negotiated_version,
    offered_versions,
)
from headgate.tls.handshake_words import (
    KEYS,
    VERSIONS,
    allowed_versions,
    article,
    asked_name,
    key_kinds,
    listed,
    on_line,
    our_certificates,
    peer_kind,
    place,
    plural,
    printable,
    shown_certificates,
    spoken,
    version_list,
)
from headgate.wire.client_hello import without_grease
from headgate.wire.tls_names import cipher_key_type, cipher_name, group_name, is_tls13_cipher, signature_key_type, signature_name

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord


def no_version(record: HandshakeRecord) -> str:
    peer = peer_kind(record)
    allowed = record.line.versions if record.line is not None else ()
    if record.outgoing:
        return (
            f"The server speaks none of the TLS versions that {place(record)} allows ({allowed_versions(allowed)})."
            f" Lower `ssl-min-ver` {on_line(record)}, or enable a newer version on the server."
        )
    hello = record.hello
    offered = offered_versions(hello) if hello is not None else ()
    known = [one for one in offered if one in VERSIONS]
    if hello is not None and len(hello.versions) == 1 and known_maximum(hello):
        said = f"The {peer} offers {spoken(offered[-1])} at most"  # it says no more than that
    else:
        said = f"The {peer} offers {version_list(offered)} only" if offered else f"The {peer} offers no common TLS version"
    if not known:
        text = f"{said}; {place(record, 'ssl-min-ver')} allows {allowed_versions(allowed)}."
        return text + " Nothing that this TLS library still speaks: the client must be updated."
    newest = known[-1]
    option = "ssl-max-ver" if allowed and VERSIONS.index(newest) > VERSIONS.index(allowed[-1]) else "ssl-min-ver"
    text = f"{said}; {place(record, option)} allows {allowed_versions(allowed)}."
    more = " and `ciphers DEFAULT:@SECLEVEL=0`" if VERSIONS.index(newest) < 2 else ""
    return f"{text} To serve it anyway: `{option} {newest}` {on_line(record, option)}{more}."


def sslv3(record: HandshakeRecord) -> str:
    return (
        "The client speaks SSLv3 at most, which is broken and which this TLS library no longer contains;"
        f" {place(record, 'ssl-min-ver')} allows {allowed_versions(record.line.versions if record.line is not None else ())}."
        " The client must be updated."
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
            f"The {peer_kind(record)} accepts no cipher suite that {place(record, 'ciphers')} allows. See `ciphers` and"
            f" `ciphersuites` {on_line(record, 'ciphers')}."
        )
    newest = record.line is not None and negotiated_version(hello, record.line.versions) == "TLSv1.3"
    offered = [cipher_name(one) for one in without_grease(hello.ciphers)]
    offered = [one for one in offered if is_tls13_cipher(one) is newest and not one.endswith("_SCSV")]
    option = "ciphersuites" if newest else "ciphers"
    common = common_ciphers(hello, record)
    wanted = listed(dict.fromkeys(KEYS[kind] for one in common if (kind := cipher_key_type(one))))
    if wanted and key_kinds(record):  # ciphers of the wrong kind of key
        return (
            f"The client and {place(record, option)} have only ciphers for {wanted} keys in common ({listed(common)}), and"
            f" {shown_certificates(record)} has {article(key_kinds(record))} key. Add `crt` with"
            f" {article(wanted.replace(' and ', ' or '))} certificate for the same name."
        )
    what = f"offers {listed(offered)}" if offered else f"offers no cipher suite of {'TLS 1.3' if newest else 'TLS 1.2 or older'}"
    add = f" To serve it anyway: add one of these to `{option}` {on_line(record, option)}." if offered else ""
    return f"The client {what}, none of which {place(record, option)} allows.{add}"


def no_group(record: HandshakeRecord) -> str:
    hello = record.hello
    allowed = record.line.groups if record.line is not None else ()
    if hello is None:
        return (
            f"The {peer_kind(record)} supports no key exchange group of {place(record, 'curves')} ({listed(allowed)}). See"
            f" `curves` {on_line(record, 'curves')}."
        )
    offered = [group_name(one) for one in without_grease(hello.groups)]
    add = "" if set(offered) & set(allowed) else next((one for one in offered if not one.startswith("0x")), "")
    remedies = [f"add {add} to `curves` {on_line(record, 'curves')}"] if add else []
    text = f"The client supports {plural('group', offered)}; {place(record, 'curves')} allows {listed(allowed)}"
    curves = [one.curve for one in our_certificates(record)]
    if record.line is not None and negotiated_version(hello, record.line.versions) != "TLSv1.3" and curves and all(
        curve and curve not in offered for curve in curves
    ):
        # RFC 8422 section 5.1: before TLS 1.3 the list is also that of the curves of certificates.
        text += f", and the key of {shown_certificates(record)} is on {listed(curves)}"
        remedies.append(f"add `crt` with an RSA certificate for the same name {on_line(record)}")
    return f"{text}. To serve it anyway: {' and '.join(remedies)}." if remedies else f"{text}."


def no_signature(record: HandshakeRecord) -> str:
    hello, line = record.hello, record.line
    key = f"{article(key_kinds(record) or 'unknown')} key"
    if hello is None or line is None:
        return f"The {peer_kind(record)} accepts no signature that {shown_certificates(record)} with {key} can make."
    offered = without_grease(hello.signature_algorithms)
    names = plural("signature algorithm", [signature_name(one) for one in offered])
    common = common_signatures(hello, line)
    if line.signatures and not set(common) & set(line.signatures):
        text = (
            f"The client accepts {names}, {place(record, 'sigalgs')} has `sigalgs` with {listed(line.signatures)}, and"
            f" {shown_certificates(record)} has {key}: no signature suits all three."
        )
        return f"{text} To serve it anyway: add {common[0]} to `sigalgs` {on_line(record, 'sigalgs')}." if common else text
    wanted = list(dict.fromkeys(KEYS[kind] for one in offered if (kind := signature_key_type(one)) in ("rsa", "ecdsa")))
    wanted = [one for one in wanted if one not in key]
    remedy = f" Add `crt` with {article(wanted[0])} certificate for the same name {on_line(record)}." if wanted else ""
    return f"The client accepts {names} only, and {shown_certificates(record)} has {key}.{remedy}"


def no_protocol(record: HandshakeRecord) -> str:
    ours = ",".join(record.line.alpn) if record.line is not None else ""
    hello = record.hello
    theirs = listed([printable(one.decode("latin-1")) for one in hello.alpn]) if hello is not None else ""
    offers = f"The client offers the ALPN protocols {theirs}" if theirs else f"The {peer_kind(record)} speaks none of ours"
    return f"{offers}; {place(record, 'alpn')} has `alpn {ours}`. Add one of the peer's to it."


def no_certificate(record: HandshakeRecord) -> str:
    line = record.line
    near = line.near(record.name) if line is not None and line.near is not None else ()
    known = f" Names most like it: {listed(near)}." if near else ""
    return (
        f"The client asks for {asked_name(record)}, which no certificate of {place(record)} matches, and strict-sni is set."
        f"{known} Add a certificate for it, or remove `strict-sni` to answer with the default one."
    )


def no_name(record: HandshakeRecord) -> str:
    return (
        f"The client names no host (SNI), and {place(record)} has strict-sni: very old clients, health checks and scanners do"
        " that. Let checks send the name, or remove `strict-sni`."
    )


def fallback(record: HandshakeRecord) -> str:
    return (
        "The client says that it speaks more than it offers now (TLS_FALLBACK_SCSV): an earlier attempt with a newer version was"
        " disturbed, by a box between or by an attacker. Nothing is to be changed here."
    )
