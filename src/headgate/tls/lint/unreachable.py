"""Bind lines that nobody can connect to: no certificate of theirs goes with any of their ciphers, or signature algorithms.

What ends each handshake with one version only is said too. Up to TLS 1.2 the cipher says what key it needs; TLS 1.3 has signature
algorithms alone (RFC 8446 section 4.2.3). Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from headgate.base.diagnostics import Location
from headgate.base.findings import Findings
from headgate.config.option_places import OptionPlaces
from headgate.config.tls_options import BindPolicy
from headgate.tls.cipher_names import cipher_names
from headgate.tls.line_facts import at_level_0, signature_names
from headgate.tls.policy import negotiable_versions
from headgate.wire.tls_names import cipher_key_type, newest_signatures, signature_kind, signature_name, suite_key_type

_NEWEST = "TLSv1.3"
_KEYS = {"rsa": "an RSA key", "ecdsa": "an ECDSA key", "dsa": "a DSA key", "eddsa": "an EdDSA key"}
_OTHER_CIPHERS = "take ciphers for that kind of key into the list, or add a certificate of the kind that the list is for"
_OTHER_SIGNATURES = "take signature algorithms for that kind of key into the list, or leave it out"
_PARAMETERS = "take ECDHE ciphers into the list, or write 'tune.ssl.default-dh-param 2048' into the global section"
_DSA = "DSA goes with DHE-DSS ciphers up to TLS 1.2 only: replace the certificate by one with an ECDSA or RSA key"


class Key(NamedTuple):
    """A key of a certificate.

    Attributes:
        kind: `ecdsa`, `rsa`, `dsa` or `eddsa`.
        curve: of an ECDSA key, `secp256r1`.
        dhe: there are parameters for DHE ciphers (manual 3.1 ssl-dh-param-file).
    """

    kind: str
    curve: str = ""
    dhe: bool = False


def lint_unreachable(
    policy: BindPolicy, keys: Collection[Key], line: Location | None, places: OptionPlaces, findings: Findings
) -> None:
    """Say what keeps every client out, or every one with a version.

    Args:
        policy: of a bind line or a line of a crt-list.
        keys: of the certificates that have it; nothing is said without any.
        line: its place.
        places: finds options again.
        findings: where it says what it found.
    """
    versions = negotiable_versions(policy.versions, policy.ciphers)
    signatures = signature_names(policy.sigalgs)
    old, new = bool(set(versions) - {_NEWEST}), _NEWEST in versions
    old_fails = old and not any(usable_with(policy.ciphers, [key]) and _signs(signatures, key) for key in keys)
    new_fails = new and not any(_signs_newest(signatures, key) for key in keys)
    if not keys or not (old_fails or new_fails):
        return
    everybody = old_fails is old and new_fails is new
    who = "no client at all" if everybody else f"no client with TLS {'1.2' if old_fails else '1.3'}"
    code, option, written, message, remedy = _reason(policy, keys, old_fails, bool(signatures))
    findings.add(code, message.format(keys=_listed(keys), who=who), places.find(line, option, written), remedy=remedy)


def _reason(policy: BindPolicy, keys: Collection[Key], old_fails: bool, signs: bool) -> tuple[str, str, str, str, str]:
    """What keeps them out: the code of the finding, the option and its value, message and remedy."""
    ciphers = "tls-unusable-ciphers", "ciphers", policy.ciphers or ""
    if old_fails and not usable_with(policy.ciphers, [key._replace(dhe=True) for key in keys]):
        which = "the default" if policy.ciphers is None else "these"
        message = f"none of {which} ciphers can be used with a certificate that has {{keys}}: {{who}} finds a common one"
        return *ciphers, message, _DSA if policy.ciphers is None else _OTHER_CIPHERS
    if old_fails and not usable_with(policy.ciphers, keys):
        message = "the ciphers for a certificate that has {keys} are all for DHE, without DH parameters: {who} finds a common one"
        return *ciphers, message, _PARAMETERS
    if signs:
        message = "none of these signatures can be made with a certificate that has {keys}: {who} can connect"
        return "tls-unusable-sigalgs", "sigalgs", policy.sigalgs or "", message, _OTHER_SIGNATURES
    return *ciphers, "TLS 1.3 has no signatures for a certificate that has {keys}: {who} can connect", _DSA


def usable_with(ciphers: str | None, keys: Iterable[Key]) -> bool:
    """Whether a cipher list, or the default one, has a cipher that goes with one of these keys, up to TLS 1.2."""
    known = [*keys]
    unsafe = at_level_0(ciphers)
    for name in cipher_names(ciphers or "DEFAULT"):
        if "PSK" in name or name.startswith("SRP"):
            continue  # for keys and passwords that both sides know: there are none here
        needs = cipher_key_type(name)
        if not needs and not unsafe:
            continue  # anonymous ones are below OpenSSL's security level
        dhe = name.startswith(("DHE-", "ADH-"))
        if any(needs in ("", suite_key_type(key.kind)) and (key.dhe or not dhe) for key in known):
            return True
    return False


def _signs(signatures: Collection[str], key: Key) -> bool:
    """Whether a key makes one of these signatures, up to TLS 1.2; without a list all that there are."""
    return not signatures or any(signature_kind(one) == key.kind for one in signatures)


def _signs_newest(signatures: Collection[str], key: Key) -> bool:
    """The same for TLS 1.3."""
    makes = {signature_name(one) for one in newest_signatures(key.kind, key.curve)}
    return bool(makes) and not (signatures and makes.isdisjoint(signatures))


def _listed(keys: Iterable[Key]) -> str:
    return " or ".join(_KEYS[kind] for kind in sorted({key.kind for key in keys}))
