"""What a ClientHello and a line of ours have in common: the version that both would speak, ciphers, keys, signature algorithms.

Called by `handshake_diagnosis`, which finds by it what was missing, and by the sentences that say so. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from headgate.tls.line_facts import at_level_0
from headgate.wire.client_hello import SIGNATURE_ALGORITHMS, ClientHello, version_name, without_grease
from headgate.wire.tls_names import (
    SIGNATURES,
    cipher_key_type,
    cipher_name,
    needs_secret,
    newest_signatures,
    signature_key_type,
    suite_key_type,
    suite_serves,
)

if TYPE_CHECKING:
    from headgate.tls.handshake_record import HandshakeRecord
    from headgate.tls.line_facts import LineFacts, ShownCertificate

#: rsa_pkcs1_sha1 and ecdsa_sha1.
_IMPLIED: Final = (0x0201, 0x0203)


def fitting_keys(line: LineFacts, ciphers: Iterable[str]) -> tuple[ShownCertificate, ...]:
    """Our certificates whose keys go with any of these cipher suites up to TLS 1.2."""
    kinds = {cipher_key_type(one) for one in ciphers}
    return tuple(one for one in line.certificates if kinds & {suite_key_type(one.kind), ""})


def can_sign(hello: ClientHello, line: LineFacts) -> bool:
    """Whether our keys can make a signature that both sides take."""
    makes = common_signatures(hello, line)
    return any(one in line.signatures for one in makes) if line.signatures else bool(makes)


def accepted_signatures(hello: ClientHello, version: str) -> tuple[int, ...]:
    """The signature algorithms of a client that speaks this version.

    SHA-1 where one of TLS 1.2 does not send the extension (RFC 5246 section 7.4.1.4.1).
    """
    named = without_grease(hello.signature_algorithms)
    return _IMPLIED if version == "TLSv1.2" and SIGNATURE_ALGORITHMS not in hello.extensions else named


def common_signatures(hello: ClientHello, line: LineFacts) -> list[str]:
    """The signature algorithms that the client accepts and our keys can make, whatever `sigalgs` says about them.

    MD5 never passes OpenSSL's security level, SHA-1 passes none but 0.
    """
    version = negotiated_version(hello, line.versions)
    newest = version == "TLSv1.3"
    too_weak = "md5" if at_level_0(line.ciphers) else ("sha1", "md5")
    found = []
    for number in accepted_signatures(hello, version):
        name, kind = SIGNATURES.get(number, ""), signature_key_type(number)
        keys = [one for one in line.certificates if one.kind == kind]
        if not keys or name.endswith(too_weak) or name.startswith("rsa_pss_pss"):  # of keys that are for that alone
            continue
        if newest and not any(number in newest_signatures(kind, one.curve) for one in keys):
            continue
        found.append(name)
    return found


def common_ciphers(hello: ClientHello, record: HandshakeRecord) -> list[str]:
    """The cipher suites that the client offers and the line can use, of the version that both would speak."""
    line = record.line
    version = (negotiated_version(hello, line.versions) if line is not None else "") or "TLSv1.2"
    allowed = set(record.allowed)
    offered = [cipher_name(one) for one in hello.ciphers]
    return [one for one in offered if one in allowed and suite_serves(one, version) and not needs_secret(one)]


def negotiated_version(hello: ClientHello, allowed: tuple[str, ...]) -> str:
    """The version that both sides would speak, "" when there is none."""
    offered = offered_versions(hello)
    return next((one for one in reversed(allowed) if one in offered), "")


def chose_too_old(record: HandshakeRecord) -> bool:
    """Whether an older version was chosen than the highest, which is all that a client up to TLS 1.2 says; not all take that."""
    hello = record.hello
    if record.outgoing or hello is None or not record.version or not known_maximum(hello):
        return False
    return record.version != version_name(hello.legacy_version)


def known_maximum(hello: ClientHello) -> bool:
    """Whether a client only says which version is its highest, as all did before TLS 1.3."""
    return hello.versions == (hello.legacy_version,) and 0x0300 <= hello.legacy_version <= 0x0303


def offered_versions(hello: ClientHello) -> tuple[str, ...]:
    """The versions that a client speaks, oldest first. Without the extension it names its highest, and is taken to know the
    others."""
    known = sorted(without_grease(hello.versions))
    if known_maximum(hello):
        return tuple(version_name(one) for one in range(0x0301, hello.legacy_version + 1)) or ("SSLv3",)
    return tuple(version_name(one) for one in known)
