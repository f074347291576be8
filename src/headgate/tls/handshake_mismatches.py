"""The sentences of `handshake_advice` about hellos and lines with nothing in common: what is missing, and which option adds it.

Pure: everything is in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from headgate.config.alpn import SPOKEN
from headgate.config.written_options import exclusion_of
from headgate.tls.cipher_names import cipher_names
from headgate.tls.handshake_offers import (
    accepted_signatures,
    chose_too_old,
    common_ciphers,
    common_signatures,
    fitting_keys,
    known_maximum,
    negotiated_version,
    offered_versions,
)
from headgate.tls.handshake_remedies import (
    CURVES_OF_KEYS,
    FOREIGN,
    NOTHING_LEFT,
    amended,
    at_level,
    for_suites,
    has_parameters,
    is_foreign,
    known_groups,
    known_suites,
    on_curve,
    other_certificate,
    to_sign,
    usable_suites,
    with_sha1,
    withheld,
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
    cipher_needs_group,
    curve_of_signature,
    group_name,
    group_serves,
    is_newest_signature,
    is_tls13_cipher,
    needs_parameters,
    newest_signatures,
    signature_name,
)

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.line_facts import LineFacts
    from headgate.wire.client_hello import ClientHello


def no_version(record: HandshakeRecord) -> str:
    if record.outgoing:
        weak = record.line is not None and record.line.limits.too_weak
        remedy = f"Write {at_level(record)[0]}" if weak else "Lower `ssl-min-ver`"
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
    if known[-1] in OLD_VERSIONS and hello is not None and not known_suites(_suites(hello), known[-1]):
        text = f"{said}; {place(record, limit)} allows {_leaves(record)}, and it offers no cipher for {spoken(known[-1])}."
        return f"{text} {NOTHING_LEFT}"
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
        if line is not None and line.is_global(option):
            remedies.append(f"`{option} {version}` {on_line(record)} in the place of the global section's")
        else:
            forced = line.word(option) if line is not None else ""
            behind = f" behind `{forced}`" if forced.startswith("force-") else ""
            remedies.append(f"`{option} {version}`{behind} {on_line(record, option)}")
    if version in limits.excluded:
        remedies.append(_without_exclusion(record, exclusion_of(version)))
    if version in OLD_VERSIONS:
        remedies += _for_old(record, version, remedies)
    return option, remedies


def _for_old(record: HandshakeRecord, version: str, others: Sequence[str]) -> list[str]:
    """What `ciphers` must say for a version before TLS 1.2: ciphers of it, and OpenSSL's level 0, since it needs SHA-1."""
    line, hello = record.line, record.hello
    ciphers = line.ciphers if line is not None else None
    known = known_suites(_suites(hello), version) if hello is not None else []
    offered = usable_suites(record, known, version)
    certificate = []
    if known and not offered:
        offered = known
        certificate = [other_certificate(record, f"{article(KEYS[cipher_key_type(known[0])])} certificate")]
    offered = [one for one in offered if has_parameters(record) or not needs_parameters(one)] or offered
    missing = "" if not offered or set(offered) & set(cipher_names(ciphers or "DEFAULT")) else offered[0]
    if at_level_0(ciphers):
        return [*([amended(record, "ciphers", missing)] if missing else []), *certificate]
    level, on = at_level(record, missing)
    return [level if any(one.endswith(on) for one in others) else f"{level} {on}", *certificate]


def _suites(hello: ClientHello) -> list[str]:
    return [cipher_name(one) for one in hello.ciphers]


def _without_exclusion(record: HandshakeRecord, option: str) -> str:
    """`no-tlsv11` stands on the bind line, in the global section, or in both: lists can't say it (manual 5.1 crt-list)."""
    location, line = record.location, record.line
    on = location is None or option in location.text.split()
    if not on:
        return f"take `{option}` out of `ssl-default-bind-options`"
    both = " and of `ssl-default-bind-options`" if line is not None and option in line.twice else ""
    return f"take `{option}` out of {place(record)}{both}"


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
    version = negotiated_version(hello, record.line.versions) if record.line is not None else ""
    newest = version == "TLSv1.3"
    offered = [cipher_name(one) for one in without_grease(hello.ciphers)]
    offered = [one for one in offered if is_tls13_cipher(one) is newest and not one.endswith("_SCSV")]
    if offered and all(map(is_foreign, offered)):
        return _foreign(offered)
    option = "ciphersuites" if newest else "ciphers"
    if common := common_ciphers(hello, record):
        return _unusable(record, hello, common, option)
    if not offered:
        return f"The client offers no cipher suite of {'TLS 1.3' if newest else 'TLS 1.2 or older'}."
    idle = [one for one in offered if one in withheld(record)]
    which = f"none of which {place(record, option)} allows"
    if idle:
        some = f" only {listed(idle)}" if len(idle) < len(offered) else ""
        which = f"{'of ' if some else ''}which {place(record, option)} allows{some}, but there are no DH parameters"
    remedy = for_suites(record, offered, option, version or "TLSv1.2")
    return f"The client offers {listed(offered)}, {which}. {f'To serve it anyway: {remedy}.' if remedy else NOTHING_LEFT}"


def _unusable(record: HandshakeRecord, hello: ClientHello, common: Sequence[str], option: str) -> str:
    """There are common ciphers: they are for another kind of key, or something that is no part of them is missing."""
    kinds = listed(dict.fromkeys(KEYS[kind] for one in common if (kind := cipher_key_type(one))))
    if record.line is None or not kinds or not key_kinds(record) or fitting_keys(record.line, common):
        return (
            f"The client and {place(record, option)} have {listed(common)} in common, which OpenSSL can't use: see its security"
            f" level (`@SECLEVEL` in `ciphers`), and the key of {shown_certificates(record)}."
        )
    which = f"{article(kinds.replace(' and ', ' or '))} certificate"
    curves = [one for one in CURVES_OF_KEYS if one in map(group_name, hello.groups)]
    if kinds == KEYS["ecdsa"] and curves and curves[0] != CURVES_OF_KEYS[0]:  # most keys are on the first
        which = on_curve(curves[0])
    remedy = other_certificate(record, which)
    return (
        f"The client and {place(record, option)} have only ciphers for {kinds} keys in common ({listed(common)}), and"
        f" {shown_certificates(record)} has {article(key_kinds(record))} key. {remedy[0].upper()}{remedy[1:]}."
    )


def _foreign(offered: Sequence[str]) -> str:
    kinds = dict.fromkeys(next(words for is_one, words in FOREIGN if is_one(cipher)) for cipher in offered)
    only = f"The client offers only ciphers {' and '.join(kinds)}: {listed(offered)}."
    return f"{only} Let it offer some that encrypt and go with a certificate."


def no_group(record: HandshakeRecord) -> str:
    hello = record.hello
    allowed = record.line.groups if record.line is not None else ()
    if hello is None:
        return (
            f"The {peer_kind(record)} supports no key exchange group of {place(record, 'curves')} ({listed(allowed)}). See"
            f" `curves` {on_line(record, 'curves')}."
        )
    version = (negotiated_version(hello, record.line.versions) if record.line is not None else "") or "TLSv1.2"
    offered = [group_name(one) for one in without_grease(hello.groups)]
    ours = [one for one in allowed if group_serves(one, version)]
    told = listed(ours) if ours else f"only {listed(allowed)}, which {spoken(version)} does not have"
    if not offered:
        return (
            f"The client names no groups, and without them OpenSSL agrees on no key over an elliptic curve;"
            f" {place(record, 'curves')} allows {told}. Let the client send the extension supported_groups"
            f"{_groupless(record, hello)}."
        )
    text = f"The client supports {plural('group', offered)}; {place(record, 'curves')} allows {told}"
    known = known_groups(offered, version)
    shared = set(known).intersection(ours)
    remedies = [] if shared or not known else [amended(record, "curves", known[0])]
    keys = fitting_keys(record.line, common_ciphers(hello, record)) if record.line is not None and version != "TLSv1.3" else ()
    if keys and all(one.curve and one.curve not in offered for one in keys):
        # RFC 8422 section 5.1: before TLS 1.3 the list is also that of the curves of certificates.
        curves = [one.curve for one in keys]
        text += f", and the key of the certificate {listed([one.path for one in keys])} is on {listed(curves)}"
        other = _other_certificate(record, hello, known)
        if not other:
            return f"{text}. Let the client support {listed(curves)}: it and the line have no ciphers for RSA keys in common."
        remedies.append(f"{other} {on_line(record)}")
    elif not known:
        words = "None of them is one" if offered[1:] else "It is none"
        remedy = _groupless(record, hello)
        return f"{text}. {words} that this TLS library has for {spoken(version)}: the client must be updated{remedy}."
    return f"{text}. To serve it anyway: {' and '.join(remedies)}." if remedies else f"{text}."


def _groupless(record: HandshakeRecord, hello: ClientHello) -> str:
    """Ciphers of the client that need no group, which may be all that an old one can use."""
    offered = [one for one in map(cipher_name, hello.ciphers) if not cipher_needs_group(one) and not needs_parameters(one)]
    suites = usable_suites(record, offered, "TLSv1.2")
    return f", or {amended(record, 'ciphers', suites[0])}" if suites else ""


def _other_certificate(record: HandshakeRecord, hello: ClientHello, groups: Sequence[str]) -> str:
    """What serves a client of TLS 1.2 that does not know the curves of our certificates; "" for nothing."""
    kinds = {cipher_key_type(one) for one in common_ciphers(hello, record)}
    if "rsa" in kinds:
        return other_certificate(record, "an RSA certificate")
    curve = next((one for one in groups if one in CURVES_OF_KEYS), "")
    return f"have {on_curve(curve)} in its place" if curve else ""


def no_signature(record: HandshakeRecord) -> str:
    hello, line = record.hello, record.line
    key = f"{article(key_kinds(record) or 'unknown')} key"
    if hello is None or line is None:
        return f"The {peer_kind(record)} accepts no signature that {shown_certificates(record)} with {key} can make."
    version = negotiated_version(hello, line.versions)
    offered = accepted_signatures(hello, version)
    accepts = f"The client accepts {plural('signature algorithm', [signature_name(one) for one in offered])}"
    only = " only"
    if not hello.signature_algorithms:
        accepts, only = "The client names no signature algorithms, which in TLS 1.2 stands for SHA-1", ""
    ruled = replace(line, certificates=tuple(one for one in line.certificates if one.path not in line.elsewhere))
    common = common_signatures(hello, ruled)
    if line.signatures and not set(common) & set(line.signatures) and (common or not with_sha1(hello, ruled)):
        text = (
            f"{accepts}, {place(record, 'sigalgs')} has `sigalgs` with {listed(line.signatures)}, and"
            f" {shown_certificates(record)} has {key}: no signature suits all three."
        )
        if line.elsewhere:
            return f"{text} {listed(line.elsewhere)} has options of its own: see its line."
        return f"{text} To serve it anyway: {amended(record, 'sigalgs', common[0])}." if common else text
    newest = version == "TLSv1.3"
    usable = [one for one in offered if not newest or is_newest_signature(signature_name(one))]
    text = f"{accepts}{only}, and {shown_certificates(record)} has {key}"
    if not usable:
        return f"{text}: TLS 1.3 signs with none of these{_accept(line)}."
    curves = [curve for one in usable if (curve := curve_of_signature(one)) in CURVES_OF_KEYS] if newest else []
    if newest and curves and (ours := [one.curve for one in line.certificates if one.curve]):
        text += f" on {listed(ours)}, and in TLS 1.3 the curve decides what it signs with"
    remedies = to_sign(record, hello, usable, curves)
    return f"{text}. {remedies[0].upper()}{remedies[1:]}." if remedies else f"{text}."


def _accept(line: LineFacts) -> str:
    """What a client should accept, for our keys."""
    makes = dict.fromkeys(signature_name(one) for key in line.certificates for one in newest_signatures(key.kind, key.curve))
    return f" (RSA keys with PSS only). Let it accept {' or '.join(sorted(makes))}" if makes else ""


def no_protocol(record: HandshakeRecord) -> str:
    ours = record.line.alpn if record.line is not None else ()
    hello = record.hello
    names = [one.decode("latin-1") for one in hello.alpn] if hello is not None else []
    theirs = listed([printable(one) for one in names])
    offers = f"The client offers the ALPN protocols {theirs}" if theirs else f"The {peer_kind(record)} speaks none of ours"
    text = f"{offers}; {place(record, 'alpn')} agrees to {f'{listed(ours)} only' if ours else 'none'}."
    more = next((one for one in names if one in SPOKEN and one not in ours), "")
    if more:
        return f"{text} To serve it anyway: `alpn {','.join([*ours, more])}` {on_line(record, 'alpn')}."
    known = listed(SPOKEN).replace(" and ", " or ")
    return (
        f"{text} Nothing else is spoken here: let the {peer_kind(record)} take {known}. In `mode tcp`, `alpn` may name what the"
        " servers speak."
    )


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
