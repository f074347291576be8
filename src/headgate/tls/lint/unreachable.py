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
from headgate.config.tls_options import BindPolicy, Verify
from headgate.tls.cipher_names import cipher_names
from headgate.tls.line_facts import at_level_0, group_names, signature_names
from headgate.tls.policy import negotiable_versions
from headgate.wire.tls_names import (
    cipher_key_type,
    cipher_needs_group,
    is_newest_signature,
    is_old_group,
    needs_parameters,
    needs_secret,
    newest_signatures,
    signature_kind,
    signature_name,
    suite_key_type,
)

_NEWEST = "TLSv1.3"
_KEYS = {"rsa": "an RSA key", "ecdsa": "an ECDSA key", "dsa": "a DSA key", "eddsa": "an EdDSA key"}
_OTHER_CIPHERS = "take ciphers for that kind of key into the list, or add a certificate of the kind that the list is for"
_OTHER_SIGNATURES = "take signature algorithms for that kind of key into the list, or leave it out"
_PARAMETERS = "take ECDHE ciphers into the list, or write 'tune.ssl.default-dh-param 2048' into the global section"
_OTHER_GROUPS = "add a group that TLS 1.2 has to 'curves', X25519 for instance, or write 'ssl-min-ver TLSv1.3'"
_SUITES = "name some in 'ciphersuites', leave it out, or write 'ssl-max-ver TLSv1.2'"
_ASKING = "add ecdsa_secp256r1_sha256 and rsa_pss_rsae_sha256 to 'client-sigalgs', or leave it out"
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
    sides = []
    if set(versions) - {_NEWEST}:
        sides.append(("1.2", _no_suites(policy, versions) or _old_obstacle(policy, keys)))
    if _NEWEST in versions:
        sides.append(("1.3", _no_suites(policy, versions) or _newest_obstacle(policy, keys)))
    found = [(version, obstacle) for version, obstacle in sides if obstacle is not None]
    if not keys or not found:
        return
    version, obstacle = found[0]
    who = "no client at all" if len(found) == len(sides) else f"no client with TLS {version}"
    message = obstacle.message.format(keys=_listed(keys), who=who)
    findings.add(obstacle.code, message, places.find(line, obstacle.option, obstacle.written), remedy=obstacle.remedy)


class _Obstacle(NamedTuple):
    """What keeps clients out: the code of the finding, the option and its value, message and remedy."""

    code: str
    option: str
    written: str
    message: str
    remedy: str


def _no_suites(policy: BindPolicy, versions: Collection[str]) -> _Obstacle | None:
    """OpenSSL speaks no older version either when there is no cipher suite for the highest one."""
    if _NEWEST not in versions or policy.ciphersuites is None or policy.ciphersuites.strip(" :"):
        return None
    message = "there are no cipher suites of TLS 1.3, which is allowed: {who} can connect"
    return _Obstacle("tls-unusable-ciphers", "ciphersuites", "", message, _SUITES)


def _old_obstacle(policy: BindPolicy, keys: Collection[Key]) -> _Obstacle | None:
    """What keeps out those that speak TLS 1.2 at most."""
    ciphers = "tls-unusable-ciphers", "ciphers", policy.ciphers or ""
    if not usable_with(policy.ciphers, [key._replace(dhe=True) for key in keys]):
        which = "the default" if policy.ciphers is None else "these"
        message = f"none of {which} ciphers can be used with a certificate that has {{keys}}: {{who}} finds a common one"
        return _Obstacle(*ciphers, message, _DSA if policy.ciphers is None else _OTHER_CIPHERS)
    if not usable_with(policy.ciphers, keys):
        message = "the ciphers for a certificate that has {keys} are all for DHE, without DH parameters: {who} finds a common one"
        return _Obstacle(*ciphers, message, _PARAMETERS)
    signatures = signature_names(policy.sigalgs)
    signing = [key for key in keys if not signatures or any(signature_kind(one) == key.kind for one in signatures)]
    if not usable_with(policy.ciphers, signing):
        return _unsigned(policy)
    grouped = any(is_old_group(one) for one in group_names(policy.curves))
    if not grouped and not usable_with(policy.ciphers, signing, grouped=False):
        message = "all of these groups are for TLS 1.3 alone: {who} can agree on a key"
        return _Obstacle("tls-unusable-groups", "curves", policy.curves or "", message, _OTHER_GROUPS)
    return None


def _newest_obstacle(policy: BindPolicy, keys: Collection[Key]) -> _Obstacle | None:
    """What keeps out those that speak TLS 1.3."""
    makes = {signature_name(one) for key in keys for one in newest_signatures(key.kind, key.curve)}
    signatures = signature_names(policy.sigalgs)
    if signatures and makes.isdisjoint(signatures):
        return _unsigned(policy)
    if not makes:
        message = "TLS 1.3 has no signatures for a certificate that has {keys}: {who} can connect"
        return _Obstacle("tls-unusable-ciphers", "ciphers", policy.ciphers or "", message, _DSA)
    asked = signature_names(policy.client_sigalgs) if policy.verify is not Verify.NONE else ()
    if asked and not any(is_newest_signature(one) for one in asked):
        message = "TLS 1.3 can't ask for a certificate with any of these signatures: {who} can connect, with one or without"
        return _Obstacle("tls-unusable-sigalgs", "client-sigalgs", policy.client_sigalgs or "", message, _ASKING)
    return None


def _unsigned(policy: BindPolicy) -> _Obstacle:
    message = "none of these signatures can be made with a certificate that has {keys}: {who} can connect"
    return _Obstacle("tls-unusable-sigalgs", "sigalgs", policy.sigalgs or "", message, _OTHER_SIGNATURES)


def usable_with(ciphers: str | None, keys: Iterable[Key], *, grouped: bool = True) -> bool:
    """Whether a cipher list, or the default one, has a cipher that goes with one of these keys, up to TLS 1.2.

    Args:
        grouped: there are groups for those that need one.
    """
    known = [*keys]
    unsafe = at_level_0(ciphers)
    for name in cipher_names(ciphers or "DEFAULT"):
        if needs_secret(name):
            continue
        if not grouped and cipher_needs_group(name):
            continue
        needs = cipher_key_type(name)
        if not needs and not unsafe:
            continue  # anonymous ones are below OpenSSL's security level
        dhe = needs_parameters(name)
        if any(needs in ("", suite_key_type(key.kind)) and (key.dhe or not dhe) for key in known):
            return True
    return False


def _listed(keys: Iterable[Key]) -> str:
    return " or ".join(_KEYS[kind] for kind in sorted({key.kind for key in keys}))
