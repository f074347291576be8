"""What to write so that a client gets in: the option to change, where it stands now, with what is to stand in it afterwards.

An option may stand on the line, on a line of a crt-list, in the global section, or nowhere: a list that is written where there
was none replaces OpenSSL's own, so that one is written with it. Called by `handshake_mismatches`. Pure, but that the library is
asked what it has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from headgate.tls.algorithm_names import knows_group
from headgate.tls.cipher_names import SUITES, cipher_names
from headgate.tls.handshake_offers import common_ciphers, common_signatures, negotiated_version
from headgate.tls.handshake_words import KEYS, article, key_kinds, listed, on_line, our_certificates
from headgate.tls.line_facts import DEFAULT_GROUPS, at_level_0
from headgate.wire.tls_names import (
    cipher_key_type,
    group_serves,
    is_anonymous,
    is_unencrypted,
    is_weak_suite,
    needs_parameters,
    needs_secret,
    signature_key_type,
    signature_name,
    suite_key_type,
    suite_serves,
)

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.line_facts import LineFacts
    from headgate.wire.client_hello import ClientHello

#: What holds where nothing is written, for lists that go on. `DEFAULT` is `ALL:!COMPLEMENTOFDEFAULT:!eNULL`, and what a `!`
#: shuts out can't be added behind it (openssl-ciphers(1)).
_DEFAULTS: Final = {
    "ciphers": "ALL:-COMPLEMENTOFDEFAULT",
    "ciphersuites": "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
    "curves": ":".join(DEFAULT_GROUPS),
}
_LEVEL_0: Final = "@SECLEVEL=0"
NOTHING_LEFT: Final = "Nothing that this TLS library still has: the client must be updated."
PARAMETERS: Final = "write `tune.ssl.default-dh-param 2048` or `ssl-dh-param-file` into the global section"
#: Of ECDSA keys, as all clients know them.
CURVES_OF_KEYS: Final = ("P-256", "P-384", "P-521")
#: Ciphers that nobody should be told to allow: certificates play no part in them, or they hide nothing.
FOREIGN: Final = (
    (is_anonymous, "without authentication"), (needs_secret, "for keys or passwords that both sides know (PSK, SRP)"),
    (is_unencrypted, "without encryption"),
)  # fmt: skip


def is_foreign(cipher: str) -> bool:
    return any(is_one(cipher) for is_one, _ in FOREIGN)


def amended(record: HandshakeRecord, option: str, added: str, words: str = "") -> str:
    """`add P-384 to `curves` on that bind line`; the whole list where none is written.

    Args:
        added: what must be in the list.
        words: for it, where the list is there: "one of these".
    """
    line = record.line
    word = line.word(option) if line is not None else option
    if word == "ecdhe" and line is not None:  # it takes but one
        return f"write `curves {':'.join(line.groups)}:{added}` in the place of `ecdhe` {on_line(record, option)}"
    if not word and option in _DEFAULTS:
        return f"write `{option} {_DEFAULTS[option]}:{added}` {on_line(record, option)}"
    freed = _freed(record, added) if option == "ciphers" else ""
    words = added if freed or not words else words
    return f"add {words} to `{word or option}`{freed} {on_line(record, option)}"


def _freed(record: HandshakeRecord, cipher: str) -> str:
    """What is to be changed in the cipher list that is written, since it would keep a cipher out wherever that is added to it."""
    ciphers = record.line.ciphers if record.line is not None else None
    if ciphers is None or cipher in cipher_names(f"{ciphers}:{cipher}"):
        return ""
    elements = re.split(r"[:, ;]+", ciphers)
    bars = [f"`{one}`" for one in elements if one.startswith("!") and cipher in cipher_names(one[1:])]
    taken = [f"`{elements[0]}` replaced by `{_DEFAULTS['ciphers']}`"] if elements[0] == "DEFAULT" else []
    taken += [f"{listed(bars)} taken out of it"] if bars else []
    return f" with {' and '.join(taken)}" if taken else ""


def at_level(record: HandshakeRecord, cipher: str = "") -> tuple[str, str]:
    """What to write so that OpenSSL lets through what is not safe today, and where; with a cipher that must be there as well."""
    added = f"{cipher}:{_LEVEL_0}" if cipher else _LEVEL_0
    word = record.line.word("ciphers") if record.line is not None else ""
    on = on_line(record, "ciphers")
    if word:
        return f"`:{added}` at the end of `{word}`{_freed(record, cipher) if cipher else ''}", on
    return f"`ciphers {_DEFAULTS['ciphers'] if cipher else 'DEFAULT'}:{added}`", on


def other_certificate(record: HandshakeRecord, which: str) -> str:
    """`add `crt` with an RSA certificate for the same name`: what answers this client beside what does now (manual 5.1)."""
    if record.line is None or not record.line.by_default:
        return f"add `crt` with {which} for the same name"
    whom = "for names that no certificate has" if record.name else "for clients that name no host"
    return f"add `default-crt` with {which} ({whom})"


def is_weak(record: HandshakeRecord, cipher: str) -> bool:
    """Whether OpenSSL's security level keeps a cipher out."""
    return is_weak_suite(cipher) and not at_level_0(record.line.ciphers if record.line is not None else None)


def known_suites(offered: Sequence[str], version: str) -> list[str]:
    """Those of a client's cipher suites that the TLS library has for a version, and that may be told of."""
    known = {*SUITES, *cipher_names(f"ALL:COMPLEMENTOFALL:{_LEVEL_0}")}
    return [one for one in offered if one in known and suite_serves(one, version) and not is_foreign(one)]


def known_groups(offered: Sequence[str], version: str) -> list[str]:
    """Those of a client's groups that the TLS library has for a version."""
    # It has none that is but a number to us. To ask takes a context, and a client may offer thousands.
    named = (one for one in offered if not one.startswith("0x"))
    return [one for one in named if group_serves(one, version) and knows_group(one)]


def usable_suites(record: HandshakeRecord, offered: Sequence[str], version: str) -> list[str]:
    """Those of `known_suites` that our keys can be used with."""
    kinds = {suite_key_type(one.kind) for one in our_certificates(record)}
    return [one for one in known_suites(offered, version) if not kinds or cipher_key_type(one) in ("", *kinds)]


def withheld(record: HandshakeRecord) -> set[str]:
    """Ciphers that the line lists and that there are no DH parameters for."""
    return set(record.line.withheld if record.line is not None else ()) - set(record.allowed)


def has_parameters(record: HandshakeRecord) -> bool:
    return record.line is None or record.line.offers_dhe


def for_suites(record: HandshakeRecord, offered: Sequence[str], option: str, version: str) -> str:
    """What lets a client in that offers these suites, none of which can be used: best those that our keys and parameters fit.

    "" where there is nothing.
    """
    good, usable = known_suites(offered, version), usable_suites(record, offered, version)
    chosen = usable or good
    if not chosen:
        return ""
    ready = [one for one in chosen if has_parameters(record) or not needs_parameters(one)]
    chosen = ready or [one for one in chosen if one in withheld(record)] or chosen
    chosen = [one for one in chosen if not is_weak(record, one)] or chosen
    remedies = []
    if not set(chosen) <= withheld(record):
        remedies += _additions(record, chosen, option, everything=len(chosen) == len(offered))
    if not ready:
        remedies.append(PARAMETERS)
    if not usable:
        needed = listed(dict.fromkeys(KEYS[cipher_key_type(one)] for one in chosen))
        remedies.append(other_certificate(record, f"{article(needed.replace(' and ', ' or '))} certificate"))
    return listed(remedies)


def _additions(record: HandshakeRecord, chosen: Sequence[str], option: str, *, everything: bool) -> list[str]:
    if not is_weak(record, chosen[0]):
        which = "one of these" if everything else f"one of {listed(chosen)}" if chosen[1:] else chosen[0]
        return [amended(record, option, chosen[0], which)]
    suites = option == "ciphersuites"
    level = f"write {' '.join(at_level(record, '' if suites else chosen[0]))}"
    return [amended(record, option, chosen[0]), level] if suites else [level]


def on_curve(curve: str) -> str:
    return f"an ECDSA certificate on {curve}"


def with_sha1(hello: ClientHello, line: LineFacts) -> list[str]:
    """What the client accepts and our keys can make at OpenSSL's level 0, but not at the one that is set."""
    return [] if at_level_0(line.ciphers) else common_signatures(hello, replace(line, ciphers=_LEVEL_0))


def to_sign(record: HandshakeRecord, hello: ClientHello, usable: Sequence[int], curves: Sequence[str]) -> str:
    """What lets a client in that accepts these signature algorithms, none of which our keys can make; "" for nothing."""
    line = record.line
    if line is None:
        return ""
    here, kinds = on_line(record), key_kinds(record)
    older = negotiated_version(hello, line.versions) != "TLSv1.3"
    ciphers = {cipher_key_type(one) for one in common_ciphers(hello, record)} if older and record.allowed else set()
    for weak in (False, True):
        if weak and older and (sha1 := with_sha1(hello, line)):
            also = [] if not line.signatures or set(sha1) & set(line.signatures) else [amended(record, "sigalgs", sha1[0])]
            return f"to serve it anyway: {' and '.join([' '.join(at_level(record)), *also])}"
        numbers = [one for one in usable if signature_name(one).endswith("sha1") is weak]
        wanted = {KEYS[kind]: kind for one in numbers if (kind := signature_key_type(one)) in ("rsa", "ecdsa")}
        other = next((one for one, kind in wanted.items() if one not in kinds and (not ciphers or kind in ciphers)), "")
        if other:
            which = on_curve(curves[0]) if other == KEYS["ecdsa"] and curves else f"{article(other)} certificate"
            level = f" and {at_level(record)[0]}" if weak and not at_level_0(line.ciphers) else ""
            return f"{other_certificate(record, which)} {here}{level}"
    return f"have {on_curve(curves[0])} in its place {here}" if curves else ""
