"""The sentences of `handshake_advice` about hellos and lines with nothing in common: what is missing, and which option adds it.

Pure: everything is in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from headgate.config.written_options import exclusion_of
from headgate.tls.handshake_offers import (
    chose_too_old,
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
from headgate.tls.line_facts import OLD_VERSIONS, VersionLimits, at_level_0
from headgate.wire.client_hello import without_grease
from headgate.wire.tls_names import (
    cipher_key_type,
    cipher_name,
    curve_of_signature,
    group_name,
    is_anonymous,
    is_newest_signature,
    is_tls13_cipher,
    needs_parameters,
    needs_secret,
    newest_signatures,
    signature_key_type,
    signature_name,
    suite_key_type,
)

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.line_facts import LineFacts
    from headgate.wire.client_hello import ClientHello


def no_version(record: HandshakeRecord) -> str:
    if record.outgoing:
        weak = record.line is not None and record.line.limits.too_weak
        remedy = f"Write {_security_level(record)}" if weak else "Lower `ssl-min-ver`"
        return (
            f"The server speaks none of the TLS versions that {place(record)} allows ({_leaves(record)})."
            f" {remedy} {on_line(record)}, or enable a newer version on the server."
        )
    hello = record.hello
    offered = offered_versions(hello) if hello is not None else ()
    known = [one for one in offered if one in VERSIONS]
    if hello is not None and len(hello.versions) == 1 and known_maximum(hello):
        said = f"The client offers {spoken(offered[-1])} at most"  # it says no more than that
    else:
        said = f"The client offers {version_list(offered)} only" if offered else "The client offers no common TLS version"
    if chose_too_old(record):
        said += f" and does not take {spoken(record.version)}"
    if not known:
        text = f"{said}; {place(record, 'ssl-min-ver')} allows {_leaves(record)}."
        return text + " Nothing that this TLS library still speaks: the client must be updated."
    limit, remedies = _for_version(record, known[-1])
    anyway = f" To serve it anyway: {listed(remedies)}." if remedies else ""
    return f"{said}; {place(record, limit)} allows {_leaves(record)}.{anyway}"


def _leaves(record: HandshakeRecord) -> str:
    """`TLS 1.2 and up`, and what the security level leaves of it."""
    line = record.line
    allowed = allowed_versions(line.versions if line is not None else ())
    if line is None or not line.limits.too_weak:
        return allowed
    left = [one for one in line.versions if one not in line.limits.too_weak]
    return f"{allowed}, of which OpenSSL's security level leaves {allowed_versions(left)}"


def _for_version(record: HandshakeRecord, version: str) -> tuple[str, list[str]]:
    """The option that keeps a version out, "" for none or `no-*`, and all that must be written to let it in."""
    line = record.line
    limits = line.limits if line is not None else VersionLimits()
    order = VERSIONS.index
    option, remedies = "", []
    if order(version) > order(limits.highest):
        option = "ssl-max-ver"
    elif order(version) < order(limits.lowest):
        option = "ssl-min-ver"
    if option:
        remedies.append(f"`{option} {version}` {on_line(record, option)}")
    if version in limits.excluded:
        remedies.append(_without_exclusion(record, exclusion_of(version)))
    if version in OLD_VERSIONS and not at_level_0(line.ciphers if line is not None else None):
        level, on = _security_level(record), on_line(record, "ciphers")
        remedies.append(level if any(one.endswith(on) for one in remedies) else f"{level} {on}")
    return option, remedies


def _without_exclusion(record: HandshakeRecord, option: str) -> str:
    """`no-tlsv11` stands on the bind line, or is a default: lines of lists can't say it (manual 5.1 crt-list)."""
    location = record.location
    if location is not None and option not in location.text.split():
        return f"take `{option}` out of `ssl-default-bind-options`"
    return f"take `{option}` out of {place(record)}"


def _security_level(record: HandshakeRecord) -> str:
    """What to write so that OpenSSL lets old versions be negotiated."""
    ciphers = record.line.ciphers if record.line is not None else None
    if ciphers is None or ciphers.startswith("DEFAULT:@SECLEVEL="):
        return "`ciphers DEFAULT:@SECLEVEL=0`"
    return "`:@SECLEVEL=0` at the end of `ciphers`"


def sslv3(record: HandshakeRecord) -> str:
    return (
        "The client speaks SSLv3 at most, which is broken and which this TLS library no longer contains;"
        f" {place(record, 'ssl-min-ver')} allows {_leaves(record)}. The client must be updated."
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
    if offered and all(map(_is_foreign, offered)):
        return _foreign(offered)
    option = "ciphersuites" if newest else "ciphers"
    common = [one for one in common_ciphers(hello, record) if cipher_key_type(one)]
    wanted = listed(dict.fromkeys(KEYS[cipher_key_type(one)] for one in common))
    if wanted and key_kinds(record):  # ciphers of the wrong kind of key
        return (
            f"The client and {place(record, option)} have only ciphers for {wanted} keys in common ({listed(common)}), and"
            f" {shown_certificates(record)} has {article(key_kinds(record))} key. Add `crt` with"
            f" {article(wanted.replace(' and ', ' or '))} certificate for the same name."
        )
    if not offered:
        return f"The client offers no cipher suite of {'TLS 1.3' if newest else 'TLS 1.2 or older'}."
    withheld = [one for one in offered if one in _withheld(record)]
    which = f"none of which {place(record, option)} allows"
    if withheld:
        some = f" only {listed(withheld)}" if len(withheld) < len(offered) else ""
        which = f"{'of ' if some else ''}which {place(record, option)} allows{some}, but there are no DH parameters"
    return f"The client offers {listed(offered)}, {which}. To serve it anyway: {_to_add(record, offered, option)}."


#: Ciphers that nobody should be told to allow, since certificates play no part in them.
_FOREIGN: Final = (
    (is_anonymous, "without authentication"), (needs_secret, "for keys or passwords that both sides know (PSK, SRP)"),
)  # fmt: skip


def _is_foreign(cipher: str) -> bool:
    return any(is_one(cipher) for is_one, _ in _FOREIGN)


def _foreign(offered: Sequence[str]) -> str:
    kinds = " and ".join(words for is_one, words in _FOREIGN if any(map(is_one, offered)))
    return f"The client offers only ciphers {kinds}: {listed(offered)}. Let it offer some that go with a certificate."


def _withheld(record: HandshakeRecord) -> set[str]:
    """Ciphers that the line lists and that there are no DH parameters for."""
    return set(record.line.withheld if record.line is not None else ()) - set(record.allowed)


def _has_parameters(record: HandshakeRecord) -> bool:
    return record.line is None or record.line.offers_dhe


def _to_add(record: HandshakeRecord, offered: Sequence[str], option: str) -> str:
    """What lets a client in that offers these suites, none of which can be used: best those that our keys and parameters fit."""
    kinds = {suite_key_type(one.kind) for one in our_certificates(record)}
    good = [one for one in offered if not _is_foreign(one)]
    usable = [one for one in good if not kinds or cipher_key_type(one) in ("", *kinds)]
    chosen = usable or good
    ready = [one for one in chosen if _has_parameters(record) or not needs_parameters(one)]
    chosen = ready or [one for one in chosen if one in _withheld(record)] or chosen
    remedies = []
    if not set(chosen) <= _withheld(record):
        which = "one of these" if len(chosen) == len(offered) else f"one of {listed(chosen)}" if chosen[1:] else chosen[0]
        remedies.append(f"add {which} to `{option}` {on_line(record, option)}")
    if not ready:
        remedies.append(_PARAMETERS)
    if not usable:
        needed = listed(dict.fromkeys(KEYS[cipher_key_type(one)] for one in chosen))
        remedies.append(f"add `crt` with {article(needed.replace(' and ', ' or '))} certificate for the same name")
    return listed(remedies)


_PARAMETERS: Final = "write `tune.ssl.default-dh-param 2048` or `ssl-dh-param-file` into the global section"


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
    here, there = on_line(record, "curves"), on_line(record)
    remedies = [f"add {add} to `curves`"] if add else []
    text = f"The client supports {plural('group', offered)}; {place(record, 'curves')} allows {listed(allowed)}"
    curves = [one.curve for one in our_certificates(record)]
    if record.line is not None and negotiated_version(hello, record.line.versions) != "TLSv1.3" and curves and all(
        curve and curve not in offered for curve in curves
    ):
        # RFC 8422 section 5.1: before TLS 1.3 the list is also that of the curves of certificates.
        text += f", and the key of {shown_certificates(record)} is on {listed(curves)}"
        other = _other_certificate(record, hello, offered)
        if not other:
            return f"{text}. Let the client support {listed(curves)}: it and the line have no ciphers for RSA keys in common."
        remedies = [f"{one} {here}" if here != there else one for one in remedies]
        remedies.append(other)
        here = there
    return f"{text}. To serve it anyway: {' and '.join(remedies)} {here}." if remedies else f"{text}."


def _other_certificate(record: HandshakeRecord, hello: ClientHello, groups: Sequence[str]) -> str:
    """What serves a client of TLS 1.2 that does not know the curves of our certificates; "" for nothing."""
    kinds = {cipher_key_type(one) for one in common_ciphers(hello, record)}
    if "rsa" in kinds:
        return "add `crt` with an RSA certificate for the same name"
    curve = next((one for one in groups if one in _CURVES_OF_KEYS), "")
    return f"have {_on_curve(curve)} in its place" if curve else ""


#: Of ECDSA keys, as all clients know them.
_CURVES_OF_KEYS: Final = ("P-256", "P-384", "P-521")


def _on_curve(curve: str) -> str:
    return f"an ECDSA certificate on {curve}"


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
    newest = negotiated_version(hello, line.versions) == "TLSv1.3"
    usable = [one for one in offered if not newest or is_newest_signature(signature_name(one))]
    text = f"The client accepts {names} only, and {shown_certificates(record)} has {key}"
    if not usable:
        return f"{text}: TLS 1.3 signs with none of these{_accept(line)}."
    curves = [curve for one in usable if (curve := curve_of_signature(one)) in _CURVES_OF_KEYS] if newest else []
    if newest and curves and (ours := [one.curve for one in line.certificates if one.curve]):
        text += f" on {listed(ours)}, and in TLS 1.3 the curve decides what it signs with"
    wanted = dict.fromkeys(KEYS[kind] for one in usable if (kind := signature_key_type(one)) in ("rsa", "ecdsa"))
    kinds = key_kinds(record)
    other = next((one for one in wanted if one not in kinds), "")
    if other:
        which = _on_curve(curves[0]) if other == KEYS["ecdsa"] and curves else f"{article(other)} certificate"
        return f"{text}. Add `crt` with {which} for the same name {on_line(record)}."
    return f"{text}. Have {_on_curve(curves[0])} in its place {on_line(record)}." if curves else f"{text}."


def _accept(line: LineFacts) -> str:
    """What a client should accept, for our keys."""
    makes = dict.fromkeys(signature_name(one) for key in line.certificates for one in newest_signatures(key.kind, key.curve))
    return f" (RSA keys with PSS only). Let it accept {' or '.join(sorted(makes))}" if makes else ""


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
    if line is not None and not line.strict_sni:
        return (
            f"The client asks for {asked_name(record)}, and {place(record)} only has certificates that are made for names"
            " (`generate-certificates`): no host can have this one, or the CA in `ca-sign-file` has expired."
        )
    return (
        f"The client asks for {asked_name(record)}, which no certificate of {place(record)} matches, and strict-sni is set."
        f"{known} Add a certificate for it, or remove `strict-sni` to answer with the default one."
    )


def no_name(record: HandshakeRecord) -> str:
    if record.line is not None and not record.line.strict_sni:
        return (
            f"The client names no host (SNI), and {place(record)} only has certificates that are made for names"
            " (`generate-certificates`). Let the client send a name, or add `crt` with a default certificate."
        )
    return (
        f"The client names no host (SNI), and {place(record)} has strict-sni: very old clients, health checks and scanners do"
        " that. Let checks send the name, or remove `strict-sni`."
    )


def fallback(record: HandshakeRecord) -> str:
    return (
        "The client says that it speaks more than it offers now (TLS_FALLBACK_SCSV): an earlier attempt with a newer version was"
        " disturbed, by a box between or by an attacker. Nothing is to be changed here."
    )
