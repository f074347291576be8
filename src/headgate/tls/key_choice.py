"""Which of several certificates for one name a client can use, by its ClientHello: ECDSA and RSA side by side (manual 5.1 crt).

OpenSSL would decide that itself among the certificates of one context, but a context has one chain for all of them. So
certificates with different chains have contexts of their own, and the choice is made here, before the connection exists.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from headgate.config.tls_options import BindPolicy
from headgate.tls.applied_policy import AppliedPolicy
from headgate.tls.store import Choice, Served
from headgate.wire.client_hello import ClientHello
from headgate.wire.tls_names import RSA_PSS, newest_signatures, suite_key_type

_TLS_1_3: Final = 0x0304
#: What comes first where the client can use several: as OpenSSL would choose.
_PREFERENCE: Final = ("ecdsa", "eddsa", "rsa", "dsa")
#: Groups (RFC 8422 section 5.1.1) that a client of TLS 1.2 must know to verify with a key on that curve.
_GROUPS: Final = {"secp256r1": 23, "secp384r1": 24, "secp521r1": 25}
#: Low byte of the signature algorithms of TLS 1.2 (RFC 5246 section 7.4.1.4.1).
_SIGNATURES: Final = {"rsa": 1, "dsa": 2, "ecdsa": 3}


def choose(choice: Choice, hello: ClientHello, policies: Mapping[BindPolicy, AppliedPolicy]) -> Served:
    """The best certificate that the client can use; where it can use none, the handshake will say so whatever is taken.

    Args:
        choice: at least one.
        hello: what the client offers.
        policies: the one of each certificate: what it can be used with on our side.
    """
    ordered = sorted(choice, key=lambda one: _PREFERENCE.index(one.kind))
    for one in ordered:
        applied = policies[one.policy]
        usable = _usable_13 if applied.newest and _TLS_1_3 in hello.versions else _usable_12
        if usable(one, hello, applied):
            return one
    return next((one for one in ordered if one.kind == "rsa"), ordered[0])


def _common(hello: ClientHello, applied: AppliedPolicy) -> Collection[int]:
    """The signature algorithms of the client that `sigalgs` allows."""
    offered, ours = hello.signature_algorithms, applied.signatures
    return offered if ours is None else [number for number in offered if number in ours]


def _usable_13(one: Served, hello: ClientHello, applied: AppliedPolicy) -> bool:
    return not newest_signatures(one.kind, one.entry.contents.curve).isdisjoint(_common(hello, applied))


def _usable_12(one: Served, hello: ClientHello, applied: AppliedPolicy) -> bool:
    kind, curve = one.kind, one.entry.contents.curve
    needed = suite_key_type(kind)
    if not any(applied.suites[number] == needed for number in hello.ciphers):
        return False
    offered = _common(hello, applied)
    if hello.signature_algorithms and not offered:
        return False
    if kind == "eddsa":
        return not newest_signatures(kind, curve).isdisjoint(offered)
    if kind == "ecdsa" and hello.groups and _GROUPS.get(curve) not in hello.groups:
        return False
    low = _SIGNATURES[kind]
    # None at all: an old client, for which SHA-1 is implied.
    return not offered or any(number & 0xFF == low and number >> 8 <= 6 for number in offered) or (
        kind == "rsa" and not RSA_PSS.isdisjoint(offered)
    )


def alike(one: Served, other: Served) -> bool:
    """Whether two certificates may share a context: their clients are told the same, and are sent the same beside the leaf."""
    if one.policy != other.policy:
        return False
    first, second = one.entry.contents, other.entry.contents
    return first.sctl == second.sctl and first.others == second.others and first.certificate.issuer == second.certificate.issuer
